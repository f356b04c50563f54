//! Mail in by the mail servers of the internet: Postfix and Exim, as they come with Debian, pass it on to us.

mod exim;
mod postfix;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::path_of;
use crate::dialogue::Client;
use crate::process::Restante;
use crate::programs::{DEADLINE, program, run};
use crate::tls::certificate;

/// How long nobody looks whether mail has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Mail for `example.com` is ours. Bounces to a sender there come back to us as well.
const SETTINGS: [(&str, &str); 2] = [("DOMAIN", "example.com"), ("API_RATE_PER_MINUTE", "0")];

/// What a mail server on its way would change if it were told the wrong things: other bytes than ASCII, dots, blanks.
const MESSAGE: &[u8] = b"From: Ann <sender@example.com>\r\nTo: user@example.com\r\nSubject: On its way\r\n\
    Date: Fri, 20 Nov 2026 13:45:52 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    Gr\xfc\xdfe\r\n.\r\n..\r\n.dot\r\n \t\r\nFrom here\r\n\r\nlast\r\n";

/// A mail server that passes all mail on to one other, over TLS or not at all.
trait MailServer: Sized {
    /// Passes mail on to `server`, which has to show a certificate for `mx.example.com` that is signed by `authority`.
    fn start(server: &Restante, authority: &str) -> Self;

    /// An SMTP session with it.
    fn connect(&self) -> UnixStream;

    /// Tries again to pass on what is in its queue.
    fn retry(&self);

    /// What is in its queue.
    fn queue(&self) -> String;

    /// What it has written into its log.
    fn log(&self) -> String;
}

/// A mail server before ours.
struct Relayed<M> {
    mta: M,
    server: Restante,
    _dir: TempDir,
}

impl<M: MailServer> Relayed<M> {
    fn start(variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let [authority, _key] = certificate(dir.path());
        let server = Restante::start(dir.path(), &[&SETTINGS, variables].concat());
        Self { mta: M::start(&server, &authority), server, _dir: dir }
    }

    /// Hands the mail server a mail; `from` and `to` with their parameters.
    fn submit(&self, from: &str, to: &[&str], message: &[u8]) {
        let mut client = Client::over(self.mta.connect());
        assert!(client.ehlo().contains("250 "));
        let commands = [format!("MAIL FROM:{from}")].into_iter().chain(to.iter().map(|to| format!("RCPT TO:{to}")));
        for command in commands {
            let reply = client.say(&command);
            assert!(reply.starts_with("250 "), "{command}: {reply}");
        }
        assert!(client.say("DATA").starts_with("354 "));
        for line in message.split_inclusive(|&byte| byte == b'\n') {
            let stuffing: &[u8] = if line.starts_with(b".") { b"." } else { b"" };
            client.send([stuffing, line].concat());
        }
        let reply = client.say(".");
        assert!(reply.starts_with("250 "), "{reply}");
        assert!(client.say("QUIT").starts_with("221 "));
    }

    /// The mails of a mailbox, once there are `count` of them.
    #[track_caller]
    fn mails(&self, mailbox: &str, count: usize) -> Vec<Value> {
        let mut mails = Vec::new();
        let came = wait_until(|| {
            mails = self.server.mails(mailbox);
            mails.len() >= count
        });
        assert!(came, "{count} mails for {mailbox}, not {mails:?}\n{}", self.mta.log());
        mails
    }

    /// The only mail of a mailbox, once it is there.
    #[track_caller]
    fn mail(&self, mailbox: &str) -> Value {
        self.mails(mailbox, 1);
        self.server.mail(mailbox)
    }

    /// A mail as text, as far as it is one.
    fn raw(&self, mail: &Value) -> String {
        String::from_utf8_lossy(&self.server.get(&format!("{}/raw", path_of(mail)))).into_owned()
    }

    #[track_caller]
    fn logs(&self, text: &str) {
        assert!(wait_until(|| self.mta.log().contains(text)), "{text}\n{}", self.mta.log());
    }
}

/// Waits until `condition` is true; false at the deadline.
fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    for _ in 0..DEADLINE.as_millis() / LOOK_EVERY.as_millis() {
        if condition() {
            return true;
        }
        thread::sleep(LOOK_EVERY);
    }
    false
}

/// Whether we are root, and what we start has to be told to be somebody else.
fn is_root() -> bool {
    run(program("id").arg("-u"), b"").ok().trim() == "0"
}

/// Lets `owner`, who need not be we, into `dir`.
fn hand_over(dir: &Path, owner: &str) {
    run(program("chown").args(["-R", owner]).arg(dir), b"").ok();
}

/// A mail comes through as it was handed in, with all that its sender has asked for.
fn passes_mail_on<M: MailServer>(relayed: &Relayed<M>) -> Value {
    relayed.submit(
        "<sender@example.com> BODY=8BITMIME RET=HDRS ENVID=batch+2B7",
        &["<user@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bchoice@example.com"],
        MESSAGE,
    );
    let mail = relayed.mail("user");
    assert_eq!((&mail["from"], &mail["to"]), (&"sender@example.com".into(), &"user@example.com".into()));
    assert_eq!(mail["body_text"], "Gr\u{fc}\u{df}e\r\n.\r\n..\r\n.dot\r\n \t\r\nFrom here\r\n\r\nlast\r\n");
    let tls = mail["peer"]["tls"].as_str().unwrap();
    assert!(tls.starts_with("TLSv1.3 TLS_"), "{tls}");
    assert_eq!((&mail["peer"]["ip"], &mail["peer"]["helo"]), (&"127.0.0.1".into(), &"mta.example".into()));
    // It has written its Received in front.
    let raw = relayed.server.get(&format!("{}/raw", path_of(&mail)));
    assert!(raw.starts_with(b"Received: ") && raw.ends_with(MESSAGE), "{}", raw.escape_ascii());
    let envelope = &mail["envelope"];
    assert!(envelope["size"].as_u64().is_some_and(|size| size >= MESSAGE.len() as u64), "{envelope}");
    assert_eq!(envelope["smtputf8"], false);
    assert_eq!((&envelope["ret"], &envelope["envid"]), (&"HDRS".into(), &"batch+7".into()));
    assert_eq!(envelope["notify"], json!(["SUCCESS", "FAILURE"]));
    assert_eq!(envelope["orcpt"], "rfc822;first+choice@example.com");
    relayed.logs("250 2.0.0 kept as ");
    mail
}

/// Addresses and headers in other alphabets come through.
fn passes_other_alphabets_on<M: MailServer>(relayed: &Relayed<M>) {
    let message = "From: <\u{437}@example.com>\r\nSubject: \u{4f60}\u{597d}\r\n\r\n\u{1f4ee}\r\n";
    let (from, to) = ("\u{437}@example.com", "\u{7528}\u{6237}@example.com");
    relayed.submit(&format!("<{from}> SMTPUTF8 BODY=8BITMIME"), &[&format!("<{to}>")], message.as_bytes());
    // The local-part of the recipient, percent-encoded.
    let mail = relayed.mail("%E7%94%A8%E6%88%B7");
    assert_eq!((&mail["from"], &mail["to"], &mail["mailbox"]), (&from.into(), &to.into(), &"\u{7528}\u{6237}".into()));
    assert_eq!((&mail["subject"], &mail["body_text"]), (&"\u{4f60}\u{597d}".into(), &"\u{1f4ee}\r\n".into()));
    assert_eq!(mail["header_from"]["address"], from);
    assert_eq!(mail["envelope"]["smtputf8"], true);
    // Postfix says for whom it was, which is nobody else.
    let orcpt = &mail["envelope"]["orcpt"];
    assert!(orcpt.is_null() || *orcpt == format!("rfc822;{to}"), "{orcpt}");
}

/// A mail for many comes in one transaction, and all of them have it.
fn passes_one_mail_on_to_many<M: MailServer>(relayed: &Relayed<M>) {
    let to: Vec<_> = (0..40).map(|number| format!("<many{number}@example.com>")).collect();
    relayed.submit("<sender@example.com>", &to.iter().map(String::as_str).collect::<Vec<_>>(), MESSAGE);
    let id = relayed.mail("many39")["id"].clone();
    for number in 0..40 {
        assert_eq!(relayed.server.mail(&format!("many{number}"))["id"], id, "{number}");
    }
}

/// What will never be taken comes back to its sender at once, with our words.
/// Returns what comes back of a message over SIZE.
fn returns_what_is_refused<M: MailServer>() -> String {
    let relayed = Relayed::<M>::start(&[("SMTP_MAX_MESSAGE_SIZE", "100KB")]);
    relayed.submit("<foreign@example.com>", &["<user@elsewhere.example>"], MESSAGE);
    let bounce = relayed.mail("foreign");
    assert_eq!(bounce["from"], "");
    let text = relayed.raw(&bounce);
    assert!(text.contains("550 5.7.1") && text.contains("relaying denied"), "{text}");

    let large = [MESSAGE, &b"text\r\n".repeat(50_000)].concat();
    relayed.submit("<large@example.com>", &["<user@example.com>"], &large);
    let bounce = relayed.mail("large");
    assert_eq!(bounce["from"], "");
    assert_eq!(relayed.server.mails("user"), Vec::<Value>::new());
    relayed.raw(&bounce)
}

/// What is refused for the moment stays in the queue, and comes through once it can.
fn keeps_what_is_deferred<M: MailServer>() {
    // Room for one large mail; its text counts twice.
    let room = [("STORE_MAX_BYTES", "1200KB"), ("SMTP_MAX_MESSAGE_SIZE", "400KB"), ("SMTP_RATE_PER_MINUTE", "2")];
    let relayed = Relayed::<M>::start(&room);
    let large = [MESSAGE, &b"text\r\n".repeat(60_000)].concat();
    relayed.submit("<one@example.com>", &["<first@example.com>"], &large);
    relayed.mail("first");
    relayed.submit("<two@example.com>", &["<second@example.com>"], &large);
    relayed.logs("452 4.3.1 mail system full");
    assert_eq!(relayed.server.ask("DELETE", "/emails/first").status, 200);
    relayed.mta.retry();
    relayed.mail("second");

    for _ in 0..3 {
        relayed.submit("<three@example.com>", &["<third@example.com>"], MESSAGE);
    }
    relayed.logs("450 4.7.1 too many messages of this sender; try again in ");
    relayed.mails("third", 2);
    let queue = relayed.mta.queue();
    assert!(queue.contains("third@example.com") && !queue.contains("second@example.com"), "{queue}");
}

/// Where we do not offer to note it, the sender gets the report that it asked for from the mail server before us.
fn reports_itself_where_we_do_not<M: MailServer>() {
    let relayed = Relayed::<M>::start(&[("SMTP_DSN", "off")]);
    relayed.submit("<sender@example.com> ENVID=batch-7", &["<user@example.com> NOTIFY=SUCCESS"], MESSAGE);
    assert_eq!(relayed.mail("user")["envelope"]["notify"], Value::Null);
    let report = relayed.mail("sender");
    assert_eq!(report["from"], "");
    let text = relayed.raw(&report);
    assert!(text.contains("Action: relayed") || text.contains("Action: delivered"), "{text}");
}
