//! Replies: what SMTP answers, and at the same time its errors (RFC 5321 section 4.2, RFC 2034, RFC 3463).

use std::borrow::Cow;
use std::fmt;

/// An SMTP reply. As an error it is the refusal that the client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits: 2xx done, 3xx go on, 4xx try again later, 5xx never.
    pub code: u16,
    /// The enhanced status code of RFC 3463; the greeting, 3xx replies and EHLO's reply have none.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The text for people, one line of the reply for each of its lines; ASCII unless the client asked for SMTPUTF8.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status code.
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: Some(enhanced), text: text.into() }
    }

    /// A reply without an enhanced status code.
    pub fn basic(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: None, text: text.into() }
    }

    /// Whether the client is told that its command was not carried out.
    #[must_use]
    pub(super) const fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// The reply as it goes over the wire.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        self.write_to(&mut wire);
        wire
    }

    /// Appends the reply as it goes over the wire.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            let status = self.enhanced.map(|(class, subject, detail)| format!("{class}.{subject}.{detail} "));
            out.extend_from_slice(format!("{}{mark}{}{line}\r\n", self.code, status.unwrap_or_default()).as_bytes());
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(String::from_utf8_lossy(&self.to_wire()).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_a_reply_carries_both_codes() {
        let mut wire = Vec::new();
        Reply::new(550, (5, 7, 1), "no relaying\nask your administrator").write_to(&mut wire);
        assert_eq!(wire, b"550-5.7.1 no relaying\r\n550 5.7.1 ask your administrator\r\n");
    }

    #[test]
    fn a_reply_without_a_status_has_only_its_code() {
        assert_eq!(Reply::basic(354, "go on").to_string(), "354 go on");
    }
}
