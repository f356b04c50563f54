//! Postfix with a configuration and a queue of its own; that of the machine is not touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{MailServer, Relayed, hand_over, is_root, wait_until};
use crate::process::Restante;
use crate::programs::{file, program, run};

/// The services that a mail passes on its way. It comes in on a socket in the queue, and no port is taken.
const SERVICES: &str = "\
inject  unix      n - n -     -  smtpd
pickup  unix      n - n 60    1  pickup
cleanup unix      n - n -     0  cleanup
qmgr    unix      n - n 300   1  qmgr
flush   unix      n - n 1000? 0  flush
postlog unix-dgram n - n -    1  postlogd
rewrite unix      - - n -     -  trivial-rewrite
bounce  unix      - - n -     0  bounce
defer   unix      - - n -     0  bounce
trace   unix      - - n -     0  bounce
error   unix      - - n -     -  error
retry   unix      - - n -     -  error
tlsmgr  unix      - - n 1000? 1  tlsmgr
anvil   unix      - - n -     1  anvil
scache  unix      - - n -     1  scache
smtp    unix      - - n -     -  smtp
";

/// The folders of a queue.
const QUEUES: &str = "active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace";

/// Where Debian has its programs.
const DAEMONS: &str = "/usr/lib/postfix/sbin";

/// It ends by itself after this time, should the test not live to end it.
const EXIT_SECONDS: &str = "300";

pub(super) struct Postfix {
    dir: TempDir,
    master: Child,
}

impl MailServer for Postfix {
    fn start(server: &Restante, authority: &str) -> Self {
        let dir = TempDir::new().unwrap();
        configure(dir.path(), server, authority);
        let mut master = as_root(&format!("{DAEMONS}/master"));
        master.args(["-d", "-e", EXIT_SECONDS, "-c"]).arg(config(dir.path()));
        master.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let postfix = Self { master: master.spawn().unwrap(), dir };
        assert!(wait_until(|| postfix.socket().exists()), "Postfix did not start: {}", postfix.log());
        postfix
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).unwrap()
    }

    fn retry(&self) {
        run(as_root("postqueue").arg("-c").arg(config(self.dir.path())).arg("-f"), b"").ok();
    }

    fn queue(&self) -> String {
        run(as_root("postqueue").arg("-c").arg(config(self.dir.path())).arg("-p"), b"").ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Postfix {
    fn socket(&self) -> PathBuf {
        self.dir.path().join("queue/public/inject")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // With its services at once: a stop in order takes seconds.
        let group = self.master.id().to_string();
        _ = as_root("sh").args(["-c", "kill -s KILL -- -$0", &group]).status();
        _ = self.master.wait();
    }
}

fn config(dir: &Path) -> PathBuf {
    dir.join("config")
}

/// A program that only root may run; the programs below it become the user `postfix`.
fn as_root(name: &str) -> Command {
    if is_root() {
        return program(name);
    }
    let mut sudo = program("sudo");
    sudo.args(["-n", name]);
    sudo
}

fn configure(dir: &Path, server: &Restante, authority: &str) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.to_str().unwrap();
    for folder in ["config", "data", "queue"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    for folder in QUEUES.split(' ') {
        fs::create_dir(dir.join("queue").join(folder)).unwrap();
        hand_over(&dir.join("queue").join(folder), "postfix");
    }
    hand_over(&dir.join("data"), "postfix");
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {path}/queue\ndata_directory = {path}/data\n\
         daemon_directory = {DAEMONS}\nmaillog_file = {path}/log\nmaillog_file_prefixes = {path}\n\
         myhostname = mta.example\nmydestination =\nlocal_recipient_maps =\nalias_maps =\n\
         mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject\n\
         relayhost = [127.0.0.1]:{}\nsmtp_tls_security_level = secure\nsmtp_tls_CAfile = {authority}\n\
         smtp_tls_secure_cert_match = mx.example.com\nsmtputf8_enable = yes\n",
        server.smtp.port()
    );
    file(&config(dir), "main.cf", main);
    file(&config(dir), "master.cf", SERVICES);
}

#[test]
fn postfix_passes_mail_on() {
    let relayed = Relayed::<Postfix>::start(&[]);
    let mail = super::passes_mail_on(&relayed);
    assert_eq!(mail["envelope"]["body"], "8BITMIME");
    super::passes_other_alphabets_on(&relayed);
    super::passes_one_mail_on_to_many(&relayed);
}

#[test]
fn postfix_returns_what_is_refused() {
    let bounce = super::returns_what_is_refused::<Postfix>();
    assert!(bounce.contains("message size 3") && bounce.contains("exceeds size limit 100000 of"), "{bounce}");
}

#[test]
fn postfix_keeps_what_is_deferred() {
    super::keeps_what_is_deferred::<Postfix>();
}

#[test]
fn postfix_reports_itself_where_we_do_not() {
    super::reports_itself_where_we_do_not::<Postfix>();
}
