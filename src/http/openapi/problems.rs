//! The problems that any route may have, and those that have members of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Type;
use utoipa::openapi::{
    Content, ContentBuilder, Header, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
};

use super::super::problem::{CODE_NOT_FOUND, LINK_NOT_FOUND, Problem};
use super::super::query;
use super::super::view::{AttemptView, MessageView, MissView};
use super::examples;
use crate::mail::MailboxNameError;

const PROBLEM_TYPE: &str = "application/problem+json";

/// An answer that many routes have: its status, its name in the description, and the problems with that status.
pub(super) struct Shared {
    status: u16,
    name: &'static str,
    meaning: &'static str,
    problems: fn() -> Vec<Problem>,
}

/// What comes of a request on any route.
pub(super) const OF_ALL: [Shared; 8] = [
    Shared {
        status: 400,
        name: "BadRequest",
        meaning: "The request is wrong; `detail` says how",
        problems: || {
            let control = MailboxNameError::Control.to_string();
            let twice = "the query parameter limit is given twice; give it once".to_owned();
            vec![
                query::unknown("limti", &["limit", "before", "after"]),
                query::bad(twice),
                Problem::bad_request("bad mailbox name", control),
                Problem::body_not_allowed(),
            ]
        },
    },
    Shared {
        status: 406,
        name: "NotAcceptable",
        meaning: "`Accept` excludes the type of the answer, or `Accept-Encoding` every coding; nothing has been done",
        problems: || vec![Problem::not_acceptable("application/json"), Problem::no_coding_accepted()],
    },
    Shared {
        status: 413,
        name: "BodyTooLarge",
        meaning: "The request has a body of more than 64 KiB",
        problems: || vec![Problem::body_too_large(64 * 1024)],
    },
    Shared {
        status: 414,
        name: "UriTooLong",
        meaning: "The path and the query have more than 8 KiB",
        problems: || vec![Problem::uri_too_long(8 * 1024)],
    },
    Shared {
        status: 421,
        name: "HostNotAllowed",
        meaning: "A loopback address is asked by a name that is not in `HTTP_HOSTS`",
        problems: || vec![Problem::misdirected()],
    },
    Shared {
        status: 431,
        name: "HeaderTooLarge",
        meaning: "The header fields of the request have more than 16 KiB",
        problems: || vec![Problem::header_too_large(16 * 1024)],
    },
    Shared {
        status: 500,
        name: "InternalError",
        meaning: "The server failed; its log has the cause",
        problems: || vec![Problem::internal()],
    },
    Shared {
        status: 503,
        name: "Unavailable",
        meaning: "The store cannot be reached, the server is stopping, other large answers are in the way, or the answer took too long",
        problems: || vec![Problem::unavailable("the server is stopping"), Problem::timeout(Duration::from_secs(30))],
    },
];

/// What comes of a request on its way to a route that needs a key.
pub(super) const BEHIND_KEY: [Shared; 3] = [
    Shared {
        status: 401,
        name: "InvalidKey",
        meaning: "No key, a wrong one, or a token that has expired",
        problems: || vec![Problem::no_key(), Problem::expired_token()],
    },
    Shared {
        status: 403,
        name: "NotAllowed",
        meaning: "A web page of another host asks by a browser, and is not in `CORS_ORIGINS`; or a token is used for something \
                  else than its mailbox",
        problems: || vec![Problem::foreign_origin(), Problem::out_of_scope("user")],
    },
    Shared {
        status: 429,
        name: "TooMany",
        meaning: "Too many requests, wrong keys or held requests of one client",
        problems: || {
            vec![
                Problem::rate_limited(1),
                Problem::too_many_wrong_keys(Duration::from_secs(59)),
                Problem::too_many_waiters("the server holds as many requests as it may, API_MAX_WAITERS"),
            ]
        },
    },
];

/// What comes of the path of a message.
pub(super) const OF_MESSAGE: [Shared; 2] = [
    Shared {
        status: 404,
        name: "NoMessage",
        meaning: "There is no such message",
        problems: || vec![examples::no_message()],
    },
    Shared {
        status: 410,
        name: "MessageGone",
        meaning: "The message was deleted, has expired or was pushed out by newer ones: `reason` says which, `at` when",
        problems: || vec![examples::gone()],
    },
];

/// Nobody finds a message among those that are there: what is there instead.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is never made: it says what members such a problem has")]
pub(in crate::http) struct NothingFound<'a> {
    #[serde(flatten)]
    problem: Problem,
    /// The newest messages that are there instead, where a message was looked for and not found; five at most.
    #[schema(nullable = false)]
    arrived: Option<Vec<MissView<'a>>>,
    /// The newest attempts at this mailbox that were refused; five at most.
    #[schema(nullable = false)]
    attempts: Option<Vec<AttemptView<'a>>>,
    /// Messages that others have; only where one is claimed.
    #[schema(nullable = false)]
    leased: Option<Leased>,
    /// How many messages are done; only where one is claimed.
    #[schema(nullable = false)]
    done: Option<u64>,
}

/// Messages that match and that others have.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is never made: it says what members such a problem has")]
struct Leased {
    /// How many.
    count: u64,
    /// When the first of their leases ends, in seconds since 1970.
    #[schema(required)]
    next_free_at: Option<u64>,
}

/// A message is there that was not to come.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is never made: it says what members such a problem has")]
pub(in crate::http) struct MessageFound<'a> {
    #[serde(flatten)]
    problem: Problem,
    message: MessageView<'a>,
}

/// Adds answers that `operation` shares with others, unless it has said more of the same status.
pub(super) fn add(operation: &mut Operation, shared: &[Shared]) {
    for Shared { status, name, .. } in shared {
        let answers = &mut operation.responses.responses;
        answers.entry(status.to_string()).or_insert_with(|| RefOr::Ref(Ref::from_response_name(*name)));
    }
}

/// The answers that [`add`] refers to.
pub(super) fn components() -> BTreeMap<String, RefOr<Response>> {
    let shared = OF_ALL.iter().chain(&BEHIND_KEY).chain(&OF_MESSAGE);
    shared.map(|shared| (shared.name.to_owned(), RefOr::T(shared.answer()))).collect()
}

impl Shared {
    fn answer(&self) -> Response {
        let mut answer = answer(self.meaning, (self.problems)());
        if matches!(self.status, 429 | 503) {
            answer = answer.header("Retry-After", number("In how many seconds to try again"));
        }
        if matches!(self.status, 401 | 403) {
            let text = ObjectBuilder::new().schema_type(Type::String);
            answer = answer.header("WWW-Authenticate", HeaderBuilder::new().schema(Some(text)).build());
        }
        answer.build()
    }
}

/// An answer that is one of these problems.
pub(super) fn answer(meaning: &str, problems: Vec<Problem>) -> ResponseBuilder {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Problem::name())))
        .examples_from_iter(problems.iter().map(|problem| (problem.error(), example(problem))));
    ResponseBuilder::new().description(meaning).content(PROBLEM_TYPE, content.build())
}

/// A header that is a number.
pub(super) fn number(meaning: &str) -> Header {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    HeaderBuilder::new().schema(Some(number)).description(Some(meaning)).build()
}

/// A problem is always of one type, whatever a route says.
pub(super) fn write_type(operation: &mut Operation) {
    for (status, answer) in &mut operation.responses.responses {
        if let RefOr::T(answer) = answer
            && status.starts_with(['4', '5'])
            && let Some(content) = answer.content.shift_remove("application/json")
        {
            answer.content.insert(PROBLEM_TYPE.to_owned(), content);
        }
    }
}

/// The newest message is looked for: who finds none is told what is there instead.
pub(super) fn nothing_found(operation: &mut Operation) {
    let own = operation.responses.responses.remove("404");
    let (description, content) = match own {
        Some(RefOr::T(answer)) => (answer.description, answer.content.into_values().next()),
        _ => ("There is no message that matches".to_owned(), None),
    };
    let own = content.and_then(|content| match content {
        RefOr::T(Content { example, .. }) => example,
        RefOr::Ref(_) => None,
    });
    let name = own.as_ref().and_then(|value| value["error"].as_str()).unwrap_or_default().to_owned();
    let (description, examples) = match name.as_str() {
        // Such a message is looked for, so there is none without.
        CODE_NOT_FOUND => {
            ("There is no message that matches with a code in it".to_owned(), vec![examples::no_code_found()])
        }
        LINK_NOT_FOUND => {
            ("There is no message that matches with a link to act on".to_owned(), vec![examples::no_link_found()])
        }
        _ => (description, vec![examples::nothing_found()]),
    };
    let mut examples: Vec<_> = examples.iter().map(|problem| (problem.error().to_owned(), example(problem))).collect();
    if let Some(own) = own.filter(|_| examples.iter().all(|(known, _)| *known != name)) {
        examples.push((name, ExampleBuilder::new().value(Some(own)).build()));
    }
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name(NothingFound::name()))).examples_from_iter(examples);
    let answer = ResponseBuilder::new().description(description).content(PROBLEM_TYPE, content.build());
    operation.responses.responses.insert("404".to_owned(), answer.build().into());
}

fn example(problem: &impl Serialize) -> Example {
    ExampleBuilder::new().value(serde_json::to_value(problem).ok()).build()
}
