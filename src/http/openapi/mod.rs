//! The description of the API for programs: OpenAPI 3.1, made of what the routes say of themselves.
//!
//! A route says what is its own: its parameters, its answers, the problems that it alone has. What every request passes on
//! its way is added here, and so are the paths below `latest`, which are those of a message without its id.

mod conditional;
pub(super) mod examples;
mod page;
mod parameters;
mod problems;
pub(super) mod streams;

use utoipa::IntoParams;
use utoipa::openapi::info::LicenseBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{HttpMethod, InfoBuilder, OpenApi, RefOr, Server};

pub(super) use self::conditional::{NotModified, Part};
pub(super) use self::page::routes;
pub(super) use self::parameters::{Meaning, after_mailbox, meaning};
pub(super) use self::problems::{MessageFound, NothingFound};
use super::query::Strict;
use super::wanted::Latest;

/// What begins the description; the rest of it is in docs/API.md, for people.
const ABOUT: &str = "Mail that came in by SMTP, to be called for. An answer is JSON in UTF-8 unless its type says otherwise, \
an error is a problem document (RFC 9457). `GET` changes nothing, and `HEAD` answers like it without the body. A query \
parameter that is not known is an error, and so is one that is given twice.";

const TAGS: [(&str, &str); 7] = [
    ("Messages", "The messages of a mailbox: lists, waiting, deleting"),
    ("Content", "What is in a message"),
    ("Mailboxes", "The mailboxes that hold mail"),
    ("Claims", "Mail as a queue, for workers that share a mailbox"),
    ("Addresses", "Fresh addresses for tests that run side by side"),
    ("Attempts", "Mail that did not get in, and why"),
    ("Health", "Whether the server runs; no key is needed"),
];

/// What the rate says in every answer that it has counted.
const RATE_HEADERS: [(&str, &str); 2] = [
    ("X-RateLimit-Limit", "How many requests at once a client may make"),
    ("X-RateLimit-Remaining", "How many of them are left"),
];

/// What stands in the path of a message, and what stands there for the newest one.
const OF_MESSAGE: &str = "/emails/{mailbox}/{id}";
const OF_LATEST: &str = "/emails/{mailbox}/latest";

/// Adds to each route of `api` what it is behind a key: the key itself, the rate, what browsers may do, and `Accept`.
pub(super) fn behind_key(api: &mut OpenApi) {
    let key = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    for operation in operations(api) {
        operation.security = Some(vec![key("key"), key("bearer")]);
        problems::add(operation, &problems::BEHIND_KEY);
        for (status, answer) in &mut operation.responses.responses {
            let RefOr::T(answer) = answer else { continue };
            if status.starts_with('2') {
                for (name, meaning) in RATE_HEADERS {
                    answer.headers.insert(name.to_owned(), problems::number(meaning).into());
                }
            }
        }
    }
}

/// The whole description: what the routes have said, with what is the same for all.
pub(super) fn finish(mut api: OpenApi) -> OpenApi {
    add_latest(&mut api);
    for (path, item) in &mut api.paths.paths {
        if path.starts_with(OF_MESSAGE) {
            of_item(item).for_each(|operation| problems::add(operation, &problems::OF_MESSAGE));
        }
    }
    for operation in operations(&mut api) {
        problems::add(operation, &problems::OF_ALL);
        problems::write_type(operation);
        conditional::add(operation);
    }
    let license = LicenseBuilder::new().name(env!("CARGO_PKG_LICENSE"));
    api.info = InfoBuilder::new()
        .title(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license.build()))
        .build();
    // Of whatever host, port and scheme the description was had from.
    api.servers = Some(vec![Server::new("/")]);
    let tag = |(name, about)| TagBuilder::new().name(name).description(Some(about)).build();
    api.tags = Some(TAGS.map(tag).into());
    let components = api.components.get_or_insert_default();
    components.responses.extend(problems::components());
    let key = ApiKeyValue::with_description(
        "X-API-KEY",
        "Any of the keys in `API_KEY`, or the token of a fresh address for what is below its mailbox",
    );
    components.security_schemes.insert("key".to_owned(), SecurityScheme::ApiKey(ApiKey::Header(key)).into());
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("The same key, as a token")).build();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    api
}

/// What is in the newest message is had at the paths below a message, with `latest` in place of its id, and chosen by parameters.
fn add_latest(api: &mut OpenApi) {
    let of_latest = |(path, item): (&String, &PathItem)| {
        let rest = path.strip_prefix(OF_MESSAGE).filter(|rest| !rest.is_empty())?;
        let get = item.get.clone().map(latest)?;
        Some((format!("{OF_LATEST}{rest}"), PathItem::new(HttpMethod::Get, get)))
    };
    let added: Vec<_> = api.paths.paths.iter().filter_map(of_latest).collect();
    api.paths.paths.extend(added);
}

/// What reads a message, for the newest one.
fn latest(mut operation: Operation) -> Operation {
    let is_id = |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(Parameter { name, .. }) if name == "id");
    let parameters = operation.parameters.get_or_insert_default();
    parameters.retain(|parameter| !is_id(parameter));
    let choosing = <Strict<Latest> as IntoParams>::into_params(|| Some(ParameterIn::Query));
    parameters.extend(choosing.into_iter().map(RefOr::T));
    operation.operation_id = operation.operation_id.map(|id| id.replacen("get_", "get_latest_", 1));
    operation.summary = operation.summary.map(|what| format!("{what} of the newest message"));
    let has = match operation.operation_id.as_deref() {
        Some("get_latest_code") => " and has a code",
        Some("get_latest_link") => " and has a link to act on",
        _ => "",
    };
    let waiting =
        format!("The message is the newest that matches{has}. With `wait` the request is held until there is one.");
    operation.description = Some(match operation.description {
        Some(description) => format!("{description}\n\n{waiting}"),
        None => waiting,
    });
    problems::nothing_found(&mut operation);
    operation
}

fn operations(api: &mut OpenApi) -> impl Iterator<Item = &mut Operation> {
    api.paths.paths.values_mut().flat_map(of_item)
}

fn of_item(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().flatten()
}
