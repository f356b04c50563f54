//! How a connection begins: implicit TLS, and the PROXY protocol of a balancer.

use std::net::SocketAddr;

use ipnet::IpNet;
use restante::shutdown::Shutdown;
use restante::smtp::{Settings, Transport};
use tokio_rustls::TlsConnector;

use crate::dialogue::session_settings;
use crate::loopback::{Client, DEADLINE, Recorder, listen, server_settings, tls};

/// A server that takes PROXY headers from `proxies`.
struct Setup {
    addr: SocketAddr,
    recorder: Recorder,
    connector: TlsConnector,
    tasks: Shutdown,
}

async fn serve(transport: Transport, proxies: &str, max_connections_per_ip: usize) -> Setup {
    let (tasks, recorder, (server_tls, connector)) = (Shutdown::new(), Recorder::default(), tls());
    let proxies = proxies.parse::<IpNet>().into_iter().collect();
    let settings = Settings { proxies, max_connections_per_ip, ..server_settings(session_settings()) };
    let addr = listen(settings, recorder.clone(), Some(server_tls), transport, &tasks).await;
    Setup { addr, recorder, connector, tasks }
}

/// Sends `lines` and reads one reply line to each that begins as it should.
async fn talk(client: &mut Client, lines: &[(&str, &str)]) {
    for (line, start) in lines {
        client.send(line.as_bytes()).await.expect("the server reads");
        let said = client.line().await.expect("the server speaks").unwrap_or_else(|| "[closed]".to_owned());
        assert!(said.starts_with(start), "{line:?}: {said}");
    }
}

const MAIL: &[(&str, &str)] = &[
    ("HELO client.example\r\n", "250 "),
    ("MAIL FROM:<a@sender.example>\r\n", "250 2.1.0"),
    ("RCPT TO:<user@example.com>\r\n", "250 2.1.5"),
    ("DATA\r\n", "354 "),
    ("hello\r\n.\r\n", "250 2.0.0"),
];

#[tokio::test]
async fn implicit_tls_greets_behind_the_handshake_and_offers_no_starttls() {
    let Setup { addr, recorder, connector, tasks } = serve(Transport::Tls, "", 100).await;
    let mut client = Client::connect(addr).await.unwrap().start_tls(&connector).await.unwrap();
    talk(&mut client, &[("", "220 mx.example.com"), ("STARTTLS\r\n", "503 5.5.1")]).await;
    client.send(b"EHLO client.example\r\n").await.unwrap();
    let mut offered = Vec::new();
    while offered.last().is_none_or(|line: &String| line.starts_with("250-")) {
        offered.push(client.line().await.unwrap().unwrap());
    }
    assert!(!offered.iter().any(|line| line.contains("STARTTLS")), "{offered:?}");
    talk(&mut client, MAIL).await;
    talk(&mut client, &[("QUIT\r\n", "221 ")]).await;
    let [(envelope, _)] = &recorder.delivered()[..] else { panic!("one message was sent") };
    assert_eq!(envelope.peer.tls.as_ref().unwrap().version, "TLSv1.3");
    drop(client);
    assert_eq!(tasks.stop(DEADLINE).await, 0);
}

#[tokio::test]
async fn clear_text_where_tls_is_expected_is_no_smtp() {
    let Setup { addr, recorder, tasks, .. } = serve(Transport::Tls, "", 100).await;
    let mut client = Client::connect(addr).await.unwrap();
    client.send(b"EHLO client.example\r\nMAIL FROM:<a@sender.example>\r\n").await.unwrap();
    // An alert of TLS, or the end; no line of SMTP either way.
    assert!(!client.line().await.is_ok_and(|line| line.is_some()));
    drop(client);
    assert_eq!(tasks.stop(DEADLINE).await, 0);
    assert!(recorder.delivered().is_empty());
}

#[tokio::test]
async fn a_balancer_says_whose_connection_it_is() {
    let binary =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0, 25]].concat();
    for header in [&b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 25\r\n"[..], &binary] {
        let Setup { addr, recorder, tasks, .. } = serve(Transport::Clear, "127.0.0.0/8", 100).await;
        let mut client = Client::connect(addr).await.unwrap();
        // With the greeting not waited for, as the client behind a balancer may have sent both before we see either.
        client.send(&[header, b"NOOP\r\n"].concat()).await.unwrap();
        talk(&mut client, &[("", "220 "), ("", "250 2.0.0")]).await;
        talk(&mut client, MAIL).await;
        let [(envelope, _)] = &recorder.delivered()[..] else { panic!("one message was sent") };
        assert_eq!(envelope.peer.addr, "192.0.2.7:12345".parse().unwrap());
        assert_eq!(envelope.peer.local, "198.51.100.1:25".parse().unwrap());
        drop(client);
        assert_eq!(tasks.stop(DEADLINE).await, 0);
    }
}

#[tokio::test]
async fn a_balancer_may_pass_tls_on() {
    let Setup { addr, recorder, connector, tasks } = serve(Transport::Tls, "127.0.0.0/8", 100).await;
    let mut client = Client::connect(addr).await.unwrap();
    client.send(b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 465\r\n").await.unwrap();
    let mut client = client.start_tls(&connector).await.unwrap();
    talk(&mut client, &[("", "220 ")]).await;
    talk(&mut client, MAIL).await;
    assert_eq!(recorder.delivered()[0].0.peer.addr, "[2001:db8::7]:12345".parse().unwrap());
    drop(client);
    assert_eq!(tasks.stop(DEADLINE).await, 0);
}

#[tokio::test]
async fn the_check_of_a_balancer_is_a_connection_of_its_own() {
    let Setup { addr, .. } = serve(Transport::Clear, "127.0.0.0/8", 100).await;
    let mut client = Client::connect(addr).await.unwrap();
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await.unwrap();
    talk(&mut client, &[("", "220 "), ("QUIT\r\n", "221 ")]).await;
}

#[tokio::test]
async fn clients_behind_a_balancer_are_counted_each_by_itself() {
    let Setup { addr, .. } = serve(Transport::Clear, "127.0.0.0/8", 1).await;
    let header = |host: u8| format!("PROXY TCP4 192.0.2.{host} 198.51.100.1 12345 25\r\n");
    let (mut first, mut second, mut again) = (
        Client::connect(addr).await.unwrap(),
        Client::connect(addr).await.unwrap(),
        Client::connect(addr).await.unwrap(),
    );
    talk(&mut first, &[(&header(1), "220 ")]).await;
    talk(&mut second, &[(&header(2), "220 ")]).await;
    talk(&mut again, &[(&header(1), "421 4.7.0 too many connections from your address")]).await;
    assert_eq!(again.line().await.unwrap(), None);
}

#[tokio::test]
async fn a_balancer_without_a_header_is_not_served_and_others_have_none() {
    let Setup { addr, .. } = serve(Transport::Clear, "127.0.0.0/8", 100).await;
    for start in ["EHLO client.example\r\nNOOP\r\n", "EHLO"] {
        let mut client = Client::connect(addr).await.unwrap();
        client.send(start.as_bytes()).await.unwrap();
        let end = tokio::time::timeout(DEADLINE / 2, client.line()).await.expect("it is not waited for more");
        assert!(!end.is_ok_and(|line| line.is_some()), "it is told nothing");
    }

    let Setup { addr, .. } = serve(Transport::Clear, "10.0.0.0/8", 100).await;
    let mut client = Client::connect(addr).await.unwrap();
    talk(&mut client, &[("", "220 "), ("PROXY TCP4 192.0.2.7 198.51.100.1 12345 25\r\n", "500 5.5.1")]).await;
}
