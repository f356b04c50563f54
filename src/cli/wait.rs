//! Mail of a running server, waited for and printed.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Failure;
use super::client::{Answer, Place, Server};
use crate::{config, units};

/// For how long a server is asked to hold one request. It would do so for 60 seconds; but after as many some proxies on the
/// way give up, and an answer that comes in the same moment is lost.
const HELD_MAX: Duration = Duration::from_secs(50);
/// How long an answer may take on top of that.
const PATIENCE: Duration = Duration::from_secs(30);
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
pub(super) async fn run(arguments: &Arguments, client: &config::Client) -> Result<(), Failure> {
    let server = Server::new(&arguments.place, client)?;
    let messages = arrived(arguments, &server).await?;
    for message in &messages {
        print(arguments.print, &server, message).await?;
    }
    Ok(())
}

/// The messages, the oldest first.
async fn arrived(arguments: &Arguments, server: &Server) -> Result<Vec<Value>, Failure> {
    let end = Instant::now() + arguments.timeout;
    let mut has_answered = false;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Servers count in seconds. The last request may be held a little too long, but never too short.
        let held = Duration::from_secs(left.min(HELD_MAX).as_millis().div_ceil(1000).max(1) as u64);
        let path = path(arguments, held);
        let asked = Instant::now();
        let (is_of_server, came_instead, pause) = match server.get(&path, held + PATIENCE).await {
            Ok(Answer::Good(response)) => {
                let found = response.json::<Value>().await.map_err(|error| Failure::Unreachable(error.to_string()))?;
                match messages(found, arguments.count) {
                    Ok(messages) => return Ok(messages),
                    Err(found) => (true, found, Duration::ZERO),
                }
            }
            Ok(Answer::Missing(problem)) => (true, problem, Duration::ZERO),
            Ok(Answer::Later(said, after)) => (true, Value::String(said), after),
            Ok(Answer::NotThrough(said, after)) => (false, Value::String(said), after),
            // A server that is being started anew is back soon; one that has never answered may not be there at all.
            Err(Failure::Unreachable(said)) if has_answered => (false, Value::String(said), PAUSE),
            Err(failure) => return Err(failure),
        };
        has_answered |= is_of_server;
        // Who does not hold the request is not asked without a pause.
        let pause = if asked.elapsed() < PAUSE { pause.max(PAUSE) } else { pause };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = explained(arguments, &came_instead);
            return Err(if has_answered { Failure::NotDone(text) } else { Failure::Unreachable(text) });
        }
        sleep(pause.min(left)).await;
    }
}

fn path(arguments: &Arguments, held: Duration) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut path = format!("/emails/{}", encoded(&arguments.mailbox));
    // The newest one alone comes with an explanation where there is none.
    path += if arguments.count == 1 { "/latest" } else { "" };
    _ = write!(path, "?wait={}s", held.as_secs());
    if arguments.count > 1 {
        _ = write!(path, "&count={0}&limit={0}", arguments.count);
    }
    if let Some(after) = arguments.after {
        _ = write!(path, "&after={after}");
    }
    if let Some(query) = &arguments.query {
        _ = write!(path, "&q={}", encoded(query));
    }
    path
}

/// The messages of an answer, if they are all there; else the answer.
fn messages(found: Value, count: u16) -> Result<Vec<Value>, Value> {
    match found {
        Value::Array(mut list) if list.len() >= usize::from(count) => {
            list.reverse();
            Ok(list)
        }
        list @ Value::Array(_) => Err(list),
        message => Ok(vec![message]),
    }
}

/// What a person wants to know who has waited in vain.
fn explained(arguments: &Arguments, came_instead: &Value) -> String {
    let time = arguments.timeout;
    let mut text = format!("no such mail in {} within {time:?}", arguments.mailbox);
    match came_instead {
        Value::String(said) => _ = write!(text, "; the last answer was: {said}"),
        Value::Array(list) => _ = write!(text, ": {} of {} messages came", list.len(), arguments.count),
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

async fn print(part: Part, server: &Server, message: &Value) -> Result<(), Failure> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let is_action = |link: &&Value| link["kind"] == "action";
    let found = match part {
        Part::Json => Some(format!("{message}\n")),
        Part::Id => text(&message["id"]).map(|id| id + "\n"),
        Part::Code => text(&message["codes"][0]["value"]).map(|code| code + "\n"),
        Part::Link => {
            members(message, "links").find(is_action).and_then(|link| text(&link["href"])).map(|href| href + "\n")
        }
        Part::Text => text(&message["body_text"]),
        Part::Html => text(&message["body_html"]),
        Part::Raw => return print_raw(server, message).await,
    };
    let Some(found) = found else {
        let name = format!("{part:?}").to_lowercase();
        return Err(Failure::NotDone(format!("the message {} has no {name}", message["id"])));
    };
    io::stdout().write_all(found.as_bytes()).map_err(unwritten)
}

async fn print_raw(server: &Server, message: &Value) -> Result<(), Failure> {
    let (mailbox, id) = (message["mailbox"].as_str().unwrap_or_default(), message["id"].as_str().unwrap_or_default());
    let path = format!("/emails/{}/{id}/raw", utf8_percent_encode(mailbox, NON_ALPHANUMERIC));
    let mut response = match server.get(&path, PATIENCE).await? {
        Answer::Good(response) => response,
        Answer::Missing(_) => return Err(Failure::NotDone(format!("the message {id} is not there any more"))),
        Answer::Later(said, _) | Answer::NotThrough(said, _) => return Err(Failure::Unreachable(said)),
    };
    let cut = |error: reqwest::Error| Failure::Unreachable(format!("the message {id} did not come whole: {error}"));
    while let Some(chunk) = response.chunk().await.map_err(cut)? {
        io::stdout().write_all(&chunk).map_err(unwritten)?;
    }
    Ok(())
}

fn unwritten(error: io::Error) -> Failure {
    Failure::NotDone(format!("standard output: {error}"))
}
