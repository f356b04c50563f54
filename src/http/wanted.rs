//! Which messages a request means, and how long it waits for them.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::held::{HELD_MAX, Place, Waiter};
use super::known::Known;
use super::openapi::{MessageFound, examples};
use super::path::{MailboxPath, MessagePath};
use super::problem::{CODE_NOT_FOUND, LINK_NOT_FOUND, MESSAGE_NOT_FOUND, Problem};
use super::query::{self, PAGE_MAX_BYTES, Parameters, Query, SEQS, Strict};
use super::records::{self, Made};
use super::room::Room;
use super::view::{AttemptView, MissView, mailbox_url};
use crate::inbox::{Filter, Inbox, Listing, Page};
use crate::mail::{MailboxName, MessageId};

/// So many of the messages that were not meant are shown to who finds nothing.
const MISSES_SHOWN: usize = 5;
/// So many of the attempts that were refused are shown to who finds nothing.
const ATTEMPTS_SHOWN: usize = 5;

/// So often another message is looked for where one is gone before it is read.
const LOOKS_MAX: usize = 20;

/// The parameters that choose messages by what they say.
pub(super) const FILTERS: [&str; 4] = ["from", "to", "subject", "q"];

/// `from`, `to`, `subject` and `q`: all of them have to match.
pub(super) struct Chosen(pub(super) Arc<Filter>);

/// A part of a mailbox, and how long to wait for it.
pub(super) struct Wanted {
    pub(super) filter: Arc<Filter>,
    pub(super) page: Page,
    pub(super) count: usize,
    pub(super) wait: Option<Duration>,
}

/// The newest message, and how long to wait for it.
pub(super) struct Latest {
    pub(super) filter: Arc<Filter>,
    pub(super) after: Option<u64>,
    pub(super) wait: Option<Duration>,
    having: Having,
}

/// What a message has that is looked for by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Having {
    Anything,
    Code,
    Link,
}

/// The newest message, for a client that may have it already, and may wait for another.
pub(super) struct Newest {
    pub(super) latest: Latest,
    pub(super) known: Known,
    pub(super) waiter: Waiter,
}

/// Messages that shall not come for so long.
pub(super) struct Unwanted {
    filter: Arc<Filter>,
    after: Option<u64>,
    period: Duration,
}

impl Parameters for Chosen {
    const NAMES: &'static [&'static str] = &FILTERS;

    fn read(query: &Query) -> Result<Self, Problem> {
        let mut filter = Filter::default();
        for (name, parse) in [("from", Filter::from as fn(&str) -> _), ("to", Filter::to), ("subject", Filter::subject)]
        {
            if let Some(value) = query.value(name) {
                if name != "subject" && is_broken_address(value) {
                    return Err(query::bad(format!(
                        "the query parameter {name} is {value:?}, and no address has a blank; write %2B for a plus sign, or q={name}:{value:?} where the blank is meant"
                    )));
                }
                let one =
                    parse(value).map_err(|problem| query::bad(format!("the query parameter {name}: {problem}")))?;
                filter = filter.and(one);
            }
        }
        if let Some(value) = query.value("q") {
            let parsed: Filter =
                value.parse().map_err(|error| query::bad(format!("the query parameter q, {error}")))?;
            // A variable of a script that is not set must not become "no filter".
            if parsed.is_empty() {
                return Err(query::bad(
                    "the query parameter q is empty; write what to look for, or leave it out".into(),
                ));
            }
            filter = filter.and(parsed);
        }
        Ok(Self(Arc::new(filter)))
    }
}

/// Whether a text looks like an address whose plus sign was not encoded, so that it is a blank: `local blank local@domain`.
fn is_broken_address(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.contains([' ', '@', '"', '<', '>', '(', ')', ',', ':', ';']);
    let parts = text.split_once(' ').and_then(|(before, rest)| Some((before, rest.split_once('@')?)));
    parts.is_some_and(|(before, (local, domain))| [before, local, domain].into_iter().all(is_part))
}

impl Parameters for Wanted {
    const NAMES: &'static [&'static str] = &["limit", "before", "after", "from", "to", "subject", "q", "wait", "count"];

    fn read(query: &Query) -> Result<Self, Problem> {
        let page = Page::read(query)?;
        let count = query.number("count", 1..=page.limit as u64)?;
        let wait = query.period("wait", HELD_MAX)?;
        if count.is_some() && wait.is_none() {
            return Err(query::bad(
                "the query parameter count says how many messages to wait for; give wait too".into(),
            ));
        }
        let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(1);
        Ok(Self { filter: Chosen::read(query)?.0, page, count, wait })
    }
}

impl Parameters for Latest {
    const NAMES: &'static [&'static str] = &["after", "from", "to", "subject", "q", "wait"];

    fn read(query: &Query) -> Result<Self, Problem> {
        let after = query.number("after", SEQS)?;
        let wait = query.period("wait", HELD_MAX)?;
        Ok(Self { filter: Chosen::read(query)?.0, after, wait, having: Having::Anything })
    }
}

impl Parameters for Unwanted {
    const NAMES: &'static [&'static str] = &["after", "from", "to", "subject", "q", "for"];

    fn read(query: &Query) -> Result<Self, Problem> {
        let period = query.period("for", HELD_MAX)?;
        let period = period.ok_or_else(|| query::bad("the query parameter for is missing; write for=5s".into()))?;
        Ok(Self { filter: Chosen::read(query)?.0, after: query.number("after", SEQS)?, period })
    }
}

impl Wanted {
    /// The messages; where they are waited for, what there is at the end of that time. What `is_news` says no to is what
    /// the client has, and is no reason to wake it.
    pub(super) async fn list(
        &self,
        inbox: &Inbox,
        mailbox: &MailboxName,
        until: Option<Instant>,
        place: Option<Place>,
        is_news: impl Fn(&Listing) -> bool,
    ) -> Result<Listing, Problem> {
        let listing = match until {
            // In a box, as in waiting: who is held has no room for it.
            None => Box::pin(inbox.search(mailbox, &self.filter, self.page)).await?,
            Some(until) => inbox.wait(mailbox, &self.filter, self.page, self.count, until, is_news).await?,
        };
        drop(place);
        Ok(listing)
    }
}

/// When the time is over for which something is waited for.
pub(super) fn until(wait: Option<Duration>) -> Option<Instant> {
    wait.map(|wait| Instant::now() + wait)
}

impl Newest {
    /// What `read` makes of it. A message that is gone before it is read was none: another is looked for.
    ///
    /// # Errors
    /// Where there is none, and none comes in the time that it may be waited for.
    pub(super) async fn read<T, F>(
        &self,
        inbox: &Inbox,
        mailbox: MailboxName,
        read: impl Fn(MessagePath) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let Self { latest, known, waiter } = self;
        let until = until(latest.wait);
        for _ in 0..LOOKS_MAX {
            let id = latest.find(inbox, &mailbox, until, known, waiter).await?;
            match Box::pin(read(MessagePath { mailbox: mailbox.clone(), id })).await {
                Err(problem) if problem.is_of_missing_message() => {}
                read => return read,
            }
        }
        Err(Box::pin(latest.nothing_found(inbox, &mailbox, "")).await?)
    }
}

impl Latest {
    /// The newest that has something.
    pub(super) fn having(self, having: Having) -> Self {
        let has = match having {
            Having::Anything => return self,
            Having::Code => Filter::has_code(),
            Having::Link => Filter::has_link(),
        };
        Self { filter: Arc::new(Arc::unwrap_or_clone(self.filter).and(has)), having, ..self }
    }

    /// The id of the newest message that matches.
    ///
    /// # Errors
    /// Where there is none: what there is instead, and what each message lacks.
    async fn find(
        &self,
        inbox: &Inbox,
        mailbox: &MailboxName,
        until: Option<Instant>,
        known: &Known,
        waiter: &Waiter,
    ) -> Result<MessageId, Problem> {
        let (filter, page) = (&self.filter, page(self.after, 1));
        let place = until.map(|_| waiter.take()).transpose()?;
        let is_news = |found: &Listing| !found.messages.iter().any(|stored| known.has_message(stored.message.id));
        let mut found = match until {
            // In a box, as in waiting: who is held has no room for it.
            None => Box::pin(inbox.search(mailbox, filter, page)).await?,
            Some(until) => inbox.wait(mailbox, filter, page, 1, until, is_news).await?,
        };
        drop(place);
        match found.messages.pop() {
            Some(stored) => Ok(stored.message.id),
            None => Err(Box::pin(self.nothing_found(inbox, mailbox, "")).await?),
        }
    }

    /// Tells who finds no message `of_a_kind` what came instead, and what was kept out.
    pub(super) async fn nothing_found(
        &self,
        inbox: &Inbox,
        mailbox: &MailboxName,
        of_a_kind: &str,
    ) -> Result<Problem, Problem> {
        let misses = inbox.misses(mailbox, &self.filter, page(self.after, MISSES_SHOWN)).await?;
        let attempts = inbox.attempts(mailbox, None, ATTEMPTS_SHOWN);
        let (error, has) = match self.having {
            Having::Anything => (MESSAGE_NOT_FOUND, ""),
            Having::Code => (CODE_NOT_FOUND, " with a code"),
            Having::Link => (LINK_NOT_FOUND, " with a link to act on"),
        };
        let is_any = self.filter.conditions() == usize::from(self.having != Having::Anything);
        let condition = if is_any { "" } else { " that matches" };
        let waited = self.wait.map(|time| format!("; waited for {} s", time.as_secs())).unwrap_or_default();
        let after = self.after.map(|seq| format!(" after seq {seq}")).unwrap_or_default();
        let detail = format!(
            "there is no message{has}{condition}{of_a_kind} in mailbox {mailbox}{after}{waited}; arrived has what came instead, attempts what was refused"
        );
        let arrived: Vec<_> = misses.iter().map(MissView::from).collect();
        let attempts: Vec<_> = attempts.iter().map(|attempt| AttemptView::from(&**attempt)).collect();
        let members = [("arrived", serde_json::to_value(arrived)), ("attempts", serde_json::to_value(attempts))];
        let problem = Problem::not_found(error, detail);
        Ok(members.into_iter().fold(problem, |problem, (name, value)| problem.with(name, value.unwrap_or_default())))
    }
}

/// Expects nothing
///
/// The request is held for the time that `for` says, and answered as soon as a message that matches is there. Without
/// `after` one that is there already counts.
#[utoipa::path(
    get,
    path = "/{mailbox}/none",
    operation_id = "expect_none",
    tag = "Messages",
    params(MailboxPath, Strict<Unwanted>),
    responses(
        (status = 204, description = "No message that matches was there"),
        (status = 409, description = "There is one, as `message`", body = MessageFound<'_>, example = json!(conflict(&"user").with("message", examples::of_list()))),
    ),
)]
pub(super) async fn none(
    State(inbox): State<Inbox>,
    MailboxPath(mailbox): MailboxPath,
    Strict(unwanted): Strict<Unwanted>,
    (room, made): (Room, Made),
    waiter: Waiter,
) -> Result<Response, Problem> {
    let Unwanted { filter, after, period } = unwanted;
    let until = Instant::now() + period;
    let offender = loop {
        let place = waiter.take()?;
        let mut found = inbox.wait(&mailbox, &filter, page(after, 1), 1, until, |_| true).await?;
        let Some(offender) = found.messages.pop() else { return Ok(StatusCode::NO_CONTENT.into_response()) };
        // Who waits for room takes no place from those who wait for mail.
        drop(place);
        // One that is gone before there is room for it is looked for no more.
        if let Some(held) = room.hold(&inbox, offender).await? {
            break held;
        }
    };
    Ok(records::in_problem(conflict(&mailbox), offender, &made, &mailbox_url(&inbox, &mailbox)))
}

fn conflict(mailbox: &dyn Display) -> Problem {
    Problem::conflict("message found", format!("there is a message in mailbox {mailbox} that was not to come"))
}

fn page(after: Option<u64>, limit: usize) -> Page {
    Page { before: None, after, limit, max_bytes: PAGE_MAX_BYTES }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bytes::Bytes;

    use super::*;
    use crate::inbox::tests::{envelope, inbox, settings};

    #[tokio::test]
    async fn a_message_that_is_gone_before_it_is_read_was_none() {
        let inbox = inbox(settings(), u64::MAX).await;
        let mailbox = inbox.mailbox("user").unwrap();
        for subject in ["first", "second", "third"] {
            let raw = Bytes::from(format!("Subject: {subject}\r\n\r\ntext\r\n"));
            crate::smtp::Backend::deliver(&inbox, &envelope(&["user@example.com"]), raw).await.unwrap();
        }
        let latest = Latest::read(&Query::parse("", None).unwrap()).unwrap();
        let newest = Newest { latest, known: Known::default(), waiter: Waiter::for_tests() };
        let (inbox, goes) = (&inbox, &RefCell::new(2));
        let subject = async || {
            let read = |path: MessagePath| async move {
                if *goes.borrow() > 0 {
                    *goes.borrow_mut() -= 1;
                    inbox.delete(&path.mailbox, path.id).await?;
                }
                path.message(inbox).await.map(|stored| stored.message.content.subject.clone())
            };
            newest.read(inbox, mailbox.clone(), read).await
        };
        assert_eq!(subject().await.unwrap().as_deref(), Some("first"));
        *goes.borrow_mut() = 1;
        assert!(format!("{:?}", subject().await.unwrap_err()).contains("message not found"), "and not that it is gone");
    }

    #[test]
    fn an_address_whose_plus_has_become_a_blank_is_told_from_a_text() {
        for broken in ["a b@example.com", "first.last test-1@mx.example.com", "a b@c"] {
            assert!(is_broken_address(broken), "{broken}");
        }
        for text in [
            "a+b@example.com",
            "Ann Smith",
            "ann@example.com ",
            "Ann <ann@example.com>",
            "\"a b\"@example.com",
            "@ b",
            "a b@",
            "Jane Doe @ Acme",
            "Big Sale @ Home",
            "Big Sale @Home",
            "Sales@ Home",
            "Ann and Bob@Home",
            "sale a@home b@home",
        ] {
            assert!(!is_broken_address(text), "{text}");
        }
    }
}
