//! What SMTP says about a message before the message itself: who sends it, from where, for whom.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::address::Address;

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
    /// The forward-paths that were accepted, in order, each once.
    pub rcpt_to: Vec<Address>,
    /// The size in bytes that the client declared (RFC 1870).
    pub size: Option<u64>,
    /// Whether the client asked for SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
}
