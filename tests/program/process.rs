//! The real program as a child process, on ports that the system gives and in a directory of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use crate::programs;

/// A running `restante`; killed when it is dropped.
pub(crate) struct Restante {
    child: Child,
    /// What it told the person who started it.
    pub(crate) welcome: String,
    pub(crate) smtp: SocketAddr,
    /// Where it speaks SMTP over TLS from the beginning.
    pub(crate) smtps: Option<SocketAddr>,
    /// Where it speaks HTTP in clear text.
    pub(crate) http: SocketAddr,
    /// Where it speaks HTTP over TLS.
    pub(crate) https: Option<SocketAddr>,
    pub(crate) key: String,
}

/// The program in `dir`, with the data below it and nothing of our own environment, on loopback.
pub(crate) fn command(dir: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restante"));
    command.current_dir(dir).env_clear();
    command.env("SMTP_ADDR", "127.0.0.1:0").env("HTTP_ADDR", "127.0.0.1:0");
    command.envs(variables.iter().copied());
    command
}

impl Restante {
    /// Starts the program in `dir` and waits until it says that it is ready.
    pub(crate) fn start(dir: &Path, variables: &[(&str, &str)]) -> Self {
        let log = File::options().create(true).append(true).open(log_file(dir)).unwrap();
        Self::start_with_log(dir, variables, log)
    }

    /// Starts it with `log` as its standard error.
    pub(crate) fn start_with_log(dir: &Path, variables: &[(&str, &str)], log: impl Into<Stdio>) -> Self {
        Self::run(command(dir, variables).stderr(log), dir, variables)
    }

    /// Starts it with so few open files at a time as a shell may give it, unless it asks for more.
    pub(crate) fn start_with_open_files(dir: &Path, variables: &[(&str, &str)], soft_limit: u64) -> Self {
        Self::start_behind(&format!("ulimit -S -n {soft_limit}"), dir, variables)
    }

    /// Starts it in the place of a shell that has run `preparation`.
    pub(crate) fn start_behind(preparation: &str, dir: &Path, variables: &[(&str, &str)]) -> Self {
        let restante = command(dir, variables);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{preparation} && exec \"$0\"")]).arg(restante.get_program());
        shell.current_dir(dir).env_clear();
        shell.envs(restante.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::run(shell.stderr(File::create(log_file(dir)).unwrap()), dir, variables)
    }

    fn run(command: &mut Command, dir: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut welcome = String::new();
        while !welcome.contains("curl ") {
            match lines.next() {
                Some(line) => welcome.push_str(&(line.unwrap() + "\n")),
                None => panic!("restante did not start: {:?}", std::fs::read_to_string(log_file(dir))),
            }
        }
        let configured = variables.iter().find(|(name, _)| *name == "API_KEY");
        let api = welcome.lines().find(|line| line.trim_start().starts_with("API")).unwrap();
        let addr = |scheme: &str| {
            let rest = api.split(scheme).nth(1)?;
            Some(rest.split([' ', ',']).next().unwrap().parse().unwrap())
        };
        Self {
            smtp: value(&welcome, "SMTP ").parse().unwrap(),
            smtps: welcome.contains("SMTPS ").then(|| value(&welcome, "SMTPS ").parse().unwrap()),
            http: addr("http://").unwrap(),
            https: addr("https://"),
            key: configured.map_or_else(|| value(&welcome, "key").to_owned(), |(_, key)| (*key).to_owned()),
            child,
            welcome,
        }
    }

    /// Starts it in a directory that the caller has to keep.
    pub(crate) fn start_anywhere(variables: &[(&str, &str)]) -> (Self, TempDir) {
        let dir = TempDir::new().unwrap();
        (Self::start(dir.path(), variables), dir)
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Its number as a process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the program.
    pub(crate) fn wait(mut self) -> ExitStatus {
        programs::wait(&mut self.child, "restante")
    }

    /// Kills it as a crash would, at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// From now on `VmHWM` is the most that it took since then.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// A line of its `/proc/<pid>/status`, in kB.
    pub(crate) fn memory_kb(&self, line: &str) -> u64 {
        let mut status = String::new();
        File::open(format!("/proc/{}/status", self.child.id())).unwrap().read_to_string(&mut status).unwrap();
        let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
        value.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Restante {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Sends a signal to a process by its name, such as `TERM`.
pub(crate) fn signal(process: &Child, name: &str) {
    // The shell's own kill: small systems have no program of that name.
    let status = Command::new("sh").args(["-c", "kill -s $0 $1", name, &process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Where its log goes.
pub(crate) fn log_file(dir: &Path) -> PathBuf {
    dir.join("restante.log")
}

/// The first word behind `name` in the welcome.
fn value<'a>(welcome: &'a str, name: &str) -> &'a str {
    let row = welcome.lines().find_map(|line| line.trim_start().strip_prefix(name)).unwrap();
    row.split_whitespace().next().unwrap()
}
