//! The PROXY protocol: clients behind a balancer, and those who only pretend.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::{file, program, run};

fn swaks(server: impl ToString) -> Command {
    let mut swaks = program("swaks");
    swaks.args(["--server", &server.to_string(), "--from", "sender@example.org", "--to", "user@example.com"]);
    swaks
}

#[test]
fn the_client_is_the_one_that_the_header_names() {
    let (server, _dir) = Restante::start_anywhere(&[("PROXY_PROTOCOL_FROM", "127.0.0.0/8")]);
    let addresses = [
        ("1", "TCP4", "192.0.2.7", "198.51.100.1"),
        ("1", "TCP6", "2001:db8::7", "2001:db8::1"),
        ("2", "AF_INET", "192.0.2.8", "198.51.100.1"),
        ("2", "AF_INET6", "2001:db8::8", "2001:db8::1"),
    ];
    for (version, family, client, local) in addresses {
        let mut swaks = swaks(server.smtp);
        swaks.args(["--proxy-version", version, "--proxy-family", family, "--proxy-source", client]);
        swaks.args(["--proxy-source-port", "40000", "--proxy-dest", local, "--proxy-dest-port", "25"]);
        run(&mut swaks, b"").ok();
        let newest = &server.mails("user")[0];
        assert_eq!(newest["peer"]["ip"], client, "version {version}");
    }
    assert_eq!(server.mails("user").len(), addresses.len());
}

#[test]
fn a_balancer_that_does_not_say_for_whom_is_not_served() {
    let (server, _dir) = Restante::start_anywhere(&[("PROXY_PROTOCOL_FROM", "127.0.0.0/8")]);
    let mut stream = TcpStream::connect(server.smtp).unwrap();
    stream.write_all(b"EHLO client.example\r\n").unwrap();
    let mut said = Vec::new();
    // It may be a reset, as nobody reads on.
    _ = stream.read_to_end(&mut said);
    assert_eq!(said, b"");
}

#[test]
fn a_header_from_anybody_else_is_garbage() {
    let (server, _dir) = Restante::start_anywhere(&[("PROXY_PROTOCOL_FROM", "192.0.2.0/24")]);
    let mut client = Client::connect(server.smtp);
    assert!(client.greeting.starts_with("220 "), "{}", client.greeting);
    let reply = client.say("PROXY TCP4 192.0.2.7 198.51.100.1 40000 25");
    assert!(reply.starts_with("500 5.5.1 "), "{reply}");
    client.begin("user@example.com");
    assert!(client.say("Subject: Mine\r\n\r\n.").starts_with("250 2.0.0 "));
    assert_eq!(server.mail("user")["peer"]["ip"], "127.0.0.1");
}

/// HAProxy in front of a server; killed when it is dropped.
pub(crate) struct HaProxy(Child);

impl HaProxy {
    /// Passes on what comes to `listener`, to the server and in the way that `settings` name.
    pub(crate) fn start(dir: &Path, listener: TcpListener, settings: &[&str]) -> Self {
        let config = format!(
            "global\n  maxconn 100\nlisten front\n  bind fd@0\n  timeout connect 10s\n  timeout client 2m\n  {}\n",
            settings.join("\n  ")
        );
        let config = file(dir, "haproxy.cfg", config);
        let mut haproxy = program("haproxy");
        // Debian keeps it out of the path of users.
        haproxy.env("PATH", "/usr/sbin:/usr/local/sbin:/sbin:/usr/bin:/bin");
        // In the foreground; it is given the socket, so that no port has to be guessed.
        haproxy.args(["-db", "-f", &config]).stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::null());
        Self(haproxy.spawn().unwrap())
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn behind_haproxy_clients_have_their_own_addresses() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &[("PROXY_PROTOCOL_FROM", "127.0.0.1")]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = listener.local_addr().unwrap();
    let to = format!("server restante {} send-proxy-v2", server.smtp);
    let _haproxy = HaProxy::start(dir.path(), listener, &["mode tcp", "timeout server 2m", &to]);
    for client in ["127.0.0.9", "127.0.0.10"] {
        run(swaks(front).args(["--local-interface", client, "--tls"]), b"").ok();
        assert_eq!(server.mails("user")[0]["peer"]["ip"], client);
    }
    // Whoever goes round the balancer is a client like any other.
    run(swaks(server.smtp).args(["--local-interface", "127.0.0.11"]), b"").ok();
    assert_eq!(server.mails("user")[0]["peer"]["ip"], "127.0.0.11");
}
