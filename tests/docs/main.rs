//! The documents against the program: variables, commands, examples, links and names in them are true.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod alerts;
mod recipes;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use restante::clock::Timestamp;
use restante::config::{VARIABLES, env_example};
use restante::mail::Problem;
use restante::metrics::{Answered, CertificateTerm, Metrics};
use serde_json::Value;
use tempfile::TempDir;

/// Names in capitals that the documents mention and that are not ours.
const FOREIGN_NAMES: [&str; 4] =
    ["CAP_NET_BIND_SERVICE", "CYPRESS_RESTANTE_API_KEY", "CYPRESS_RESTANTE_URL", "RENEWED_LINEAGE"];

const SECOND: Duration = Duration::from_secs(1);

/// A program of its own for the commands of one document.
struct Server {
    child: Child,
    /// Held, as whoever prints into a closed pipe fails.
    _stdout: BufReader<ChildStdout>,
    dir: TempDir,
    smtp: String,
    http: String,
}

impl Server {
    /// Starts it as a developer does, with nothing set but the ports.
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
        command.current_dir(&dir).env_clear().envs([("SMTP_ADDR", "127.0.0.1:0"), ("HTTP_ADDR", "127.0.0.1:0")]);
        let log = dir.path().join("log");
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut row = |name: &str| loop {
            let mut line = String::new();
            assert_ne!(
                stdout.read_line(&mut line).unwrap(),
                0,
                "restante has stopped before it said its {name} address"
            );
            if let Some(value) = line.trim().strip_prefix(name) {
                return value.split_whitespace().next().unwrap().trim_start_matches("http://").to_owned();
            }
        };
        let (smtp, http) = (row("SMTP"), row("API"));
        Self { child, _stdout: stdout, dir, smtp, http }
    }

    /// Runs commands of a document in one shell, in the directory of the server; they print what is returned.
    fn run(&self, commands: &str) -> String {
        let commands = commands.replace("127.0.0.1:2525", &self.smtp).replace("127.0.0.1:8080", &self.http);
        let ours = Path::new(env!("CARGO_BIN_EXE_restante")).parent().unwrap();
        let commands = format!("PATH={}:$PATH\n{commands}", ours.display());
        // A reader sees what curl says; here an answer that is an error must end the shell.
        fs::write(self.dir.path().join(".curlrc"), "fail\nshow-error\nnoproxy = \"*\"\n").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-eu", "-c", &commands]).current_dir(&self.dir).env("CURL_HOME", self.dir.path());
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{commands}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every document of the repository.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs/", "certs/"] {
        for entry in fs::read_dir(path(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(format!("{folder}{name}"));
            }
        }
    }
    assert!(found.len() > 5, "{found:?}");
    found
}

/// The fenced blocks of a document in `language`.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    document.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The example in JSON that has this key.
fn example(document: &str, key: &str) -> Value {
    let key = format!("\"{key}\":");
    let found = blocks(document, "json").into_iter().find(|block| block.contains(&key));
    serde_json::from_str(&found.unwrap_or_else(|| panic!("no example has {key}"))).unwrap()
}

/// What stands in backticks, outside of fenced blocks.
fn code_spans(document: &str) -> Vec<String> {
    let prose: String = document.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The words of a text that are written as variables are.
fn names_in_capitals(text: &str) -> Vec<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.contains('_') && word.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter(|word| !word.contains(|c: char| c.is_ascii_lowercase()))
        .collect()
}

fn is_variable(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name)
}

fn unknown_variables(text: &str) -> Vec<&str> {
    names_in_capitals(text).into_iter().filter(|name| !is_variable(name) && !FOREIGN_NAMES.contains(name)).collect()
}

/// The sources below `folder`, joined.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all += &fs::read_to_string(&path).unwrap();
        }
    }
    all
}

/// Whether two values have the same keys, and values of the same kinds; null stands for any.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(a), Value::Object(b)) => {
            a.keys().eq(b.keys()) && a.iter().all(|(key, value)| same_shape(value, &b[key]))
        }
        (Value::Array(a), Value::Array(b)) => a.first().zip(b.first()).is_none_or(|(a, b)| same_shape(a, b)),
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

#[test]
fn the_example_configuration_is_the_one_of_the_program() {
    let expected = env_example();
    assert!(read(".env.example") == expected, ".env.example is not up to date; it should read:\n{expected}");
}

#[test]
fn the_readme_has_every_variable_with_its_default_and_its_meaning() {
    let row = |name: &str, default: &str, meaning: &str| format!("| `{name}` | {default} | {meaning} |\n");
    let mut table = "| Name | Default | Meaning |\n|---|---|---|\n".to_owned();
    for variable in VARIABLES {
        let default = match variable.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        table += &row(variable.name, &default, variable.meaning);
    }
    assert!(read("README.md").contains(&(table.clone() + "\n")), "the table of variables should read:\n{table}");
}

#[test]
fn a_variable_that_a_document_or_a_container_names_is_one() {
    for document in documents() {
        let text = read(&document);
        for span in code_spans(&text).iter().chain(&blocks(&text, "sh")).chain(&blocks(&text, "console")) {
            assert_eq!(unknown_variables(span), Vec::<&str>::new(), "{document}: {span}");
        }
    }
    for file in ["Dockerfile", "docker-compose.yml", "deny.toml"] {
        assert_eq!(unknown_variables(&read(file)), Vec::<&str>::new(), "{file}");
    }
    assert_eq!(unknown_variables("set SMTP_ADR or API_KEY=x"), ["SMTP_ADR"]);
}

/// The files that the build of the container sees are enough for cargo, and all that it copies is among them.
#[test]
fn the_container_is_built_from_what_is_let_into_it() {
    let context = TempDir::new().unwrap();
    let ignored = read(".dockerignore");
    let let_in: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for name in &let_in {
        let copied = Command::new("cp").arg("-r").arg(path(name)).arg(context.path()).status().unwrap();
        assert!(copied.success(), "{name}");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(&context);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let dockerfile = read("Dockerfile");
    let copies =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|copy| !copy.starts_with("--"));
    for copy in copies {
        let sources: Vec<_> = copy.split_whitespace().collect();
        for source in &sources[..sources.len() - 1] {
            assert!(let_in.contains(source), "{source} is not let in by .dockerignore");
        }
    }
}

#[test]
fn what_the_compose_file_starts_fills_neither_the_disk_nor_the_memory() {
    let compose = read("docker-compose.yml");
    let services = compose.split("\nservices:\n").nth(1).unwrap().split("\nvolumes:\n").next().unwrap();
    let is_service = |line: &&str| line.strip_prefix("  ").is_some_and(|name| name.starts_with(char::is_alphabetic));
    let count = services.lines().filter(is_service).count();
    assert!(count == 2 && services.matches("\n    logging: *logging\n").count() == count, "{services}");
    assert!(compose.contains("max-size:") && services.contains("--maxmemory\n"), "{compose}");
}

#[test]
fn the_commands_of_the_readme_do_what_they_say() {
    let commands = blocks(&read("README.md"), "sh").concat();
    assert!(
        commands.contains("swaks ") && commands.contains("smtplib") && commands.contains("-X DELETE"),
        "{commands}"
    );
    let server = Server::start();
    let said = server.run(&commands);
    assert!(said.contains("Hello from swaks") && said.contains("Hello from Python"), "{said}");
    assert!(said.contains("All messages for user have been cleared"), "{said}");
}

#[test]
fn the_commands_of_the_api_do_what_they_say() {
    let commands = blocks(&read("docs/API.md"), "sh").concat();
    let said = Server::start().run(&commands);
    let parts = [
        "Plain text content",
        "<p>HTML content</p>",
        "%PDF",
        "the code is 482913",
        "event: message",
        "731204",
        "https://example.com/signin?token=8f2a9c40d7be",
        "552 5.3.4 ",
        "has been deleted",
        "have been cleared",
    ];
    for part in parts {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// Whether `path` is one of those that `pattern` stands for.
fn fits(path: &str, pattern: &str) -> bool {
    let (path, pattern): (Vec<_>, Vec<_>) = (path.split('/').collect(), pattern.split('/').collect());
    path.len() == pattern.len() && path.iter().zip(&pattern).all(|(part, own)| own.starts_with('{') || part == own)
}

/// The method and the path of each request that commands make with curl.
fn requests(commands: &str) -> Vec<(String, String)> {
    let request = |line: &str| {
        let (_, url) = line.split_once("http://127.0.0.1:8080").unwrap();
        // A path that an answer has named ends with what it is called there.
        let named = url.strip_prefix("$(").map(|command| command.split(')').next().unwrap());
        let named = named.map(|command| format!("/{}", command.rsplit(' ').next().unwrap()));
        let path = named.unwrap_or_else(|| url.split(['"', ' ', '?', ')', '\n']).next().unwrap().to_owned());
        let method = line.split_once("-X ").map_or("GET", |(_, rest)| rest.split(' ').next().unwrap());
        (method.to_owned(), path)
    };
    commands.lines().filter(|line| line.contains("curl ") && line.contains("8080")).map(request).collect()
}

/// What the server says of itself: each method and each path.
fn operations() -> Vec<(String, String)> {
    let said = Server::start().run("curl -s http://127.0.0.1:8080/openapi.json");
    operations_of(&serde_json::from_str(&said).unwrap())
}

/// Each method and each path of a description.
fn operations_of(description: &Value) -> Vec<(String, String)> {
    let paths = description["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()));
        methods.collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[test]
fn the_commands_of_the_command_line_do_what_they_say() {
    let blocks = blocks(&read("docs/CLI.md"), "sh");
    let (moving, running) = blocks.split_last().unwrap();
    let mut server = Server::start();
    let said = server.run(&running.concat());
    assert!(said.contains("\n482913\n") && said.matches("250 2.0.0 kept as ").count() == 2, "{said}");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    server.run(moving);
    assert!(server.dir.path().join("backup/bob.mbox").exists() && server.dir.path().join("ada/user/new").exists());
}

#[test]
fn the_api_has_every_route_in_words_and_in_a_command_that_is_run() {
    let document = read("docs/API.md");
    let requests = requests(&blocks(&document, "sh").concat());
    let operations = operations();
    assert!(operations.len() > 20, "{operations:?}");
    // A path below latest is that of a message; the document says so once for all of them.
    for (method, path) in operations.iter().filter(|(_, path)| !path.contains("/latest/")) {
        assert!(document.contains(&format!("`{method} {path}`")), "{method} {path} is not in docs/API.md");
        let is_tried = |(tried, url): &(String, String)| {
            tried == method && (fits(url, path) || path.ends_with(&format!("{{id}}{url}")))
        };
        let is_other =
            |url: &str| ["/latest", "/none", "/attempts", "/events", "/claim"].iter().any(|end| url.ends_with(end));
        let found =
            requests.iter().any(|request| is_tried(request) && !(path.ends_with("/{id}") && is_other(&request.1)));
        assert!(found, "no command of docs/API.md asks for {method} {path}");
    }
    let named = ["/openapi.json", "/docs", "/code", "/release", "/done", "/extend"];
    for (method, url) in requests.iter().filter(|(_, url)| !named.contains(&url.as_str())) {
        let known = operations.iter().any(|(known, path)| known == method && fits(url, path));
        assert!(known, "{method} {url} is not in the description");
    }
}

#[test]
fn the_example_message_looks_like_a_real_one() {
    let (readme, api) = (read("README.md"), read("docs/API.md"));
    let example: Value = serde_json::from_str(&blocks(&readme, "json")[0]).unwrap();
    let server = Server::start();
    server.run(&blocks(&api, "sh")[0]);
    let list = server.run("curl -s -H \"X-API-KEY: $(cat data/api-key)\" http://127.0.0.1:8080/emails/user");
    let list: Value = serde_json::from_str(&list).unwrap();
    assert!(same_shape(&example, &list), "{list:#}");
    let keys: Vec<_> = list[0].as_object().unwrap().keys().collect();
    assert!(keys.len() > 8);
    for key in keys {
        assert!(api.contains(&format!("| `{key}` |")), "{key} has no row in docs/API.md");
    }
}

#[test]
fn the_example_attempt_looks_like_a_real_one() {
    let api = read("docs/API.md");
    let example = example(&api, "attempted_at");
    let commands = blocks(&api, "sh");
    let trying = commands.iter().position(|block| block.contains("SIZE=99999999")).unwrap();
    let said =
        Server::start().run(&["API_KEY=$(cat data/api-key)\n", &commands[trying], &commands[trying + 1]].concat());
    let list: Value = serde_json::from_str(&said).unwrap();
    assert!(same_shape(&example, &list), "{list:#}");
    assert_eq!(list[0]["reply"], example[0]["reply"]);
    for key in list[0].as_object().unwrap().keys() {
        let is_in_row =
            |row: &str| row.starts_with("| `") && row.split(" | ").next().unwrap().contains(&format!("`{key}`"));
        assert!(api.lines().any(is_in_row), "{key} has no row in docs/API.md");
    }
}

#[test]
fn the_example_address_looks_like_a_real_one() {
    let api = read("docs/API.md");
    let said =
        Server::start().run("curl -s -X POST -H \"X-API-KEY: $(cat data/api-key)\" http://127.0.0.1:8080/addresses");
    let fresh: Value = serde_json::from_str(&said).unwrap();
    assert!(same_shape(&example(&api, "urls"), &fresh), "{fresh:#}");
}

/// What a server tells that has had everything happen to it that makes a series.
fn told_by_all_metrics() -> String {
    let metrics = Metrics::new(Timestamp::from_millis(0));
    metrics.watch_task_panics(|| 0);
    metrics.smtp.refusal(550, None);
    metrics.http.answered(Answered { route: None, method: "", status: 404, problem: Some("x"), took: Some(SECOND) });
    let term = |source| CertificateTerm { source, names: Vec::new(), expires_at: Timestamp::from_millis(0) };
    metrics.tls.in_use(["files", "acme", "self-signed"].map(term).to_vec());
    metrics.text()
}

#[test]
fn every_metric_has_its_row_and_its_type() {
    let text = told_by_all_metrics();
    let mut told: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
    let document = read("docs/METRICS.md");
    let row = |line: &str| line.strip_prefix("| `")?.split_once("` | ").map(|(name, rest)| format!("{name} {rest}"));
    let rows = document.lines().filter_map(row);
    let mut documented: Vec<_> = rows.map(|row| row.split(" |").next().unwrap().to_owned()).collect();
    told.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, told);
    let named = blocks(&document, "yaml").concat();
    let names =
        named.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("restante_"));
    for name in names {
        let metric = name.trim_end_matches("_bucket");
        assert!(told.iter().any(|told| told.split(' ').next() == Some(metric)), "there is no metric {name}");
    }
}

#[test]
fn each_problem_has_its_row() {
    let rows: String =
        Problem::ALL.iter().map(|problem| format!("| `{}` | {} |\n", problem.id(), problem.text())).collect();
    let table = format!("| Id | The message, or the part |\n|---|---|\n{rows}");
    assert!(read("docs/MIME.md").ends_with(&table), "the table of problems should read:\n{table}");
}

#[test]
fn links_lead_to_files() {
    for document in documents() {
        let text = read(&document);
        let folder = path(&document).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            let is_ours = !link.starts_with("https://") && !file.is_empty();
            assert!(!is_ours || folder.join(file).exists(), "{document}: {link}");
        }
    }
}

#[test]
fn the_architecture_has_the_table_of_layers_that_is_enforced() {
    let (enforced, document) = (read("tests/layers.rs"), read("docs/ARCHITECTURE.md"));
    let table = enforced.split("const LAYERS").nth(1).unwrap().split("];\n").next().unwrap();
    let mut rows = 0;
    for line in table.lines().filter(|line| line.trim_start().starts_with("(\"")) {
        let mut names = line.split('"').skip(1).step_by(2);
        let module = names.next().unwrap();
        let allowed: Vec<_> = names.collect();
        let written = document.lines().find(|row| row.starts_with(&format!("| `{module}` |")));
        let last = written.unwrap_or_else(|| panic!("{module} has no row")).trim_end_matches(" |").rsplit("| ").next();
        assert_eq!(
            last.unwrap(),
            if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") },
            "{module}"
        );
        rows += 1;
    }
    assert!(rows > 8, "{table}");
}

#[test]
fn a_test_that_a_document_names_is_one() {
    let all = sources(&path("src")) + &sources(&path("tests"));
    let mut named = 0;
    for document in documents() {
        for span in code_spans(&read(&document)) {
            let is_metric = ["restante_", "process_"].iter().any(|prefix| span.starts_with(prefix));
            let is_test =
                !is_metric && span.matches('_').count() > 2 && span.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(!is_test || all.contains(&format!("fn {span}(")), "{document}: there is no test {span}");
            named += usize::from(is_test);
        }
    }
    assert!(named > 10, "the promises have their tests in the documents");
}

#[test]
fn every_dialogue_is_in_the_table_of_the_rfcs_and_no_other() {
    let text = read("docs/SMTP.md");
    let named = code_spans(&text);
    let entries = fs::read_dir(path("tests/dialogues")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
    let mut dialogues: Vec<_> = files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    dialogues.sort_unstable();
    for dialogue in &dialogues {
        assert!(named.iter().any(|span| span == dialogue), "{dialogue} is not in docs/SMTP.md");
    }
    let is_dialogue = |span: &&String| span.contains('-') && span.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    for span in named.iter().filter(is_dialogue) {
        let is_haproxys = span.starts_with("send-proxy");
        assert!(is_haproxys || dialogues.contains(&span.as_str()), "there is no dialogue {span}");
    }
}

#[test]
fn a_reply_that_a_document_names_is_given() {
    let all: String = sources(&path("src/smtp")) + &sources(&path("src/inbox"));
    let all: String = all.split_whitespace().collect();
    let mut named = 0;
    for document in documents() {
        for span in code_spans(&read(&document)) {
            let Some((code, status)) = span.split_once(' ') else { continue };
            if code.len() == 3 && span.chars().all(|c| c.is_ascii_digit() || c == ' ' || c == '.') {
                let given = format!("Reply::new({code},({}),", status.replace('.', ","));
                assert!(all.contains(&given), "{document}: nobody says {span}");
                named += 1;
            }
        }
    }
    assert!(named > 10, "the replies are in the documents");
}

#[test]
fn what_comes_with_the_program_is_there() {
    assert!(read("LICENSE-MIT").contains("The restante contributors"));
    assert!(read("LICENSE-APACHE").contains("END OF TERMS AND CONDITIONS"));
    assert!(read("CHANGELOG.md").contains("\n## [Unreleased]\n"));
    assert!(read("CONTRIBUTING.md").contains("scripts/test") && read("README.md").contains("scripts/test"));
    assert!(read("SECURITY.md").contains("private vulnerability reporting"));
}
