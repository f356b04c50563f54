//! How many connections a server has, in all and of each client, and how many lines of the log they cause.

mod lines;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::net::TcpStream;

pub use self::lines::{Line, Lines, shortened};
use crate::mail::client_network;
use crate::metrics::Refused;

/// Counts connections, in all and by client.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    max_per_ip: usize,
    by_network: Mutex<HashMap<IpAddr, usize>>,
    total: AtomicUsize,
}

/// A counted connection; dropping it counts it off.
#[derive(Debug)]
pub struct Admission {
    connections: Arc<Connections>,
    /// The client, once it is known.
    network: Option<IpAddr>,
}

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// There are as many connections as there may be.
    InAll,
    /// This client has as many as one may have.
    OfThisClient,
}

impl From<TooMany> for Refused {
    fn from(too_many: TooMany) -> Self {
        match too_many {
            TooMany::InAll => Self::Total,
            TooMany::OfThisClient => Self::Client,
        }
    }
}

impl Connections {
    /// At most `max` connections at a time, and `max_per_ip` of one client; of an IPv6 client, of its /64.
    #[must_use]
    pub fn new(max: usize, max_per_ip: usize) -> Arc<Self> {
        Arc::new(Self { max, max_per_ip, by_network: Mutex::default(), total: AtomicUsize::new(0) })
    }

    /// Counts a connection of `client`.
    ///
    /// # Errors
    /// Which limit it is over.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Result<Admission, TooMany> {
        let mut admission = self.admit_anybody()?;
        admission.belongs_to(client)?;
        Ok(admission)
    }

    /// Counts a connection whose client is not known yet.
    ///
    /// # Errors
    /// There are as many connections as there may be.
    pub fn admit_anybody(self: &Arc<Self>) -> Result<Admission, TooMany> {
        let counted = self
            .total
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| (total < self.max).then(|| total + 1));
        counted.map_err(|_| TooMany::InAll)?;
        Ok(Admission { connections: self.clone(), network: None })
    }

    fn by_network(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission {
    /// Counts the connection as one of `client`.
    ///
    /// # Errors
    /// This client has as many as one may have.
    pub fn belongs_to(&mut self, client: IpAddr) -> Result<(), TooMany> {
        let network = client_network(client);
        let mut by_network = self.connections.by_network();
        let count = by_network.entry(network).or_default();
        if *count >= self.connections.max_per_ip {
            return Err(TooMany::OfThisClient);
        }
        *count += 1;
        self.network = Some(network);
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(network) = self.network {
            let mut by_network = self.connections.by_network();
            if let Some(count) = by_network.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    by_network.remove(&network);
                }
            }
        }
        self.connections.total.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether an address is of one of these networks. An IPv4 address may come mapped into IPv6.
#[must_use]
pub fn is_of(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// Sends a new connection that is one too many its last words, without waiting for anything: it is called between two
/// accepts.
///
/// # Errors
/// Where the client has gone already.
pub fn say_and_close(stream: TcpStream, words: &[u8]) -> io::Result<()> {
    // The socket is not blocking, and its buffer is still empty: the one write takes all or fails.
    stream.into_std()?.write_all(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_limited_in_all_and_by_client() {
        let connections = Connections::new(3, 2);
        let [a, b, c]: [IpAddr; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| ip.parse().unwrap());
        let first = connections.admit(a).unwrap();
        let _second = connections.admit(a).unwrap();
        assert_eq!(connections.admit(a).unwrap_err(), TooMany::OfThisClient);
        let third = connections.admit_anybody().unwrap();
        assert_eq!(connections.admit(c).unwrap_err(), TooMany::InAll);
        drop(third);
        let mut third = connections.admit_anybody().unwrap();
        assert_eq!(third.belongs_to(a), Err(TooMany::OfThisClient));
        assert_eq!(third.belongs_to(b), Ok(()));
        assert_eq!(connections.admit(c).unwrap_err(), TooMany::InAll);
        drop(first);
        assert!(connections.admit(c).is_ok());
        assert_eq!(connections.by_network.lock().unwrap().len(), 2);
    }

    #[test]
    fn the_addresses_of_one_network_are_counted_as_one_client() {
        let connections = Connections::new(3, 1);
        let _first = connections.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(connections.admit("2001:db8::2".parse().unwrap()).unwrap_err(), TooMany::OfThisClient);
        assert!(connections.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }
}
