//! The parameters of routes: the same names that are read, and what each of them means.

use serde_json::json;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{KnownFormat, ObjectBuilder, Required, SchemaFormat};

use super::super::path::{AnyPath, AttachmentPath, ExactPath, MailboxPath};
use super::super::query::{LIMIT_DEFAULT, LIMITS, Parameters, SEQS, Strict};
use super::examples;

/// What is said of the parameter of a query, beside its name.
pub(in crate::http) struct Meaning {
    about: &'static str,
    schema: ObjectBuilder,
    example: serde_json::Value,
    required: Required,
}

/// A time that a request is held: 1s to 60s, as `units` writes it.
const HELD_PATTERN: &str = "^(0*([1-9]|[1-5][0-9]|60) *s|0*1 *m)$";

/// A time that a message is leased: 1s to 1h.
const LEASE_PATTERN: &str =
    "^(0*([1-9]|[1-9][0-9]{1,2}|[1-2][0-9]{3}|3[0-5][0-9]{2}|3600) *s|0*([1-9]|[1-5][0-9]|60) *m|0*1 *h)$";

/// What the parameters of queries mean, where a route does not say otherwise. `None` for a name that nobody has described.
pub(in crate::http) fn meaning(name: &str) -> Option<Meaning> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    // A variable of a script that is not set must not become "no filter".
    let sought = || text().min_length(Some(1));
    let (about, schema, example) = match name {
        "limit" => {
            ("The most entries", number(*LIMITS.start(), *LIMITS.end()).default(Some(json!(LIMIT_DEFAULT))), json!(10))
        }
        "before" => ("Only messages with a smaller `seq`", number(*SEQS.start(), *SEQS.end()), json!(8)),
        "after" => ("Only messages with a larger `seq`", number(*SEQS.start(), *SEQS.end()), json!(0)),
        "from" => (
            "Only messages with this text in the sender, of the envelope or the header",
            sought(),
            json!("example.com"),
        ),
        "to" => ("Only messages with this text in a recipient, of the envelope or the header", sought(), json!("user")),
        "subject" => ("Only messages with this text in the subject", sought(), json!("sign")),
        "q" => (
            "Only messages that match this query: words and \"phrases\", `from:`, `to:`, `cc:`, `subject:`, `body:`, \
             `filename:`, `code:`, `link:`, `header:Name=text`, `has:attachment`, `larger:10KiB`, `after:2026-01-31`, \
             `re:/code \\d{6}/`, `-` for not, `OR`, parentheses",
            sought(),
            json!("subject:code has:code -from:bob"),
        ),
        "wait" => (
            "Holds the request until the mail is there, at most for this time: 1s to 60s",
            text().pattern(Some(HELD_PATTERN)),
            json!("30s"),
        ),
        "for" => (
            "For how long no message that matches may come: 1s to 60s",
            text().pattern(Some(HELD_PATTERN)),
            json!("1s"),
        ),
        "lease" => (
            "For how long the message is leased: 1s to 1h; 60s if it is not given",
            text().pattern(Some(LEASE_PATTERN)),
            json!("60s"),
        ),
        "token" => ("The token of the claim", text().pattern(Some("^[0-9A-Fa-f]{32}$")), json!(examples::TOKEN)),
        "count" => (
            "With `wait`: how many messages to wait for, at most `limit`; 1 if it is not given",
            number(1, *LIMITS.end()),
            json!(1),
        ),
        "inline" => (
            "As it was sent, but each `cid:` that names a part of the message is replaced by the URL of that attachment",
            text().enum_values(Some(["cid"])),
            json!("cid"),
        ),
        "view" => ("1: a page to look at, that loads nothing from other hosts and runs nothing", switch(), json!("1")),
        "remote" => (
            "1, with `view=1`: images, media, fonts and style sheets are loaded from other hosts after all",
            switch(),
            json!("0"),
        ),
        _ => return None,
    };
    let required = if ["for", "token"].contains(&name) { Required::True } else { Required::False };
    Some(Meaning { about, schema, example, required })
}

/// The name of a mailbox behind which a page begins.
pub(in crate::http) fn after_mailbox() -> Meaning {
    Meaning {
        about: "Only names behind this one",
        schema: mailbox_name(),
        example: json!("ada"),
        required: Required::False,
    }
}

fn switch() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["0", "1"])).default(Some(json!("0")))
}

fn number(least: u64, most: u64) -> ObjectBuilder {
    let bound = |bound: u64| Some(usize::try_from(bound).unwrap_or(usize::MAX));
    ObjectBuilder::new().schema_type(Type::Integer).minimum(bound(least)).maximum(bound(most))
}

fn mailbox_name() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]+$"))
}

impl<T: Parameters> IntoParams for Strict<T> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let written = |name: &&str| {
            let Meaning { about, schema, example, required } = T::meaning(name)?;
            let parameter = ParameterBuilder::new().name(*name).parameter_in(ParameterIn::Query).required(required);
            Some(parameter.description(Some(about)).schema(Some(schema)).example(Some(example)).build())
        };
        T::NAMES.iter().filter_map(written).collect()
    }
}

fn in_path(name: &str, about: &str, schema: ObjectBuilder, example: serde_json::Value) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(about)).schema(Some(schema)).example(Some(example)).build()
}

impl IntoParams for MailboxPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let about = "The name of the mailbox, or a full address: `user` and `user@example.com` are the same one, unless \
                     `MAILBOX_NAMING` says otherwise. Case does not matter";
        vec![in_path("mailbox", about, mailbox_name(), json!("user"))]
    }
}

impl IntoParams for ExactPath {
    fn into_params(of: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let uuid = SchemaFormat::KnownFormat(KnownFormat::Uuid);
        let schema = ObjectBuilder::new().schema_type(Type::String).format(Some(uuid));
        let about = "The id of the message, from a list or from the `250` reply";
        let id = in_path("id", about, schema, json!(examples::ID));
        MailboxPath::into_params(of).into_iter().chain([id]).collect()
    }
}

impl IntoParams for AnyPath {
    fn into_params(of: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        ExactPath::into_params(of)
    }
}

impl IntoParams for AttachmentPath {
    fn into_params(of: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let index = in_path("index", "Its place among the attachments, from 0", schema, json!(0));
        AnyPath::into_params(of).into_iter().chain([index]).collect()
    }
}
