//! The vocabulary of mail, and MIME parsing as a pure function.

mod address;
mod codes;
mod envelope;
mod extract;
mod links;
mod mailbox;
mod message;
mod page;
mod parse;
mod pieces;
mod problem;
mod recipient;

pub use self::address::{Address, AddressError, Domain};
pub use self::codes::{Code, CodeSource};
pub use self::envelope::{Body, Envelope, MailParameters, Peer, Ret, TlsInfo, client_network};
pub use self::links::{Link, LinkKind};
pub use self::mailbox::{MailboxName, MailboxNameError, Naming, NamingScheme, PlusAddressing};
pub use self::message::{
    Attachment, Content, Disposition, HeaderAddress, HeaderField, Message, MessageId, TransferEncoding,
};
pub use self::parse::{Budgets, attachment_bytes, cut_name, front_fields, header_fields, parse, unreadable};
pub use self::pieces::Base64Pieces;
pub use self::problem::Problem;
pub use self::recipient::{Recipient, Recipients, decode_xtext};
