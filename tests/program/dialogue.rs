//! A client that speaks SMTP line by line, for what no real one does, and to hand mail to a mail server on its way to us.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::programs::DEADLINE;

/// A connection that has read the greeting.
pub(crate) struct Client<S = TcpStream> {
    stream: BufReader<S>,
    pub(crate) greeting: String,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self::over(stream)
    }
}

impl<S: Read + Write> Client<S> {
    /// A client on a connection that exists.
    pub(crate) fn over(stream: S) -> Self {
        let mut client = Self { stream: BufReader::new(stream), greeting: String::new() };
        client.greeting = client.line();
        client
    }

    /// Opens a mail transaction up to the point where the message may come.
    pub(crate) fn begin(&mut self, to: &str) {
        assert!(self.say("HELO client.example").starts_with("250"));
        assert!(self.say("MAIL FROM:<sender@example.org>").starts_with("250"));
        assert!(self.say(&format!("RCPT TO:<{to}>")).starts_with("250"));
        assert!(self.say("DATA").starts_with("354"));
    }

    /// Says a line and returns the first line of the reply.
    pub(crate) fn say(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.line()
    }

    /// Says EHLO and returns the whole reply.
    pub(crate) fn ehlo(&mut self) -> String {
        let mut reply = self.say("EHLO client.example");
        while reply.lines().last().is_some_and(|line| line.starts_with("250-")) {
            reply = reply + "\n" + &self.line();
        }
        reply
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// All that comes until the server closes the connection.
    pub(crate) fn rest(mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap();
        rest.trim_end().to_owned()
    }
}
