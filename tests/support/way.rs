//! A way to a server that can be cut, that can be slow, and that can hang.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long nobody looks whether a way that hangs goes on.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What happens on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Each piece arrives so much later.
    Slow(Duration),
    /// Nothing arrives, and nobody is told.
    Hanging,
    /// Connections are accepted and closed.
    Cut,
}

/// A listener on loopback that passes everything on to a server, until the value is dropped.
pub(crate) struct Proxy {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    way: Way,
    connections: Vec<TcpStream>,
}

impl Proxy {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { way: Way::Open, connections: Vec::new() }));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(server) else { continue };
                let mut state = shared.lock().unwrap();
                if state.way == Way::Cut {
                    continue;
                }
                for end in [&client, &server] {
                    _ = end.set_nodelay(true);
                    state.connections.push(end.try_clone().unwrap());
                }
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, state) = (from.try_clone().unwrap(), to.try_clone().unwrap(), shared.clone());
                    thread::spawn(move || pass(from, to, &state));
                }
            }
        });
        Self { addr, state }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on this happens.
    pub(crate) fn set(&self, way: Way) {
        let mut state = self.state.lock().unwrap();
        state.way = way;
        if way == Way::Cut {
            for connection in state.connections.drain(..) {
                _ = connection.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Way::Cut);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>) {
    let mut bytes = [0; 65_536];
    while let Ok(len @ 1..) = from.read(&mut bytes) {
        loop {
            match state.lock().unwrap().way {
                Way::Hanging => {}
                Way::Slow(by) => break thread::sleep(by),
                Way::Open | Way::Cut => break,
            }
            thread::sleep(LOOK_EVERY);
        }
        if to.write_all(&bytes[..len]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        _ = end.shutdown(Shutdown::Both);
    }
}
