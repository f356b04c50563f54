//! Every variable that there is: the one list behind the reader, `.env.example` and the README.

/// A variable of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is taken for when it is not set, or empty.
    pub default: &'static str,
    /// What it does, and how it is written.
    pub meaning: &'static str,
    /// Whether its value is hidden wherever the configuration is shown.
    pub secret: bool,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning, secret: false }
}

const fn secret(name: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default: "", meaning, secret: true }
}

/// All variables, in the order in which they are documented.
pub const VARIABLES: &[Variable] = &[
    variable(
        "DOMAIN",
        "",
        "The domains whose mail is taken, with commas between: `example.com`, `*.example.com` for every name below it, \
         `*` for any. Needed to listen on a public address; on loopback nothing means any domain.",
    ),
    secret(
        "API_KEY",
        "The keys that open the API, with commas between; visible ASCII, at most 256 characters each. Needed to listen on \
         a public address; on loopback one is generated and printed, and kept in `DATA_DIR` with `STORE=embedded`, or else made \
         anew at each start. Servers that share a Redis need the same.",
    ),
    variable(
        "SMTP_ADDR",
        "127.0.0.1:2525",
        "Where mail comes in: `address:port`, several with commas between. `[::]` takes IPv4 too, unless an address of IPv4 \
         is named with the same port.",
    ),
    variable(
        "SMTPS_ADDR",
        "",
        "Where mail comes in by TLS from the first byte on (port 465 by custom): `address:port`, several with commas between. \
         Nothing means nowhere.",
    ),
    variable(
        "HTTP_ADDR",
        "127.0.0.1:8080",
        "Where the API listens: `address:port`, several with commas between. With `HTTPS_ADDR` it only answers `/health` and \
         sends everybody else there.",
    ),
    variable(
        "HTTPS_ADDR",
        "",
        "Where the API listens with TLS: `address:port`, several with commas between. Nothing is without TLS.",
    ),
    variable(
        "HTTPS_HOST",
        "",
        "The host that `HTTP_ADDR` sends its clients to, with `:port` where that is not 443. Nothing means the first of \
         `ACME_DOMAINS` or else `SMTP_HOSTNAME`, with the port of `HTTPS_ADDR`.",
    ),
    variable(
        "METRICS_ADDR",
        "",
        "Where `/metrics` is served, and `/health` beside it: `address:port`, several with commas between. Nothing means with \
         the API, without a key as here.",
    ),
    variable(
        "SMTP_HOSTNAME",
        "",
        "The name that the server gives itself; the one its MX record has. Nothing means the first domain of `DOMAIN`, or \
         `localhost`.",
    ),
    variable(
        "TLS_CERT_FILE",
        "certs/fullchain.pem",
        "The certificate chain in PEM, for STARTTLS and HTTPS; several with commas between, of which a client gets the one \
         that has its name. Read again when it changes. Where no file is there a self-signed certificate is made at start, unless \
         this is set: then the server does not start.",
    ),
    variable("TLS_KEY_FILE", "certs/privkey.pem", "The private key for it, in PEM; one for each certificate."),
    variable(
        "ACME_DOMAINS",
        "",
        "The host names for which certificates are ordered by ACME, with commas between; by that you agree to the terms of \
         the authority. Port 443 of each name has to lead to `HTTPS_ADDR`.",
    ),
    variable("ACME_EMAIL", "", "The address that the authority may write to."),
    variable(
        "ACME_DIRECTORY_URL",
        "https://acme-v02.api.letsencrypt.org/directory",
        "The directory of the authority; that of Let's Encrypt is the default.",
    ),
    variable(
        "ACME_CA_FILE",
        "",
        "Certificates in PEM that vouch for the server of the authority itself. Nothing means those that browsers trust.",
    ),
    variable(
        "STORE",
        "embedded",
        "Where mail is kept: `embedded` in files below `DATA_DIR`, `redis` in a Redis that several servers may share, or \
         `memory`.",
    ),
    variable(
        "DATA_DIR",
        "./data",
        "The directory of the embedded store, of the generated key and of certificates by ACME; made if it is not there.",
    ),
    secret(
        "REDIS_URL",
        "The Redis of `STORE=redis`: `redis://user:password@host:port/database`, `redis-sentinel://host:port` with \
         `?sentinelServiceName=name`, or `redis-cluster://host:port`; with `&node=host:port` for each further node, and \
         `rediss` in the place of `redis` for TLS.",
    ),
    variable("REDIS_ADDR", "", "The same as an address alone: `host:port`."),
    secret("REDIS_PASSWORD", "The password, where `REDIS_URL` has none."),
    variable(
        "REDIS_CA_FILE",
        "",
        "Certificates in PEM that vouch for Redis. Nothing means those that the system trusts.",
    ),
    variable(
        "REDIS_PREFIX",
        "rst",
        "What the names of all keys begin with; servers with the same prefix share their mail.",
    ),
    variable(
        "REDIS_WAIT_REPLICAS",
        "0",
        "How many replicas of each master have to have a message before `250` is said; until as many follow mail is refused \
         with `451`. With as many as each master has, a failover loses nothing; 0 does not wait.",
    ),
    variable(
        "STORE_DURABILITY",
        "warn",
        "What is done where Redis, at the start, is set so that it could lose mail that was acknowledged, by a crash, by \
         eviction or by a failover: `warn` says so in the log, `strict` does not start.",
    ),
    variable(
        "RETENTION",
        "24h",
        "How long a message is kept, counted from its arrival: a number with `s`, `m`, `h` or `d`.",
    ),
    variable(
        "MAILBOX_NAMING",
        "local",
        "What names a mailbox: `local` the local-part, `full` the address, `domain` the domain.",
    ),
    variable(
        "PLUS_ADDRESSING",
        "keep",
        "What becomes of `+tag` in a local-part: `keep`, or `strip` so that `a+b` is `a`.",
    ),
    variable("MAILBOX_MAX_MESSAGES", "500", "The most messages that a mailbox holds; the oldest go."),
    variable(
        "STORE_MAX_BYTES",
        "10GiB",
        "The most bytes of mail that the store holds; more is refused with `452` until mail expires. A message is \
         there twice, as it came and as it was read, so this is twice `SMTP_MAX_MESSAGE_SIZE` at least, and 2 KiB more \
         for each of `SMTP_MAX_RECIPIENTS`. With `STORE=memory` set it below the memory of the machine; with `STORE=redis` the \
         limit is the `maxmemory` of Redis.",
    ),
    variable(
        "STORE_MIN_FREE",
        "256MiB",
        "Mail is refused with `452` where it would leave less free space on the disk than this, so that expiry has room; 8 MiB \
         stay free in any case.",
    ),
    variable("SMTP_MAX_MESSAGE_SIZE", "50MiB", "The largest message; a larger one is refused with `552`."),
    variable("SMTP_MAX_RECIPIENTS", "100", "The most recipients of one message; further ones are refused with `452`."),
    variable(
        "SMTP_RATE_PER_MINUTE",
        "50",
        "The mails a minute that one client brings of one sender address: so many at once, then each as its share of the \
         minute passes; further ones are refused with `450`. 0 is without limit.",
    ),
    variable(
        "SMTP_RATE_PER_MINUTE_PER_IP",
        "0",
        "The mails a minute of one client (IPv6: of one /64), whoever their senders are; counted as above. 0 is without limit.",
    ),
    variable("SMTP_MAX_CONNECTIONS", "1000", "The most SMTP connections at a time; further ones read `421`."),
    variable(
        "SMTP_MAX_CONNECTIONS_PER_IP",
        "100",
        "The most SMTP connections of one client at a time (IPv6: of one /64).",
    ),
    variable(
        "SMTP_MAX_IN_FLIGHT",
        "256MiB",
        "The most memory for messages on their way in, over all connections, of which one client may take half; then `452`. \
         Messages up to 64 KiB are not counted.",
    ),
    variable("SMTP_MAX_COMMAND_LINE", "2048", "The longest command line in bytes; a longer one is refused with `500`."),
    variable(
        "SMTP_MAX_TEXT_LINE",
        "0",
        "The longest line of a message in bytes, 1000 at least; a message with a longer one is refused with `550`. 0 is without \
         limit: many senders do not keep to the 1000 of RFC 5321.",
    ),
    variable("SMTP_MAX_ERRORS", "20", "The most refused commands between two messages of a connection; then `421`."),
    variable(
        "SMTP_MAX_NOOPS",
        "100",
        "The most commands without mail (EHLO, HELO, RSET, NOOP, VRFY, HELP) between two messages of a connection; then `421`.",
    ),
    variable("SMTP_IDLE_TIMEOUT", "5m", "How long an SMTP client may be silent; then `421`."),
    variable("SMTP_SESSION_TIMEOUT", "1h", "How long an SMTP connection may last; then `421`."),
    variable("SMTP_TLS_HANDSHAKE_TIMEOUT", "30s", "How long a TLS handshake may take."),
    variable(
        "SMTP_DATA_TIMEOUT",
        "5m",
        "How long a message may take to come in; a large one has a second more for each `SMTP_MIN_DATA_RATE` bytes. Then `421`.",
    ),
    variable(
        "SMTP_MIN_DATA_RATE",
        "1KiB",
        "The bytes of a message that earn it a second more than `SMTP_DATA_TIMEOUT`.",
    ),
    variable(
        "SMTP_TLS",
        "optional",
        "Whether mail is taken in clear text: `optional`, or `required` to refuse it with `530` before STARTTLS.",
    ),
    variable(
        "SMTP_DSN",
        "record",
        "What becomes of the wish for a delivery report (RFC 3461): `record` offers the extension and shows what was asked \
         for, though no report is ever sent; `off` does not offer it, and the sender's server reports that it has handed the \
         mail on.",
    ),
    variable(
        "PROXY_PROTOCOL_FROM",
        "",
        "The balancers before the SMTP ports, as networks or addresses with commas between: a connection from there has to begin \
         with a header of the PROXY protocol, version 1 or 2, and counts as the client that this names.",
    ),
    variable(
        "BARE_LF",
        "reject",
        "What becomes of a message with a CR or LF that stands alone: `reject` with `550`, or `keep` its bytes.",
    ),
    variable(
        "MIME_MAX_PARTS",
        "1000",
        "The most MIME parts of a message that are read; what lies beyond is only in its raw bytes.",
    ),
    variable(
        "MIME_MAX_DEPTH",
        "64",
        "The most multiparts within each other that are taken apart; deeper ones are one attachment. At most 256.",
    ),
    variable(
        "MIME_MAX_HEADER_BYTES",
        "256KiB",
        "How many bytes of the header of a message, and of each part, are read; fields beyond are only in the raw bytes.",
    ),
    variable(
        "MIME_MAX_HEADERS",
        "2000",
        "How many fields of such a header are read; the others are only in the raw bytes.",
    ),
    variable(
        "ATTEMPTS_PER_MAILBOX",
        "50",
        "How many refused mails for one mailbox are remembered, 200 at most, and how many of one client that named no mailbox; \
         the oldest go.",
    ),
    variable(
        "ATTEMPTS_MAX",
        "10000",
        "How many refused mails are remembered in all; then the oldest of the client that has most of them go. Each takes at \
         most 3 KiB of memory. 0 remembers none.",
    ),
    variable(
        "API_RATE_PER_MINUTE",
        "100",
        "The API requests a minute of one client, those without a key counted by themselves: so many at once, then each as its \
         share of the minute passes; further ones are refused with `429`. 0 is without limit.",
    ),
    variable(
        "API_FAILED_KEYS_PER_MINUTE",
        "20",
        "The different wrong API keys a minute of one client, and as many forged tokens: so many at once, then each as its \
         share of the minute passes; until then no key, or no token, is looked at, and it reads `429`. 0 is without limit.",
    ),
    variable(
        "TRUSTED_PROXIES",
        "",
        "The networks and addresses, with commas between, whose `X-Forwarded-For` is believed: those of your reverse proxies. \
         Limits then count the clients behind them.",
    ),
    variable(
        "HTTP_HOSTS",
        "",
        "Further host names by which a loopback address may be asked, with commas between; else only `localhost`, addresses \
         and the names in this configuration. A proxy on the same machine that passes on the name of the host needs it.",
    ),
    variable(
        "CORS_ORIGINS",
        "",
        "The origins of web pages that may ask the API from a browser, with commas between, such as \
         `https://app.example.com`. Nothing is none.",
    ),
    variable("HTTP_MAX_CONNECTIONS", "1000", "The most HTTP connections at a time; further ones wait."),
    variable(
        "API_MAX_WAITERS",
        "1000",
        "The most requests that are held at a time until mail comes (`wait`, `for`), streams of events included; further ones are answered with `429`.",
    ),
    variable("API_MAX_WAITERS_PER_KEY", "500", "The most requests with the same key that are held at a time."),
    variable(
        "HTTP_MAX_CONNECTIONS_PER_IP",
        "250",
        "The most HTTP connections of one client at a time (IPv6: of one /64); further ones are answered with `429` and closed. Not counted for `TRUSTED_PROXIES`.",
    ),
    variable(
        "HTTP_HEADER_TIMEOUT",
        "10s",
        "How long an HTTP client may take for the TLS handshake and the header of a request.",
    ),
    variable("HTTP_REQUEST_TIMEOUT", "30s", "How long the server may take for the answer to a request."),
    variable(
        "HTTP_IDLE_TIMEOUT",
        "1m",
        "How long an HTTP connection stays open on which nothing moves, and a stream of events whose client takes nothing.",
    ),
    variable(
        "SHUTDOWN_GRACE",
        "8s",
        "How long a stop waits for messages and requests in progress; Docker kills after 10 s.",
    ),
    variable(
        "LOG_LEVEL",
        "info",
        "`error`, `warn`, `info`, `debug`, `trace`, or directives such as `restante::smtp=debug`.",
    ),
    variable("LOG_FORMAT", "text", "`text`, or `json` with one object a line."),
    variable("RESTANTE_URL", "http://127.0.0.1:8080", "Where `restante wait` finds the API of a running server."),
    secret(
        "RESTANTE_API_KEY",
        "The key with which it asks. Nothing means the first of `API_KEY`, or the key that a server with `STORE=embedded` has \
         generated in `DATA_DIR`.",
    ),
];

/// The text of `.env.example`: every variable with its meaning, set to its default in a comment.
#[must_use]
pub fn env_example() -> String {
    let mut text = String::from(
        "# The configuration of restante. Copy this file to .env and take the # off the lines that you change.\n\
         # Variables of the environment go before those of the file. A value with spaces or a $ stands in 'single quotes'.\n",
    );
    for variable in VARIABLES {
        text.push('\n');
        for line in wrapped(variable.meaning, 110) {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&format!("#{}={}\n", variable.name, variable.default));
    }
    text
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < width => line.push_str(&format!(" {word}")),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
