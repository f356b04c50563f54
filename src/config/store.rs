//! The variables of the store: where mail is kept, and which Redis that is.

use super::reader::Reader;
use super::value;
use crate::store::{Durability, Kind, RedisServer, RedisSettings, Settings};
use crate::units;

/// The longest prefix: it is in the name of every key.
const PREFIX_MAX_BYTES: usize = 32;
/// The most replicas that are waited for; nobody has more of each master.
const WAIT_REPLICAS_MAX: u64 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Embedded,
    Memory,
    Redis,
}

/// How messages are kept.
pub(super) fn settings(reader: &mut Reader<'_>) -> Settings {
    let choices =
        value::choice(&[("embedded", Choice::Embedded), ("memory", Choice::Memory), ("redis", Choice::Redis)]);
    let choice = reader.read("STORE", choices);
    let data_dir = reader.read("DATA_DIR", value::path);
    let min_free_bytes = reader.read("STORE_MIN_FREE", units::size);
    let redis = redis_settings(reader, choice);
    let kind = match (choice, redis) {
        (Choice::Memory, _) => Kind::Memory,
        (Choice::Redis, Some(redis)) => Kind::Redis(redis),
        // Where Redis is missing that has been noted as a mistake.
        (Choice::Embedded | Choice::Redis, _) => Kind::Embedded { data_dir, min_free_bytes },
    };
    Settings {
        kind,
        mailbox_max_messages: reader.read("MAILBOX_MAX_MESSAGES", value::number(1, 1_000_000)),
        max_bytes: reader.read("STORE_MAX_BYTES", units::size),
    }
}

fn redis_settings(reader: &mut Reader<'_>, choice: Choice) -> Option<RedisSettings> {
    let server = server(reader, choice);
    let ca_file = reader.read("REDIS_CA_FILE", value::optional(value::path));
    if ca_file.is_some() && server.as_ref().is_some_and(|server| !server.uses_tls()) {
        reader
            .mistake("REDIS_CA_FILE is set, but the connection is not encrypted: write REDIS_URL=rediss://".to_owned());
    }
    let prefix = reader.read("REDIS_PREFIX", prefix);
    let wait_replicas = reader.read("REDIS_WAIT_REPLICAS", value::number(0, WAIT_REPLICAS_MAX));
    let durability = value::choice(&[("warn", Durability::Warn), ("strict", Durability::Strict)]);
    let durability = reader.read("STORE_DURABILITY", durability);
    server.map(|server| RedisSettings { server, ca_file, prefix, wait_replicas, durability })
}

fn server(reader: &mut Reader<'_>, choice: Choice) -> Option<RedisServer> {
    let url = reader.read("REDIS_URL", value::optional(str::parse::<RedisServer>));
    let addr = reader.read("REDIS_ADDR", value::optional(RedisServer::at));
    let password = reader.read("REDIS_PASSWORD", value::optional(password));
    let is_set = ["REDIS_URL", "REDIS_ADDR"].into_iter().find(|name| reader.is_set(name));
    match is_set {
        Some(name) if choice != Choice::Redis => reader
            .mistake(format!("{name} is set, but mail is not kept there: write STORE=redis too, or take {name} out")),
        None if choice == Choice::Redis => reader.mistake(
            "STORE=redis needs REDIS_URL: write redis://host:port, or the address alone as REDIS_ADDR=host:port"
                .to_owned(),
        ),
        _ => {}
    }
    if reader.is_set("REDIS_URL") && reader.is_set("REDIS_ADDR") {
        reader.mistake("REDIS_URL and REDIS_ADDR are both set: REDIS_URL alone says it all".to_owned());
    }
    if choice == Choice::Redis && !reader.is_set("API_KEY") {
        reader.warn(
            "API_KEY is not set, and with STORE=redis a generated key is not kept: it is another one after each start, and at \
             each server that shares this Redis; set API_KEY, to the same on all of them"
                .to_owned(),
        );
    }
    let server = url.or(addr)?;
    match password {
        Some(_) if server.has_password() => {
            reader.mistake("REDIS_PASSWORD is set, and REDIS_URL has a password too: write it in one place".to_owned());
            Some(server)
        }
        Some(password) => Some(server.with_password(password)),
        None => Some(server),
    }
}

fn password(text: &str) -> value::Parsed<String> {
    if text.chars().any(char::is_control) {
        return Err("write a password without control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Anything else might end the hash tag in a key, or mean something in a pattern.
fn prefix(text: &str) -> value::Parsed<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if (1..=PREFIX_MAX_BYTES).contains(&text.len()) && text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("write 1 to {PREFIX_MAX_BYTES} letters, digits, or any of - _ . :"))
    }
}
