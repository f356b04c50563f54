//! Base64 that comes in pieces, for attachments that are too large to be in memory as a whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Takes base64 off piece by piece, as long as it is written by the book: then every decoder finds the same in it. What is
/// not has to be seen as a whole before it can be told what was meant.
#[derive(Debug, Default)]
pub struct Base64Pieces {
    /// What has been read and not decoded: the last quantum at most, as there may be no padding before the end.
    pending: Vec<u8>,
}

impl Base64Pieces {
    /// The bytes that have become complete with `piece`; `None` where this is not base64 by the book.
    pub fn decode(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        self.pending.extend(piece.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        let ready = self.pending.len().saturating_sub(1) / 4 * 4;
        let decoded = STANDARD.decode(&self.pending[..ready]).ok()?;
        self.pending.drain(..ready);
        Some(decoded)
    }

    /// The last bytes; `None` where this is not base64 by the book.
    #[must_use]
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        STANDARD.decode(std::mem::take(&mut self.pending)).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::{Attachment, Disposition, TransferEncoding, attachment_bytes};

    fn whole(encoded: &[u8]) -> Vec<u8> {
        let attachment = Attachment {
            index: 0,
            filename: None,
            content_type: String::new(),
            content_id: None,
            disposition: Disposition::Attachment,
            size: 0,
            sha256: String::new(),
            start: 0,
            end: encoded.len(),
            encoding: TransferEncoding::Base64,
            subject: None,
        };
        attachment_bytes(encoded, &attachment).into_owned()
    }

    fn in_pieces(encoded: &[u8], size: usize) -> Option<Vec<u8>> {
        let mut pieces = Base64Pieces::default();
        let mut decoded = Vec::new();
        for piece in encoded.chunks(size) {
            decoded.extend(pieces.decode(piece)?);
        }
        decoded.extend(pieces.finish()?);
        Some(decoded)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_was_encoded_by_the_book_is_decoded_however_it_is_cut(bytes in any::<Vec<u8>>(), size in 1_usize..90) {
            let encoded = STANDARD.encode(&bytes);
            let lines = encoded.as_bytes().chunks(76).collect::<Vec<_>>().join(&b"\r\n"[..]);
            prop_assert_eq!(in_pieces(&lines, size), Some(bytes.clone()));
            prop_assert_eq!(whole(&lines), bytes);
        }

        #[test]
        fn what_is_decoded_in_pieces_is_what_is_decoded_as_a_whole(
            encoded in "([A-D+/]{4}|\r\n|[A-D]{2}==|[A-D]{3}=|[A-D ]{0,3}|=|[!-~]{0,1}){0,12}",
            size in 1_usize..9,
        ) {
            if let Some(decoded) = in_pieces(encoded.as_bytes(), size) {
                prop_assert_eq!(decoded, whole(encoded.as_bytes()));
            }
        }
    }
}
