//! Mbox files, as mboxrd: a line `From ` before each message, and a `>` more before each line of a message that looks like
//! one. What is known of a message beside its bytes is its first line, `X-Restante:`, which is not part of it.

use std::io::{self, BufRead, Read, Write};

use super::{Found, Record, asctime, lines};
use crate::clock::Timestamp;
use crate::mail::Address;

const FROM: &[u8] = b"From ";
const RECORD: &[u8] = b"X-Restante: ";
/// What stands in a `From ` line for the null sender.
const NOBODY: &str = "MAILER-DAEMON";

/// Appends a message.
pub(crate) fn append(to: &mut impl Write, record: &Record, raw: &[u8]) -> io::Result<()> {
    let sender = record.from.as_ref().map_or_else(|| NOBODY.to_owned(), |from| from.to_string().replace(' ', "_"));
    writeln!(to, "From {sender} {}", asctime::written(record.received_at_ms))?;
    to.write_all(RECORD)?;
    writeln!(to, "{}", record.to_json())?;
    let body = if record.lf { lines::to_lf(raw) } else { raw.to_vec() };
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        if is_quoted(line) {
            to.write_all(b">")?;
        }
        to.write_all(line)?;
    }
    to.write_all(if body.ends_with(b"\n") { b"\n" } else { b"\n\n" })
}

/// Whether a line is `From `, with any number of `>` before it.
fn is_quoted(line: &[u8]) -> bool {
    let marks = line.iter().take_while(|byte| **byte == b'>').count();
    line[marks..].starts_with(FROM)
}

/// Whether a file begins as an mbox file does.
pub(crate) fn is_mbox(start: &[u8]) -> bool {
    start.starts_with(FROM)
}

/// Reads one message after the other.
pub(crate) struct Reader<R> {
    from: R,
    place: String,
    /// The largest message.
    max_bytes: usize,
    /// The `From ` line of the next message.
    separator: Option<Vec<u8>>,
    count: usize,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(from: R, place: String, max_bytes: usize) -> Self {
        Self { from, place, max_bytes, separator: None, count: 0 }
    }

    /// The next message; the outer error is that of the file, the inner one that of the message.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<Found, String>>> {
        let separator = match self.separator.take() {
            Some(separator) => separator,
            None => match self.line()? {
                line if line.is_empty() => return Ok(None),
                line if line.starts_with(FROM) => line,
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin with a From line")),
            },
        };
        self.count += 1;
        let place = format!("{} (message {})", self.place, self.count);
        let mut bytes = Vec::new();
        let mut too_large = false;
        let mut behind_blank = false;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if behind_blank && line.starts_with(FROM) {
                self.separator = Some(line);
                break;
            }
            behind_blank = line == b"\n" || line == b"\r\n";
            // A record and the marks of quotes come on top of a message.
            if bytes.len() + line.len() > self.max_bytes.saturating_mul(2) {
                too_large = true;
                bytes.clear();
            }
            if !too_large {
                bytes.extend_from_slice(if line.starts_with(b">") && is_quoted(&line) { &line[1..] } else { &line });
            }
        }
        if too_large {
            return Ok(Some(Err(format!("{place}: larger than SMTP_MAX_MESSAGE_SIZE"))));
        }
        if behind_blank {
            bytes.truncate(bytes.len() - if bytes.ends_with(b"\r\n") { 2 } else { 1 });
        }
        Ok(Some(found(place, &separator, bytes)))
    }

    /// The next line, or as much of it as a message may have; nothing at the end of the file.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        // A piece of a longer one is more than a message may be.
        let max = (self.max_bytes as u64).saturating_mul(2).saturating_add(64 * 1024);
        (&mut self.from).take(max).read_until(b'\n', &mut line)?;
        Ok(line)
    }
}

fn found(place: String, separator: &[u8], mut bytes: Vec<u8>) -> Result<Found, String> {
    let mut record = None;
    if bytes.starts_with(RECORD) {
        let end = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |at| at + 1);
        record = Some(Record::parse(&bytes[RECORD.len()..end]).map_err(|error| format!("{place}: {error}"))?);
        bytes.drain(..end);
    }
    let line = String::from_utf8_lossy(&separator[FROM.len()..]);
    let (sender, moment) = parts(&line);
    Ok(Found { place, bytes, record, sender, moment })
}

/// Sender and time of a `From ` line.
fn parts(line: &str) -> (Option<Option<Address>>, Option<Timestamp>) {
    let line = line.trim();
    let (sender, time) = line.split_once(' ').unwrap_or((line, ""));
    let address = match sender {
        NOBODY | "-" | "<>" => Some(None),
        text => Address::parse_sender(text).ok().map(Some),
    };
    (address, asctime::read(time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::{MailParameters, MessageId, Peer};

    const MAX_BYTES: usize = 1000;

    fn record(raw: &[u8]) -> Record {
        let moment = Timestamp::from_millis(1_767_323_045_000);
        let nowhere = "0.0.0.0:0".parse().unwrap();
        Record {
            restante: super::super::FORM,
            mailbox: "user".to_owned(),
            to: "user@example.com".to_owned(),
            id: MessageId::from_bytes([7; 16]),
            received_at_ms: moment,
            expires_at_ms: moment,
            from: None,
            parameters: MailParameters::default(),
            peer: Peer { addr: nowhere, local: nowhere, helo: "x".to_owned(), tls: None },
            size: raw.len() as u64,
            sha256: super::super::digest(raw),
            lf: lines::is_crlf(raw),
        }
    }

    fn all(file: &[u8]) -> Vec<Result<Found, String>> {
        let mut reader = Reader::new(file, "file".to_owned(), MAX_BYTES);
        std::iter::from_fn(|| reader.next().ok().flatten()).collect()
    }

    /// Texts of what means something in such a file.
    fn pieces() -> impl Strategy<Value = String> {
        let piece =
            ["From ", ">", "\n", "\r\n", "\r", "\n\n", "a", "\0", "X-Restante: ", "{", "From a Jan 2 03:04 2026\n"];
        prop::collection::vec(prop::sample::select(piece.to_vec()), 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn messages_come_back_byte_for_byte(raws in prop::collection::vec(pieces(), 1..5)) {
            let mut file = Vec::new();
            for raw in &raws {
                append(&mut file, &record(raw.as_bytes()), raw.as_bytes()).unwrap();
            }
            let found = all(&file);
            prop_assert_eq!(found.len(), raws.len());
            for (found, raw) in found.into_iter().zip(&raws) {
                let Found { bytes, record, .. } = found.unwrap();
                prop_assert_eq!(record.unwrap().raw(&bytes).unwrap(), raw.as_bytes());
            }
        }

        #[test]
        fn any_file_is_read_to_its_end(text in pieces(), limit in 0..64_usize) {
            let mut reader = Reader::new(text.as_bytes(), "file".to_owned(), limit);
            let mut count = 0;
            while let Ok(Some(_)) = reader.next() {
                count += 1;
            }
            prop_assert!(count <= text.matches("From ").count());
        }
    }

    #[test]
    fn a_message_that_is_too_large_costs_itself_alone() {
        let file = format!("From a Jan 2 03:04 2026\n{}\n\nFrom b@c Jan 2 03:04 2026\nx\n", "y".repeat(3 * MAX_BYTES));
        let [large, small] = all(file.as_bytes()).try_into().unwrap();
        assert!(large.unwrap_err().contains("file (message 1): larger"));
        let small = small.unwrap();
        assert_eq!((small.bytes.as_slice(), small.moment.is_some()), (&b"x\n"[..], true));
        assert_eq!(small.sender.unwrap().unwrap().to_string(), "b@c");
    }
}
