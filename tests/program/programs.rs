//! Other programs, run to their end.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// How long anything may take before the test has failed; slow machines run many tests at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// How long nobody looks whether a program has ended.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a program ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// A program that `scripts/test` installs.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    // All connections here are on loopback, where a proxy of the machine cannot reach.
    command.env("no_proxy", "*").env("NO_PROXY", "*");
    command
}

/// Postfix's source of mail.
pub(crate) fn smtp_source() -> Command {
    // Debian keeps it out of the path of most users.
    let path =
        ["/usr/sbin/smtp-source", "/usr/local/sbin/smtp-source"].into_iter().find(|path| Path::new(path).exists());
    program(path.unwrap_or("smtp-source"))
}

/// Runs `command` to its end, with `input` to read.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Ended {
    let name = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => panic!("{name} is not installed; scripts/test installs it"),
        _ => panic!("{name} cannot be run: {error}"),
    });
    let mut stdin = child.stdin.take().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    thread::scope(|scope| {
        // A program may end before it has read all; what it says about that is the result.
        scope.spawn(move || _ = stdin.write_all(input));
        let stdout = scope.spawn(|| read(stdout));
        let stderr = scope.spawn(|| read(stderr));
        let code = wait(&mut child, &name).code();
        let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
        Ended { code, stdout: stdout.join().unwrap(), stderr }
    })
}

/// Waits for the end of a process; kills it at the deadline.
pub(crate) fn wait(child: &mut Child, name: &str) -> ExitStatus {
    for _ in 0..DEADLINE.as_millis() / LOOK_EVERY.as_millis() {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill().unwrap();
    panic!("{name} does not end");
}

/// Waits until something is there; panics when it has been looked for too often.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 0..DEADLINE.as_millis() / PAUSE.as_millis() {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(PAUSE);
    }
    panic!("{what} has not come");
}

fn read(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

impl Ended {
    /// What it said, in both ways.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }

    /// What it said, after it has ended well.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text());
        self.text()
    }
}

/// The library that bends the clock of a program, as LD_PRELOAD wants it; only the `faketime` beside it knows where it is.
pub(crate) fn bent_clock() -> String {
    let preloaded = run(program("faketime").args(["-m", "-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]), b"").ok();
    preloaded.split(':').map(str::trim).find(|path| path.contains("faketime")).unwrap().to_owned()
}

/// A file of the tests beside this one.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program").join(name)
}

/// A file in `dir` that holds `content`.
pub(crate) fn file(dir: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = dir.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}
