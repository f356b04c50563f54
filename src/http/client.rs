//! Who asks: the other end of the connection, or whom a proxy of ours names.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use ipnet::IpNet;

use crate::connections::is_of;
use crate::mail::client_network;

/// The client of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client(IpAddr);

impl Client {
    /// What counts as one client: its address, of an IPv6 client its /64.
    pub(super) const fn network(self) -> IpAddr {
        client_network(self.0)
    }
}

/// Finds out who asks, for all that comes behind.
pub(super) fn identify(request: &mut Request, proxies: &[IpNet]) {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let client = Client(origin(peer.ip(), request.headers(), proxies));
        request.extensions_mut().insert(client);
    }
}

/// Each proxy adds at the end of `X-Forwarded-For` whom it has seen. So the list is read from its end as long as those in it
/// are ours; what stands before the first stranger anybody can have made up, and it is not believed.
fn origin(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let lines = headers.get_all("x-forwarded-for");
    let named: Vec<_> = lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
    let mut client = peer;
    for text in named.into_iter().rev() {
        if !is_of(proxies, client) {
            break;
        }
        match address(text) {
            Some(ip) => client = ip,
            None => break,
        }
    }
    client
}

/// Some proxies write the port too.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().map(|addr: SocketAddr| addr.ip()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_our_own_proxies_say_is_believed() {
        let proxies: Vec<IpNet> =
            ["127.0.0.1/32", "10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().unwrap()).to_vec();
        for (peer, forwarded, client) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &["198.51.100.1"], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.1", "10.1.2.3"], "198.51.100.1"),
            ("127.0.0.1", &["198.51.100.1, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1, unknown, 10.1.2.3"], "10.1.2.3"),
            ("2001:db8:1::5", &["198.51.100.1:4711"], "198.51.100.1"),
            ("2001:db8:1::5", &["[2001:db8:2::1]:4711"], "2001:db8:2::1"),
            ("2001:db8:1::5", &["[2001:db8:2::1]"], "2001:db8:2::1"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
        ] {
            let headers: HeaderMap =
                forwarded.iter().map(|line| ("x-forwarded-for".parse().unwrap(), line.parse().unwrap())).collect();
            let found = origin(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn the_addresses_of_one_network_are_one_client() {
        let of = |text: &str| Client(text.parse().unwrap()).network();
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
