//! The addresses on which the server listens.

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

use super::StartError;
use crate::config::Config;

/// So many connections may wait to be accepted; the system has a limit of its own.
const BACKLOG: u32 = 1024;

/// Bound sockets.
pub(super) struct Listeners {
    pub(super) smtp: Vec<TcpListener>,
    pub(super) smtps: Vec<TcpListener>,
    pub(super) http: Vec<TcpListener>,
    pub(super) https: Vec<TcpListener>,
    pub(super) metrics: Vec<TcpListener>,
}

/// Where the server listens; with the port that the system has given where 0 was asked for.
#[derive(Clone, Debug)]
pub(super) struct Addrs {
    pub(super) smtp: Vec<SocketAddr>,
    pub(super) smtps: Vec<SocketAddr>,
    pub(super) http: Vec<SocketAddr>,
    pub(super) https: Vec<SocketAddr>,
    pub(super) metrics: Vec<SocketAddr>,
}

impl Listeners {
    /// Binds every address of the configuration.
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let lists =
            [&config.smtp_addrs, &config.smtps_addrs, &config.http_addrs, &config.https_addrs, &config.metrics_addrs];
        let of_ipv4: Vec<u16> = lists
            .into_iter()
            .flatten()
            .filter(|addr| addr.ip().to_canonical().is_ipv4())
            .map(SocketAddr::port)
            .collect();
        let listen = |addrs, variable| listen(addrs, variable, &of_ipv4);
        Ok(Self {
            smtp: listen(&config.smtp_addrs, "SMTP_ADDR")?,
            smtps: listen(&config.smtps_addrs, "SMTPS_ADDR")?,
            http: listen(&config.http_addrs, "HTTP_ADDR")?,
            https: listen(&config.https_addrs, "HTTPS_ADDR")?,
            metrics: listen(&config.metrics_addrs, "METRICS_ADDR")?,
        })
    }

    pub(super) fn addrs(&self) -> Addrs {
        let of =
            |listeners: &[TcpListener]| listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        Addrs {
            smtp: of(&self.smtp),
            smtps: of(&self.smtps),
            http: of(&self.http),
            https: of(&self.https),
            metrics: of(&self.metrics),
        }
    }
}

fn listen(addrs: &[SocketAddr], variable: &'static str, of_ipv4: &[u16]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &addr in addrs {
        let is_beside_ipv4 = addr.port() != 0 && of_ipv4.contains(&addr.port());
        let listener = bind(addr, is_beside_ipv4).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
                io::ErrorKind::AddrInUse => "; another program listens there, stop it or take another port (0 for any)",
                io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
                _ => "",
            };
            StartError::Listen { addr, variable, error, hint }
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// `[::]` takes IPv4 too, unless that is named with the same port: then the system would refuse the second one.
fn bind(addr: SocketAddr, is_beside_ipv4: bool) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        SockRef::from(&socket).set_only_v6(is_beside_ipv4)?;
    }
    // A port is free again as soon as the server has stopped.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use super::*;

    /// What is bound, and a port of it that nobody had in either family; where another program was faster it is tried again.
    fn bound(smtp: impl Fn(u16) -> String, http: impl Fn(u16) -> String) -> (Listeners, u16) {
        for _ in 0..50 {
            let free = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let variables = [
                ("SMTP_ADDR", smtp(port)),
                ("HTTP_ADDR", http(port)),
                ("DOMAIN", "*".to_owned()),
                ("API_KEY", "a-key-for-this-test-alone".to_owned()),
            ];
            let variables: HashMap<_, _> =
                variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            match Listeners::bind(&Config::from_variables(&variables).unwrap()) {
                Ok(listeners) => return (listeners, port),
                Err(StartError::Listen { error, .. }) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("both families cannot be listened on together");
    }

    /// Without IPv6 there is nothing to be had beside IPv4.
    fn has_ipv6() -> bool {
        std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
    }

    async fn is_reached(listener: &TcpListener, addr: SocketAddr) -> bool {
        let client = TcpStream::connect(addr).unwrap().local_addr().unwrap();
        let accepted = listener.accept().await.unwrap().1;
        (accepted.ip().to_canonical(), accepted.port()) == (client.ip(), client.port())
    }

    #[tokio::test]
    async fn both_families_can_be_named_with_the_same_port() {
        if !has_ipv6() {
            return;
        }
        let any = |_| "127.0.0.1:0".to_owned();
        let (listeners, port) = bound(|port| format!("0.0.0.0:{port},[::]:{port}"), any);
        let [ipv4, ipv6] = &listeners.smtp[..] else { panic!() };
        assert!(is_reached(ipv4, (Ipv4Addr::LOCALHOST, port).into()).await);
        assert!(is_reached(ipv6, (Ipv6Addr::LOCALHOST, port).into()).await);

        let (listeners, port) = bound(|port| format!("[::]:{port}"), |port| format!("127.0.0.1:{port}"));
        assert!(is_reached(&listeners.http[0], (Ipv4Addr::LOCALHOST, port).into()).await);
        assert!(is_reached(&listeners.smtp[0], (Ipv6Addr::LOCALHOST, port).into()).await);

        let (listeners, port) = bound(|port| format!("[::]:{port}"), |port| format!("[::ffff:127.0.0.1]:{port}"));
        assert!(is_reached(&listeners.http[0], (Ipv4Addr::LOCALHOST, port).into()).await);
        assert!(is_reached(&listeners.smtp[0], (Ipv6Addr::LOCALHOST, port).into()).await);
    }

    #[tokio::test]
    async fn the_address_of_all_is_that_of_both_families_where_it_is_alone() {
        if !has_ipv6() {
            return;
        }
        let (listeners, port) = bound(|port| format!("[::]:{port}"), |_| "127.0.0.1:0".to_owned());
        for addr in [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()] {
            assert!(is_reached(&listeners.smtp[0], addr).await);
        }
    }
}
