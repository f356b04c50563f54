//! The seam between SMTP and the program behind it.

use std::future::Future;

use bytes::Bytes;

use super::reply::Reply;
use super::session::Attempt;
use crate::mail::{Address, Envelope, Peer};

/// What an SMTP server asks of the program behind it. Each refusal is the reply that the client reads.
pub trait Backend: Send + Sync + 'static {
    /// May this sender begin a mail transaction? `None` is the null sender.
    fn mail(&self, peer: &Peer, from: Option<&Address>) -> impl Future<Output = Result<(), Reply>> + Send;

    /// May this recipient be taken into the transaction that `envelope` shows so far?
    fn rcpt(&self, envelope: &Envelope, to: &Address) -> impl Future<Output = Result<(), Reply>> + Send;

    /// Takes the message over. `Ok` is a promise: it has been kept for every recipient, and the client may forget it.
    fn deliver(&self, envelope: &Envelope, raw: Bytes) -> impl Future<Output = Result<Reply, Reply>> + Send;

    /// Mail was kept out: by one of the refusals above, by the protocol, or because the client went away in the middle.
    fn refused(&self, attempt: Attempt);
}
