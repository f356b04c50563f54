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
use super::path::MailboxPath;
use super::problem::Problem;
use super::query::{self, PAGE_MAX_BYTES, Parameters, Query, SEQS, Strict};
use super::records::{self, Made};
use super::room::Room;
use super::view::{AttemptView, MissView, mailbox_url};
use crate::inbox::{Filter, Inbox, Listing, Page, Stored};
use crate::mail::MailboxName;

/// So many of the messages that were not meant are shown to who finds nothing.
const MISSES_SHOWN: usize = 5;
/// So many of the attempts that were refused are shown to who finds nothing.
const ATTEMPTS_SHOWN: usize = 5;

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
        Ok(Self { filter: Chosen::read(query)?.0, after, wait: query.period("wait", HELD_MAX)? })
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
        place: Option<Place>,
        is_news: impl Fn(&Listing) -> bool,
    ) -> Result<Listing, Problem> {
        let listing = match self.wait {
            // In a box, as in waiting: who is held has no room for it.
            None => Box::pin(inbox.search(mailbox, &self.filter, self.page)).await?,
            Some(wait) => {
                let until = Instant::now() + wait;
                inbox.wait(mailbox, &self.filter, self.page, self.count, until, is_news).await?
            }
        };
        drop(place);
        Ok(listing)
    }
}

impl Latest {
    /// The newest message that matches, with its place in the mailbox.
    ///
    /// # Errors
    /// Where there is none: what there is instead, and what each message lacks.
    pub(super) async fn find(
        self,
        inbox: &Inbox,
        mailbox: &MailboxName,
        known: &Known,
        waiter: &Waiter,
    ) -> Result<Stored, Problem> {
        let page = page(self.after, 1);
        let wanted = Wanted { filter: self.filter.clone(), page, count: 1, wait: self.wait };
        let place = wanted.wait.map(|_| waiter.take()).transpose()?;
        let is_news = |found: &Listing| !found.messages.iter().any(|stored| known.has_message(stored.message.id));
        match wanted.list(inbox, mailbox, place, is_news).await?.messages.pop() {
            Some(stored) => Ok(stored),
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
        let condition = if self.filter.is_empty() { "" } else { " that matches" };
        let waited = self.wait.map(|time| format!("; waited for {} s", time.as_secs())).unwrap_or_default();
        let after = self.after.map(|seq| format!(" after seq {seq}")).unwrap_or_default();
        let detail = format!(
            "there is no message{condition}{of_a_kind} in mailbox {mailbox}{after}{waited}; arrived has what came instead, attempts what was refused"
        );
        let arrived: Vec<_> = misses.iter().map(MissView::from).collect();
        let attempts: Vec<_> = attempts.iter().map(|attempt| AttemptView::from(&**attempt)).collect();
        let members = [("arrived", serde_json::to_value(arrived)), ("attempts", serde_json::to_value(attempts))];
        let problem = Problem::not_found("message not found", detail);
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
