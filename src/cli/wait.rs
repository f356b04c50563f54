//! Mail of a running server, waited for and printed.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Response;
use reqwest::header::LINK;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{Answer, NotNow, Place, Server, causes};
use super::{Failure, output};
use crate::units;

/// For how long a server is asked to hold one request. It would do so for 60 seconds; but after as many some proxies on the
/// way give up, and an answer that comes in the same moment is lost.
const HELD_MAX: Duration = Duration::from_secs(50);
/// How long an answer may take on top of that.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of what type messages are in an answer, and their raw bytes.
const JSON: &str = "application/json";
const RAW: &str = "message/rfc822";
/// When a server is asked again that went away while it was waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The mailbox, a name or an address
    #[arg(long, value_name = "NAME")]
    mailbox: String,
    /// Which mail, in the language of `q` of the API, such as 'subject:Verify from:shop'
    #[arg(long = "match", value_name = "QUERY")]
    query: Option<String>,
    /// How long to wait for it, such as 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = units::duration)]
    timeout: Duration,
    /// What to print of it
    #[arg(long, value_enum, default_value_t = Part::Json)]
    print: Part,
    /// Only mail with a larger seq than this
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// So many messages; they are printed in the order in which they came
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=200))]
    count: u16,
    #[command(flatten)]
    place: Place,
}

/// What is printed of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The one-time code
    Code,
    /// The link to act on
    Link,
    /// The text
    Text,
    /// The HTML, as it was sent
    Html,
    /// All bytes, as they were received
    Raw,
    /// The message as the API has it, on one line
    Json,
    /// Its id
    Id,
}

/// Waits and prints.
pub(super) async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let server = Server::new(&arguments.place)?;
    let end = Instant::now() + arguments.timeout;
    let mut waiting = Waiting { arguments, server: &server, end, is_there: false, has_answered: false };
    for message in &waiting.arrived().await? {
        waiting.print(message).await?;
    }
    Ok(())
}

/// One request after the other, until the time is over.
struct Waiting<'a> {
    arguments: &'a Arguments,
    server: &'a Server,
    end: Instant,
    /// Somebody takes requests there: the server, or a proxy before it.
    is_there: bool,
    /// The server itself has said something.
    has_answered: bool,
}

impl Waiting<'_> {
    /// The messages, the oldest first.
    async fn arrived(&mut self) -> Result<Vec<Value>, Failure> {
        let count = usize::from(self.arguments.count);
        // The newest first.
        let mut came: Vec<Value> = Vec::new();
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            // Servers count in seconds. The last request may be held a little too long, but never too short.
            let held = Duration::from_secs(left.min(HELD_MAX).as_millis().div_ceil(1000).max(1) as u64);
            let asked = Instant::now();
            let (instead, pause) = match self.behind(seq(came.first()), count - came.len(), held).await? {
                Answer::Good(list) => {
                    came.splice(..0, list);
                    came.truncate(count);
                    if came.len() == count {
                        came.reverse();
                        return Ok(came);
                    }
                    (Value::from(came.len()), Duration::ZERO)
                }
                Answer::Missing(problem) => (problem, Duration::ZERO),
                Answer::NotNow(NotNow { said, pause, .. }) => {
                    // A server that was started anew may count from the beginning again.
                    came.clear();
                    (Value::String(said), pause)
                }
            };
            self.pause(asked, pause, || explained(self.arguments, &instead)).await?;
        }
    }

    /// The messages behind `came`, the newest first: what one request brings that is held until there are `missing` of
    /// them, with the pages behind its own. One ends where it is too large, however few messages it has.
    async fn behind(
        &mut self,
        came: Option<u64>,
        missing: usize,
        held: Duration,
    ) -> Result<Answer<Vec<Value>>, Failure> {
        let path = path(self.arguments, held, missing, came);
        let mut response = match self.ask(&path, JSON, held + PATIENCE).await? {
            Answer::Good(response) => response,
            Answer::Missing(problem) => return Ok(Answer::Missing(problem)),
            Answer::NotNow(why) => return Ok(Answer::NotNow(why)),
        };
        let count = usize::from(self.arguments.count);
        let mut found = Vec::new();
        loop {
            let has_more = response.headers().get(LINK).is_some_and(|link| link.as_bytes().ends_with(b"rel=\"next\""));
            match json(response).await {
                Ok(Value::Array(mut list)) => found.append(&mut list),
                Ok(message) => found.push(message),
                Err(said) => return Ok(Answer::NotNow(NotNow { said, pause: PAUSE, is_of_server: false })),
            }
            let Some(last) = seq(found.last()).filter(|_| has_more && found.len() < count) else {
                return Ok(Answer::Good(found));
            };
            let left = count - found.len();
            let next =
                format!("{}?limit={left}&before={last}{}", mailbox(self.arguments), condition(self.arguments, came));
            response = match self.at_once(&next, JSON).await? {
                Some(response) => response,
                None => return Ok(Answer::Good(found)),
            };
        }
    }

    /// The answer to what the server need not wait for, asked again while it cannot say; nothing where there is none.
    async fn at_once(&mut self, path: &str, content_type: &str) -> Result<Option<Response>, Failure> {
        loop {
            let asked = Instant::now();
            match self.ask(path, content_type, PATIENCE).await? {
                Answer::Good(response) => return Ok(Some(response)),
                Answer::Missing(_) => return Ok(None),
                Answer::NotNow(NotNow { said, pause, .. }) => {
                    let why = || format!("the mail came and could not be read in time; the last answer was: {said}");
                    self.pause(asked, pause, why).await?;
                }
            }
        }
    }

    /// The answer to one request; what stands in the way for a while only is [`Answer::NotNow`].
    async fn ask(&mut self, path: &str, content_type: &str, time: Duration) -> Result<Answer, Failure> {
        let answer = match self.server.get(path, content_type, time).await {
            Ok(answer) => answer,
            // A server that is being started anew is back soon; one that has never taken a request may not be there at
            // all. Who answers in its place meanwhile may have no word for that.
            Err(Failure::Unreachable(said)) if self.is_there => {
                Answer::NotNow(NotNow { said, pause: PAUSE, is_of_server: false })
            }
            Err(Failure::NotOurs(said)) if self.has_answered => {
                Answer::NotNow(NotNow { said, pause: PAUSE, is_of_server: false })
            }
            Err(failure) => return Err(failure),
        };
        self.is_there = true;
        self.has_answered |= !matches!(answer, Answer::NotNow(NotNow { is_of_server: false, .. }));
        Ok(answer)
    }

    /// Waits until it is time to ask again; an error where there is none left.
    async fn pause(&self, asked: Instant, pause: Duration, why: impl FnOnce() -> String) -> Result<(), Failure> {
        // Who does not hold the request is not asked without a pause.
        let pause = if asked.elapsed() < PAUSE { pause.max(PAUSE) } else { pause };
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(if self.has_answered { Failure::NotDone(why()) } else { Failure::Unreachable(why()) });
        }
        sleep(pause.min(left)).await;
        Ok(())
    }

    async fn print(&mut self, message: &Value) -> Result<(), Failure> {
        let part = self.arguments.print;
        if part == Part::Raw {
            return self.print_raw(message).await;
        }
        match printed(part, message) {
            Some(text) => output::print(text.as_bytes()),
            None => {
                let name = format!("{part:?}").to_lowercase();
                Err(Failure::NotDone(format!("the message {} has no {name}", message["id"])))
            }
        }
    }

    async fn print_raw(&mut self, message: &Value) -> Result<(), Failure> {
        let text = |name: &str| message[name].as_str().unwrap_or_default();
        let (mailbox, id) = (text("mailbox"), text("id"));
        let path = format!("/emails/{}/{id}/raw", encoded(mailbox));
        let gone = || Failure::NotDone(format!("the message {id} is not there any more"));
        let mut response = self.at_once(&path, RAW).await?.ok_or_else(gone)?;
        let cut = |error: reqwest::Error| Failure::Unreachable(format!("the message {id} did not come whole: {error}"));
        while let Some(chunk) = response.chunk().await.map_err(cut)? {
            output::print(&chunk)?;
        }
        Ok(())
    }
}

/// What is in an answer, or how it was cut off.
async fn json(response: Response) -> Result<Value, String> {
    let bytes = response.bytes().await.map_err(|error| causes(&error.without_url()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("the answer is no JSON: {error}"))
}

fn seq(message: Option<&Value>) -> Option<u64> {
    message.and_then(|message| message["seq"].as_u64())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn mailbox(arguments: &Arguments) -> String {
    format!("/emails/{}", encoded(&arguments.mailbox))
}

/// The parameters that say which mail counts: that is newer than `came` too.
fn condition(arguments: &Arguments, came: Option<u64>) -> String {
    let mut text = String::new();
    if let Some(after) = arguments.after.max(came) {
        _ = write!(text, "&after={after}");
    }
    if let Some(query) = query(arguments) {
        _ = write!(text, "&q={}", encoded(&query));
    }
    text
}

/// What a message has to meet, and to have where that is printed. It comes last, so that a mistake in the query is where the
/// server says that it is; behind an `OR` it would be taken for what is missing there.
fn query(arguments: &Arguments) -> Option<String> {
    let has = match arguments.print {
        Part::Code => "has:code",
        Part::Link => "has:link",
        _ => return arguments.query.clone(),
    };
    Some(match arguments.query.as_deref() {
        None => has.to_owned(),
        Some(query) if query.trim().is_empty() || query.split_whitespace().last() == Some("OR") => query.to_owned(),
        Some(query) => format!("{query} {has}"),
    })
}

/// Asks for `missing` messages more than those up to `came`.
fn path(arguments: &Arguments, held: Duration, missing: usize, came: Option<u64>) -> String {
    let mailbox = mailbox(arguments);
    let condition = condition(arguments, came);
    let secs = held.as_secs();
    match arguments.count {
        // The newest one alone comes with an explanation where there is none.
        1 => format!("{mailbox}/latest?wait={secs}s{condition}"),
        count => format!("{mailbox}?wait={secs}s&count={missing}&limit={count}{condition}"),
    }
}

/// What a person wants to know who has waited in vain.
fn explained(arguments: &Arguments, came_instead: &Value) -> String {
    let time = arguments.timeout;
    let mut text = format!("no such mail in {} within {time:?}", arguments.mailbox);
    match came_instead {
        Value::String(said) => _ = write!(text, "; the last answer was: {said}"),
        Value::Number(came) => _ = write!(text, ": {came} of {} messages came", arguments.count),
        problem => {
            for message in members(problem, "arrived") {
                _ = write!(text, "\n  came: {} from {}", message["subject"], message["from"]);
                for miss in members(message, "misses") {
                    _ = write!(text, "\n    {}", miss.as_str().map_or_else(|| miss.to_string(), str::to_owned));
                }
            }
            for attempt in members(problem, "attempts") {
                _ = write!(text, "\n  refused: from {} to {}: {}", attempt["from"], attempt["to"], attempt["reply"]);
            }
        }
    }
    text
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

/// What is printed of a message, but its raw bytes; nothing where it has no such part.
fn printed(part: Part, message: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let is_action = |link: &&Value| link["kind"] == "action";
    match part {
        Part::Json => Some(format!("{message}\n")),
        Part::Id => text(&message["id"]).map(|id| id + "\n"),
        Part::Code => text(&message["codes"][0]["value"]).map(|code| code + "\n"),
        Part::Link => {
            members(message, "links").find(is_action).and_then(|link| text(&link["href"])).map(|href| href + "\n")
        }
        Part::Text => text(&message["body_text"]),
        Part::Html => text(&message["body_html"]),
        Part::Raw => None,
    }
}
