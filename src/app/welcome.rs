//! What a person reads after the start: where the server is, and two lines to paste.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{App, Key, is_self_signed};
use crate::inbox::{DomainPattern, Domains};
use crate::store::Kind;

impl App {
    /// The addresses, the key, one line to send a mail and one to read it.
    #[must_use]
    pub fn welcome(&self) -> String {
        let mut text = format!("\nrestante {} is ready\n\n", env!("CARGO_PKG_VERSION"));
        let rows = [
            ("SMTP", format!("{}  ({})", joined(&self.addrs.smtp, ""), self.smtp_note())),
            ("SMTPS", joined(&self.addrs.smtps, "")),
            ("API", self.api()),
            ("metrics", joined(&self.addrs.metrics, "http://")),
            ("key", self.key_note()),
            ("store", self.store_note()),
        ];
        for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
            _ = writeln!(text, "  {name:<8}{value}");
        }
        let key = match &self.key {
            Key::Configured => "$API_KEY",
            Key::Generated { text, .. } => text,
        };
        if let (Some(smtp), Some(api)) = (self.addrs.smtp.first(), self.curl()) {
            _ = write!(
                text,
                "\nSend a mail:\n  swaks{} --server {} --to user@{} --header 'Subject: Hello' --body 'Hello from swaks'\n\
                 Read it:\n  curl -H \"X-API-KEY: {key}\" {api}/emails/user\n",
                if self.config.smtp.session.require_tls { " --tls" } else { "" },
                reachable(*smtp),
                self.example_domain(),
            );
        }
        text
    }

    /// Where the API is.
    fn api(&self) -> String {
        match self.addrs.https.as_slice() {
            [] => joined(&self.addrs.http, "http://"),
            https => format!("{}  (from {} too)", joined(https, "https://"), joined(&self.addrs.http, "http://")),
        }
    }

    /// What curl needs to reach it, the beginning of the URL last.
    fn curl(&self) -> Option<String> {
        let Some(https) = self.addrs.https.first() else {
            return self.addrs.http.first().map(|http| format!("http://{}", reachable(*http)));
        };
        let addr = reachable(*https);
        let certificates = self.tls.certificates();
        let named = certificates.iter().find(|certificate| !certificate.self_issued);
        // A name with a wildcard is none to connect to.
        let name = named.and_then(|certificate| certificate.names.iter().find(|name| !name.starts_with('*')));
        Some(match name {
            // The certificate is looked at even where the name leads elsewhere yet, or to an address outside.
            Some(name) if name.parse::<IpAddr>().is_err() => {
                let port = addr.port();
                format!("--resolve {name}:{port}:{} https://{name}:{port}", bracketed(addr.ip()))
            }
            _ => format!("-k https://{addr}"),
        })
    }

    fn smtp_note(&self) -> String {
        let domains = match &self.config.inbox.domains {
            Domains::Any => "any domain".to_owned(),
            Domains::Listed(patterns) => patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        };
        let certificate = if is_self_signed(&self.tls) { " with a self-signed certificate" } else { "" };
        let required = if self.config.smtp.session.require_tls { " required" } else { "" };
        format!("{domains}; STARTTLS{required}{certificate}")
    }

    fn key_note(&self) -> String {
        match &self.key {
            Key::Configured => "as set in API_KEY".to_owned(),
            Key::Generated { text, file: Some(file) } => format!("{text}  (generated, kept in {})", file.display()),
            Key::Generated { text, file: None } => format!("{text}  (generated for this run)"),
        }
    }

    fn store_note(&self) -> String {
        let place = match &self.config.store.kind {
            Kind::Memory => "in memory, gone when the server stops".to_owned(),
            Kind::Embedded { data_dir, .. } => data_dir.display().to_string(),
            Kind::Redis(redis) => redis.server.to_string(),
        };
        format!("{place}  (each mail is kept for {})", spoken(self.config.inbox.retention))
    }

    fn example_domain(&self) -> String {
        let listed = match &self.config.inbox.domains {
            Domains::Any => None,
            Domains::Listed(patterns) => patterns.first(),
        };
        match listed {
            None => "example.com".to_owned(),
            Some(DomainPattern::Exact(domain)) => domain.to_string(),
            Some(DomainPattern::Subdomains(name)) => format!("mail.{name}"),
        }
    }
}

fn joined(addrs: &[SocketAddr], scheme: &str) -> String {
    addrs.iter().map(|addr| format!("{scheme}{addr}")).collect::<Vec<_>>().join(", ")
}

/// An address as it stands in a URL.
fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// A duration in the largest unit that it is a whole number of.
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(60 * 60, "hour"), (60, "minute")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, "second"));
    let count = seconds / unit;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// An address that a client on this machine can connect to: the unspecified one is none.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_said_in_its_largest_whole_unit() {
        let spoken = |seconds| spoken(Duration::from_secs(seconds));
        assert_eq!(spoken(24 * 60 * 60), "24 hours");
        assert_eq!(spoken(60 * 60), "1 hour");
        assert_eq!(spoken(20 * 60), "20 minutes");
        assert_eq!(spoken(61), "61 seconds");
    }

    #[test]
    fn an_unspecified_address_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0:25".parse().unwrap()).to_string(), "127.0.0.1:25");
        assert_eq!(reachable("[::]:25".parse().unwrap()).to_string(), "[::1]:25");
        assert_eq!(reachable("192.0.2.1:25".parse().unwrap()).to_string(), "192.0.2.1:25");
    }
}
