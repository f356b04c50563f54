//! Pebble, an ACME server for tests, and what stands around it: a name server, and ways that can be closed.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::programs::{file, program, run, until};

/// A port whose connections are passed on, once it is known where to; until then they are closed.
///
/// Pebble and restante each have to know the port of the other before it is there.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) addr: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
}

impl Way {
    pub(crate) fn closed() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let way = Self { addr: listener.local_addr().unwrap(), target: Arc::default() };
        let target = way.target.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let target = *target.lock().unwrap();
                thread::spawn(move || target.map(|target| pass(&client, &TcpStream::connect(target)?)));
            }
        });
        way
    }

    pub(crate) fn lead_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().unwrap() = target;
    }
}

fn pass(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        _ = io::copy(&mut from, &mut to);
        _ = to.shutdown(std::net::Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| copy(server, client));
        copy(client, server);
    });
    Ok(())
}

/// A name server to which every name is on loopback.
fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut query) {
            if let Some(answer) = answer(&query[..len]) {
                _ = socket.send_to(&answer, client);
            }
        }
    });
    addr
}

/// The answer to a query with one question (RFC 1035 section 4.1).
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    const A: [u8; 2] = [0, 1];
    let name = query.get(12..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(12..12 + name + 5)?;
    let is_address = question[name + 1..name + 3] == A;
    // The id, "no error", one question and as many answers.
    let mut answer = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0], question].concat();
    if is_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

/// A running Pebble; killed when it is dropped.
pub(crate) struct Pebble {
    child: Child,
    /// Where its clients find it; leads to it from the start.
    pub(crate) way: Way,
    /// Where it asks for the proof of a name; leads nowhere yet.
    pub(crate) proof: Way,
    addr: SocketAddr,
    /// The certificate that vouches for Pebble's own port.
    pub(crate) ca_file: String,
}

impl Pebble {
    /// Starts it with its files in `dir`; what it issues is valid for `validity_secs`.
    pub(crate) fn start(dir: &Path, validity_secs: u64) -> Self {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca_file = file(dir, "pebble.pem", own.cert.pem());
        let key_file = file(dir, "pebble.key", own.signing_key.serialize_pem());
        let (way, proof) = (Way::closed(), Way::closed());
        let config = json!({"pebble": {
            "listenAddress": "127.0.0.1:0", "managementListenAddress": "", "certificate": ca_file, "privateKey": key_file,
            "httpPort": 1, "tlsPort": proof.addr.port(), "certificateValidityPeriod": validity_secs,
        }});
        let config = file(dir, "pebble.json", config.to_string());
        let mut pebble = program("pebble");
        pebble.args(["-config", &config, "-dnsserver", &name_server().to_string()]);
        // It likes to sleep, and to refuse good nonces.
        pebble.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "0");
        let log = fs::File::create(dir.join("pebble.log")).unwrap();
        let spawned = pebble.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log).spawn();
        let child = spawned.unwrap_or_else(|error| panic!("pebble cannot be run: {error}; scripts/test installs it"));
        let addr = until("Pebble's port", || listening(child.id()));
        way.lead_to(Some(addr));
        Self { child, way, proof, addr, ca_file }
    }

    pub(crate) fn directory_url(&self) -> String {
        format!("https://localhost:{}/dir", self.way.addr.port())
    }

    /// Closes the way to it, as if it were down, or opens it again.
    pub(crate) fn reachable(&self, reachable: bool) {
        self.way.lead_to(reachable.then_some(self.addr));
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The first port on which a process listens, as the system tells it: Pebble does not say which one it was given.
fn listening(pid: u32) -> Option<SocketAddr> {
    let sockets: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().collect();
    let inodes: Vec<_> = sockets
        .iter()
        .filter_map(|fd| {
            fs::read_link(fd.path()).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned)
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        const LISTEN: &str = "0A";
        let fields: Vec<_> = line.split_whitespace().collect();
        let port = fields.get(1)?.split(':').nth(1)?;
        let is_ours = fields.get(3)? == &LISTEN && inodes.iter().any(|inode| Some(&inode.as_str()) == fields.get(9));
        is_ours.then(|| (Ipv4Addr::LOCALHOST, u16::from_str_radix(port, 16).unwrap()).into())
    })
}

/// Who has issued a certificate, as openssl writes it.
pub(crate) fn issuer(certificate: &str) -> String {
    run(program("openssl").args(["x509", "-noout", "-issuer"]), certificate.as_bytes()).ok()
}
