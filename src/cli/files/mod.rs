//! Mail in files: what is written beside each message, so that it can come back as it was.

pub(super) mod asctime;
mod lines;
pub(super) mod mbox;
pub(super) mod read;
pub(super) mod write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::mail::{Address, MailParameters, Message, MessageId, Peer, Recipients};
use crate::store::Stored;

/// The number of the form below; another one is refused.
const FORM: u32 = 1;

/// What is known of a message beside its bytes, as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    restante: u32,
    /// For people; where the message goes is what `to` says.
    pub(super) mailbox: String,
    to: String,
    pub(super) id: MessageId,
    pub(super) received_at_ms: Timestamp,
    pub(super) expires_at_ms: Timestamp,
    pub(super) from: Option<Address>,
    pub(super) parameters: MailParameters,
    pub(super) peer: Peer,
    size: u64,
    sha256: String,
    /// Whether the lines of the file end with LF where those of the message end with CRLF.
    lf: bool,
}

impl Record {
    pub(super) fn new(stored: &Stored, raw: &[u8], lf: bool) -> Self {
        let Message { id, received_at, expires_at, ref mail_from, ref parameters, ref peer, .. } = *stored.message;
        Self {
            restante: FORM,
            mailbox: stored.mailbox.to_string(),
            to: stored.rcpt_to.to_string(),
            id,
            received_at_ms: received_at,
            expires_at_ms: expires_at,
            from: mail_from.clone(),
            parameters: parameters.clone(),
            peer: peer.clone(),
            size: raw.len() as u64,
            sha256: digest(raw),
            lf,
        }
    }

    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(json).map_err(|error| format!("what lies beside it: {error}"))?;
        if record.restante == FORM { Ok(record) } else { Err(format!("its form {} is not known", record.restante)) }
    }

    pub(super) fn to_json(&self) -> String {
        // Of texts, numbers and nothing else.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The recipients of the envelope that led to the mailbox.
    pub(super) fn recipients(&self) -> Result<Recipients, String> {
        self.to.parse().map_err(|error| format!("its recipient {:?}: {error}", self.to))
    }

    /// The bytes of the message out of those of its file; `None` if they are others.
    pub(super) fn raw(&self, file: &[u8]) -> Option<Vec<u8>> {
        let mut raw = if self.lf { lines::to_crlf(file) } else { file.to_vec() };
        raw.truncate(usize::try_from(self.size).ok()?);
        (digest(&raw) == self.sha256).then_some(raw)
    }
}

/// A message as it lies in a file.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is, for people.
    pub(super) place: String,
    /// Its bytes in the file.
    pub(super) bytes: Vec<u8>,
    /// What was written beside it, if anything was.
    pub(super) record: Option<Record>,
    /// The sender in its `From ` line; `None` in it is the null sender.
    pub(super) sender: Option<Option<Address>>,
    /// When the file says that it came.
    pub(super) moment: Option<Timestamp>,
}

impl Found {
    /// Its bytes as they were on their way, where no record says how they were: mail programs keep lines that end with LF,
    /// and on its way a message has CRLF.
    pub(super) fn on_its_way(&self) -> Vec<u8> {
        let has_crlf = memchr::memmem::find(&self.bytes, b"\r\n").is_some();
        if has_crlf { self.bytes.clone() } else { lines::to_crlf(&self.bytes) }
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
