//! Addresses that nobody has used before, so that tests which run side by side never meet.

use std::net::Ipv4Addr;

use aws_lc_rs::rand;

use super::{DomainPattern, Domains, Inbox};
use crate::mail::{Address, Domain, MailboxName, NamingScheme};

/// The longest prefix, in bytes: with what follows it a label of a domain has room for it (RFC 1035 section 2.3.4).
const PREFIX_MAX_BYTES: usize = 40;
/// So many letters and digits are drawn, of five bits each: 80 bits, so that nobody ever draws the same.
const DRAWN: usize = 16;
/// The lower case letters and digits that are not mistaken for each other. As the letters come first, a name can begin with one.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const LETTERS: usize = 24;
/// What stands before the `@` where mailboxes are named by their domains.
const LOCAL_PART: &str = "inbox";
/// Where any domain is taken and the server has no full name of its own: of a top level that is nobody's (RFC 6761 section
/// 6.2), so that a mail that goes astray reaches nobody.
const NOBODYS_DOMAIN: &str = "restante.test";
/// So many domains are named to who asks for another one.
const DOMAINS_SHOWN: usize = 10;

/// Why there is no such address; the text says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreshError {
    /// It cannot stand at the beginning of an address.
    #[error(
        "prefix is {0:?}; it must be 1 to {PREFIX_MAX_BYTES} letters and digits of ASCII, with single hyphens, dots or underscores between"
    )]
    Prefix(String),
    /// It is no domain name.
    #[error("domain is {0:?}; it must be a domain name, such as example.com")]
    NoDomain(String),
    /// Mail for it is not taken here.
    #[error("domain is {domain:?}, whose mail is not taken here; it must be one of {allowed}")]
    ForeignDomain {
        /// What was asked for.
        domain: String,
        /// What could be.
        allowed: String,
    },
    /// All addresses of a domain share its mailbox, and there is no domain to be had for this address alone.
    #[error(
        "mailboxes are named by their domains here, and {0} has no subdomains whose mail is taken; a wildcard such as *.example.com in the configuration gives each address a domain of its own"
    )]
    SharedMailbox(String),
    /// The domain leaves no room for it.
    #[error("the address would be too long; ask for a shorter prefix or domain")]
    TooLong,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl Inbox {
    /// An address that has never been used, and its mailbox: `prefix-` and random letters and digits, at `domain` or else at
    /// the first domain that is taken. Where mailboxes are named by their domains, the domain is a new one below that.
    ///
    /// # Errors
    /// What is wrong with what was asked for.
    pub fn fresh_address(
        &self,
        prefix: Option<&str>,
        domain: Option<&str>,
    ) -> Result<(Address, MailboxName), FreshError> {
        let name = match prefix {
            Some(prefix) => format!("{}-{}", checked_prefix(prefix)?, drawn()?),
            None => drawn()?,
        };
        let (domains, scheme) = (&self.settings.domains, self.settings.naming.scheme);
        let asked = domain.map(checked_domain).transpose()?;
        let (local, domain) = if scheme == NamingScheme::Domain {
            let parent = asked.or_else(|| parent_domain(domains, &self.settings.hostname));
            let parent = parent.ok_or_else(|| FreshError::SharedMailbox(shown(domains)))?;
            (LOCAL_PART.to_owned(), format!("{name}.{parent}"))
        } else {
            let domain = asked.unwrap_or_else(|| default_domain(domains, &self.settings.hostname));
            (name, domain)
        };
        let address = Address::parse(&format!("{local}@{domain}")).map_err(|_| FreshError::TooLong)?;
        if !domains.accept(address.domain(), Ipv4Addr::UNSPECIFIED.into()) {
            let is_shared = scheme == NamingScheme::Domain && parent_domain(domains, &self.settings.hostname).is_none();
            return Err(match shown(domains) {
                ours if is_shared => FreshError::SharedMailbox(ours),
                allowed => FreshError::ForeignDomain { domain, allowed },
            });
        }
        let mailbox = self.settings.naming.of(&address).map_err(|_| FreshError::TooLong)?;
        Ok((address, mailbox))
    }
}

/// In lower case, as addresses are found in any case.
fn checked_prefix(prefix: &str) -> Result<String, FreshError> {
    let words = prefix.split(['-', '.', '_']);
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let right = prefix.len() <= PREFIX_MAX_BYTES && words.into_iter().all(is_word);
    if right { Ok(prefix.to_ascii_lowercase()) } else { Err(FreshError::Prefix(prefix.to_owned())) }
}

/// In ASCII, as which every sender can write it.
fn checked_domain(text: &str) -> Result<String, FreshError> {
    let domain: Option<Domain> = text.parse().ok();
    domain.and_then(|domain| domain.ascii_name()).ok_or_else(|| FreshError::NoDomain(text.to_owned()))
}

/// Where mail is taken, if nobody says where it is wanted.
fn default_domain(domains: &Domains, hostname: &str) -> String {
    let below_wildcard = || parent_domain(domains, hostname).map(|parent| format!("mail.{parent}"));
    let exact = match domains {
        Domains::Any => any_domain(hostname),
        Domains::Listed(patterns) => patterns.iter().find_map(|pattern| match pattern {
            DomainPattern::Exact(domain) => domain.ascii_name(),
            DomainPattern::Subdomains(_) => None,
        }),
    };
    exact.or_else(below_wildcard).unwrap_or_else(|| hostname.to_owned())
}

/// A domain for whose subdomains mail is taken.
fn parent_domain(domains: &Domains, hostname: &str) -> Option<String> {
    match domains {
        Domains::Any => any_domain(hostname),
        Domains::Listed(patterns) => patterns.iter().find_map(|pattern| match pattern {
            DomainPattern::Exact(_) => None,
            DomainPattern::Subdomains(name) => name.parse().ok().and_then(|domain: Domain| domain.ascii_name()),
        }),
    }
}

/// Many forms take no address whose domain has no dot.
fn any_domain(hostname: &str) -> Option<String> {
    Some(if hostname.contains('.') { hostname } else { NOBODYS_DOMAIN }.to_owned())
}

fn shown(domains: &Domains) -> String {
    match domains {
        Domains::Any => "any".to_owned(),
        Domains::Listed(patterns) => {
            let more = if patterns.len() > DOMAINS_SHOWN { ", ..." } else { "" };
            let shown: Vec<_> = patterns.iter().take(DOMAINS_SHOWN).map(ToString::to_string).collect();
            shown.join(", ") + more
        }
    }
}

/// Random letters and digits, a letter first.
fn drawn() -> Result<String, FreshError> {
    let mut bytes = [0; DRAWN];
    rand::fill(&mut bytes).map_err(|_| FreshError::NoRandom)?;
    let choices = std::iter::once(LETTERS).chain(std::iter::repeat(ALPHABET.len()));
    Ok(bytes.iter().zip(choices).map(|(byte, choices)| char::from(ALPHABET[usize::from(*byte) % choices])).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::inbox::Settings;
    use crate::inbox::tests::{inbox, settings};
    use crate::mail::{Naming, PlusAddressing};

    fn listed(patterns: &[&str]) -> Domains {
        Domains::Listed(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect())
    }

    async fn with(domains: Domains, scheme: NamingScheme) -> Inbox {
        let naming = Naming { scheme, plus: PlusAddressing::Strip };
        inbox(Settings { domains, naming, hostname: "localhost".to_owned(), ..settings() }, u64::MAX).await
    }

    #[tokio::test]
    async fn an_address_is_new_and_has_its_mailbox_under_every_naming() {
        for (scheme, local) in [(NamingScheme::Local, true), (NamingScheme::Full, false)] {
            let inbox = with(listed(&["*.example.org", "example.com"]), scheme).await;
            let mut seen = HashSet::new();
            for _ in 0..1000 {
                let (address, mailbox) = inbox.fresh_address(Some("Sign-Up.2_x"), None).unwrap();
                let written = address.to_string();
                assert!(written.starts_with("sign-up.2_x-") && written.ends_with("@example.com"), "{written}");
                assert_eq!(inbox.mailbox(&written).unwrap(), mailbox);
                assert_eq!(mailbox.as_str(), if local { address.local_part() } else { &written });
                assert!(seen.insert(mailbox));
            }
        }
    }

    #[tokio::test]
    async fn without_a_prefix_an_address_begins_with_a_letter() {
        let inbox = with(Domains::Any, NamingScheme::Local).await;
        for _ in 0..100 {
            let (address, _) = inbox.fresh_address(None, None).unwrap();
            assert!(address.local_part().starts_with(|c: char| c.is_ascii_lowercase()), "{address}");
            assert_eq!(address.local_part().len(), DRAWN);
        }
    }

    #[tokio::test]
    async fn the_domain_is_the_first_that_is_taken_or_the_one_that_is_asked_for() {
        for (domains, asked, domain) in [
            (listed(&["*.example.org", "exämple.com"]), None, "xn--exmple-cua.com"),
            (listed(&["*.example.org", "example.com"]), Some("A.example.org"), "a.example.org"),
            (listed(&["*.example.org"]), None, "mail.example.org"),
            (listed(&["[192.0.2.1]", "example.com"]), None, "example.com"),
            (Domains::Any, None, "restante.test"),
            (Domains::Any, Some("exämple.com"), "xn--exmple-cua.com"),
        ] {
            let inbox = with(domains, NamingScheme::Local).await;
            assert_eq!(inbox.fresh_address(None, asked).unwrap().0.domain().to_string(), domain);
        }
    }

    #[tokio::test]
    async fn where_a_domain_is_a_mailbox_each_address_has_a_domain_of_its_own() {
        for (domains, asked, end) in [
            (listed(&["example.com", "*.example.org"]), None, ".example.org"),
            (listed(&["*.example.org"]), Some("tests.example.org"), ".tests.example.org"),
            (Domains::Any, None, ".restante.test"),
        ] {
            let inbox = with(domains, NamingScheme::Domain).await;
            let (address, mailbox) = inbox.fresh_address(Some("a.b"), asked).unwrap();
            let domain = address.domain().to_string();
            assert!(domain.starts_with("a.b-") && domain.ends_with(end), "{domain}");
            assert_eq!(mailbox.as_str(), domain);
        }
        let inbox = with(listed(&["example.com"]), NamingScheme::Domain).await;
        for asked in [None, Some("example.com"), Some("example.org")] {
            let error = inbox.fresh_address(None, asked).unwrap_err();
            assert_eq!(error, FreshError::SharedMailbox("example.com".to_owned()), "{asked:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_had_is_named_with_what_can() {
        let inbox = with(listed(&["example.com", "*.example.org"]), NamingScheme::Local).await;
        let long = "x".repeat(41);
        for prefix in ["", "-a", "a-", "a--b", "a.-b", "a+b", "a b", "ä", "a@b", "a\r\n", &long] {
            let error = inbox.fresh_address(Some(prefix), None).unwrap_err().to_string();
            assert!(error.contains("1 to 40 letters"), "{prefix}: {error}");
        }
        for domain in ["", "exa mple.com", "[192.0.2.1]", "-x.com"] {
            let error = inbox.fresh_address(None, Some(domain)).unwrap_err().to_string();
            assert!(error.contains("must be a domain name"), "{domain}: {error}");
        }
        for domain in ["example.net", "example.org", "a.example.com"] {
            let error = inbox.fresh_address(None, Some(domain)).unwrap_err().to_string();
            assert!(error.contains("one of example.com, *.example.org"), "{domain}: {error}");
        }
        let long = format!("{}.example.org", ["x".repeat(63), "y".repeat(63), "z".repeat(63)].join("."));
        assert_eq!(inbox.fresh_address(Some(&"x".repeat(40)), Some(&long)), Err(FreshError::TooLong));
    }
}
