//! The addresses on which the server listens.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::StartError;
use crate::config::Config;

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
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            smtp: listen(&config.smtp_addrs, "SMTP_ADDR").await?,
            smtps: listen(&config.smtps_addrs, "SMTPS_ADDR").await?,
            http: listen(&config.http_addrs, "HTTP_ADDR").await?,
            https: listen(&config.https_addrs, "HTTPS_ADDR").await?,
            metrics: listen(&config.metrics_addrs, "METRICS_ADDR").await?,
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

async fn listen(addrs: &[SocketAddr], variable: &'static str) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for &addr in addrs {
        let listener = TcpListener::bind(addr).await.map_err(|error| {
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
