//! The recipes of docs/RECIPES.md that are Python, as they stand there, with a program under test that sends mail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::installed;
use crate::process::Restante;
use crate::programs::{fixture, program, run};

/// The program under test; killed when it is dropped.
struct SignUp {
    child: Child,
    url: String,
}

impl SignUp {
    /// It sends its mail to `server`.
    fn start(server: &Restante) -> Self {
        let mut python = program("python3");
        python.arg(fixture("pypi/sign_up.py")).arg(server.smtp.to_string());
        let mut child = python.stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().to_owned() }
    }
}

impl Drop for SignUp {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Writes each recipe in Python into `dir`, under the name in its first line.
fn write_recipes(dir: &Path) -> usize {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/RECIPES.md")).unwrap();
    let recipes: Vec<_> = document.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for recipe in &recipes {
        let name = recipe.lines().next().unwrap().trim_start_matches("# ");
        fs::write(dir.join(name), recipe).unwrap();
    }
    recipes.len()
}

#[test]
fn the_recipes_for_pytest_and_playwright_work_as_they_stand() {
    let (server, _data) = Restante::start_anywhere(&[]);
    let app = SignUp::start(&server);
    let dir = TempDir::new().unwrap();
    assert_eq!(write_recipes(dir.path()), 3);
    let mut pytest = installed("python");
    pytest.current_dir(&dir).args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    pytest.env("RESTANTE_URL", server.url("")).env("RESTANTE_API_KEY", &server.key);
    pytest.env("RESTANTE_SMTP", server.smtp.to_string()).env("APP_URL", &app.url);
    pytest.env("CHROMIUM", "/usr/bin/chromium").env("HOME", dir.path());
    let said = run(&mut pytest, b"").ok();
    assert!(said.contains("3 passed"), "{said}");
}
