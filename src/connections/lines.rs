//! How many lines of the log the clients of a server may cause.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::mail::client_network;

/// How long lines are counted together.
const SPAN: Duration = Duration::from_secs(60);
/// The most lines in that time that one client causes, and all together. They protect the disk: whoever comes back in a loop
/// to be refused would fill it, and then no mail could be kept.
const OF_CLIENT_MAX: u32 = 60;
const IN_ALL_MAX: u32 = 200;
/// How much of a text that a client has chosen is logged.
const TEXT_MAX_CHARS: usize = 64;

/// Counts lines of the log, in all and by client: those of one event, so that nothing is left out for lines of another, which
/// may be at a level that is not written.
#[derive(Debug, Default)]
pub struct Lines(Mutex<Span>);

#[derive(Debug, Default)]
struct Span {
    start: Option<Instant>,
    of_client: HashMap<IpAddr, u32>,
    written: u32,
    left_out: u64,
}

/// A line that may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// How many lines were left out since the last one, if any were.
    pub left_out: Option<u64>,
}

impl Lines {
    /// Counts a line that `client` causes; `None` if it is one too many.
    pub fn admit(&self, client: IpAddr, now: Instant) -> Option<Line> {
        let mut span = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if span.start.is_none_or(|start| now.duration_since(start) >= SPAN) {
            *span = Span { start: Some(now), left_out: span.left_out, ..Span::default() };
        }
        let network = client_network(client);
        let of_client = span.of_client.get(&network).copied().unwrap_or_default();
        if of_client >= OF_CLIENT_MAX || span.written >= IN_ALL_MAX {
            span.left_out += 1;
            return None;
        }
        span.of_client.insert(network, of_client + 1);
        span.written += 1;
        let left_out = std::mem::take(&mut span.left_out);
        Some(Line { left_out: (left_out > 0).then_some(left_out) })
    }
}

/// The beginning of a text that a client has chosen, for the log.
#[must_use]
pub fn shortened(text: &str) -> &str {
    text.char_indices().nth(TEXT_MAX_CHARS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_in_a_loop_causes_few_lines_and_those_left_out_are_counted() {
        let (lines, start) = (Lines::default(), Instant::now());
        let [loud, quiet]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let written = (0..10_000).filter(|_| lines.admit(loud, start).is_some()).count();
        assert_eq!(written, OF_CLIENT_MAX as usize);
        let left_out = Some(10_000 - u64::from(OF_CLIENT_MAX));
        assert_eq!(lines.admit(quiet, start), Some(Line { left_out }));
        assert_eq!(lines.admit(quiet, start), Some(Line { left_out: None }));
        assert_eq!(lines.admit(loud, start + SPAN), Some(Line { left_out: None }));
    }

    #[test]
    fn all_clients_together_cause_few_lines() {
        let (lines, start) = (Lines::default(), Instant::now());
        let clients = (0..10_000_u32).map(|number| IpAddr::from((0xc000_0000 + number).to_be_bytes()));
        assert_eq!(clients.filter(|client| lines.admit(*client, start).is_some()).count(), IN_ALL_MAX as usize);
        assert!(lines.0.lock().unwrap().of_client.len() <= IN_ALL_MAX as usize);
    }

    #[test]
    fn a_long_text_is_shown_in_part() {
        assert_eq!(shortened("client.example"), "client.example");
        assert_eq!(shortened(&"ä".repeat(255)), "ä".repeat(TEXT_MAX_CHARS));
    }
}
