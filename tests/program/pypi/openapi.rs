//! The description of the API, looked at by others: whether it is one, and whether the server keeps to it.

use serde_json::Value;

use super::installed;
use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::{file, fixture, run};

/// How many mails there are to be deleted.
const SPARE: usize = 40;

/// Sends `raw` to `mailbox` so many times.
fn send(server: &Restante, mailbox: &str, raw: &str, times: usize) {
    let mut client = Client::connect(server.smtp);
    for _ in 0..times {
        client.begin(&format!("{mailbox}@example.com"));
        assert!(client.say(&format!("{raw}.")).starts_with("250 "));
    }
}

#[test]
fn the_description_is_valid_openapi_and_each_example_is_what_its_schema_says() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let description = server.get("/openapi.json");
    let path = file(dir.path(), "openapi.json", &description);
    run(installed("openapi-spec-validator").arg(path), b"").ok();
    let seen = run(installed("python").arg(fixture("pypi/examples.py")), &description).ok();
    assert!(seen.trim().parse::<usize>().unwrap() > 100, "{seen}");
}

/// schemathesis asks for each operation of the description what is right and what is wrong, and compares the answers with it.
///
/// Not asked is whether all that fits its schema is taken: no schema can say what a query or the name of a mailbox is.
#[test]
fn schemathesis_finds_nothing_that_is_not_as_described() {
    let limits = [("API_RATE_PER_MINUTE", "0"), ("API_FAILED_KEYS_PER_MINUTE", "0"), ("SMTP_RATE_PER_MINUTE", "0")];
    let (server, dir) = Restante::start_anywhere(&limits);
    let description: Value = serde_json::from_slice(&server.get("/openapi.json")).unwrap();
    let raw = &description["paths"]["/emails/{mailbox}/{id}/raw"]["get"]["responses"]["200"]["content"];
    let raw = raw["message/rfc822"]["example"].as_str().unwrap();
    send(&server, "user", raw, 3);
    send(&server, "spare", raw, SPARE);

    let mut schemathesis = installed("schemathesis");
    schemathesis.current_dir(&dir).env("PYTHONPATH", fixture("pypi")).env("SCHEMATHESIS_HOOKS", "hooks");
    schemathesis.env("RESTANTE_URL", server.url("")).env("RESTANTE_API_KEY", &server.key);
    schemathesis.args(["run", &server.url("/openapi.json"), "--header", &format!("X-API-KEY: {}", server.key)]);
    schemathesis.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--continue-on-failure"]);
    // The same requests each time: a pull request fails by what it has changed.
    schemathesis.args([
        "--phases",
        "examples,coverage,fuzzing",
        "--seed",
        "1",
        "--max-examples",
        "5",
        "--workers",
        "4",
    ]);
    schemathesis.args(["--max-time", "40", "--request-timeout", "10", "--no-color"]);
    let said = run(&mut schemathesis, b"").ok();
    assert!(said.contains("Test Phases:") && !said.contains("Missing test data"), "{said}");
}
