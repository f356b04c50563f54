//! The domains whose mail is taken.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::mail::Domain;

/// The domains whose mail is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domains {
    /// Any domain; to be asked for by name where strangers can reach the server.
    Any,
    /// These and no others, and address literals of the server itself.
    Listed(Vec<DomainPattern>),
}

/// One entry of the list: `example.com`, or `*.example.com` for every name below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// Exactly this domain, in its canonical spelling.
    Exact(Domain),
    /// Every subdomain of this name, in its canonical spelling, at any depth; not the name itself.
    Subdomains(String),
}

impl Domains {
    /// Whether mail for `domain` is ours, on a connection that reached the server at `local`.
    #[must_use]
    pub fn accept(&self, domain: &Domain, local: IpAddr) -> bool {
        match self {
            Self::Any => true,
            // RFC 5321 section 4.1.3: the address that the client reached is a name of ours.
            // A socket of both families shows an IPv4 address as one of IPv6.
            Self::Listed(_) if *domain == Domain::Literal(local.to_canonical()) => true,
            Self::Listed(patterns) => {
                let theirs = domain.canonical();
                patterns.iter().any(|pattern| pattern.matches(&theirs))
            }
        }
    }
}

impl DomainPattern {
    fn matches(&self, domain: &Domain) -> bool {
        match (self, domain) {
            (Self::Exact(ours), theirs) => ours == theirs,
            (Self::Subdomains(parent), Domain::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Self::Subdomains(_), Domain::Literal(_)) => false,
        }
    }
}

impl FromStr for DomainPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, wildcard) = text.strip_prefix("*.").map_or((text, false), |name| (name, true));
        match (name.parse().map(|domain: Domain| domain.canonical()), wildcard) {
            (Ok(domain), false) => Ok(Self::Exact(domain)),
            (Ok(Domain::Name(name)), true) => Ok(Self::Subdomains(name)),
            _ => Err(format!("{text:?} is not a domain; write example.com, or *.example.com for its subdomains")),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(domain) => domain.fmt(f),
            Self::Subdomains(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn accept(list: &[&str], domain: &str) -> bool {
        let patterns = list.iter().map(|text| text.parse().unwrap()).collect();
        Domains::Listed(patterns).accept(&domain.parse().unwrap(), LOCAL)
    }

    #[test]
    fn a_listed_domain_is_ours_in_any_case_and_no_other() {
        assert!(accept(&["example.com", "example.org"], "EXAMPLE.org"));
        assert!(!accept(&["example.com"], "example.net"));
        assert!(!accept(&["example.com"], "sub.example.com"));
        assert!(!accept(&["example.com"], "notexample.com"));
    }

    #[test]
    fn a_star_takes_every_depth_but_not_the_name_itself() {
        assert!(accept(&["*.example.com"], "a.example.com"));
        assert!(accept(&["*.example.com"], "a.b.example.com"));
        assert!(!accept(&["*.example.com"], "example.com"));
        assert!(!accept(&["*.example.com"], "notexample.com"));
    }

    #[test]
    fn an_internationalized_domain_is_ours_in_letters_and_in_ascii() {
        for ours in ["exämple.com", "xn--exmple-cua.com"] {
            for theirs in ["exämple.com", "xn--exmple-cua.com", "exa\u{308}mple.com"] {
                assert!(accept(&[ours], theirs), "{ours} {theirs}");
                assert!(accept(&[&format!("*.{ours}")], &format!("mx.{theirs}")), "{ours} {theirs}");
            }
        }
    }

    #[test]
    fn only_our_own_address_is_ours_as_a_literal() {
        assert!(accept(&["example.com"], "[192.0.2.1]"));
        assert!(!accept(&["example.com"], "[192.0.2.2]"));
        assert!(!accept(&["*.example.com"], "[192.0.2.2]"));
        let ours = Domains::Listed(vec!["example.com".parse().unwrap()]);
        assert!(ours.accept(&"[192.0.2.1]".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn a_pattern_that_is_none_says_what_to_write() {
        for text in ["", "*", "*.", "exa mple.com", "*.[127.0.0.1]", "a.*.com"] {
            let error = text.parse::<DomainPattern>().unwrap_err();
            assert!(error.contains("*.example.com"), "{error}");
        }
    }
}
