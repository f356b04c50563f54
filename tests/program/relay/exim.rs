//! Exim with a configuration and a spool of its own, run out of a directory: Debian lets a machine have one mail server.

use std::cell::RefCell;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{MailServer, Relayed, hand_over, is_root};
use crate::process::Restante;
use crate::programs::{file, program, run};

/// Where `scripts/test` has put it, unless it is the mail server of the machine.
const PLACES: [&str; 2] = ["/usr/sbin/exim4", concat!(env!("CARGO_TARGET_TMPDIR"), "/exim4")];

/// Who Exim runs as where the tests run as root, as number: the user nobody.
const NOBODY: &str = "65534";

/// Everything goes to one server, over TLS, with what that offers.
const CONFIG: &str = r"
keep_environment = ^LD_PRELOAD$ : ^NSS_WRAPPER_
exim_path = DIR/exim4
spool_directory = DIR/spool
log_file_path = DIR/log/%s
log_selector = +smtp_protocol_error +pipelining
primary_hostname = mta.example
qualify_domain = mta.example
accept_8bitmime = true
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
acl_smtp_rcpt = accept
tls_advertise_hosts =
local_from_check = false
untrusted_set_sender = *

begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = relay

begin transports
relay:
  driver = smtp
  port = PORT
  hosts_require_tls = *
  tls_verify_certificates = AUTHORITY
  tls_verify_hosts = *
  tls_verify_cert_hostnames =

begin retry
* * F,1h,1s
";

pub(super) struct Exim {
    dir: TempDir,
    user: String,
    /// Each session is a process, which ends with it.
    sessions: RefCell<Vec<Child>>,
}

impl MailServer for Exim {
    fn start(server: &Restante, authority: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let user = if is_root() { NOBODY.to_owned() } else { run(program("id").arg("-u"), b"").ok().trim().to_owned() };
        let exim = Self { dir, user, sessions: RefCell::default() };
        exim.configure(server, authority);
        exim
    }

    fn connect(&self) -> UnixStream {
        let (ours, its) = UnixStream::pair().unwrap();
        let [input, output] = [its.try_clone().unwrap(), its].map(|end| Stdio::from(OwnedFd::from(end)));
        let session = self.command().arg("-bs").stdin(input).stdout(output).stderr(Stdio::null()).spawn().unwrap();
        self.sessions.borrow_mut().push(session);
        ours
    }

    fn retry(&self) {
        run(self.command().arg("-qff"), b"").ok();
    }

    fn queue(&self) -> String {
        run(self.command().arg("-bp"), b"").ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log/main")).unwrap_or_default()
    }
}

impl Exim {
    fn configure(&self, server: &Restante, authority: &str) {
        let dir = self.dir.path();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["spool", "log"] {
            fs::create_dir(dir.join(folder)).unwrap();
        }
        let place = PLACES.iter().find(|place| Path::new(place).exists());
        // A copy, as the directory of the tests may be closed to the user it runs as.
        fs::copy(place.expect("Exim is not there; scripts/test fetches it"), dir.join("exim4")).unwrap();
        fs::set_permissions(dir.join("exim4"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(authority, dir.join("authority.pem")).unwrap();
        let config = CONFIG
            .replace("AUTHORITY", "DIR/authority.pem")
            .replace("DIR", dir.to_str().unwrap())
            .replace("PORT", &server.smtp.port().to_string());
        file(dir, "config", config);
        // It wants a user of this name before it looks at anything else.
        file(dir, "passwd", format!("root:x:0:0::/:/bin/sh\nDebian-exim:x:{0}:{0}::/:/bin/sh\n", self.user));
        file(dir, "group", format!("root:x:0:\nDebian-exim:x:{}:\n", self.user));
        hand_over(dir, &self.user);
    }

    /// Exim, as a user that exists for it alone.
    fn command(&self) -> Command {
        let path = |name: &str| self.dir.path().join(name);
        let mut command = if is_root() {
            let mut setpriv = program("setpriv");
            setpriv.args(["--reuid", &self.user, "--regid", &self.user, "--clear-groups"]).arg(path("exim4"));
            setpriv
        } else {
            program(path("exim4"))
        };
        command.arg("-C").arg(path("config")).current_dir(self.dir.path());
        command.env("LD_PRELOAD", "libnss_wrapper.so");
        command.env("NSS_WRAPPER_PASSWD", path("passwd")).env("NSS_WRAPPER_GROUP", path("group"));
        command
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        for session in self.sessions.get_mut() {
            _ = session.wait();
        }
    }
}

#[test]
fn exim_passes_mail_on() {
    let relayed = Relayed::<Exim>::start(&[]);
    let mail = super::passes_mail_on(&relayed);
    let log = relayed.mta.log();
    // It sends any bytes to anybody, and does not say so.
    assert_eq!(mail["envelope"]["body"], Value::Null);
    // Pipelined, and in chunks.
    let delivery = log.lines().find(|line| line.contains(" => ")).unwrap();
    assert!(delivery.contains(" L ") && delivery.contains(" K "), "{log}");
    super::passes_other_alphabets_on(&relayed);
    super::passes_one_mail_on_to_many(&relayed);
}

#[test]
fn exim_returns_what_is_refused() {
    let bounce = super::returns_what_is_refused::<Exim>();
    assert!(bounce.contains("552 5.3.4 message is too large; at most 100000 bytes are taken"), "{bounce}");
}

#[test]
fn exim_keeps_what_is_deferred() {
    super::keeps_what_is_deferred::<Exim>();
}

#[test]
fn exim_reports_itself_where_we_do_not() {
    super::reports_itself_where_we_do_not::<Exim>();
}
