//! Bodies that are made while they are sent, piece by piece: no more of them is in memory than the next one.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use crate::inbox::StoreError;

/// What gives out a body.
pub(super) trait Pieces: Send + Sized + 'static {
    /// The next piece; `None` behind the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;

    /// The body. Where a piece is missing the connection ends before the body does: a client never sees a short one as whole.
    fn into_body(self) -> Body {
        Body::from_stream(stream::try_unfold(self, |mut pieces| async {
            match pieces.next().await {
                Ok(piece) => Ok(piece.map(|piece| (piece, pieces))),
                Err(error) => {
                    tracing::warn!(%error, "an answer was broken off");
                    Err(error)
                }
            }
        }))
    }
}
