//! The configuration: environment and `.env` into each module's own settings, all mistakes reported at once.

mod certificates;
mod checks;
mod client;
mod env_file;
mod reader;
mod source;
mod store;
mod value;
mod variables;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub use self::client::{Client, KEY_FILE};
pub use self::variables::{VARIABLES, Variable, env_example};

use self::reader::{Findings, Reader};
use self::source::Variables;
use crate::inbox::{self, DomainPattern, Domains};
use crate::mail::{Budgets, Domain, Naming, NamingScheme, PlusAddressing};
use crate::smtp::{self, BareLf, SessionSettings};
use crate::{http, tls, units};

/// The configuration of the whole server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where mail comes in.
    pub smtp_addrs: Vec<SocketAddr>,
    /// Where mail comes in by implicit TLS.
    pub smtps_addrs: Vec<SocketAddr>,
    /// Where the API listens in clear text; with `https_addrs` it is only the way there.
    pub http_addrs: Vec<SocketAddr>,
    /// Where the API listens for TLS.
    pub https_addrs: Vec<SocketAddr>,
    /// Where the metrics are told; where it is empty, the API tells them.
    pub metrics_addrs: Vec<SocketAddr>,
    /// The host, and port where it is not 443, that clients in clear text are sent to.
    pub https_host: Option<String>,
    /// The SMTP server.
    pub smtp: smtp::Settings,
    /// The API. Without keys one is to be generated.
    pub http: http::Settings,
    /// What is accepted.
    pub inbox: inbox::Settings,
    /// How it is kept.
    pub store: crate::store::Settings,
    /// The certificate.
    pub tls: tls::Settings,
    /// How long a stop waits for what is in progress.
    pub shutdown_grace: Duration,
    /// The log.
    pub log: Log,
    warnings: Vec<String>,
    shown: Vec<(&'static str, String)>,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives of `tracing-subscriber`.
    pub filter: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes {
    mistakes: Vec<String>,
    /// The names that were perhaps meant to be others, which may be behind it.
    misspelt: Vec<String>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(f, "{count} mistake{} in the configuration", if count == 1 { "" } else { "s" })?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))?;
        self.misspelt.iter().try_for_each(|misspelt| write!(f, "\n  beside that, {misspelt}"))
    }
}

impl std::error::Error for Mistakes {}

impl Config {
    /// Reads the environment and the file `.env` of the working directory; the environment goes before the file.
    ///
    /// # Errors
    /// All mistakes.
    pub fn load() -> Result<Self, Mistakes> {
        Self::read_all(&Variables::of_process())
    }

    /// Reads the configuration out of these variables.
    ///
    /// # Errors
    /// All mistakes.
    pub fn from_variables(variables: &HashMap<String, String>) -> Result<Self, Mistakes> {
        Self::read_all(&Variables::from(variables))
    }

    fn read_all(variables: &Variables) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(variables);
        if let Some(mistake) = variables.unreadable() {
            reader.mistake(mistake.to_owned());
        }
        if let Some(warning) = variables.nameless() {
            reader.warn(warning);
        }
        let mut config = Self::read(&mut reader);
        for host in config.own_hosts() {
            if !config.http.hosts.contains(&host) {
                config.http.hosts.push(host);
            }
        }
        config.http.metrics = config.metrics_addrs.is_empty();
        Client::check(&mut reader);
        config.check(&mut reader);
        let Findings { warnings, shown } = reader.finish()?;
        config.warnings = warnings;
        config.shown = shown.into_iter().map(|(name, value)| (name, config.in_effect(name, value))).collect();
        Ok(config)
    }

    /// What may not be as it was meant to be, and stops nothing.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every variable and the value that is in effect, secrets hidden, in the order in which they are documented.
    #[must_use]
    pub fn shown(&self) -> &[(&'static str, String)] {
        &self.shown
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        let domains = reader.read("DOMAIN", domains);
        let hostname =
            reader.read("SMTP_HOSTNAME", value::optional(hostname)).unwrap_or_else(|| first_domain(&domains));
        Self {
            smtp_addrs: reader.read("SMTP_ADDR", some_addresses),
            smtps_addrs: reader.read("SMTPS_ADDR", value::addresses),
            http_addrs: reader.read("HTTP_ADDR", some_addresses),
            https_addrs: reader.read("HTTPS_ADDR", value::addresses),
            metrics_addrs: reader.read("METRICS_ADDR", value::addresses),
            https_host: reader.read("HTTPS_HOST", value::optional(certificates::authority)),
            smtp: smtp_settings(reader, &hostname),
            http: http_settings(reader),
            tls: certificates::settings(reader, &hostname),
            inbox: inbox_settings(reader, domains, hostname),
            store: store::settings(reader),
            shutdown_grace: reader.read("SHUTDOWN_GRACE", units::duration),
            log: Log {
                filter: reader.read("LOG_LEVEL", log_filter),
                json: reader.read("LOG_FORMAT", value::choice(&[("text", false), ("json", true)])),
            },
            warnings: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The host, with its port where that is not 443, under which the API is reached over TLS. `port` is the one where it
    /// listens, if it does.
    #[must_use]
    pub fn https_authority(&self, port: Option<u16>) -> String {
        if let Some(host) = &self.https_host {
            return host.clone();
        }
        let ordered = self.tls.acme.as_ref().and_then(|acme| acme.domains.first());
        let host = ordered.unwrap_or(&self.tls.hostname);
        match port {
            None | Some(443) => host.clone(),
            Some(port) => format!("{host}:{port}"),
        }
    }

    /// The value of a variable; where it is not set, what follows from the others.
    fn in_effect(&self, name: &str, value: String) -> String {
        match name {
            "DOMAIN" if value.is_empty() => "*".to_owned(),
            "API_KEY" if value.is_empty() => "(generated)".to_owned(),
            "RESTANTE_API_KEY" if value.is_empty() && self.http.keys.is_empty() => "(generated)".to_owned(),
            "RESTANTE_API_KEY" if value.is_empty() => "(the first of API_KEY)".to_owned(),
            "SMTP_HOSTNAME" => self.smtp.session.hostname.clone(),
            "HTTP_HOSTS" => self.http.hosts.join(","),
            // The port is not known before it is bound where the system is to give it.
            "HTTPS_HOST" => match self.https_addrs.first().map(SocketAddr::port) {
                None | Some(0) => value,
                port => self.https_authority(port),
            },
            _ => value,
        }
    }

    /// The names under which the configuration itself knows this server.
    fn own_hosts(&self) -> Vec<String> {
        let https_host = self.https_host.iter().filter_map(|host| host.split(':').next().map(str::to_owned));
        let ordered = self.tls.acme.iter().flat_map(|acme| acme.domains.iter().cloned());
        https_host.chain(ordered).chain([self.smtp.session.hostname.clone()]).collect()
    }
}

fn smtp_settings(reader: &mut Reader<'_>, hostname: &str) -> smtp::Settings {
    smtp::Settings {
        session: SessionSettings {
            hostname: hostname.to_owned(),
            max_command_bytes: reader.read("SMTP_MAX_COMMAND_LINE", value::number(512, 65_536)),
            max_message_bytes: reader.read("SMTP_MAX_MESSAGE_SIZE", message_size),
            max_recipients: reader.read("SMTP_MAX_RECIPIENTS", value::number(1, 10_000)),
            max_text_line_bytes: reader.read("SMTP_MAX_TEXT_LINE", text_line),
            max_errors: reader.read("SMTP_MAX_ERRORS", value::number(1, 10_000)),
            max_noops: reader.read("SMTP_MAX_NOOPS", value::number(1, 1_000_000)),
            bare_lf: reader.read("BARE_LF", value::choice(&[("reject", BareLf::Reject), ("keep", BareLf::Keep)])),
            require_tls: reader.read("SMTP_TLS", value::choice(&[("optional", false), ("required", true)])),
            dsn: reader.read("SMTP_DSN", value::choice(&[("record", true), ("off", false)])),
        },
        max_connections: reader.read("SMTP_MAX_CONNECTIONS", value::number(1, 1_000_000)),
        max_connections_per_ip: reader.read("SMTP_MAX_CONNECTIONS_PER_IP", value::number(1, 1_000_000)),
        max_bytes_in_flight: reader.read("SMTP_MAX_IN_FLIGHT", memory_size),
        idle_timeout: reader.read("SMTP_IDLE_TIMEOUT", units::duration),
        session_timeout: reader.read("SMTP_SESSION_TIMEOUT", units::duration),
        tls_handshake_timeout: reader.read("SMTP_TLS_HANDSHAKE_TIMEOUT", units::duration),
        data_timeout: reader.read("SMTP_DATA_TIMEOUT", units::duration),
        min_data_bytes_per_second: reader.read("SMTP_MIN_DATA_RATE", data_rate),
        proxies: reader.read("PROXY_PROTOCOL_FROM", value::networks),
    }
}

fn http_settings(reader: &mut Reader<'_>) -> http::Settings {
    http::Settings {
        keys: reader.read("API_KEY", value::optional(api_keys)).unwrap_or_default(),
        metrics: true,
        rate_per_minute: reader.read("API_RATE_PER_MINUTE", value::number(0, 1_000_000)),
        failed_keys_per_minute: reader.read("API_FAILED_KEYS_PER_MINUTE", value::number(0, 1_000_000)),
        hosts: reader.read("HTTP_HOSTS", certificates::host_names),
        cors_origins: reader.read("CORS_ORIGINS", origins),
        trusted_proxies: reader.read("TRUSTED_PROXIES", value::networks),
        max_connections: reader.read("HTTP_MAX_CONNECTIONS", value::number(1, 1_000_000)),
        max_connections_per_ip: reader.read("HTTP_MAX_CONNECTIONS_PER_IP", value::number(1, 1_000_000)),
        max_waiters: reader.read("API_MAX_WAITERS", value::number(1, 1_000_000)),
        max_waiters_per_key: reader.read("API_MAX_WAITERS_PER_KEY", value::number(1, 1_000_000)),
        header_timeout: reader.read("HTTP_HEADER_TIMEOUT", units::duration),
        request_timeout: reader.read("HTTP_REQUEST_TIMEOUT", units::duration),
        idle_timeout: reader.read("HTTP_IDLE_TIMEOUT", units::duration),
    }
}

fn inbox_settings(reader: &mut Reader<'_>, domains: Domains, hostname: String) -> inbox::Settings {
    let scheme = value::choice(&[
        ("local", NamingScheme::Local),
        ("full", NamingScheme::Full),
        ("domain", NamingScheme::Domain),
    ]);
    let plus = value::choice(&[("keep", PlusAddressing::Keep), ("strip", PlusAddressing::Strip)]);
    inbox::Settings {
        domains,
        hostname,
        naming: Naming { scheme: reader.read("MAILBOX_NAMING", scheme), plus: reader.read("PLUS_ADDRESSING", plus) },
        retention: reader.read("RETENTION", units::duration),
        mime: Budgets {
            max_parts: reader.read("MIME_MAX_PARTS", value::number(1, 100_000)),
            max_depth: reader.read("MIME_MAX_DEPTH", value::number(1, 256)),
            max_header_bytes: reader.read("MIME_MAX_HEADER_BYTES", header_size),
            max_headers: reader.read("MIME_MAX_HEADERS", value::number(1, 1_000_000)),
            ..Budgets::default()
        },
        rate_per_minute: reader.read("SMTP_RATE_PER_MINUTE", value::number(0, 1_000_000)),
        rate_per_minute_per_ip: reader.read("SMTP_RATE_PER_MINUTE_PER_IP", value::number(0, 1_000_000)),
        // A list of the API has no more entries.
        attempts_per_mailbox: reader.read("ATTEMPTS_PER_MAILBOX", value::number(1, 200)),
        attempts_max: reader.read("ATTEMPTS_MAX", value::number(0, 1_000_000)),
    }
}

/// Nothing is any domain, which [`Config::check_exposure`] allows on loopback only.
fn domains(text: &str) -> value::Parsed<Domains> {
    if text.is_empty() || text == "*" {
        return Ok(Domains::Any);
    }
    some(value::list(text).map(str::parse::<DomainPattern>).collect::<Result<_, _>>()?).map(Domains::Listed)
}

fn hostname(text: &str) -> value::Parsed<String> {
    match text.parse() {
        Ok(Domain::Name(name)) if name.is_ascii() => Ok(name),
        _ => Err("write a host name, such as mx.example.com".to_owned()),
    }
}

fn first_domain(domains: &Domains) -> String {
    let listed = match domains {
        Domains::Any => None,
        Domains::Listed(patterns) => patterns.iter().find_map(|pattern| match pattern {
            DomainPattern::Exact(domain) => domain.ascii_name(),
            DomainPattern::Subdomains(name) => Domain::Name(name.clone()).ascii_name(),
        }),
    };
    listed.unwrap_or_else(|| "localhost".to_owned())
}

fn api_keys(text: &str) -> value::Parsed<Vec<http::ApiKey>> {
    let key = |text: &str| text.parse().map_err(|error: http::ApiKeyError| error.to_string());
    some(value::list(text).map(key).collect::<Result<_, _>>()?)
}

fn origins(text: &str) -> value::Parsed<Vec<http::Origin>> {
    value::list(text).map(|item| item.parse().map_err(|error| format!("{item:?}: {error}"))).collect::<Result<_, _>>()
}

/// A list of commas alone looks like a value, and must not pass for one.
fn some<T>(items: Vec<T>) -> value::Parsed<Vec<T>> {
    if items.is_empty() { Err("write at least one, several with commas between".to_owned()) } else { Ok(items) }
}

fn some_addresses(text: &str) -> value::Parsed<Vec<SocketAddr>> {
    match value::addresses(text) {
        Ok(addrs) if addrs.is_empty() => {
            Err("write at least one address with a port, such as 127.0.0.1:2525".to_owned())
        }
        addrs => addrs,
    }
}

fn message_size(text: &str) -> value::Parsed<usize> {
    bounded_size(text, 1024, 1 << 30, "1KiB to 1GiB")
}

/// RFC 5321 section 4.5.3.1.6 asks for 1000 at least.
fn text_line(text: &str) -> value::Parsed<usize> {
    match units::size(text)? {
        0 => Ok(0),
        _ => bounded_size(text, 1000, 1 << 30, "1000 to 1GiB, or 0"),
    }
}

fn data_rate(text: &str) -> value::Parsed<u64> {
    match units::size(text)? {
        0 => Err("write a number of bytes a second, 1 at least, such as 1KiB".to_owned()),
        bytes => Ok(bytes),
    }
}

fn memory_size(text: &str) -> value::Parsed<usize> {
    bounded_size(text, 1 << 20, 1 << 40, "1MiB to 1TiB")
}

fn header_size(text: &str) -> value::Parsed<usize> {
    bounded_size(text, 1024, 1 << 30, "1KiB to 1GiB")
}

fn bounded_size(text: &str, min: u64, max: u64, range: &str) -> value::Parsed<usize> {
    match units::size(text)? {
        size if (min..=max).contains(&size) => usize::try_from(size).map_err(|error| error.to_string()),
        _ => Err(format!("write a size from {range}")),
    }
}

fn log_filter(text: &str) -> value::Parsed<String> {
    // The library takes a misspelt level for the name of a module, and logs nothing else.
    let known = value::list(text).all(|word| word.contains('=') || word.parse::<LevelFilter>().is_ok());
    if known && EnvFilter::try_new(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err("write error, warn, info, debug, trace, or directives such as info,restante::smtp=debug".to_owned())
    }
}

#[cfg(test)]
mod tests;
