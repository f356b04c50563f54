//! Which Redis, and how to trust it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use fred::types::config::{Config, ServerConfig};

/// How mail is kept in Redis.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Which Redis.
    pub server: RedisServer,
    /// Certificates in PEM that vouch for the server; none are those of the system.
    pub ca_file: Option<PathBuf>,
    /// What the names of all keys begin with: several installations may share a Redis.
    pub prefix: String,
    /// How many replicas of each master have to have a message before it is acknowledged; 0 waits for none.
    pub wait_replicas: u64,
    /// What is done where Redis could lose mail that was acknowledged.
    pub durability: Durability,
}

/// What is done where Redis is set so that it could lose mail that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is said in the log.
    Warn,
    /// The program does not start.
    Strict,
}

/// One server, those that Sentinel names, or a cluster; with the credentials, which are never shown.
#[derive(Clone)]
pub struct RedisServer {
    /// In a box, as it is large.
    config: Box<Config>,
    tls: bool,
}

/// The schemes of a URL, each for a kind of Redis and whether it speaks TLS.
const SCHEMES: [&str; 6] = ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];
const ALLOWED: &str = "write redis://[user:password@]host:port[/database], rediss:// for TLS, \
    redis-sentinel://host:port?sentinelServiceName=name or redis-cluster://host:port, with &node=host:port for each further \
    node, and what is special in a user or password as %XX";

impl FromStr for RedisServer {
    type Err = String;

    /// Reads a URL. The error says what is allowed and repeats nothing of the text, which may have a password in it.
    fn from_str(url: &str) -> Result<Self, String> {
        let allowed = || ALLOWED.to_owned();
        let (scheme, rest) = url.split_once("://").ok_or_else(allowed)?;
        if !SCHEMES.contains(&scheme) || rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(allowed());
        }
        let tls = scheme.starts_with("rediss");
        // The library would read the certificates of the system here; that is ours to do, at another time.
        let clear = format!("{}://{rest}", scheme.replacen("rediss", "redis", 1));
        let config = Config::from_url(&clear).map_err(|_| allowed())?;
        let has_port_zero = config.server.hosts().iter().any(|server| server.port == 0);
        if has_port_zero { Err(allowed()) } else { Ok(Self { config: Box::new(config), tls }) }
    }
}

impl RedisServer {
    /// The server at `host:port`, without TLS.
    ///
    /// # Errors
    /// What is allowed, where `addr` is something else.
    pub fn at(addr: &str) -> Result<Self, String> {
        let is_addr = addr.rsplit_once(':').is_some_and(|(host, port)| {
            let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
            is_port && !host.is_empty() && !host.contains(['/', '@', '?', '#'])
        });
        let server = if is_addr { format!("redis://{addr}").parse() } else { Err(String::new()) };
        server.map_err(|_: String| "write host:port, such as 127.0.0.1:6379".to_owned())
    }

    /// Whether the URL has a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.password.is_some()
    }

    /// The same with a password.
    #[must_use]
    pub fn with_password(mut self, password: String) -> Self {
        self.config.password = Some(password);
        self
    }

    /// Whether the connections are to be encrypted.
    #[must_use]
    pub const fn uses_tls(&self) -> bool {
        self.tls
    }

    /// Whether another server may take the place of one that is lost.
    pub(super) fn has_failover(&self) -> bool {
        matches!(self.config.server, ServerConfig::Sentinel { .. } | ServerConfig::Clustered { .. })
    }

    /// The number of the database.
    pub(super) fn database(&self) -> u8 {
        self.config.database.unwrap_or(0)
    }

    /// What the library wants to know.
    pub(super) fn config(&self) -> Config {
        (*self.config).clone()
    }
}

/// Shows where it is, and no credentials.
impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.config.server {
            ServerConfig::Sentinel { .. } => "-sentinel",
            ServerConfig::Clustered { .. } => "-cluster",
            _ => "",
        };
        write!(f, "redis{}{kind}://", if self.tls { "s" } else { "" })?;
        let mut hosts = self.config.server.hosts();
        // The library puts the first of several behind the others.
        let count = hosts.len();
        hosts.rotate_right(1.min(count));
        for (at, server) in hosts.iter().enumerate() {
            write!(f, "{}{}:{}", if at == 0 { "" } else { "," }, server.host, server.port)?;
        }
        match self.config.database {
            Some(database) => write!(f, "/{database}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisServer({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_url_is_read_and_shown_without_its_password() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://:p%40ss@10.0.0.1:7000/3", "redis://10.0.0.1:7000/3"),
            ("rediss://user:secret@mail.example.com:6380", "rediss://mail.example.com:6380"),
            (
                "redis-sentinel://:secret@a:26379?node=b:26379&sentinelServiceName=mail&sentinelPassword=secret",
                "redis-sentinel://a:26379,b:26379",
            ),
            ("rediss-cluster://user:secret@a:1?node=b:2&node=c:3", "rediss-cluster://a:1,b:2,c:3"),
        ] {
            let server: RedisServer = url.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert!(!format!("{server:?}").contains("secret"));
            assert_eq!(server.uses_tls(), url.starts_with("rediss"));
        }
        let server: RedisServer = "redis://us%3Aer:p%40ss%2F@localhost/3".parse().unwrap();
        let config = server.config();
        assert_eq!((config.username.as_deref(), config.password.as_deref()), (Some("us:er"), Some("p@ss/")));
        assert_eq!(server.database(), 3);
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for url in [
            "",
            "localhost",
            "http://secret@a",
            "redis:secret",
            "redis://",
            "redis://:secret@",
            "redis://a/secret",
            "redis://a/256",
            "redis://a:0",
            "redis-sentinel://:secret@a:1",
            "redis://a b",
            "\u{7f}!",
        ] {
            let error = url.parse::<RedisServer>().unwrap_err();
            assert!(error.contains("redis-cluster://") && !error.contains("secret"), "{url}: {error}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(RedisServer::at("redis:6379").unwrap().to_string(), "redis://redis:6379");
        assert_eq!(RedisServer::at("[::1]:6379").unwrap().to_string(), "redis://[::1]:6379");
        for addr in ["", "redis", ":6379", "redis:0", "a@b:6379", "redis://a:6379", "a:6379/1", "a:x"] {
            assert!(RedisServer::at(addr).unwrap_err().contains("127.0.0.1:6379"), "{addr}");
        }
        let server = RedisServer::at("redis:6379").unwrap();
        assert!(!server.has_password() && server.with_password("secret".to_owned()).has_password());
    }
}
