//! Thousands of clients that hold their connections and say nothing, while others bring mail and read it.

use std::net::{Ipv4Addr, SocketAddr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::DEADLINE;

/// How many there are.
const CLIENTS: u32 = 5_000;
/// How many of them share an address; the default limit is 100.
const CLIENTS_PER_ADDRESS: u32 = 100;
/// What one of them may cost, in kB: its task, its session, and the room for its next command.
const CONNECTION_MAX_KB: u64 = 16;
/// How much mail flows meanwhile.
const MAILS: usize = 100;

/// A connection that has been greeted and has said EHLO.
async fn idle_client(number: u32, server: SocketAddr) -> BufReader<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 0).to_bits() + number / CLIENTS_PER_ADDRESS);
    socket.bind((address, 0).into()).unwrap();
    let mut client = BufReader::with_capacity(512, socket.connect(server).await.unwrap());
    hear(&mut client, "220 ").await;
    client.write_all(b"EHLO idle.example\r\n").await.unwrap();
    hear(&mut client, "250 ").await;
    client
}

/// Reads up to the line that begins so.
async fn hear(client: &mut BufReader<TcpStream>, start: &str) {
    let mut line = String::new();
    while !line.starts_with(start) {
        line.clear();
        let read = timeout(DEADLINE, client.read_line(&mut line)).await.expect("the server answers").unwrap();
        assert_ne!(read, 0, "the server has closed the connection instead of {start}");
    }
}

#[tokio::test]
async fn five_thousand_idle_connections_do_not_hold_up_the_mail() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let dir = TempDir::new().unwrap();
    let settings = [("SMTP_MAX_CONNECTIONS", "6000"), ("SMTP_RATE_PER_MINUTE", "0"), ("API_RATE_PER_MINUTE", "0")];
    let server = Restante::start_with_open_files(dir.path(), &settings, 1024);

    let before_kb = server.memory_kb("VmRSS");
    let mut idle = Vec::new();
    for number in 0..CLIENTS {
        idle.push(idle_client(number, server.smtp).await);
    }
    let held_kb = server.memory_kb("VmRSS").saturating_sub(before_kb);
    println!("{} bytes for an idle connection", held_kb * 1024 / u64::from(CLIENTS));
    assert!(held_kb < u64::from(CLIENTS) * CONNECTION_MAX_KB, "{held_kb} kB for {CLIENTS} idle connections");

    let mut sender = Client::connect(server.smtp);
    for _ in 0..MAILS {
        sender.begin("user@example.com");
        assert!(sender.say("Subject: In between\r\n\r\nHello\r\n.").starts_with("250 2.0.0 "));
    }
    let page = server.get("/emails/user?limit=200");
    assert_eq!(serde_json::from_slice::<Vec<serde_json::Value>>(&page).unwrap().len(), MAILS);

    // They are all still there, and are heard when they have something to say.
    for client in &mut idle {
        client.write_all(b"NOOP\r\n").await.unwrap();
    }
    for client in &mut idle {
        hear(client, "250 2.0.0 ").await;
    }
}
