//! The grammar of commands: RFC 5321 section 4.1, with BDAT of RFC 3030. Parameters of MAIL and RCPT are in `parameter`.

use super::parameter;
use super::reply::Reply;
use crate::mail::{Address, MailParameters, Recipient};

/// One command line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `EHLO name`
    Ehlo(String),
    /// `HELO name`
    Helo(String),
    /// `MAIL FROM:<path> parameters`; `from` is `None` for the null sender `<>`.
    Mail {
        /// The reverse-path.
        from: Option<Address>,
        /// What stands behind it.
        parameters: MailParameters,
    },
    /// `RCPT TO:<path> parameters`
    Rcpt(Forward),
    /// `DATA`
    Data,
    /// `BDAT size [LAST]`
    Bdat {
        /// The number of bytes that follow the line.
        size: u64,
        /// Whether this is the last piece of the message.
        last: bool,
    },
    /// `RSET`
    Rset,
    /// `NOOP`
    Noop,
    /// `VRFY`
    Vrfy,
    /// `HELP`
    Help,
    /// `QUIT`
    Quit,
    /// `STARTTLS`
    StartTls,
}

/// The forward-path of RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Forward {
    /// An address with its domain.
    To(Recipient),
    /// `<Postmaster>`, the one recipient that needs no domain (RFC 5321 section 4.1.1.3).
    Postmaster,
}

impl Command {
    /// Reads a command line without its CRLF. `dsn` says whether the parameters of RFC 3461 are known.
    ///
    /// # Errors
    /// The refusal for the client. After one with code 521 (RFC 7504) nothing more may be read: what follows was not meant
    /// as commands.
    pub(super) fn parse(line: &[u8], dsn: bool) -> Result<Self, Reply> {
        let text = std::str::from_utf8(line).map_err(|_| syntax("command line is not UTF-8"))?;
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(syntax("command line has control characters"));
        }
        let text = text.trim_end_matches([' ', '\t']);
        let (verb, argument) = text.split_once(' ').map_or((text, ""), |(verb, rest)| (verb, rest.trim_start()));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => host_name(argument).map(Self::Ehlo),
            "HELO" => host_name(argument).map(Self::Helo),
            "MAIL" => mail(argument, dsn),
            "RCPT" => rcpt(argument, dsn),
            "DATA" => alone("DATA", argument, Self::Data),
            "BDAT" => bdat(argument),
            "RSET" => alone("RSET", argument, Self::Rset),
            "NOOP" => Ok(Self::Noop),
            "VRFY" => Ok(Self::Vrfy),
            "HELP" => Ok(Self::Help),
            "QUIT" => alone("QUIT", argument, Self::Quit),
            "STARTTLS" => alone("STARTTLS", argument, Self::StartTls),
            "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "CONNECT" | "TRACE" => {
                // A web page can make its reader's browser post to this port, and the body of that request is the page's.
                Err(Reply::new(521, (5, 7, 0), "this is a mail server, it does not speak HTTP"))
            }
            "EXPN" | "AUTH" | "ETRN" | "TURN" => Err(Reply::new(502, (5, 5, 1), "command not implemented")),
            _ => Err(Reply::new(500, (5, 5, 1), "command not recognized")),
        }
    }
}

/// Whose mail a malformed command is about, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// MAIL of this sender.
    Mail(Sender),
    /// RCPT for this address.
    Rcpt(Address),
}

/// The sender that a malformed MAIL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Address(Address),
    /// The null sender.
    Nobody,
    /// What is no address, such as the bare name of a user: as it was written, without controls.
    Text(String),
}

impl About {
    /// Reads a line that [`Command::parse`] has refused.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?;
        let (verb, argument) = text.split_once(' ')?;
        let is_mail = verb.eq_ignore_ascii_case("MAIL");
        if !is_mail && !verb.eq_ignore_ascii_case("RCPT") {
            return None;
        }
        let rest = keyword(argument.trim_start(), if is_mail { "FROM:" } else { "TO:" }).unwrap_or_default();
        // The brackets may be what is wrong.
        let bare = rest.split(' ').next().unwrap_or_default().trim_matches(['<', '>']);
        let inner = path(rest).map_or(bare, |(inner, _)| inner);
        match Address::parse_sender(without_route(inner)) {
            Ok(address) if is_mail => Some(Self::Mail(Sender::Address(address))),
            Ok(address) => Some(Self::Rcpt(address)),
            Err(_) if is_mail && rest.starts_with("<>") => Some(Self::Mail(Sender::Nobody)),
            Err(_) => is_mail.then(|| Self::Mail(Sender::Text(written(inner)))),
        }
    }
}

/// As long as an address may be.
const WRITTEN_MAX_BYTES: usize = 254;

/// A text of a client, within bounds and without controls.
fn written(text: &str) -> String {
    let printed: String = text.chars().filter(|c| !c.is_control()).collect();
    printed[..printed.floor_char_boundary(WRITTEN_MAX_BYTES)].to_owned()
}

fn syntax(text: &'static str) -> Reply {
    Reply::new(500, (5, 5, 2), text)
}

fn alone(verb: &str, argument: &str, command: Command) -> Result<Command, Reply> {
    if argument.is_empty() { Ok(command) } else { Err(Reply::new(501, (5, 5, 4), format!("{verb} takes no argument"))) }
}

/// The name is a claim that is only recorded, so everything that real clients send is taken, as long as it is one word.
fn host_name(argument: &str) -> Result<String, Reply> {
    if argument.is_empty() || argument.len() > 255 || argument.contains([' ', '\t']) {
        return Err(Reply::new(501, (5, 5, 4), "give your host name: EHLO mail.example.com"));
    }
    Ok(argument.to_owned())
}

fn mail(argument: &str, dsn: bool) -> Result<Command, Reply> {
    let rest = keyword(argument, "FROM:").ok_or_else(|| Reply::new(501, (5, 5, 2), "write MAIL FROM:<address>"))?;
    let (path, parameters) = path(rest).ok_or_else(|| {
        Reply::new(501, (5, 1, 7), "sender address must stand in angle brackets: MAIL FROM:<user@example.com>")
    })?;
    let from = if path.is_empty() {
        None
    } else {
        let address = Address::parse_sender(without_route(path));
        Some(address.map_err(|error| Reply::new(501, (5, 1, 7), format!("sender {error}")))?)
    };
    Ok(Command::Mail { from, parameters: parameter::of_mail(parameters, dsn)? })
}

fn rcpt(argument: &str, dsn: bool) -> Result<Command, Reply> {
    let rest = keyword(argument, "TO:").ok_or_else(|| Reply::new(501, (5, 5, 2), "write RCPT TO:<address>"))?;
    let (path, parameters) = path(rest).ok_or_else(|| {
        Reply::new(501, (5, 1, 3), "recipient address must stand in angle brackets: RCPT TO:<user@example.com>")
    })?;
    let (notify, orcpt) = parameter::of_rcpt(parameters, dsn)?;
    if path.eq_ignore_ascii_case("postmaster") {
        return Ok(Command::Rcpt(Forward::Postmaster));
    }
    match Address::parse(without_route(path)) {
        Ok(address) => Ok(Command::Rcpt(Forward::To(Recipient { address, notify, orcpt }))),
        Err(error) => Err(Reply::new(501, (5, 1, 3), format!("recipient {error}"))),
    }
}

/// RFC 3030 section 2: `BDAT SP chunk-size [SP "LAST"]`.
fn bdat(argument: &str) -> Result<Command, Reply> {
    // A chunk of unknown size follows; none of it may be taken for commands.
    let malformed = || Reply::new(521, (5, 5, 4), "write BDAT size or BDAT size LAST");
    let (digits, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((digits, word)) if word.trim().eq_ignore_ascii_case("LAST") => (digits, true),
        Some(_) => return Err(malformed()),
    };
    if !parameter::is_number(digits) {
        return Err(malformed());
    }
    digits.parse().map(|size| Command::Bdat { size, last }).map_err(|_| malformed())
}

/// What follows `keyword` in any case; the space that many clients put behind the colon is let through.
fn keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let head = argument.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| argument[keyword.len()..].trim_start_matches(' '))
}

/// Splits `<path> parameters`; a `>` inside a quoted local-part does not end the path.
fn path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => {
                let rest = &inner[at + 1..];
                return (rest.is_empty() || rest.starts_with(' ')).then(|| (&inner[..at], rest.trim_start()));
            }
            _ => {}
        }
    }
    None
}

/// Drops a source route, `@a.example,@b.example:`, as RFC 5321 appendix C asks for.
fn without_route(path: &str) -> &str {
    match path.split_once(':') {
        Some((route, address)) if route.split(',').all(|hop| hop.starts_with('@') && hop.len() > 1) => address,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Command, Reply> {
        Command::parse(line.as_bytes(), true)
    }

    fn address(text: &str) -> Address {
        Address::parse_sender(text).unwrap()
    }

    #[test]
    fn verbs_are_read_in_any_case() {
        assert_eq!(parse("ehlo Client.Example"), Ok(Command::Ehlo("Client.Example".into())));
        assert_eq!(parse("HELO [192.0.2.1]"), Ok(Command::Helo("[192.0.2.1]".into())));
        assert_eq!(parse("quit "), Ok(Command::Quit));
        assert_eq!(parse("NOOP whatever this is"), Ok(Command::Noop));
        assert_eq!(parse("StartTLS"), Ok(Command::StartTls));
    }

    #[test]
    fn a_sender_is_read_with_its_parameters() {
        let mail = |from: Option<&str>, size, smtputf8| {
            let parameters = MailParameters { size, smtputf8, ..MailParameters::default() };
            Ok(Command::Mail { from: from.map(address), parameters })
        };
        assert_eq!(parse("MAIL FROM:<a@b.example>"), mail(Some("a@b.example"), None, false));
        assert_eq!(parse("mail from: <a@b.example> size=10"), mail(Some("a@b.example"), Some(10), false));
        assert_eq!(parse("MAIL FROM:<> SMTPUTF8"), mail(None, None, true));
        assert_eq!(parse("MAIL FROM:<@x.example,@y.example:a@b.example>"), mail(Some("a@b.example"), None, false));
        assert_eq!(parse(r#"MAIL FROM:<"a>b\" c"@d.example>"#), mail(Some(r#""a>b\" c"@d.example"#), None, false));
        assert_eq!(parse("MAIL FROM:<a@b.example> SIZE=99999999999999999999"), {
            mail(Some("a@b.example"), Some(u64::MAX), false)
        });
    }

    #[test]
    fn a_recipient_is_an_address_or_the_postmaster() {
        let to = |text| Ok(Command::Rcpt(Forward::To(address(text).into())));
        assert_eq!(parse("RCPT TO:<User@Example.com>"), to("User@Example.com"));
        assert_eq!(parse("RCPT TO:<user@[127.0.0.1]>"), to("user@[127.0.0.1]"));
        assert_eq!(parse("RCPT TO:<@relay.example:user@example.com>"), to("user@example.com"));
        assert_eq!(parse("rcpt to:<PostMaster>"), Ok(Command::Rcpt(Forward::Postmaster)));
    }

    #[test]
    fn chunks_have_a_size() {
        assert_eq!(parse("BDAT 86"), Ok(Command::Bdat { size: 86, last: false }));
        assert_eq!(parse("bdat 0 last"), Ok(Command::Bdat { size: 0, last: true }));
        for line in ["BDAT", "BDAT x", "BDAT -1", "BDAT 5 FIRST", "BDAT 99999999999999999999"] {
            assert_eq!(parse(line).unwrap_err().code, 521, "{line}");
        }
    }

    #[test]
    fn refusals_have_the_code_that_names_their_cause() {
        for (line, code, enhanced) in [
            ("", 500, (5, 5, 1)),
            ("FOO", 500, (5, 5, 1)),
            ("MAIL", 501, (5, 5, 2)),
            ("MAIL TO:<a@b.example>", 501, (5, 5, 2)),
            ("MAIL FROM:a@b.example", 501, (5, 1, 7)),
            ("MAIL FROM:<a@b.example", 501, (5, 1, 7)),
            ("MAIL FROM:<a@b.example>SIZE=1", 501, (5, 1, 7)),
            ("MAIL FROM:<postmaster>", 501, (5, 1, 7)),
            ("MAIL FROM:<a b@c.example>", 501, (5, 1, 7)),
            ("MAIL FROM:<a@b.example> FOO=1", 555, (5, 5, 4)),
            ("RCPT TO:user@example.com", 501, (5, 1, 3)),
            ("RCPT TO:<>", 501, (5, 1, 3)),
            ("RCPT TO:<user>", 501, (5, 1, 3)),
            ("RCPT TO:<user@example.com> FOO=1", 555, (5, 5, 4)),
            ("EHLO", 501, (5, 5, 4)),
            ("EHLO two words", 501, (5, 5, 4)),
            ("DATA now", 501, (5, 5, 4)),
            ("STARTTLS foo", 501, (5, 5, 4)),
            ("AUTH PLAIN", 502, (5, 5, 1)),
            ("EXPN list", 502, (5, 5, 1)),
            ("POST / HTTP/1.1", 521, (5, 7, 0)),
            ("NOOP \r", 500, (5, 5, 2)),
            ("NOOP \u{0}", 500, (5, 5, 2)),
        ] {
            let reply = parse(line).unwrap_err();
            assert_eq!((reply.code, reply.enhanced), (code, Some(enhanced)), "{line:?}");
        }
        assert_eq!(Command::parse(b"NOOP \xff", true).unwrap_err().enhanced, Some((5, 5, 2)));
    }

    #[test]
    fn a_refused_command_says_whose_mail_it_was_about() {
        let about = |line: &str| About::read(line.as_bytes());
        for line in ["MAIL FROM:a@b.example", "mail from:<a@b.example", "MAIL FROM: <a@b.example> FOO=1"] {
            assert_eq!(about(line), Some(About::Mail(Sender::Address(address("a@b.example")))), "{line}");
        }
        assert_eq!(about("MAIL FROM:<> AUTH=<>"), Some(About::Mail(Sender::Nobody)));
        for (line, written) in [
            ("MAIL FROM:<a b@c.example>", "a b@c.example"),
            ("MAIL FROM:<www-data>", "www-data"),
            ("MAIL FROM:root", "root"),
            ("MAIL FROM:<a\u{1b}[2J>", "a[2J"),
            ("MAIL TO:<a@b.example>", ""),
        ] {
            assert_eq!(about(line), Some(About::Mail(Sender::Text(written.to_owned()))), "{line}");
        }
        let Some(About::Mail(Sender::Text(long))) = about(&format!("MAIL FROM:<{}>", "ä".repeat(1000))) else {
            panic!("it is no address")
        };
        assert_eq!(long.len(), WRITTEN_MAX_BYTES);
        for line in ["RCPT TO:u@b.example", "RCPT TO:<@x.example:u@b.example> FOO", "rcpt to:<u@b.example"] {
            assert_eq!(about(line), Some(About::Rcpt(address("u@b.example"))), "{line}");
        }
        for line in ["", "RCPT", "RCPT TO:<u>", "RCPT TO:", "NOOP a@b.example", "MAILX FROM:<a@b.example>"] {
            assert_eq!(about(line), None, "{line}");
        }
    }

    /// A line that is at least the beginning of a command, with whatever behind it.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        let starts = prop::sample::select(vec![
            "",
            "EHLO ",
            "MAIL FROM:<",
            "MAIL FROM:<a@b.example> ",
            "RCPT TO:<",
            "RCPT TO:<a@b.example> ",
            "BDAT ",
            "@a:",
            "MAIL FROM:<@a.example:",
            "RCPT TO:<\"",
        ]);
        let text = prop_oneof!["[ -~]{0,40}", "\\PC{0,20}", "(SIZE|BODY|RET|ENVID|NOTIFY|ORCPT)=[ -~]{0,20}"];
        let bytes = prop::collection::vec(any::<u8>(), 0..20);
        (starts, text, prop_oneof![4 => Just(Vec::new()), 1 => bytes])
            .prop_map(|(start, text, bytes)| [start.as_bytes(), text.as_bytes(), &bytes].concat())
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_is_refused_for_good_with_a_reason(line in line(), dsn in any::<bool>()) {
            match Command::parse(&line, dsn) {
                Ok(Command::Mail { from: Some(address), .. }) => {
                    prop_assert_eq!(Address::parse_sender(&address.to_string()), Ok(address));
                }
                Ok(Command::Rcpt(Forward::To(recipient))) => {
                    prop_assert_eq!(recipient.to_string().parse(), Ok(recipient));
                }
                Ok(_) => {}
                Err(reply) => {
                    prop_assert!((500..600).contains(&reply.code), "{}", reply);
                    prop_assert!(reply.enhanced.is_some_and(|(class, ..)| class == 5), "{}", reply);
                    prop_assert!(reply.text.len() > 10 && !reply.text.contains(char::is_control), "{}", reply);
                }
            }
        }
    }
}
