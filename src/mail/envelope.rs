//! What SMTP says about a message before the message itself: who sends it, from where, for whom.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::address::Address;
use super::recipient::Recipient;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_is_one_client() {
        let of = |text: &str| client_network(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("2001:db8:1:3::"), "2001:db8:1:3::");
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
