//! Answers that depend on what a client has already, or on which part it wants.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::IntoResponses;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{Header, HeaderBuilder, ObjectBuilder, RefOr, Required, Response, ResponseBuilder};

use super::super::problem::Problem;
use super::problems;

/// A route whose answers have a tag: who sends it back reads that nothing has changed.
pub(in crate::http) struct NotModified;

/// A route that gives a part of what it has.
pub(in crate::http) struct Part;

impl IntoResponses for NotModified {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let answer = ResponseBuilder::new().description("The client has it: its tag is in `If-None-Match`");
        BTreeMap::from([("304".to_owned(), answer.header("ETag", text("Its tag")).build().into())])
    }
}

impl IntoResponses for Part {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let range = || text("Which bytes these are, and of how many");
        let part = ResponseBuilder::new().description("The bytes that `Range` names").header("Content-Range", range());
        let none = problems::answer("`Range` begins behind the last byte", vec![Problem::range_not_satisfiable(1834)]);
        BTreeMap::from([
            ("206".to_owned(), part.build().into()),
            ("416".to_owned(), none.header("Content-Range", range()).build().into()),
        ])
    }
}

/// Says what belongs to these answers in the rest of `operation`: the headers that ask for them.
pub(super) fn add(operation: &mut Operation) {
    let answers = &mut operation.responses.responses;
    let (tagged, ranged) = (answers.contains_key("304"), answers.contains_key("206"));
    let whole = answers.get("200").cloned();
    for status in ["200", "206"] {
        if let (true, Some(RefOr::T(answer))) = (tagged, answers.get_mut(status)) {
            answer.headers.insert("ETag".to_owned(), text("Its tag, for `If-None-Match`").into());
        }
    }
    if let (Some(RefOr::T(whole)), Some(RefOr::T(part))) = (whole, answers.get_mut("206")) {
        part.content = whole.content;
        // An example of the whole is none of a part.
        for content in part.content.values_mut() {
            if let RefOr::T(content) = content {
                content.example = None;
            }
        }
    }
    let parameters = operation.parameters.get_or_insert_default();
    if tagged {
        let about = "Tags of what the client has: with the tag of the answer among them it reads 304, without a body";
        parameters.push(in_header("If-None-Match", about, "\"none\"").into());
    }
    if ranged {
        let about = "One range of bytes; other forms are ignored";
        parameters.push(in_header("Range", about, "bytes=0-99").into());
    }
}

fn in_header(name: &str, about: &str, example: &str) -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
    parameter.description(Some(about)).schema(Some(text)).example(Some(json!(example))).build()
}

fn text(meaning: &str) -> Header {
    let text = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new().schema(Some(text)).description(Some(meaning)).build()
}
