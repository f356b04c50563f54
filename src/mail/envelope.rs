//! What SMTP says about a message before the message itself: who sends it, from where, for whom.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::address::{Address, AddressError, unquote};

/// The client at the other end of an SMTP connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address and port.
    pub addr: SocketAddr,
    /// The address and port of ours that it reached.
    pub local: SocketAddr,
    /// What it called itself in EHLO or HELO; its claim, checked by nobody.
    pub helo: String,
    /// The encryption of the connection; `None` in clear text.
    pub tls: Option<TlsInfo>,
}

/// What limits count as one client: an IPv4 address, or the /64 of an IPv6 address, as whoever has a network has all
/// addresses in it. An IPv4 address may come mapped into IPv6 (RFC 4291 section 2.5.5.2).
#[must_use]
pub const fn client_network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !(u64::MAX as u128))),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// The encryption of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsInfo {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: String,
    /// The cipher suite by its IANA name.
    pub cipher: String,
}

/// An SMTP envelope (RFC 5321 section 2.3.1): one mail transaction without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who brings the message.
    pub peer: Peer,
    /// The reverse-path; `None` is the null sender `<>`.
    pub mail_from: Option<Address>,
    /// What MAIL said beside it.
    pub parameters: MailParameters,
    /// The forward-paths that were accepted, in order, each once.
    pub rcpt_to: Vec<Recipient>,
}

/// The parameters of MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MailParameters {
    /// `SIZE=n` (RFC 1870): the size in bytes that the client expects the message to have.
    pub size: Option<u64>,
    /// `BODY=…` (RFC 6152).
    pub body: Option<Body>,
    /// `SMTPUTF8` (RFC 6531): addresses and header fields may be UTF-8.
    pub smtputf8: bool,
    /// `RET=…` (RFC 3461 section 4.3).
    pub ret: Option<Ret>,
    /// `ENVID=…` (RFC 3461 section 4.4): the sender's own name for this transaction, in xtext as it was sent.
    pub envid: Option<String>,
}

/// What the client says of the bytes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Body {
    /// ASCII.
    #[serde(rename = "7BIT")]
    SevenBit,
    /// Any bytes, in lines.
    #[serde(rename = "8BITMIME")]
    EightBitMime,
}

/// How much of the message a report of its failure shall return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Hdrs,
}

/// A forward-path, and what RCPT said beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address.
    pub address: Address,
    /// `NOTIFY=…` (RFC 3461 section 4.1), as the client wrote it, in upper case.
    pub notify: Option<String>,
    /// `ORCPT=…` (RFC 3461 section 4.2): the type of the address that the sender gave first, a semicolon, and the address
    /// in xtext, as it was sent.
    pub orcpt: Option<String>,
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self { address, notify: None, orcpt: None }
    }
}

/// As RCPT has it, without the angle brackets. A store keeps this text, and reads it back.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        for (name, value) in [("NOTIFY", &self.notify), ("ORCPT", &self.orcpt)] {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Recipient {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // A blank in a quoted local-part does not end the address.
        let behind_quotes = text.strip_prefix('"').map_or(Ok(text), |quoted| unquote(quoted).map(|(_, rest)| rest))?;
        let rest = behind_quotes.find(' ').map_or("", |blank| &behind_quotes[blank..]);
        let end = text.len() - rest.len();
        let value = |name: &str| rest.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        // A sender's address may be longer than a recipient's; what has been kept was good when it came.
        let address = Address::parse_sender(&text[..end])?;
        Ok(Self { address, notify: value("NOTIFY="), orcpt: value("ORCPT=") })
    }
}

/// Decodes xtext (RFC 3461 section 4): printable ASCII, `+` and two upper-case hexadecimal digits for any other character.
/// `None` if it is none.
#[must_use]
pub fn decode_xtext(text: &str) -> Option<String> {
    let mut pieces = text.split('+');
    let mut decoded = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        let is_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
        decoded.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let is_plain = |c: char| matches!(c, '!'..='~') && c != '=';
    text.chars().all(is_plain).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_kept_as_a_text_and_read_back() {
        for text in [
            "user@example.com",
            "user@example.com NOTIFY=NEVER",
            "user@example.com NOTIFY=SUCCESS,DELAY ORCPT=rfc822;\"x\"@example.org",
            "\"a NOTIFY=b\\\"\"@example.com ORCPT=rfc822;a+20b@example.com",
        ] {
            let recipient: Recipient = text.parse().unwrap();
            assert_eq!(recipient.to_string(), text);
            assert_eq!(recipient.notify.is_some(), text.contains(" NOTIFY=N") || text.contains(" NOTIFY=S"), "{text}");
        }
        assert!("user NOTIFY=NEVER".parse::<Recipient>().is_err());
    }

    #[test]
    fn xtext_is_decoded_or_refused() {
        assert_eq!(decode_xtext("plain@example.com").as_deref(), Some("plain@example.com"));
        assert_eq!(decode_xtext("a+2Bb+3Dc+20").as_deref(), Some("a+b=c "));
        for text in ["a+2b", "a+2", "a+", "a=b", "a b", "ä", "a+FF", "+C3", "a+GG", "+\u{e9}x"] {
            assert_eq!(decode_xtext(text), None, "{text}");
        }
    }

    #[test]
    fn one_network_is_one_client() {
        let of = |text: &str| client_network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:3::"), "2001:db8:1:3::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
