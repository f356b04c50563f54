//! A client that speaks SMTP line by line, for what no real one does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::programs::DEADLINE;

/// A connection that has read the greeting.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    pub(crate) greeting: String,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
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
        self.send(&format!("{line}\r\n"));
        self.line()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
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
