//! The recipes: what they ask the server for is there, under the names that they have for it. Those in Python are run too, by
//! tests/program/pypi.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{Server, blocks, fits, is_variable, names_in_capitals, operations_of, read, unknown_variables};

const LANGUAGES: [&str; 5] = ["python", "ts", "js", "java", "go"];

/// Variables of the program under test, and of the test itself.
const OF_THE_TEST: [&str; 4] = ["APP_URL", "RESTANTE_SMTP", "SMTP_HOST", "SMTP_PORT"];

/// The recipes in a language, joined.
fn recipes(language: &str) -> String {
    blocks(&read("docs/RECIPES.md"), language).concat()
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// What stands between each `from` and the next `to`.
fn between<'a>(code: &'a str, from: &'a str, to: &'a str) -> impl Iterator<Item = &'a str> {
    code.split(from).skip(1).filter_map(move |rest| Some(rest.split_once(to)?.0))
}

/// The paths that stand in quotes.
fn paths(code: &str) -> Vec<&str> {
    code.split("\"/").skip(1).map(|rest| rest.split(['"', '?']).next().unwrap()).collect()
}

/// What is read of a fresh address: by its name in brackets or behind a dot, or as a field of a structure.
fn members_read(code: &str) -> BTreeSet<String> {
    let in_brackets =
        ["made[\"", "urls[\"", "URLs[\"", "value(\""].into_iter().flat_map(|from| between(code, from, "\""));
    let behind_a_dot =
        code.split("urls.").skip(1).map(|rest| rest.split(|c| !char::is_alphanumeric(c)).next().unwrap());
    let unpacked = between(code, "const { ", " } = await").flat_map(|names| names.split(", "));
    let structure = between(code, "type Inbox struct {\n", "}").flat_map(str::lines).filter_map(|field| {
        let mut words = field.split_whitespace();
        // The one that is a test's own.
        words.next().filter(|name| name.starts_with(char::is_uppercase))
    });
    // Go finds a member in any case.
    let structure = structure.map(str::to_lowercase);
    in_brackets.chain(behind_a_dot).chain(unpacked).map(str::to_owned).chain(structure).collect()
}

/// What an address is asked for with.
fn members_sent(code: &str) -> BTreeSet<&str> {
    let bodies = ["KEY, {", "data: {", "body: {", "[]byte(`{"].into_iter().flat_map(|from| between(code, from, "}"));
    let names = bodies.flat_map(|body| body.split(',')).map(|item| item.split(':').next().unwrap());
    names.map(|name| name.trim().trim_matches('"')).filter(|name| is_name(name)).collect()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn each_recipe_asks_for_what_there_is() {
    let server = Server::start();
    let said = server.run("curl -s http://127.0.0.1:8080/openapi.json");
    let description: Value = serde_json::from_str(&said).unwrap();
    let operations = operations_of(&description);
    let schemas = &description["components"]["schemas"];
    let there = &keys(&schemas["Address"]["properties"]) | &keys(&schemas["AddressUrls"]["properties"]);
    let wanted = keys(&schemas["AddressRequest"]["properties"]);
    for language in LANGUAGES {
        let code = recipes(language);
        let asked: Vec<_> = paths(&code).into_iter().map(|path| format!("/{path}")).collect();
        assert!(asked.contains(&"/addresses".to_owned()), "{language}");
        for path in asked {
            assert!(
                operations.iter().any(|(_, known)| fits(&path, known)),
                "{language}: {path} is not in the description"
            );
        }
        let read = members_read(&code);
        assert!(read.contains("code"), "{language}: {read:?}");
        let unknown: Vec<_> = read.iter().filter(|name| !there.contains(name.as_str())).collect();
        assert!(unknown.is_empty(), "{language}: {unknown:?} is not in {there:?}");
        let sent = members_sent(&code);
        assert!(sent.is_subset(&wanted) && sent.is_empty() == (language == "java"), "{language}: {sent:?}");
        let variables: Vec<_> =
            unknown_variables(&code).into_iter().filter(|name| !OF_THE_TEST.contains(name)).collect();
        assert_eq!(variables, Vec::<&str>::new(), "{language}");
    }
}

/// The lines of YAML below the first `name:` that is indented so far, without that indentation.
fn below<'a>(yaml: &'a str, indentation: &str, name: &str) -> Vec<&'a str> {
    let head = format!("{indentation}{name}:");
    let inner = format!("{indentation}  ");
    let lines = yaml.lines().skip_while(|line| *line != head).skip(1);
    let block = lines.map_while(|line| line.strip_prefix(&inner)).filter(|line| !line.trim().starts_with('#'));
    block.collect()
}

#[test]
fn the_service_of_the_recipe_for_github_actions_is_one_that_starts() {
    let workflow = recipes("yaml");
    let service = below(&workflow, "    ", "services").join("\n");
    let env = below(&service, "  ", "env");
    assert_eq!(env.len(), 4, "{env:?}");
    for limit in ["API_RATE_PER_MINUTE: 0", "SMTP_RATE_PER_MINUTE: 0"] {
        assert!(env.contains(&limit), "a suite of sixty tests needs {limit}");
    }
    let mut config = Command::new(env!("CARGO_BIN_EXE_restante"));
    config.arg("config").env_clear();
    for line in env {
        let (name, value) = line.split_once(": ").unwrap();
        assert!(is_variable(name), "{name}");
        config.env(name, value.trim_matches('"'));
    }
    let shown = config.output().unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));

    let dockerfile = read("Dockerfile");
    let exposed: Vec<_> =
        dockerfile.lines().find_map(|line| line.strip_prefix("EXPOSE ")).unwrap().split(' ').collect();
    let ports = below(&service, "  ", "ports");
    for port in &ports {
        let (_, inside) = port.trim_start_matches("- ").split_once(':').unwrap();
        assert!(exposed.contains(&inside), "{port}");
    }
    assert_eq!(ports.len(), 2, "{ports:?}");
    for name in names_in_capitals(&workflow) {
        assert!(unknown_variables(name).is_empty() || ["SMTP_HOST", "SMTP_PORT"].contains(&name), "{name}");
    }
}
