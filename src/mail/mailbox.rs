//! Mailbox names: the only key that a store accepts, made in one place for RCPT and for the URL alike.

use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Serialize};

use super::address::{Address, Domain, quote, unquote};

/// The longest name, in bytes.
const MAILBOX_NAME_MAX_BYTES: usize = 128;

/// The name of a mailbox: 1 to 128 bytes of lower-cased, composed UTF-8 (NFC) without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MailboxName(Box<str>);

/// How an address becomes the name of its mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    /// Which part of the address names the mailbox.
    pub scheme: NamingScheme,
    /// What becomes of `+tag` in the local-part.
    pub plus: PlusAddressing,
}

/// Which part of an address names its mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamingScheme {
    /// The local-part: `user` for `User@example.com`.
    #[default]
    Local,
    /// The whole address: `user@example.com`.
    Full,
    /// The domain: `example.com`, one mailbox for all its addresses.
    Domain,
}

/// What becomes of `+tag` in a local-part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlusAddressing {
    /// `a+b` is a mailbox of its own.
    #[default]
    Keep,
    /// Mail for `a+b` goes to `a`.
    Strip,
}

/// Why a text names no mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailboxNameError {
    /// Nothing is left.
    #[error("the mailbox name is empty; it has 1 to {MAILBOX_NAME_MAX_BYTES} bytes")]
    Empty,
    /// More than 128 bytes.
    #[error("the mailbox name is longer than {MAILBOX_NAME_MAX_BYTES} bytes")]
    TooLong,
    /// A control character.
    #[error("the mailbox name has a control character")]
    Control,
    /// A name that begins like an address but is none.
    #[error(
        "the mailbox name is not a valid address: write user or user@example.com, and quote a local-part with special characters: \"a b\"@example.com"
    )]
    NotAnAddress,
    /// A bare local-part where mailboxes are named by full addresses.
    #[error("mailboxes are named by full addresses here: write user@example.com")]
    NeedsDomain,
}

impl Naming {
    /// The mailbox of an address.
    ///
    /// # Errors
    /// Where the name would be too long.
    pub fn of(&self, address: &Address) -> Result<MailboxName, MailboxNameError> {
        match self.scheme {
            NamingScheme::Local => MailboxName::checked(self.local(address.local_part())),
            NamingScheme::Full => {
                let local = self.local(address.local_part()).to_lowercase();
                MailboxName::checked(&Address::new(&local, address.domain().canonical()).to_string())
            }
            NamingScheme::Domain => MailboxName::checked(&address.domain().canonical().to_string()),
        }
    }

    /// The mailbox that a reader means: a full address stands for its mailbox under every scheme; under
    /// [`NamingScheme::Local`] a local-part (quoted where it has an `@`) and under [`NamingScheme::Domain`] a domain do too.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(&self, text: &str) -> Result<MailboxName, MailboxNameError> {
        if text.is_empty() {
            return Err(MailboxNameError::Empty);
        }
        if let Some(rest) = text.strip_prefix('"')
            && let Ok((local, "")) = unquote(rest)
        {
            return self.bare(&local);
        }
        if !text.contains('@') {
            return self.bare(text);
        }
        // The limit is that of the name: a local-part may have more bytes in lower case than it came with.
        match Address::parse_sender(text) {
            Ok(address) => self.of(&address),
            Err(_) => Err(MailboxNameError::NotAnAddress),
        }
    }

    /// A text that [`Naming::parse`] reads as `name`: the name itself, or its quoted form where the name has an `@`.
    #[must_use]
    pub fn written(&self, name: &MailboxName) -> String {
        if self.parse(name.as_str()).as_ref() == Ok(name) { name.as_str().to_owned() } else { quote(name.as_str()) }
    }

    fn bare(&self, text: &str) -> Result<MailboxName, MailboxNameError> {
        match self.scheme {
            NamingScheme::Local => MailboxName::checked(self.local(text)),
            NamingScheme::Full => Err(MailboxNameError::NeedsDomain),
            NamingScheme::Domain => match text.parse::<Domain>() {
                Ok(domain) => MailboxName::checked(&domain.canonical().to_string()),
                Err(_) => Err(MailboxNameError::NotAnAddress),
            },
        }
    }

    fn local<'a>(&self, local: &'a str) -> &'a str {
        match (self.plus, local.split_once('+')) {
            // A local-part that begins with the plus has nothing to be stripped to.
            (PlusAddressing::Strip, Some((base, _))) if !base.is_empty() => base,
            _ => local,
        }
    }
}

impl MailboxName {
    fn checked(text: &str) -> Result<Self, MailboxNameError> {
        // Keyboards and systems write the same letters composed or not (RFC 6532 section 3.1 wants them composed).
        let name = ComposingNormalizerBorrowed::new_nfc().normalize(&text.to_lowercase()).into_owned();
        match name.len() {
            0 => Err(MailboxNameError::Empty),
            1..=MAILBOX_NAME_MAX_BYTES if name.chars().any(char::is_control) => Err(MailboxNameError::Control),
            1..=MAILBOX_NAME_MAX_BYTES => Ok(Self(name.into())),
            _ => Err(MailboxNameError::TooLong),
        }
    }

    /// Takes back a name that a store has kept; it was checked when it was made.
    #[must_use]
    pub(crate) fn stored(name: String) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(scheme: NamingScheme, plus: PlusAddressing) -> Naming {
        Naming { scheme, plus }
    }

    fn of(naming: Naming, address: &str) -> String {
        naming.of(&Address::parse(address).unwrap()).unwrap().to_string()
    }

    #[test]
    fn an_address_names_its_mailbox_by_the_scheme() {
        let local = Naming::default();
        assert_eq!(of(local, "User.Name@example.com"), "user.name");
        assert_eq!(of(local, "\"John Doe\"@example.com"), "john doe");
        assert_eq!(of(local, "a+b@example.com"), "a+b");
        assert_eq!(of(local, "ÄÖ@example.com"), "äö");
        assert_eq!(of(local, "A\u{308}O\u{308}@example.com"), "äö");
        let strip = naming(NamingScheme::Local, PlusAddressing::Strip);
        assert_eq!(of(strip, "a+b+c@example.com"), "a");
        assert_eq!(of(strip, "+b@example.com"), "+b");
        let full = naming(NamingScheme::Full, PlusAddressing::Strip);
        assert_eq!(of(full, "A+x@Example.com"), "a@example.com");
        let domain = naming(NamingScheme::Domain, PlusAddressing::Keep);
        assert_eq!(of(domain, "A@Example.com"), "example.com");
        assert_eq!(of(domain, "A@[127.0.0.1]"), "[127.0.0.1]");
        assert_eq!(of(domain, "A@xn--exmple-cua.com"), "exämple.com");
        assert_eq!(of(full, "A@xn--exmple-cua.com"), "a@exämple.com");
    }

    #[test]
    fn a_reader_finds_the_mailbox_by_every_spelling() {
        let local = Naming::default();
        for text in ["user", "USER", "user@example.com", "\"user\"", "\"user\"@example.com"] {
            assert_eq!(local.parse(text).unwrap().as_str(), "user", "{text}");
        }
        let full = naming(NamingScheme::Full, PlusAddressing::Keep);
        assert_eq!(full.parse("A@Example.com").unwrap().as_str(), "a@example.com");
        assert_eq!(full.parse("a"), Err(MailboxNameError::NeedsDomain));
        let domain = naming(NamingScheme::Domain, PlusAddressing::Keep);
        assert_eq!(domain.parse("Example.com").unwrap().as_str(), "example.com");
        assert_eq!(domain.parse("a@example.com").unwrap().as_str(), "example.com");
    }

    #[test]
    fn each_name_can_be_written_so_that_it_is_read_back() {
        let full = naming(NamingScheme::Full, PlusAddressing::Keep);
        let grown = format!("{}@x.de", "İ".repeat(32));
        for address in ["user@x.de", "\"a b\"@x.de", "\"a@b\"@x.de", &grown] {
            let name = full.of(&Address::parse(address).unwrap()).unwrap();
            assert_eq!(full.parse(&full.written(&name)), Ok(name), "{address}");
        }
        let local = Naming::default();
        for address in ["user@x.de", "\"a@b\"@x.de", "\"a b\"@x.de", "\"\\\"q\\\"\"@x.de", "\"@\"@x.de"] {
            let name = local.of(&Address::parse(address).unwrap()).unwrap();
            assert_eq!(local.parse(&local.written(&name)), Ok(name), "{address}");
        }
    }

    #[test]
    fn bad_names_say_why() {
        let local = Naming::default();
        assert_eq!(local.parse(""), Err(MailboxNameError::Empty));
        assert_eq!(local.parse(&"x".repeat(129)), Err(MailboxNameError::TooLong));
        assert_eq!(local.parse("a\nb"), Err(MailboxNameError::Control));
        assert_eq!(local.parse("@example.com"), Err(MailboxNameError::NotAnAddress));
        assert_eq!(local.parse("a@b@c"), Err(MailboxNameError::NotAnAddress));
        assert_eq!(local.parse(&"x".repeat(128)).unwrap().as_str().len(), 128);
    }
}
