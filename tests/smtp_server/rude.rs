//! Clients without manners: each gets a clean reply or a close, nothing of theirs is kept, and their place is free again.
//! There is room for one connection only, so each of them needs the place of the one before.

use std::io;
use std::net::SocketAddr;

use restante::smtp::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::loopback::DEADLINE;
use crate::{is_admitted, serve, settings};

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It closes its sending side and reads on.
    HalfClosed,
    /// It is gone at once, with a reset.
    Reset,
    /// It waits for the server to close.
    Not,
}

/// What the server says behind its greeting to a client that sends `bytes` without having waited for that.
async fn visit(addr: SocketAddr, bytes: &[u8], leave: Leave) -> io::Result<String> {
    loop {
        let mut stream = TcpStream::connect(addr).await?;
        // Who is turned away is not read, and may be reset.
        _ = stream.write_all(bytes).await;
        if !is_greeted(&mut stream).await {
            yield_now().await;
            continue;
        }
        match leave {
            Leave::HalfClosed => stream.shutdown().await?,
            Leave::Reset => {
                stream.set_zero_linger()?;
                return Ok(String::new());
            }
            Leave::Not => {}
        }
        let mut said = String::new();
        stream.read_to_string(&mut said).await?;
        return Ok(said);
    }
}

/// Reads the first line.
async fn is_greeted(stream: &mut TcpStream) -> bool {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let Ok(byte) = stream.read_u8().await else { return false };
        line.push(byte);
    }
    line.starts_with(b"220 ")
}

#[tokio::test]
async fn who_has_no_manners_gets_a_clean_answer_and_leaves_nothing() {
    let (addr, recorder, tasks) = serve(Settings { max_connections: 1, ..settings() }).await;
    let begin = "HELO x\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<user@example.com>\r\n";
    let begun = ["250 ", "250 2.1.0", "250 2.1.5"];
    let (data, chunk) = ([&begun[..], &["354 "]].concat(), [&begun[..], &["250 2.0.0 chunk"]].concat());
    let enough = [&["500 5.5.2"; 20][..], &["421 4.7.0"]].concat();
    let visits: Vec<(String, Leave, Vec<&str>)> = vec![
        // Only one who looks whether anybody is there.
        (String::new(), Leave::HalfClosed, vec![]),
        (String::new(), Leave::Reset, vec![]),
        // HTTP, as browsers and scanners send it.
        ("GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n".into(), Leave::HalfClosed, vec!["521 "]),
        // A TLS handshake where clear text is expected.
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}".into(), Leave::HalfClosed, vec![]),
        // Garbage, in lines and without any.
        ("\0\u{1}\u{fffd}\n".into(), Leave::Not, vec!["521 5.5.2"]),
        ("\0\u{1}\u{7f}\r\n".repeat(30), Leave::Not, enough),
        ("x".repeat(1_000_000), Leave::HalfClosed, vec![]),
        // Gone in the middle of a command, of a message, of its end, of a chunk, between two chunks.
        (format!("{begin}DAT"), Leave::HalfClosed, begun.to_vec()),
        (format!("{begin}DATA\r\nhalf a message\r\n"), Leave::HalfClosed, data.clone()),
        (format!("{begin}DATA\r\nhalf a message\r\n.\r"), Leave::HalfClosed, data),
        (format!("{begin}DATA\r\n{}", "half a message\r\n".repeat(500)), Leave::Reset, vec![]),
        (format!("{begin}BDAT 10 LAST\r\n123456789"), Leave::HalfClosed, begun.to_vec()),
        (format!("{begin}BDAT 10 LAST\r\n123456789"), Leave::Reset, vec![]),
        (format!("{begin}BDAT 5\r\n12345"), Leave::HalfClosed, chunk),
        (format!("{begin}BDAT 18446744073709551615 LAST\r\nx"), Leave::HalfClosed, begun.to_vec()),
    ];
    for (bytes, leave, replies) in visits {
        let shown: String = bytes.chars().take(80).collect();
        let visit = timeout(DEADLINE, visit(addr, bytes.as_bytes(), leave));
        let visited = visit.await.unwrap_or_else(|_| panic!("{shown:?} {leave:?} does not end"));
        let said = visited.unwrap_or_else(|error| panic!("{shown:?} {leave:?}: {error}"));
        let lines: Vec<&str> = said.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), replies.len(), "{shown:?} {leave:?}: {said}");
        let all = lines.iter().zip(&replies).all(|(line, reply)| line.starts_with(reply));
        assert!(all, "{shown:?} {leave:?}: {said}");
    }
    assert!(is_admitted(addr).await);
    assert!(recorder.delivered().is_empty());
    assert_eq!(tasks.stop(DEADLINE).await, 0);
}
