//! Forward-paths: whom RCPT has named, and what it said beside the address.

use std::fmt::{self, Write as _};
use std::iter::once;
use std::str::FromStr;

use super::address::{Address, AddressError, unquote};

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
        let (address, words) = split(text)?;
        let value = |name: &str| words.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
        // A sender's address may be longer than a recipient's; what has been kept was good when it came.
        let address = Address::parse_sender(address)?;
        Ok(Self { address, notify: value("NOTIFY="), orcpt: value("ORCPT=") })
    }
}

/// The address, and the words behind it. A blank in a quoted local-part does not end the address.
fn split(text: &str) -> Result<(&str, &str), AddressError> {
    let behind_quotes = text.strip_prefix('"').map_or(Ok(text), |quoted| unquote(quoted).map(|(_, rest)| rest))?;
    let words = behind_quotes.find(' ').map_or("", |blank| &behind_quotes[blank..]);
    Ok((&text[..text.len() - words.len()], words))
}

/// The forward-paths of one envelope that led to one mailbox, in the order of RCPT: naming and plus-addressing bring
/// several to the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients {
    /// The first of them: what a mailbox shows as its recipient.
    pub first: Recipient,
    /// All behind it.
    pub others: Vec<Recipient>,
}

impl Recipients {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Recipient> {
        once(&self.first).chain(&self.others)
    }

    /// About how many bytes those behind the first one take.
    #[must_use]
    pub fn others_bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes = |to: &Recipient| to.address.to_string().len() + length(&to.notify) + length(&to.orcpt) + 64;
        self.others.iter().map(bytes).sum()
    }
}

impl From<Recipient> for Recipients {
    fn from(first: Recipient) -> Self {
        Self { first, others: Vec::new() }
    }
}

impl From<Address> for Recipients {
    fn from(address: Address) -> Self {
        Recipient::from(address).into()
    }
}

impl IntoIterator for Recipients {
    type Item = Recipient;
    type IntoIter = std::iter::Chain<std::iter::Once<Recipient>, std::vec::IntoIter<Recipient>>;

    fn into_iter(self) -> Self::IntoIter {
        once(self.first).chain(self.others)
    }
}

/// The first one as it is kept by itself, and behind it each other one as a word. A version that knows the first alone
/// passes over words that it does not know: it reads this text, and this one reads its.
impl fmt::Display for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        self.others.iter().try_for_each(|other| write!(f, " {ALSO}{}", encode_xtext(&other.to_string())))
    }
}

impl FromStr for Recipients {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (_, words) = split(text)?;
        let others = words.split(' ').filter_map(|word| decode_xtext(word.strip_prefix(ALSO)?));
        let others = others.map(|other| other.parse()).collect::<Result<_, _>>()?;
        Ok(Self { first: text.parse()?, others })
    }
}

/// What the word of another recipient begins with.
const ALSO: &str = "ALSO=";

/// Writes a text as xtext (RFC 3461 section 4), without blanks.
fn encode_xtext(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'+' | b'=') => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(encoded, "+{byte:02X}")),
        }
        encoded
    })
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
    fn what_the_others_take_is_counted_with_their_domains() {
        let recipient = |text: &str| text.parse::<Recipient>().unwrap();
        let others = vec![recipient("a@b.example"), recipient(&format!("a@{}.example NOTIFY=NEVER", "b".repeat(60)))];
        let recipients = Recipients { first: recipient("c@d.example"), others };
        assert_eq!(recipients.others_bytes(), 64 + 11 + 64 + 70 + 5);
        assert_eq!(Recipients::from(recipients.first).others_bytes(), 0);
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
    fn all_recipients_of_a_mailbox_are_one_text_that_is_read_back() {
        let recipient = |text: &str| text.parse::<Recipient>().unwrap();
        let first = recipient("\"a ALSO=b\"@example.com NOTIFY=NEVER");
        let others = vec![
            recipient("b+x@example.com NOTIFY=SUCCESS,DELAY ORCPT=rfc822;\"x\"+20y@example.org"),
            recipient("\"c ALSO=d\"@exämple.com"),
        ];
        let recipients = Recipients { first: first.clone(), others };
        let text = recipients.to_string();
        assert_eq!(text.parse(), Ok(recipients), "{text}");
        // As a version before this one reads it.
        assert_eq!(recipient(&text), first);
        assert_eq!(first.to_string().parse(), Ok(Recipients::from(first)));
    }
}
