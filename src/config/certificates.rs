//! The variables of TLS: files, ACME, and the host under which the API is reached.

use std::path::PathBuf;

use super::reader::Reader;
use super::{some, value};
use crate::mail::{Address, Domain};
use crate::tls::{AcmeSettings, FilePair, Settings};

/// Where certificates come from.
pub(super) fn settings(reader: &mut Reader<'_>, hostname: &str) -> Settings {
    let (certs, keys) = (reader.read("TLS_CERT_FILE", some_paths), reader.read("TLS_KEY_FILE", some_paths));
    if certs.len() != keys.len() {
        reader.mistake(format!(
            "TLS_CERT_FILE names {} and TLS_KEY_FILE {}: write one key for each certificate, in the same order",
            certs.len(),
            keys.len()
        ));
    }
    Settings {
        files: certs.into_iter().zip(keys).map(|(cert, key)| FilePair { cert, key }).collect(),
        files_are_named: ["TLS_CERT_FILE", "TLS_KEY_FILE"].into_iter().any(|name| reader.is_set(name)),
        hostname: hostname.to_owned(),
        acme: acme_settings(reader),
    }
}

fn acme_settings(reader: &mut Reader<'_>) -> Option<AcmeSettings> {
    let settings = AcmeSettings {
        domains: reader.read("ACME_DOMAINS", host_names),
        email: reader.read("ACME_EMAIL", value::optional(email)),
        directory_url: reader.read("ACME_DIRECTORY_URL", https_url),
        ca_file: reader.read("ACME_CA_FILE", value::optional(value::path)),
        cache_dir: reader.read("DATA_DIR", value::path).join("acme"),
    };
    (!settings.domains.is_empty()).then_some(settings)
}

/// Names without a port, several with commas between.
pub(super) fn host_names(text: &str) -> value::Parsed<Vec<String>> {
    let name = |item: &str| match item.parse() {
        Ok(Domain::Name(name)) if name.is_ascii() => Ok(name),
        _ => Err(format!(
            "{item:?} is not a host name; write names such as mx.example.com, several with commas, and no *"
        )),
    };
    value::list(text).map(name).collect()
}

/// A host, and a port where it is not the usual one.
pub(super) fn authority(text: &str) -> value::Parsed<String> {
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let port_is_right = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    match host.parse() {
        Ok(Domain::Name(name)) if name.is_ascii() && port_is_right => {
            Ok(port.map_or_else(|| name.clone(), |port| format!("{name}:{port}")))
        }
        _ => Err(
            "write a host name, with its port where that is not 443, such as api.example.com or api.example.com:8443"
                .to_owned(),
        ),
    }
}

fn email(text: &str) -> value::Parsed<String> {
    match Address::parse(text) {
        Ok(_) if text.is_ascii() => Ok(text.to_owned()),
        _ => Err("write one address, such as admin@example.com".to_owned()),
    }
}

fn https_url(text: &str) -> value::Parsed<String> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    match text.strip_prefix("https://") {
        Some(rest) if visible && rest.contains(|c: char| c != '/') => Ok(text.to_owned()),
        _ => Err("write a URL that begins with https://".to_owned()),
    }
}

fn some_paths(text: &str) -> value::Parsed<Vec<PathBuf>> {
    some(value::list(text).map(value::path).collect::<Result<_, _>>()?)
}
