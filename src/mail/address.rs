//! Addresses as SMTP writes them: RFC 5321 section 4.1.2 `Mailbox`, with the UTF-8 of RFC 6531.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// RFC 5321 section 4.5.3.1.1.
const LOCAL_PART_MAX_BYTES: usize = 64;
/// RFC 5321 section 4.5.3.1.2.
const DOMAIN_MAX_BYTES: usize = 255;
/// RFC 5321 section 4.5.3.1.3, without the two angle brackets.
const ADDRESS_MAX_BYTES: usize = 254;
/// RFC 1035 section 2.3.4.
const LABEL_MAX_BYTES: usize = 63;

/// `local-part@domain`. The local-part is kept unquoted and in its own case; its meaning belongs to the receiving side.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: String,
    domain: Domain,
}

/// What stands behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// A domain name, lower-cased.
    Name(String),
    /// An address literal, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

/// Why a text is not an address. The text of the error is fit for an SMTP reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No `@` outside quotes.
    #[error("address has no @ and domain")]
    NoDomain,
    /// The local-part is empty or has characters that need quotes.
    #[error(
        "local-part is malformed; only letters, digits and !#$%&'*+-/=?^_`{{|}}~ stand outside quotes, with single dots between"
    )]
    LocalPart,
    /// The quoted local-part is not closed, has control characters or stands before something else than `@`.
    #[error("quoted local-part is malformed")]
    QuotedLocalPart,
    /// The local-part is longer than 64 bytes.
    #[error("local-part is longer than 64 bytes")]
    LocalPartTooLong,
    /// The domain is not made of labels of letters, digits and hyphens.
    #[error("domain is malformed")]
    Domain,
    /// The domain is longer than 255 bytes, or one of its labels longer than 63.
    #[error("domain is too long")]
    DomainTooLong,
    /// The address literal is not an IP address.
    #[error("address literal is not an IP address; write [192.0.2.1] or [IPv6:2001:db8::1]")]
    Literal,
    /// The whole address is longer than 254 bytes.
    #[error("address is longer than 254 bytes")]
    TooLong,
}

impl Address {
    /// Joins a local-part (unquoted) and a domain name that are known to be good, such as `postmaster` and our own host.
    #[must_use]
    pub fn new(local: &str, domain: Domain) -> Self {
        Self { local: local.to_owned(), domain }
    }

    /// Parses an address to which mail is to be delivered, within all length limits of RFC 5321 section 4.5.3.1.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let address = Self::parse_sender(text)?;
        if address.local.len() > LOCAL_PART_MAX_BYTES {
            return Err(AddressError::LocalPartTooLong);
        }
        Ok(address)
    }

    /// Parses a sender's address. Its local-part may be longer than 64 bytes: bulk senders write the recipient's address
    /// into it (VERP), and refusing them would lose their mail.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse_sender(text: &str) -> Result<Self, AddressError> {
        if text.len() > ADDRESS_MAX_BYTES {
            return Err(AddressError::TooLong);
        }
        let (local, rest) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let at = text.find('@').ok_or(AddressError::NoDomain)?;
                if !is_dot_string(&text[..at]) {
                    return Err(AddressError::LocalPart);
                }
                (text[..at].to_owned(), &text[at..])
            }
        };
        let domain = match rest.strip_prefix('@') {
            Some(domain) => domain.parse()?,
            None if rest.is_empty() => return Err(AddressError::NoDomain),
            None => return Err(AddressError::QuotedLocalPart),
        };
        let address = Self { local, domain };
        // What is kept is the written form, and it has to be read back: some literals are longer in it.
        if address.to_string().len() > ADDRESS_MAX_BYTES {
            return Err(AddressError::TooLong);
        }
        Ok(address)
    }

    /// The local-part, unquoted, as the sender wrote it.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether the address can be used without SMTPUTF8.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && matches!(&self.domain, Domain::Literal(_) | Domain::Name(_) if self.domain.is_ascii())
    }
}

impl Domain {
    /// One spelling for all of the domain: an internationalized name is the same in letters (`exämple.com`, composed or not)
    /// and in ASCII (`xn--exmple-cua.com`), as which most clients send it (RFC 5891 section 4).
    #[must_use]
    pub fn canonical(&self) -> Self {
        let letters = match self {
            Self::Name(name) if !name.is_ascii() || name.contains("xn--") => idna::domain_to_unicode(name),
            _ => return self.clone(),
        };
        // What is no good name in letters, or is too long as one, stays as it is.
        letters.1.ok().and_then(|()| letters.0.parse().ok()).unwrap_or_else(|| self.clone())
    }

    /// The name in ASCII, as it stands in the DNS; `None` if it has none, or is a literal.
    #[must_use]
    pub fn ascii_name(&self) -> Option<String> {
        match self {
            Self::Name(name) if name.is_ascii() => Some(name.clone()),
            Self::Name(name) => idna::domain_to_ascii(name).ok(),
            Self::Literal(_) => None,
        }
    }

    fn is_ascii(&self) -> bool {
        match self {
            Self::Name(name) => name.is_ascii(),
            Self::Literal(_) => true,
        }
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(literal) = text.strip_prefix('[') {
            let inner = literal.strip_suffix(']').ok_or(AddressError::Literal)?;
            return parse_literal(inner).map(Self::Literal).ok_or(AddressError::Literal);
        }
        // Before the limits are looked at: some letters have more bytes in lower case, and what is kept has to be read back.
        let name = text.to_lowercase();
        if name.len() > DOMAIN_MAX_BYTES {
            return Err(AddressError::DomainTooLong);
        }
        for label in name.split('.') {
            if label.len() > LABEL_MAX_BYTES {
                return Err(AddressError::DomainTooLong);
            }
            if !is_label(label) {
                return Err(AddressError::Domain);
            }
        }
        Ok(Self::Name(name))
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse_sender(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            f.write_str(&self.local)?;
        } else {
            f.write_str(&quote(&self.local))?;
        }
        write!(f, "@{}", self.domain)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

/// Writes a local-part as a quoted-string.
pub(super) fn quote(local: &str) -> String {
    let mut quoted = String::with_capacity(local.len() + 2);
    quoted.push('"');
    for c in local.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Reads a quoted-string behind its opening quote; returns its value and what follows the closing quote.
pub(super) fn unquote(text: &str) -> Result<(String, &str), AddressError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if value.is_empty() => return Err(AddressError::QuotedLocalPart),
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                // quoted-pairSMTP: a backslash and any printable ASCII character.
                Some((_, escaped @ ' '..='~')) => value.push(escaped),
                _ => return Err(AddressError::QuotedLocalPart),
            },
            c if c.is_control() => return Err(AddressError::QuotedLocalPart),
            c => value.push(c),
        }
    }
    Err(AddressError::QuotedLocalPart)
}

/// RFC 5321 `Dot-string`: atoms with single dots between them.
pub(super) fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 `atext`, and everything non-ASCII but control characters (RFC 6531 section 3.3).
fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        c if c.is_ascii() => "!#$%&'*+-/=?^_`{|}~".contains(c),
        c => !c.is_control(),
    }
}

/// RFC 5321 `sub-domain`, with the underscore that real hosts have in their names and the UTF-8 of RFC 6531, where many
/// scripts write no word without combining marks.
fn is_label(label: &str) -> bool {
    let inner = |c: char| match c {
        c if c.is_ascii() => c.is_ascii_alphanumeric() || matches!(c, '-' | '_'),
        c => !c.is_control() && !c.is_whitespace(),
    };
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(inner)
}

fn parse_literal(inner: &str) -> Option<IpAddr> {
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => inner[5..].parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_addresses_are_read_and_written_back() {
        for (text, local, written) in [
            ("user@example.com", "user", "user@example.com"),
            ("User.Name+tag@EXAMPLE.com", "User.Name+tag", "User.Name+tag@example.com"),
            (r#""john doe"@example.com"#, "john doe", r#""john doe"@example.com"#),
            (r#""a@b\"c\\d"@example.com"#, r#"a@b"c\d"#, r#""a@b\"c\\d"@example.com"#),
            (r#""plain"@example.com"#, "plain", "plain@example.com"),
            ("a@[127.0.0.1]", "a", "a@[127.0.0.1]"),
            ("a@[ipv6:2001:DB8::1]", "a", "a@[IPv6:2001:db8::1]"),
            ("пример@почта.рф", "пример", "пример@почта.рф"),
            ("उदाहरण@हिन्दी.भारत", "उदाहरण", "उदाहरण@हिन्दी.भारत"),
            ("x@localhost", "x", "x@localhost"),
            ("a%b!c/d@my_host.example", "a%b!c/d", "a%b!c/d@my_host.example"),
        ] {
            let address = Address::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(address.local_part(), local, "{text}");
            assert_eq!(address.to_string(), written, "{text}");
            assert_eq!(Address::parse(written).as_ref(), Ok(&address), "{text}");
        }
    }

    #[test]
    fn bad_addresses_are_refused_with_their_reason() {
        let long = format!("{}@example.com", "x".repeat(65));
        let long_label = format!("a@{}.com", "x".repeat(64));
        let long_all = format!("a@{}com", "x.".repeat(130));
        for (text, why) in [
            ("", AddressError::NoDomain),
            ("user", AddressError::NoDomain),
            ("@example.com", AddressError::LocalPart),
            ("a..b@example.com", AddressError::LocalPart),
            (".a@example.com", AddressError::LocalPart),
            ("a b@example.com", AddressError::LocalPart),
            ("a\u{1}b@example.com", AddressError::LocalPart),
            (r#""a@example.com"#, AddressError::QuotedLocalPart),
            (r#"""@example.com"#, AddressError::QuotedLocalPart),
            (r#""a"b@example.com"#, AddressError::QuotedLocalPart),
            ("\"a\r\"@example.com", AddressError::QuotedLocalPart),
            (r#""a""#, AddressError::NoDomain),
            ("a@", AddressError::Domain),
            ("a@example.com.", AddressError::Domain),
            ("a@exa mple.com", AddressError::Domain),
            ("a@b@example.com", AddressError::Domain),
            ("a@-x.com", AddressError::Domain),
            ("a@x\u{a0}y.com", AddressError::Domain),
            ("a@x-.com", AddressError::Domain),
            ("a@[127.0.0]", AddressError::Literal),
            ("a@[127.0.0.1", AddressError::Literal),
            ("a@[::1]", AddressError::Literal),
            (&long, AddressError::LocalPartTooLong),
            (&long_label, AddressError::DomainTooLong),
            (&long_all, AddressError::TooLong),
        ] {
            assert_eq!(Address::parse(text), Err(why), "{text}");
        }
    }

    #[track_caller]
    fn is_read_back(text: &str) {
        if let Ok(address) = Address::parse_sender(text) {
            assert_eq!(Address::try_from(String::from(address.clone())), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_grows_when_it_is_written_can_be_read_back() {
        let local = |count| "x".repeat(count);
        // Two bytes, and three in lower case.
        is_read_back(&format!("a@{}.example", "İ".repeat(31)));
        is_read_back(&format!("{}@İ.example", local(243)));
        // Written with its last part as an IPv4 address.
        is_read_back(&format!("{}@[IPv6:::ffff:101:101]", local(231)));
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_read_back(local in "\\PC{1,12}", domain in "[a-zA-Z0-9İΣẞ-]{1,40}") {
            is_read_back(&format!("{}@{domain}", quote(&local)));
            is_read_back(&format!("{local}@{domain}"));
        }
    }

    #[test]
    fn all_spellings_of_a_domain_have_one_text() {
        let canonical = |text: &str| text.parse::<Domain>().unwrap().canonical().to_string();
        for text in ["exämple.com", "EXÄMPLE.com", "exa\u{308}mple.com", "xn--exmple-cua.com", "XN--exmple-cua.COM"] {
            assert_eq!(canonical(text), "exämple.com", "{text}");
        }
        assert_eq!(canonical("xn--e1afmkfd.xn--p1ai"), "пример.рф");
        let ascii = "exämple.com".parse::<Domain>().unwrap().ascii_name();
        assert_eq!(ascii.as_deref(), Some("xn--exmple-cua.com"));
        for same in ["example.com", "my_host.example", "[IPv6:::1]", "xn--99999999.com"] {
            assert_eq!(canonical(same), same);
        }
    }

    #[test]
    fn a_senders_local_part_may_be_long() {
        let verp = format!("bounces+{}=example.com@sender.example", "x".repeat(80));
        assert_eq!(Address::parse_sender(&verp).unwrap().to_string(), verp);
    }

    #[test]
    fn only_ascii_addresses_do_without_smtputf8() {
        assert!(Address::parse("a@example.com").unwrap().is_ascii());
        assert!(!Address::parse("ä@example.com").unwrap().is_ascii());
        assert!(!Address::parse("a@exämple.com").unwrap().is_ascii());
    }
}
