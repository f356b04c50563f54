//! A Redis server as a child process: on a free port, in a directory of its own, gone with the test that started it.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// How long anything may take before the test has failed; slow machines run many tests at once.
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(5);
/// How often another port is tried where somebody else was quicker.
const PORTS: usize = 10;

/// Runs the server until there is nothing more to read, so that it does not outlive a test that dies, however it dies.
/// A line to read means that the directory is still needed.
const GUARD: &str = r#"
    "$3" "$1/redis.conf" $2 >/dev/null 2>&1 &
    echo $!
    read -r keep
    kill -KILL $!
    wait
    [ "$keep" ] || rm -rf "$1"
"#;

/// The servers that the tests know: that of this machine, and others that `scripts/test` fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    Installed,
    Redis62,
    Redis8,
    Valkey8,
}

impl Release {
    /// Its server.
    fn program(self) -> PathBuf {
        let name = match self {
            Self::Installed => return PathBuf::from("redis-server"),
            Self::Redis62 => "redis-6.2",
            Self::Redis8 => "redis-8",
            Self::Valkey8 => "valkey-8",
        };
        // The tests of the library are not told where the target directory is.
        let test = env::current_exe().unwrap();
        let places = test.ancestors().map(|dir| dir.join("tmp/redis").join(name).join("redis-server"));
        places.into_iter().find(|place| place.exists()).unwrap_or_else(|| panic!("{self:?}: scripts/test fetches it"))
    }

    /// Whether a cluster may have a port of its own for what its nodes say to each other. Before it was 10,000 behind the other.
    pub(crate) fn has_cluster_port(self) -> bool {
        self != Self::Redis62
    }
}

/// A running `redis-server`. It keeps what it acknowledged through a kill, and refuses to write when it is full.
pub(crate) struct Redis {
    dir: PathBuf,
    port: u16,
    program: PathBuf,
    flag: &'static str,
    guard: Option<Child>,
    pid: u32,
}

impl Redis {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with lines of its own in `redis.conf`; they go before those that are there.
    pub(crate) fn start_with(lines: &[&str]) -> Self {
        Self::start_release(Release::Installed, lines)
    }

    /// Starts a server of this release.
    pub(crate) fn start_release(release: Release, lines: &[&str]) -> Self {
        Self::start_program(&release.program(), "", lines)
    }

    /// Starts it with a flag, such as `--sentinel`.
    pub(crate) fn start_as(flag: &'static str, lines: &[&str]) -> Self {
        Self::start_program(&Release::Installed.program(), flag, lines)
    }

    fn start_program(program: &Path, flag: &'static str, lines: &[&str]) -> Self {
        let started = (0..PORTS).find_map(|_| Self::start_at(free_port(), program, flag, lines));
        started.expect("redis-server does not start; scripts/test installs it")
    }

    fn start_at(port: u16, program: &Path, flag: &'static str, lines: &[&str]) -> Option<Self> {
        let dir = TempDir::with_prefix("restante-redis-").unwrap().keep();
        let of_a_store = "appendonly yes\nappendfsync always\nsave \"\"\nmaxmemory 8gb\nmaxmemory-policy noeviction\n";
        let kept = if flag.is_empty() { of_a_store } else { "" };
        let shown = dir.display();
        let configuration = format!(
            "bind 127.0.0.1\nport {port}\ndir {shown}\nlogfile {shown}/redis.log\n{kept}{}\n",
            lines.join("\n")
        );
        fs::write(dir.join("redis.conf"), configuration).unwrap();
        let mut redis = Self { dir, port, program: program.to_owned(), flag, guard: None, pid: 0 };
        redis.run();
        redis.is_up().then_some(redis)
    }

    fn run(&mut self) {
        let mut shell = Command::new("sh");
        shell.args(["-c", GUARD, "sh"]).arg(&self.dir).arg(self.flag).arg(&self.program);
        let mut guard = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.pid = pid.trim().parse().unwrap();
        self.guard = Some(guard);
    }

    /// Waits until the server answers; false if it has ended.
    fn is_up(&self) -> bool {
        until("an answer of redis-server", || match ping(self.addr()) {
            Some(answer) if !answer.starts_with("-LOADING") => Some(true),
            _ if !Path::new(&format!("/proc/{}/exe", self.pid)).exists() => Some(false),
            _ => None,
        })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// What `REDIS_URL` is to be.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs one command by `redis-cli` and gives its answer, without the line end.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-p", &self.port.to_string()]).args(command).output();
        let output = output.expect("redis-cli is not installed; scripts/test installs it");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Kills it as a crash would, at once; its files stay.
    pub(crate) fn kill(&mut self) {
        let Some(mut guard) = self.guard.take() else { return };
        guard.stdin.take().unwrap().write_all(b"keep\n").unwrap();
        guard.wait().unwrap();
    }

    /// Starts it again after a kill, on the same port and with what it had kept, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        until("the port of before", || {
            self.kill();
            self.run();
            self.is_up().then_some(())
        });
    }

    /// Stops it in the middle of whatever it does: its connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        // The shell's own kill: small systems have no program of that name.
        let status = Command::new("sh").args(["-c", "kill -s $0 $1", name, &self.pid.to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        match self.guard.take() {
            Some(mut guard) => {
                drop(guard.stdin.take());
                _ = guard.wait();
            }
            None => _ = fs::remove_dir_all(&self.dir),
        }
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until something is there; panics when it has been looked for too often.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..DEADLINE.as_millis() / PAUSE.as_millis() {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(PAUSE);
    }
    panic!("{what} has not come");
}

fn ping(addr: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&addr, DEADLINE).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    stream.write_all(b"PING\r\n").ok()?;
    let mut answer = [0; 64];
    let len = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..len]).into_owned())
}
