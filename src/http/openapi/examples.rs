//! The examples of the description: one message, read and shown by the same code as any other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::probes::{CertificateView, Ready};
use super::super::problem::{CODE_NOT_FOUND, LINK_NOT_FOUND, MESSAGE_GONE, MESSAGE_NOT_FOUND, Problem};
use super::super::view::{ArrivalView, AttemptView, ClaimView, MailboxView, MessageView, MissView};
use crate::clock::Timestamp;
use crate::inbox::{Attempt, Lease, MailboxSummary, Miss, Stored};
use crate::mail::{self, Address, Budgets, MailParameters, MailboxName, Message, Naming, Peer, Recipients};
use crate::metrics::Metrics;

/// The id of the message.
pub(in crate::http) const ID: &str = "0199f0c8-1234-7abc-8def-0123456789ab";

/// The token of a lease on it.
pub(in crate::http) const TOKEN: &str = "6f3d0c1b5b8e4d2f9a7c1e0f3b2d4a68";

/// When it came.
const RECEIVED_AT: Timestamp = Timestamp::from_millis(1_760_875_385_000);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The message.
pub(in crate::http) const RAW: &str = "Date: Sun, 19 Oct 2025 12:03:05 +0000\r
From: Example <no-reply@example.com>\r
To: Ada <user@example.com>\r
Subject: Your sign-in code\r
Message-ID: <1@example.com>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary=m\r
\r
--m\r
Content-Type: multipart/alternative; boundary=a\r
\r
--a\r
Content-Type: text/plain; charset=utf-8\r
\r
Your code is 482 913.\r
Or sign in here: https://example.com/signin?token=8f2a9c40d7be\r
\r
--a\r
Content-Type: text/html; charset=utf-8\r
\r
<p>Your code is <b>482 913</b>.</p><p><a href=\"https://example.com/signin?token=8f2a9c40d7be\">Sign in</a></p>\r
--a--\r
--m\r
Content-Type: text/calendar; charset=utf-8\r
Content-Disposition: attachment; filename=\"invite.ics\"\r
\r
BEGIN:VCALENDAR\r
END:VCALENDAR\r
--m--\r
";

/// The path of its mailbox.
const MAILBOX_URL: &str = "/emails/user";

/// The message as one mailbox has it. It is all there, or `None`, which a test would see.
fn stored() -> Option<Stored> {
    let rcpt_to = Address::parse("user@example.com").ok()?;
    let message = Message {
        id: ID.parse().ok()?,
        received_at: RECEIVED_AT,
        expires_at: RECEIVED_AT.after(DAY),
        mail_from: Address::parse("bounces@example.com").ok(),
        parameters: MailParameters { size: Some(RAW.len() as u64), ..MailParameters::default() },
        peer: peer()?,
        size: RAW.len() as u64,
        content: mail::parse(RAW.as_bytes(), &Budgets::default()),
    };
    let mailbox = mailbox(&rcpt_to)?;
    Some(Stored { seq: 7, mailbox, rcpt_to: Recipients::from(rcpt_to), message: Arc::new(message) })
}

fn peer() -> Option<Peer> {
    let (addr, local) = ("192.0.2.7:49152".parse().ok()?, "192.0.2.1:25".parse().ok()?);
    Some(Peer { addr, local, helo: "mail.example.com".to_owned(), tls: None })
}

fn mailbox(address: &Address) -> Option<MailboxName> {
    Naming::default().of(address).ok()
}

/// The message as a list has it.
pub(in crate::http) fn of_list() -> Value {
    shown(stored().as_ref().map(|stored| MessageView::new(stored, MAILBOX_URL, None)))
}

/// The message with its header fields.
pub(in crate::http) fn message() -> Value {
    let fields = mail::header_fields(RAW.as_bytes(), &Budgets::default());
    shown(stored().as_ref().map(|stored| MessageView::new(stored, MAILBOX_URL, Some(&fields))))
}

/// A lease on the message.
pub(in crate::http) fn claim() -> Option<ClaimView> {
    let lease = TOKEN.parse().ok().map(|token| Lease { token, until: RECEIVED_AT.after(DAY) });
    lease.map(|lease| ClaimView::new(&format!("{MAILBOX_URL}/{ID}"), lease))
}

/// The message as it is claimed.
pub(in crate::http) fn claimed() -> Value {
    let claim = claim();
    let (stored, claim) = (stored(), claim.as_ref());
    let claimed = stored.as_ref().zip(claim);
    shown(claimed.map(|(stored, claim)| MessageView::new(stored, MAILBOX_URL, None).with_claim(claim)))
}

/// A list with the message in it.
pub(in crate::http) fn messages() -> Value {
    json!([of_list()])
}

/// Its header fields.
pub(in crate::http) fn headers() -> Value {
    message()["headers"].take()
}

/// Its text body.
pub(in crate::http) fn text() -> Value {
    of_list()["body_text"].take()
}

/// Its HTML body.
pub(in crate::http) fn html() -> Value {
    of_list()["body_html"].take()
}

/// Its code, as a line.
pub(in crate::http) fn code() -> Value {
    line(&of_list()["codes"][0]["value"])
}

/// Its link, as a line.
pub(in crate::http) fn link() -> Value {
    line(&of_list()["links"][0]["href"])
}

/// What a stream tells of the message.
pub(in crate::http) fn arrival() -> Value {
    shown(stored().as_ref().map(|stored| ArrivalView::new(stored, MAILBOX_URL)))
}

/// The mailboxes that hold mail.
pub(in crate::http) fn mailboxes() -> Value {
    let summary = stored().map(|Stored { mailbox, message, .. }| MailboxSummary {
        mailbox,
        count: 1,
        newest_received_at: message.received_at,
    });
    json!([shown(summary.as_ref().map(MailboxView::from))])
}

/// Mail that did not get in.
pub(in crate::http) fn attempts() -> Value {
    let attempt = || {
        let rcpt_to = Address::parse("user@example.com").ok()?;
        Some(Attempt {
            attempted_at: RECEIVED_AT,
            peer: peer()?,
            mail_from: Address::parse("bounces@example.com").ok(),
            mailbox: mailbox(&rcpt_to),
            written_from: None,
            rcpt_to: Some(rcpt_to),
            reply: None,
        })
    };
    let mut shown = shown(attempt().as_ref().map(AttemptView::from));
    // A reply is a thing of SMTP; to this side it is a number and a text.
    shown["code"] = json!(552);
    shown["reply"] = json!("552 5.3.4 message is too large; at most 52428800 bytes are taken");
    json!([shown])
}

/// The server is ready.
pub(in crate::http) fn ready() -> Value {
    let (names, expires_at) = (vec!["mx.example.com".to_owned()], RECEIVED_AT.after(DAY * 90).as_secs());
    let certificate = CertificateView { source: "acme", names, expires_at };
    shown(Some(Ready { status: "ready", certificates: vec![certificate], warnings: Vec::new() }))
}

/// The beginning of the metrics of a server that has done nothing yet.
pub(in crate::http) fn metrics() -> Value {
    let text = Metrics::new(RECEIVED_AT).text();
    json!(text.lines().take(3).map(|line| format!("{line}\n")).collect::<String>())
}

/// A message that is not there.
pub(in crate::http) fn no_message() -> Problem {
    Problem::not_found(MESSAGE_NOT_FOUND, format!("there is no message {ID} in mailbox user"))
}

/// A message that is not there any more.
pub(in crate::http) fn gone() -> Problem {
    let detail = format!("message {ID} was deleted from mailbox user");
    let problem = Problem::gone(MESSAGE_GONE, detail);
    problem.with("reason", json!("deleted")).with("at", json!(RECEIVED_AT.as_secs()))
}

/// A search that has found nothing.
pub(in crate::http) fn nothing_found() -> Problem {
    let misses = vec!["subject: wanted \"welcome\", got \"Your sign-in code\"".to_owned()];
    let miss = stored().map(|stored| Miss { stored, misses });
    let arrived = json!([shown(miss.as_ref().map(MissView::from))]);
    nothing(MESSAGE_NOT_FOUND, " that matches", arrived)
}

/// A search for a code that has found none.
pub(in crate::http) fn no_code_found() -> Problem {
    nothing(CODE_NOT_FOUND, " with a code", json!([]))
}

/// A search for a link to act on that has found none.
pub(in crate::http) fn no_link_found() -> Problem {
    nothing(LINK_NOT_FOUND, " with a link to act on", json!([]))
}

fn nothing(error: &'static str, which: &str, arrived: Value) -> Problem {
    let detail =
        format!("there is no message{which} in mailbox user; arrived has what came instead, attempts what was refused");
    Problem::not_found(error, detail).with("arrived", arrived).with("attempts", attempts())
}

fn line(value: &Value) -> Value {
    json!(format!("{}\n", value.as_str().unwrap_or_default()))
}

fn shown(view: Option<impl serde::Serialize>) -> Value {
    view.and_then(|view| serde_json::to_value(view).ok()).unwrap_or_default()
}
