//! Mail from files that `restante export` has not written: for whom it is, who sent it, and its name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sha2::{Digest, Sha256};

use super::files::Found;
use crate::clock::Timestamp;
use crate::inbox::Domains;
use crate::mail::{
    Address, Budgets, Content, HeaderAddress, MailParameters, MessageId, Peer, Recipient, header_fields,
};

/// The fields in which servers note the recipient of the envelope, the surest first.
const RECIPIENT_FIELDS: [&str; 3] = ["Delivered-To", "X-Original-To", "Envelope-To"];

/// What the client of such mail is said to have called itself.
const HELO: &str = "restante import";

/// Whom a message was for: what a server has noted of its envelope, or else the recipients of its header that are ours.
pub(super) fn recipients(raw: &[u8], content: &Content, budgets: &Budgets, domains: &Domains) -> Vec<Recipient> {
    let fields = header_fields(raw, budgets);
    for name in RECIPIENT_FIELDS {
        let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        if let Some(address) = field.and_then(|field| address(&field.value)) {
            return vec![address.into()];
        }
    }
    let addresses = content.to.iter().chain(&content.cc).filter_map(of_header);
    let ours = addresses.filter(|address| domains.accept(address.domain(), Ipv4Addr::UNSPECIFIED.into()));
    ours.map(Recipient::from).collect()
}

/// Who sent a message: as its `From ` line says, its Return-Path, or else its author.
pub(super) fn sender(found: &Found, raw: &[u8], content: &Content, budgets: &Budgets) -> Option<Address> {
    if let Some(sender) = &found.sender {
        return sender.clone();
    }
    let fields = header_fields(raw, budgets);
    match fields.iter().find(|field| field.name.eq_ignore_ascii_case("Return-Path")) {
        Some(field) => address(&field.value),
        None => content.from.as_ref().and_then(of_header),
    }
}

/// A name that is the same whenever the same bytes come again: made of the date of the message and of its bytes, in the form
/// of other names.
pub(super) fn id(raw: &[u8], content: &Content) -> MessageId {
    let date = content.date.as_deref().and_then(Timestamp::from_rfc3339).map_or(0, Timestamp::as_millis);
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&date.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&Sha256::digest(raw)[..10]);
    // Version 7 and the variant of RFC 9562.
    bytes[6] = 0x70 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    MessageId::from_bytes(bytes)
}

/// Nobody is known to have brought it.
pub(super) fn peer() -> Peer {
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    Peer { addr: nowhere, local: nowhere, helo: HELO.to_owned(), tls: None }
}

/// What was said in MAIL is not known.
pub(super) fn parameters() -> MailParameters {
    MailParameters::default()
}

fn of_header(header: &HeaderAddress) -> Option<Address> {
    header.address.as_deref().and_then(address)
}

fn address(text: &str) -> Option<Address> {
    Address::parse_sender(text.trim().trim_start_matches('<').trim_end_matches('>')).ok()
}
