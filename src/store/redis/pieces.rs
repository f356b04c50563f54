//! Bytes as Redis keeps them: cut into pieces, each compressed by itself, so that no command holds up the others for long.

use std::cell::RefCell;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, get_frame_content_size};

use crate::store::StoreError;

/// How long a piece is at most before it is compressed. Redis has 512 KiB for one that cannot be, and no more: what it
/// allocates comes in few sizes.
pub(super) const PIECE_BYTES: usize = 511 * 1024;
/// How hard to compress: higher levels bring nothing for mail and take three times as long.
const LEVEL: i32 = 1;
/// The first byte of a piece says how to read the rest; there is one way so far.
const ZSTD: u8 = 1;

thread_local! {
    // A context made anew for each mail would take longer than the mail.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// How many pieces there are of so many bytes; of none there is one, empty.
pub(super) fn count(len: u64) -> usize {
    usize::try_from(len.div_ceil(PIECE_BYTES as u64)).unwrap_or(usize::MAX).max(1)
}

/// Piece `number` of `bytes`, not compressed.
pub(super) fn cut(bytes: &Bytes, number: usize) -> Bytes {
    let start = (number * PIECE_BYTES).min(bytes.len());
    bytes.slice(start..(start + PIECE_BYTES).min(bytes.len()))
}

/// Compresses one piece.
pub(super) fn pack(piece: &[u8]) -> Result<Bytes, StoreError> {
    let packed = COMPRESSOR.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(compressor()?),
        };
        let mut packed = vec![ZSTD];
        packed.extend_from_slice(&context.compress(piece)?);
        Ok(packed)
    });
    packed.map(Bytes::from).map_err(|error: std::io::Error| StoreError::Unavailable(format!("not compressed: {error}")))
}

/// Compresses one piece on another thread: a large one takes long enough to hold up others.
pub(super) async fn pack_elsewhere(piece: Bytes) -> Result<Bytes, StoreError> {
    tokio::task::spawn_blocking(move || pack(&piece))
        .await
        .unwrap_or_else(|error| Err(StoreError::Unavailable(format!("not compressed: {error}"))))
}

/// Takes a large piece apart on another thread.
pub(super) async fn unpack_elsewhere(packed: Bytes) -> Option<Bytes> {
    tokio::task::spawn_blocking(move || unpack(&packed)).await.ok().flatten().map(Bytes::from)
}

fn compressor() -> std::io::Result<Compressor<'static>> {
    let mut context = Compressor::new(LEVEL)?;
    // What has changed on its way or in memory is not given out.
    context.set_parameter(CParameter::ChecksumFlag(true))?;
    Ok(context)
}

/// Takes a piece apart; `None` if it is not one, whole.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let frame = packed.strip_prefix(&[ZSTD])?;
    // Nothing that somebody else has written there makes more of it than a piece has.
    let len = get_frame_content_size(frame).ok().flatten().filter(|len| *len <= PIECE_BYTES as u64)?;
    DECOMPRESSOR.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(Decompressor::new().ok()?),
        };
        context.decompress(frame, usize::try_from(len).ok()?).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_length_come_back() {
        for len in [0, 1, 100, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let bytes: Bytes = (0..len).map(|at| ((at * at) >> 3) as u8).collect();
            let pieces: Vec<_> = (0..count(len as u64)).map(|number| cut(&bytes, number)).collect();
            assert_eq!(pieces.concat(), bytes);
            for piece in pieces {
                assert_eq!(unpack(&pack(&piece).unwrap()).unwrap(), piece, "{len} bytes");
            }
        }
        assert_eq!(count(0), 1);
    }

    #[test]
    fn a_piece_that_was_cut_or_changed_is_none() {
        let packed = pack(b"Some text, some text, some text and some more of it.").unwrap();
        for len in 0..packed.len() {
            assert_eq!(unpack(&packed[..len]), None, "{len} bytes");
        }
        for place in 0..packed.len() {
            let mut changed = packed.to_vec();
            changed[place] ^= 1;
            assert_ne!(unpack(&changed), unpack(&packed), "byte {place}");
        }
    }

    #[test]
    fn nothing_small_becomes_large() {
        let bomb = zstd::bulk::compress(&vec![0; 2 * PIECE_BYTES], 1).unwrap();
        assert_eq!(unpack(&[&[ZSTD], &bomb[..]].concat()), None);
    }

    #[test]
    fn a_piece_that_cannot_be_compressed_stays_below_half_a_mebibyte() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()[7]
        })
        .take(PIECE_BYTES)
        .collect();
        assert!(pack(&noise).unwrap().len() + 64 < 512 * 1024);
    }
}
