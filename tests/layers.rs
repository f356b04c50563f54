//! A module may name only the modules that the design gives it; no circles, no short cuts.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and those it may name, in the order of the layers.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("units", &[]),
    ("metrics", &["clock"]),
    ("mail", &["clock"]),
    ("connections", &["metrics", "mail"]),
    ("shutdown", &[]),
    ("tls", &["clock", "metrics", "shutdown"]),
    ("smtp", &["metrics", "mail", "connections", "shutdown"]),
    ("store", &["clock", "metrics", "mail", "shutdown"]),
    ("inbox", &["clock", "units", "metrics", "mail", "smtp", "store"]),
    ("http", &["clock", "units", "metrics", "mail", "connections", "shutdown", "tls", "inbox"]),
    ("config", &["units", "mail", "tls", "smtp", "store", "inbox", "http"]),
    ("app", &["clock", "metrics", "mail", "shutdown", "tls", "smtp", "store", "inbox", "http", "config"]),
    ("cli", &["clock", "units", "metrics", "mail", "shutdown", "store", "inbox", "config"]),
];

/// What else the design keeps in one place: a text, and the modules that may hold it.
const PLACES: &[(&str, &[&str])] = &[
    ("std::env", &["config"]),
    ("SystemTime", &["clock"]),
    ("std::time::Instant", &["clock"]),
    ("tokio::spawn", &["shutdown"]),
    ("rusqlite", &["store"]),
    ("fred", &["store"]),
    ("mail_parser", &["mail"]),
    ("prometheus_client", &["metrics"]),
    ("axum", &["http"]),
    ("lol_html", &["http"]),
    ("cssparser", &["http"]),
    ("utoipa", &["mail", "http"]),
    ("async fn", &["shutdown", "tls", "smtp", "store", "inbox", "http", "app", "cli"]),
];

/// Every way in which `source`, a part of `module`, breaks the rules.
fn breaches(module: &str, source: &str) -> Vec<String> {
    let allowed = LAYERS.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
    let Some(allowed) = allowed else { return vec![format!("{module} is not in the table of layers")] };
    let code = without_comments(source);
    let named = named_modules(&code).into_iter().filter(|named| named != module && !allowed.contains(&named.as_str()));
    let misplaced = PLACES.iter().filter(|(text, homes)| !homes.contains(&module) && code.contains(text));
    named
        .map(|named| format!("{module} names {named}"))
        .chain(misplaced.map(|(text, homes)| format!("{module} has {text}, which belongs to {homes:?}")))
        .collect()
}

/// Comments and what only tests use are free to name anything.
fn without_comments(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules behind `crate::`, those in braces too: `use crate::{http, tls}`.
fn named_modules(code: &str) -> Vec<String> {
    let mut named = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => named.push(first_word(&std::mem::take(&mut item))),
                        c if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                named.push(first_word(&item));
            }
            None => named.push(first_word(rest)),
        }
    }
    named.retain(|name| !name.is_empty());
    named
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_module_keeps_to_its_layer() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let is_test = inside.file_stem().is_some_and(|stem| stem == "tests" || stem == "contract");
        if !matches!(module, "lib" | "main") && !is_test {
            let source = fs::read_to_string(&path).unwrap();
            all.extend(breaches(module, &source).into_iter().map(|breach| format!("{}: {breach}", path.display())));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn the_map_lists_every_module_in_the_order_of_the_layers() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let listed: Vec<_> = map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let layers: Vec<_> = LAYERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, layers);
    for (at, (module, allowed)) in LAYERS.iter().enumerate() {
        let above: Vec<_> = LAYERS[..at].iter().map(|(name, _)| *name).collect();
        assert!(allowed.iter().all(|name| above.contains(name)), "{module} names a module below it");
    }
}

/// A file that no `mod` names is no error of the compiler, and its tests are green for ever.
#[test]
fn every_file_is_a_module_of_something() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files: Vec<_> = ["src", "tests", "benches"].iter().flat_map(|folder| sources(&root.join(folder))).collect();
    let shared: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    for path in &files {
        let (folder, name) = (path.parent().unwrap(), path.file_stem().unwrap().to_str().unwrap());
        let is_root = matches!(name, "main" | "lib") || folder == root.join("tests") || folder == root.join("benches");
        let (folder, name) = match name {
            "mod" => (folder.parent().unwrap(), folder.file_name().unwrap().to_str().unwrap()),
            name => (folder, name),
        };
        let parents = ["mod.rs", "main.rs", "lib.rs"].map(|parent| fs::read_to_string(folder.join(parent)));
        let is_named = parents.iter().flatten().any(|parent| parent.contains(&format!("mod {name};")));
        let is_shared = folder.ends_with("support") && shared.contains(&format!("support/{name}.rs\"]"));
        assert!(is_root || is_named || is_shared, "no file says `mod {name};` for {}", path.display());
    }
}

#[test]
fn a_planted_breach_is_found() {
    for (module, source) in [
        ("smtp", "use crate::store::Store;"),
        ("http", "use crate::{mail::Address, smtp, inbox::{Inbox}};"),
        ("mail", "fn f() { crate::config::load() }"),
        ("store", "use crate::{\n    mail,\n    http::view,\n};"),
        ("inbox", "let key = std::env::var(\"KEY\");"),
        ("smtp", "use std::time::{Duration};\nlet now = std::time::Instant::now();"),
        ("http", "let connection = rusqlite::Connection::open(path);"),
        ("mail", "pub async fn parse() {}"),
        ("surprise", ""),
    ] {
        assert_eq!(breaches(module, source).len(), 1, "{module}: {source}");
    }
    for (module, source) in [
        ("smtp", "// crate::store is not named here\nuse crate::mail::Address;"),
        ("mail", "use crate::clock::Timestamp;\n#[cfg(test)]\nmod tests { use crate::store; }"),
        ("app", "use crate::{http, store};"),
    ] {
        assert_eq!(breaches(module, source), Vec::<String>::new(), "{module}: {source}");
    }
}
