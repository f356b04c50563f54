//! What a script cannot say about the SMTP server: time, TLS, limits over all connections, stops and broken clients.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use restante::mail::{Address, Envelope, Peer};
use restante::shutdown::Shutdown;
use restante::smtp::{Attempt, Backend, Reply, Settings, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::dialogue::session_settings;
use crate::loopback::{Client, DEADLINE, Recorder, listen, server_settings, tls};

#[path = "../support/dialogue.rs"]
mod dialogue;
#[path = "../support/loopback.rs"]
mod loopback;
mod log;
mod rude;
mod transport;

/// A limit in time that a test wants to reach.
const SOON: Duration = Duration::from_millis(200);

/// Starts a server with `settings` and a recorder behind it.
async fn serve(settings: Settings) -> (SocketAddr, Recorder, Shutdown) {
    let (tasks, recorder) = (Shutdown::new(), Recorder::default());
    let addr = listen(settings, recorder.clone(), None, Transport::Clear, &tasks).await;
    (addr, recorder, tasks)
}

fn settings() -> Settings {
    server_settings(session_settings())
}

/// Reads one line that begins with `start`.
async fn hear(client: &mut Client, start: &str) {
    match client.line().await {
        Ok(Some(line)) if line.starts_with(start) => {}
        other => panic!("expected {start:?}, heard {other:?}"),
    }
}

async fn hear_the_end(client: &mut Client) {
    match client.line().await {
        Ok(None) => {}
        other => panic!("expected the end, heard {other:?}"),
    }
}

/// Sends a command and reads its one reply line.
async fn ask(client: &mut Client, command: &str, start: &str) {
    client.send(format!("{command}\r\n").as_bytes()).await.expect("the server reads");
    hear(client, start).await;
}

/// A client that has said HELO.
async fn client(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr).await.expect("the server listens");
    hear(&mut client, "220 ").await;
    ask(&mut client, "HELO client.example", "250 ").await;
    client
}

/// Everything up to the message itself.
async fn begin_message(client: &mut Client) {
    ask(client, "MAIL FROM:<a@sender.example>", "250 2.1.0").await;
    ask(client, "RCPT TO:<user@example.com>", "250 2.1.5").await;
    ask(client, "DATA", "354 ").await;
}

async fn send_message(client: &mut Client) {
    begin_message(client).await;
    ask(client, "hello\r\n.", "250 2.0.0").await;
}

#[tokio::test]
async fn starttls_is_recorded_with_the_message() {
    let (tasks, recorder, (server_tls, connector)) = (Shutdown::new(), Recorder::default(), tls());
    let addr = listen(settings(), recorder.clone(), Some(server_tls), Transport::Clear, &tasks).await;

    let mut plain = client(addr).await;
    send_message(&mut plain).await;
    ask(&mut plain, "STARTTLS", "220 2.0.0").await;
    let mut encrypted = plain.start_tls(&connector).await.unwrap();
    ask(&mut encrypted, "HELO other.example", "250 ").await;
    send_message(&mut encrypted).await;
    ask(&mut encrypted, "QUIT", "221 ").await;
    hear_the_end(&mut encrypted).await;

    let peers: Vec<Peer> = recorder.delivered().into_iter().map(|(envelope, _)| envelope.peer).collect();
    assert_eq!(peers.len(), 2);
    assert_eq!((&peers[0].tls, peers[0].helo.as_str()), (&None, "client.example"));
    assert_eq!((peers[1].addr, peers[1].local), (peers[0].addr, addr));
    assert_eq!(peers[1].helo, "other.example");
    let tls = peers[1].tls.as_ref().unwrap();
    assert_eq!(tls.version, "TLSv1.3");
    assert!(["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"].contains(&tls.cipher.as_str()), "{}", tls.cipher);
}

#[tokio::test]
async fn what_was_injected_behind_starttls_is_never_run() {
    let (tasks, recorder, (server_tls, connector)) = (Shutdown::new(), Recorder::default(), tls());
    let addr = listen(settings(), recorder.clone(), Some(server_tls), Transport::Clear, &tasks).await;

    let mut plain = client(addr).await;
    let evil = "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<user@example.com>\r\nDATA\r\nevil\r\n.\r\n";
    ask(&mut plain, &format!("STARTTLS\r\nEHLO evil.example\r\n{evil}NOOP"), "220 2.0.0").await;
    let mut encrypted = plain.start_tls(&connector).await.unwrap();
    // The first reply belongs to the first encrypted command.
    ask(&mut encrypted, "MAIL FROM:<a@sender.example>", "503 5.5.1").await;
    ask(&mut encrypted, "QUIT", "221 ").await;
    hear_the_end(&mut encrypted).await;
    assert!(recorder.delivered().is_empty());
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let (tasks, (server_tls, _)) = (Shutdown::new(), tls());
    let settings = Settings { tls_handshake_timeout: SOON, ..settings() };
    let addr = listen(settings, Recorder::default(), Some(server_tls), Transport::Clear, &tasks).await;
    let mut client = client(addr).await;
    ask(&mut client, "STARTTLS", "220 2.0.0").await;
    hear_the_end(&mut client).await;
}

#[tokio::test]
async fn a_silent_client_is_told_so_and_sent_away() {
    let (addr, recorder, _tasks) = serve(Settings { idle_timeout: SOON, ..settings() }).await;
    let (mut idle, mut sending) = (client(addr).await, client(addr).await);
    begin_message(&mut sending).await;
    sending.send(b"half a message\r\n").await.unwrap();
    for client in [&mut idle, &mut sending] {
        hear(client, "421 4.4.2").await;
        hear_the_end(client).await;
    }
    assert!(recorder.delivered().is_empty());
}

#[tokio::test]
async fn who_is_sent_away_behind_its_recipients_had_mail_that_was_kept_out() {
    let (addr, recorder, tasks) = serve(Settings { idle_timeout: SOON, ..settings() }).await;
    let mut silent = client(addr).await;
    ask(&mut silent, "MAIL FROM:<a@sender.example>", "250 2.1.0").await;
    ask(&mut silent, "RCPT TO:<user@example.com>", "250 2.1.5").await;
    hear(&mut silent, "421 4.4.2").await;
    hear_the_end(&mut silent).await;
    let silent = recorder.kept_out();

    let (addr, recorder, stopping) = serve(settings()).await;
    let mut waiting = client(addr).await;
    ask(&mut waiting, "MAIL FROM:<a@sender.example>", "250 2.1.0").await;
    ask(&mut waiting, "RCPT TO:<user@example.com>", "250 2.1.5").await;
    stopping.request();
    hear(&mut waiting, "421 4.3.2").await;
    hear_the_end(&mut waiting).await;
    drop(waiting);
    assert_eq!(tasks.stop(DEADLINE).await + stopping.stop(DEADLINE).await, 0);
    for (told, enhanced) in [(silent, (4, 4, 2)), (recorder.kept_out(), (4, 3, 2))] {
        let [attempt] = &told[..] else { panic!("{told:?}") };
        assert_eq!(attempt.envelope.rcpt_to[0].to_string(), "user@example.com");
        assert_eq!(attempt.reply.as_ref().unwrap().enhanced, Some(enhanced));
    }
}

#[tokio::test]
async fn a_message_that_comes_in_too_slowly_is_given_up() {
    let slow = Settings { data_timeout: SOON, min_data_bytes_per_second: 1_000_000, ..settings() };
    let (addr, recorder, _tasks) = serve(slow).await;
    let (mut data, mut chunks) = (client(addr).await, client(addr).await);
    begin_message(&mut data).await;
    ask(&mut chunks, "MAIL FROM:<a@sender.example>", "250 2.1.0").await;
    ask(&mut chunks, "RCPT TO:<user@example.com>", "250 2.1.5").await;
    ask(&mut chunks, "BDAT 0", "250 2.0.0").await;
    // Each of them is heard all the time, and still comes to no end.
    for (client, word) in [(&mut data, "x\r\n"), (&mut chunks, "BDAT 0\r\n")] {
        let farewell = async {
            loop {
                match timeout(SOON / 20, client.line()).await {
                    Ok(line) if !line.as_ref().is_ok_and(|line| line.as_deref() == Some("250 2.0.0 chunk taken")) => {
                        break line;
                    }
                    _ => client.send(word.as_bytes()).await.unwrap(),
                }
            }
        };
        let farewell = timeout(DEADLINE, farewell).await.expect("the connection ends").unwrap().unwrap();
        assert!(farewell.starts_with("421 4.4.2 message comes in too slowly"), "{farewell}");
    }
    assert!(recorder.delivered().is_empty());
    let told: Vec<_> = recorder.kept_out().into_iter().map(|attempt| attempt.reply.unwrap().code).collect();
    assert_eq!(told, [421, 421]);
}

#[tokio::test]
async fn a_large_message_earns_its_time() {
    let (addr, recorder, _tasks) =
        serve(Settings { data_timeout: SOON, min_data_bytes_per_second: 10, ..settings() }).await;
    let (mut large, mut small) = (client(addr).await, client(addr).await);
    // With its first bytes come a hundred seconds more.
    let begin = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@example.com>\r\nBDAT 1010 LAST\r\n";
    large.send(&[&begin[..], &[b'x'; 1000]].concat()).await.unwrap();
    hear(&mut large, "250 2.1.0").await;
    hear(&mut large, "250 2.1.5").await;
    begin_message(&mut small).await;
    // When the time of the small one is over, that of the large one would have been too.
    hear(&mut small, "421 4.4.2").await;
    large.send(&[b'x'; 10]).await.unwrap();
    hear(&mut large, "250 2.0.0").await;
    assert_eq!(recorder.delivered()[0].1.len(), 1010);
}

#[tokio::test]
async fn a_connection_ends_however_busy_it_is() {
    let mut busy = Settings { session_timeout: SOON, ..settings() };
    busy.session.max_noops = u32::MAX;
    let (addr, _, _tasks) = serve(busy).await;
    let mut client = client(addr).await;
    let farewell = async {
        loop {
            client.send(b"NOOP\r\n").await.unwrap();
            let line = client.line().await.unwrap().unwrap();
            if line != "250 2.0.0 ok" {
                break line;
            }
        }
    };
    let farewell = timeout(DEADLINE, farewell).await.expect("the connection ends");
    assert!(farewell.starts_with("421 4.4.2"), "{farewell}");
    hear_the_end(&mut client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_end_does_not_outlast_the_session() {
    let (addr, recorder, tasks) = serve(Settings { session_timeout: SOON, ..settings() }).await;
    let (mut reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
    let writing = tasks.spawn(async move {
        let begin = b"HELO x\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<user@example.com>\r\nDATA\r\n";
        let mut result = writer.write_all(begin).await;
        let text = b"text\r\n".repeat(50_000);
        while result.is_ok() {
            result = writer.write_all(&text).await;
        }
    });
    let mut said = Vec::new();
    timeout(DEADLINE, reader.read_to_end(&mut said)).await.expect("the connection ends").unwrap();
    let said = String::from_utf8(said).unwrap();
    assert!(said.lines().last().unwrap().starts_with("421 4.4.2"), "{said}");
    timeout(DEADLINE, writing).await.expect("nobody reads any more").unwrap();
    assert!(recorder.delivered().is_empty());
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let (addr, _, _tasks) = serve(Settings { max_connections: 2, ..settings() }).await;
    let (mut first, _second) = (client(addr).await, client(addr).await);
    let mut third = Client::connect(addr).await.unwrap();
    hear(&mut third, "421 4.7.0 too many connections, ").await;
    hear_the_end(&mut third).await;
    ask(&mut first, "QUIT", "221 ").await;
    drop(first);
    assert!(is_admitted(addr).await);
}

#[tokio::test]
async fn one_client_does_not_take_all_connections() {
    let (addr, _, _tasks) = serve(Settings { max_connections_per_ip: 1, ..settings() }).await;
    let mut first = client(addr).await;
    let mut second = Client::connect(addr).await.unwrap();
    hear(&mut second, "421 4.7.0 too many connections from your address, ").await;
    hear_the_end(&mut second).await;

    let elsewhere = TcpSocket::new_v4().unwrap();
    elsewhere.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
    let mut greeting = [0; 4];
    elsewhere.connect(addr).await.unwrap().read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ");

    // A client that just vanishes gives its place back too.
    ask(&mut first, "NOOP", "250 ").await;
    drop(first);
    assert!(is_admitted(addr).await);
}

/// Whether a new connection gets in, as soon as the server has noticed that an old one is gone.
async fn is_admitted(addr: SocketAddr) -> bool {
    let admitted = async {
        loop {
            let mut client = Client::connect(addr).await.expect("the server listens");
            match client.line().await.expect("the server speaks") {
                Some(line) if line.starts_with("220 ") => break,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    timeout(DEADLINE, admitted).await.is_ok()
}

#[tokio::test]
async fn a_soft_stop_waits_for_the_message_in_progress() {
    let (addr, recorder, tasks) = serve(settings()).await;
    let (mut idle, mut sending, mut chunking) = (client(addr).await, client(addr).await, client(addr).await);
    begin_message(&mut sending).await;
    sending.send(b"first half\r\n").await.unwrap();
    ask(&mut chunking, "MAIL FROM:<b@sender.example>", "250 2.1.0").await;
    ask(&mut chunking, "RCPT TO:<user@example.com>", "250 2.1.5").await;
    ask(&mut chunking, "BDAT 4\r\nab", "250 2.0.0").await;

    tasks.request();
    hear(&mut idle, "421 4.3.2").await;
    hear_the_end(&mut idle).await;
    ask(&mut sending, "second half\r\n.", "250 2.0.0").await;
    ask(&mut chunking, "BDAT 3 LAST\r\nc", "250 2.0.0").await;
    for client in [&mut sending, &mut chunking] {
        hear(client, "421 4.3.2").await;
        hear_the_end(client).await;
    }
    assert_eq!(tasks.stop(DEADLINE).await, 0);
    assert!(TcpStream::connect(addr).await.is_err(), "nobody listens any more");
    let raw: Vec<Bytes> = recorder.delivered().into_iter().map(|(_, raw)| raw).collect();
    assert_eq!(raw, [&b"first half\r\nsecond half\r\n"[..], b"ab\r\nc\r\n"]);
}

#[tokio::test]
async fn a_client_that_vanishes_in_mid_message_delivers_nothing() {
    let (addr, recorder, tasks) = serve(settings()).await;
    let mut leaving = client(addr).await;
    begin_message(&mut leaving).await;
    leaving.send(b"half a message\r\n.\r").await.unwrap();
    leaving.finish().await.unwrap();
    hear_the_end(&mut leaving).await;

    // Who only asked for a recipient had no message to lose.
    let mut asking = client(addr).await;
    ask(&mut asking, "MAIL FROM:<a@sender.example>", "250 2.1.0").await;
    ask(&mut asking, "RCPT TO:<other@example.com>", "250 2.1.5").await;
    asking.finish().await.unwrap();
    hear_the_end(&mut asking).await;

    // What was too large was refused before the end of it.
    let mut large = client(addr).await;
    begin_message(&mut large).await;
    large.send(&b"text\r\n".repeat(3_000)).await.unwrap();
    large.finish().await.unwrap();
    hear_the_end(&mut large).await;
    assert_eq!(recorder.kept_out().last().unwrap().reply.as_ref().unwrap().code, 552);

    let mut chunking = client(addr).await;
    ask(&mut chunking, "MAIL FROM:<a@sender.example>", "250 2.1.0").await;
    ask(&mut chunking, "RCPT TO:<user@example.com>", "250 2.1.5").await;
    chunking.send(b"BDAT 10 LAST\r\n123456789").await.unwrap();
    drop(chunking);

    let told = async {
        while recorder.kept_out().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, told).await.expect("the backend is told of both");
    assert_eq!(tasks.stop(DEADLINE).await, 0);
    assert!(recorder.delivered().is_empty());
    let told = recorder.kept_out();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|attempt| attempt.envelope.rcpt_to[0].to_string() == "user@example.com"));
    assert!(told[0].reply.is_none() && told[2].reply.is_none());
}

#[tokio::test]
async fn messages_in_flight_have_a_common_budget() {
    let mut settings = Settings { max_bytes_in_flight: 100_000, ..settings() };
    settings.session.max_message_bytes = 1_000_000;
    let (addr, recorder, _tasks) = serve(settings).await;

    let (mut small, mut large) = (client(addr).await, client(addr).await);
    begin_message(&mut small).await;
    small.send(b"this one began early\r\n").await.unwrap();
    begin_message(&mut large).await;
    large.send(&b"text\r\n".repeat(100_000)).await.unwrap();
    ask(&mut large, ".", "452 4.3.1").await;
    // The connection is in step, and the budget is free again.
    ask(&mut large, "NOOP", "250 2.0.0").await;
    send_message(&mut large).await;
    ask(&mut small, ".", "250 2.0.0").await;
    let sizes: Vec<usize> = recorder.delivered().iter().map(|(_, raw)| raw.len()).collect();
    assert_eq!(sizes, ["hello\r\n".len(), "this one began early\r\n".len()]);
}

/// A backend with a bug that one sender can reach.
struct Fragile(Recorder);

impl Backend for Fragile {
    async fn mail(&self, peer: &Peer, from: Option<&Address>) -> Result<(), Reply> {
        assert!(from.is_some(), "this backend cannot stand the null sender");
        self.0.mail(peer, from).await
    }

    async fn rcpt(&self, envelope: &Envelope, to: &Address) -> Result<(), Reply> {
        self.0.rcpt(envelope, to).await
    }

    async fn deliver(&self, envelope: &Envelope, raw: Bytes) -> Result<Reply, Reply> {
        self.0.deliver(envelope, raw).await
    }

    fn refused(&self, attempt: Attempt) {
        self.0.refused(attempt);
    }
}

#[tokio::test]
async fn a_panic_behind_one_connection_leaves_the_others_alone() {
    let (tasks, recorder) = (Shutdown::new(), Recorder::default());
    let settings = Settings { max_connections: 2, ..settings() };
    let addr = listen(settings, Fragile(recorder.clone()), None, Transport::Clear, &tasks).await;

    let (mut other, mut unlucky) = (client(addr).await, client(addr).await);
    begin_message(&mut other).await;
    unlucky.send(b"MAIL FROM:<>\r\n").await.unwrap();
    hear_the_end(&mut unlucky).await;
    ask(&mut other, "hello\r\n.", "250 2.0.0").await;
    // The place of the unlucky one is free again.
    assert!(is_admitted(addr).await);
    assert_eq!(recorder.delivered().len(), 1);
    drop(other);
    assert_eq!(tasks.stop(DEADLINE).await, 0);
    assert_eq!(tasks.panics(), 1);
}

#[tokio::test]
async fn ten_thousand_commands_at_once_are_answered_in_order() {
    let mut patient = settings();
    patient.session.max_noops = 10_000;
    let (addr, recorder, _tasks) = serve(patient).await;
    let mut client = client(addr).await;
    let mut batch = String::new();
    for number in 0..2_000 {
        let message = format!("{number}\r\n.\r\n");
        batch += "NOOP\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<user@example.com>\r\nDATA\r\n";
        batch += &message;
        batch += "VRFY user\r\n";
    }
    client.send(batch.as_bytes()).await.unwrap();
    for _ in 0..2_000 {
        for start in ["250 2.0.0 ok", "250 2.1.0", "250 2.1.5", "354 ", "250 2.0.0 kept", "252 "] {
            hear(&mut client, start).await;
        }
    }
    ask(&mut client, "QUIT", "221 ").await;
    hear_the_end(&mut client).await;
    let delivered = recorder.delivered();
    assert_eq!(delivered.len(), 2_000);
    assert!(delivered.iter().enumerate().all(|(number, (_, raw))| *raw == format!("{number}\r\n").as_bytes()));
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_read_for_ever() {
    let mut patient = Settings { idle_timeout: SOON, ..settings() };
    patient.session.max_noops = u32::MAX;
    let (addr, _, tasks) = serve(patient).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    let batch = b"HELP\r\n".repeat(10_000);
    let writing = async {
        // The replies are fourteen times as large as the commands: without bounds the server would hold gigabytes.
        for _ in 0..1_000 {
            stream.write_all(&batch).await?;
        }
        io::Result::Ok(())
    };
    let written = timeout(DEADLINE, writing).await.expect("the server gives the connection up");
    assert!(written.is_err(), "60 MB of commands were read though no reply was");
    assert_eq!(tasks.stop(DEADLINE).await, 0);
}

#[tokio::test]
async fn the_last_reply_arrives_also_where_input_is_left_unread() {
    let (addr, _, tasks) = serve(settings()).await;
    for (line, farewell) in [
        (&b"NOOP\n"[..], "521 5.5.2"),
        (b"FOO\r\n", "421 4.7.0"),
        (b"NOOP\r\n", "421 4.7.0"),
        (b"QUIT\r\n", "221 2.0.0"),
    ] {
        let (mut reader, mut writer) = TcpStream::connect(addr).await.unwrap().into_split();
        let batch = line.repeat(1_000_000);
        let mut said = Vec::new();
        let (written, read) = tokio::join!(writer.write_all(&batch), timeout(DEADLINE, reader.read_to_end(&mut said)));
        written.unwrap_or_else(|error| panic!("{farewell}: {error}"));
        read.expect("the connection ends").unwrap_or_else(|error| panic!("{farewell}: {error}"));
        let said = String::from_utf8(said).unwrap();
        assert!(said.lines().last().unwrap().starts_with(farewell), "{said}");
    }
    assert_eq!(tasks.stop(DEADLINE).await, 0);
}
