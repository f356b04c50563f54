//! The content of a message on its way in: dot-unstuffing (RFC 5321 section 4.5.2), line ends and the size limit.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr_iter, memchr2};

use super::reply::Reply;

/// What becomes of a message with a CR or LF that is not part of a CRLF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BareLf {
    /// It is refused: what one server takes for a line end and another does not is how messages are smuggled.
    #[default]
    Reject,
    /// It is kept, each byte as it came.
    Keep,
}

/// Takes DATA apart: finds its end, `CRLF.CRLF` and nothing else, and takes away the stuffed dots.
#[derive(Debug, Default)]
pub(super) struct DataDecoder {
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Behind a CRLF, and at the very start: the end of data may come first.
    #[default]
    LineStart,
    /// Inside a line.
    Text,
    /// Behind a CR inside a line.
    Cr,
    /// Behind a dot at the start of a line; it never belongs to the message.
    Dot,
    /// Behind a dot and a CR at the start of a line.
    DotCr,
}

impl DataDecoder {
    /// Moves what belongs to the message from `input` to `receipt`; true once the end of data has been taken off `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut, receipt: &mut Receipt) -> bool {
        let bytes = &input[..];
        // Bytes from `kept` to `at` belong to the message and have not been handed over yet.
        let (mut kept, mut at) = (0, 0);
        while let Some(&byte) = bytes.get(at) {
            match (self.place, byte) {
                (Place::LineStart, b'.') => {
                    receipt.push(&bytes[kept..at]);
                    at += 1;
                    kept = at;
                    self.place = Place::Dot;
                }
                (Place::LineStart | Place::Text, _) => {
                    let Some(end) = memchr2(b'\r', b'\n', &bytes[at..]) else {
                        at = bytes.len();
                        self.place = Place::Text;
                        break;
                    };
                    at += end + 1;
                    if bytes[at - 1] == b'\r' {
                        self.place = Place::Cr;
                    } else {
                        receipt.bare_line_end = true;
                        self.place = Place::Text;
                    }
                }
                (Place::Cr, b'\n') => {
                    at += 1;
                    self.place = Place::LineStart;
                }
                (Place::Dot, b'\r') => {
                    // Held back: it belongs to the message only if no LF follows.
                    at += 1;
                    kept = at;
                    self.place = Place::DotCr;
                }
                (Place::DotCr, b'\n') => {
                    input.advance(at + 1);
                    return true;
                }
                (Place::Cr, _) => {
                    receipt.bare_line_end = true;
                    self.place = Place::Text;
                }
                (Place::Dot, _) => self.place = Place::Text,
                (Place::DotCr, _) => {
                    receipt.bare_line_end = true;
                    receipt.push(b"\r");
                    self.place = Place::Text;
                }
            }
        }
        receipt.push(&bytes[kept..at]);
        input.clear();
        false
    }
}

/// Checks the line ends of a message that comes in chunks (RFC 3030), where no end of data has to be looked for.
#[derive(Debug, Default)]
pub(super) struct ChunkLines {
    behind_cr: bool,
}

impl ChunkLines {
    /// Looks through the next bytes of the message; true if a CR or LF stands alone.
    pub(super) fn has_bare(&mut self, chunk: &[u8]) -> bool {
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            if self.behind_cr {
                if byte != b'\n' {
                    return true;
                }
                self.behind_cr = false;
                at += 1;
                continue;
            }
            let Some(end) = memchr2(b'\r', b'\n', &chunk[at..]) else { break };
            at += end + 1;
            if chunk[at - 1] == b'\n' {
                return true;
            }
            self.behind_cr = true;
        }
        false
    }

    /// Whether the message ended in the middle of a CRLF.
    pub(super) const fn is_open(&self) -> bool {
        self.behind_cr
    }
}

/// A message as far as it has come in. Once it is refused its bytes are dropped and the rest is only counted off.
#[derive(Debug)]
pub(super) struct Receipt {
    bytes: Vec<u8>,
    max_bytes: usize,
    refusal: Option<Reply>,
    pub(super) bare_line_end: bool,
}

impl Receipt {
    pub(super) const fn new(max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), max_bytes, refusal: None, bare_line_end: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.refusal.is_some() {
            return;
        }
        if bytes.len() > self.max_bytes - self.bytes.len() {
            self.refuse(too_large(self.max_bytes));
        } else {
            let wanted = self.bytes.len() + bytes.len();
            if wanted > self.bytes.capacity() {
                // Doubled, but not beyond what a message may have: the room is counted against what all may hold.
                let room = (2 * self.bytes.capacity()).clamp(wanted, self.max_bytes);
                self.bytes.reserve_exact(room - self.bytes.len());
            }
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Gives the message up; the first refusal is the one that the client reads.
    pub(super) fn refuse(&mut self, refusal: Reply) {
        self.bytes = Vec::new();
        self.refusal.get_or_insert(refusal);
    }

    /// Why it is not taken, if that is known already.
    pub(super) const fn refusal(&self) -> Option<&Reply> {
        self.refusal.as_ref()
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// The memory that the message takes.
    pub(super) const fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The whole message, or why it is not taken. A line has at most `max_line_bytes` with its CRLF, 0 is without limit.
    pub(super) fn finish(self, bare_lf: BareLf, max_line_bytes: usize) -> Result<Bytes, Reply> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None if self.bare_line_end && bare_lf == BareLf::Reject => Err(Reply::new(
                550,
                (5, 6, 11),
                "message has a bare CR or LF; lines end in CRLF (RFC 5321 section 2.3.8)",
            )),
            None if max_line_bytes > 0 && has_longer_line(&self.bytes, max_line_bytes) => Err(Reply::new(
                550,
                (5, 6, 0),
                format!(
                    "message has a line of more than {max_line_bytes} bytes; wrap or encode it (RFC 5321 section 4.5.3.1.6)"
                ),
            )),
            None => {
                let mut bytes = self.bytes;
                // A store in memory keeps it for a day, and it has grown by doubling.
                bytes.shrink_to_fit();
                Ok(Bytes::from(bytes))
            }
        }
    }
}

fn has_longer_line(message: &[u8], max_bytes: usize) -> bool {
    let mut start = 0;
    let ends = memchr_iter(b'\n', message).map(|end| end + 1).chain([message.len()]);
    ends.into_iter().any(|end| end - mem::replace(&mut start, end) > max_bytes)
}

/// The refusal of a message that is larger than `max_bytes`.
pub(super) fn too_large(max_bytes: usize) -> Reply {
    Reply::new(552, (5, 3, 4), format!("message is too large; at most {max_bytes} bytes are taken"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes `pieces` one after the other; the message, whether a line end was bare, and what was left behind its end.
    fn decode(pieces: &[&[u8]]) -> (Vec<u8>, bool, Option<Vec<u8>>) {
        let (mut decoder, mut receipt) = (DataDecoder::default(), Receipt::new(1 << 20));
        let mut input = BytesMut::new();
        for (at, piece) in pieces.iter().enumerate() {
            input.extend_from_slice(piece);
            if decoder.decode(&mut input, &mut receipt) {
                let rest = [&input[..], &pieces[at + 1..].concat()].concat();
                return (receipt.bytes, receipt.bare_line_end, Some(rest));
            }
        }
        (receipt.bytes, receipt.bare_line_end, None)
    }

    #[test]
    fn data_ends_at_a_dot_alone_on_its_line() {
        for (wire, message, rest) in [
            (&b".\r\n"[..], &b""[..], &b""[..]),
            (b"hello\r\n.\r\nQUIT\r\n", b"hello\r\n", b"QUIT\r\n"),
            (b"..\r\n.\r\n", b".\r\n", b""),
            (b"..x\r\n.y\r\n...\r\n.\r\n", b".x\r\ny\r\n..\r\n", b""),
            (b"a.\r\n\r\n.\r\n", b"a.\r\n\r\n", b""),
            (b"\r\n.\r\n", b"\r\n", b""),
            (b"\x00\xff\r\n.\r\n", b"\x00\xff\r\n", b""),
        ] {
            let whole = decode(&[wire]);
            assert_eq!(whole, (message.to_vec(), false, Some(rest.to_vec())), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn nothing_else_ends_data_and_every_bare_line_end_is_seen() {
        for (wire, kept) in [
            (&b"a\n.\n"[..], &b"a\n.\n"[..]),
            (b"a\n.\r\n", b"a\n.\r\n"),
            (b"a\r\n.\n", b"a\r\n\n"),
            (b"a\r.\r", b"a\r.\r"),
            (b"a\r.\r\nb", b"a\r.\r\nb"),
            (b"a\r\n.\r\r\n", b"a\r\n\r\r\n"),
            (b"a\r\n.\rb", b"a\r\n\rb"),
            (b"a\r\r\n.x", b"a\r\r\nx"),
            (b".\nb", b"\nb"),
            (b"\n.\r\n", b"\n.\r\n"),
        ] {
            assert_eq!(decode(&[wire]), (kept.to_vec(), true, None), "{}", wire.escape_ascii());
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_and_followed_to_its_end() {
        let (mut decoder, mut receipt) = (DataDecoder::default(), Receipt::new(10));
        let mut input = BytesMut::from(&b"12345678\r\n9\r\n.\r\nQUIT"[..]);
        assert!(decoder.decode(&mut input, &mut receipt));
        assert_eq!(&input[..], b"QUIT");
        assert_eq!(receipt.held_bytes(), 0);
        assert_eq!(receipt.finish(BareLf::Reject, 0).unwrap_err().code, 552);
    }

    #[test]
    fn a_message_of_just_the_limit_is_taken() {
        let (mut decoder, mut receipt) = (DataDecoder::default(), Receipt::new(10));
        assert!(decoder.decode(&mut BytesMut::from(&b"12345678\r\n.\r\n"[..]), &mut receipt));
        assert_eq!(receipt.finish(BareLf::Reject, 0).unwrap(), b"12345678\r\n"[..]);
    }

    #[test]
    fn a_message_takes_no_more_memory_than_it_has_bytes() {
        let mut receipt = Receipt::new(10_000);
        (0..1_000).for_each(|_| receipt.push(b"text\r\n"));
        let message = Vec::from(receipt.finish(BareLf::Reject, 0).unwrap());
        assert_eq!((message.len(), message.capacity()), (6_000, 6_000));
    }

    #[test]
    fn a_bare_line_end_is_refused_or_kept_as_it_is() {
        for (policy, taken) in [(BareLf::Reject, false), (BareLf::Keep, true)] {
            let (mut decoder, mut receipt) = (DataDecoder::default(), Receipt::new(100));
            assert!(decoder.decode(&mut BytesMut::from(&b"a\nb\rc\r\n.\r\n"[..]), &mut receipt));
            match receipt.finish(policy, 0) {
                Ok(message) => assert!(taken && message == b"a\nb\rc\r\n"[..]),
                Err(refusal) => assert!(!taken && refusal.enhanced == Some((5, 6, 11))),
            }
        }
    }

    #[test]
    fn a_line_over_the_limit_is_refused_wherever_it_is() {
        let finish = |message: &[u8]| {
            let mut receipt = Receipt::new(100);
            receipt.push(message);
            receipt.finish(BareLf::Reject, 6)
        };
        for message in [&b""[..], b"1234\r\n", b"1234\r\n1234\r\n\r\n", b"1234\r\n123456"] {
            assert_eq!(finish(message).unwrap(), message);
        }
        for message in [&b"12345\r\n"[..], b"1\r\n12345\r\n1\r\n", b"1234\r\n1234567"] {
            assert_eq!(finish(message).unwrap_err().enhanced, Some((5, 6, 0)), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn chunks_are_looked_through_across_their_borders() {
        let bare = |chunks: &[&[u8]]| {
            let mut lines = ChunkLines::default();
            chunks.iter().any(|chunk| lines.has_bare(chunk)) || lines.is_open()
        };
        assert!(!bare(&[b"a\r", b"\nb\r\n"]));
        assert!(!bare(&[b"no line end"]));
        for chunks in [&[&b"a\n"[..]][..], &[b"a\r", b"b"], &[b"a\r\r\n"], &[b"a\r"], &[b"\n"], &[b"a\r\n", b"\n"]] {
            assert!(bare(chunks), "{chunks:?}");
        }
    }

    /// The five-line definition that the decoder is held against: split at CRLF, stop at a lone dot, drop a leading dot.
    fn defined(wire: &[u8]) -> (Vec<u8>, Option<usize>) {
        let (mut message, mut at) = (Vec::new(), 0);
        loop {
            let end = wire[at..].windows(2).position(|pair| pair == b"\r\n").map(|end| at + end + 2);
            let line = &wire[at..end.unwrap_or(wire.len())];
            match end {
                Some(end) if line == b".\r\n" => return (message, Some(end)),
                _ => message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line)),
            }
            let Some(end) = end else { return (message, None) };
            at = end;
        }
    }

    proptest! {
        #[test]
        fn the_decoder_does_what_the_definition_says_however_the_input_is_cut(
            wire in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..24),
            cut in 0usize..24,
        ) {
            let wire = [&wire[..], b"\r\n.\r\n"].concat();
            let (message, end) = defined(&wire);
            let end = end.unwrap();
            let (front, back) = wire.split_at(cut.min(wire.len()));
            let bytes: Vec<&[u8]> = wire.chunks(1).collect();
            for pieces in [&[&wire[..]][..], &[front, back], &bytes] {
                let (decoded, _, rest) = decode(pieces);
                prop_assert_eq!(&decoded, &message);
                prop_assert_eq!(rest.as_deref(), Some(&wire[end..]));
            }
        }
    }
}
