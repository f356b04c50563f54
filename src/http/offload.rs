//! Work that takes long is done where it holds up nobody.

use super::problem::Problem;

/// Work on up to so many bytes is done where it comes up; more would hold up other requests, and mail, of the same thread.
const INLINE_MAX_BYTES: usize = 64 * 1024;

/// Does `work`, which goes through `bytes` bytes.
pub(super) async fn run<T, F>(bytes: usize, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if bytes <= INLINE_MAX_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "the work for an answer failed");
        Problem::internal()
    })
}
