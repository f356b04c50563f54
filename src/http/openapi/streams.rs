//! The events of a stream, and what the data of each is.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::schema::{Discriminator, Type};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::super::events::{GAP, GapView, MESSAGE};
use super::super::view::ArrivalView;
use super::examples;

/// The names of the schemas of the events.
const MESSAGE_EVENT: &str = "MessageEvent";
const GAP_EVENT: &str = "GapEvent";

/// One event of a stream, its fields as texts: the type of the event says what its data is.
pub(in crate::http) struct Event;

impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        let [message, gap] = [MESSAGE_EVENT, GAP_EVENT].map(Ref::from_schema_name);
        let places = [(MESSAGE, message.ref_location.clone()), (GAP, gap.ref_location.clone())];
        OneOfBuilder::new()
            .item(message)
            .item(gap)
            .discriminator(Some(Discriminator::with_mapping("event", places)))
            .description(Some("One event of a stream, its fields as texts"))
            .into()
    }
}

impl ToSchema for Event {
    fn name() -> Cow<'static, str> {
        "Event".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let told = "A message that has just arrived";
        schemas.push((MESSAGE_EVENT.to_owned(), event(MESSAGE, told, &ArrivalView::name())));
        let told = "Messages may have arrived that were not told of";
        schemas.push((GAP_EVENT.to_owned(), event(GAP, told, &GapView::name())));
        schemas.push((ArrivalView::name().into_owned(), ArrivalView::schema()));
        schemas.push((GapView::name().into_owned(), GapView::schema()));
        ArrivalView::schemas(schemas);
        GapView::schemas(schemas);
    }
}

/// An event of this type, whose data is of the schema `data`.
fn event(kind: &str, told: &str, data: &str) -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let data = text()
        .description(Some("JSON on one line"))
        .content_media_type("application/json")
        .content_schema(Some(Ref::from_schema_name(data)));
    ObjectBuilder::new()
        .description(Some(told))
        .property("event", text().enum_values(Some([kind])))
        .property("id", text().description(Some("Where the stream goes on behind it")))
        .property("data", data)
        .required("event")
        .required("id")
        .required("data")
        .into()
}

/// A message as an event, behind which the stream goes on at `id`.
pub(in crate::http) fn message(id: &str) -> Value {
    json!({ "event": MESSAGE, "id": id, "data": examples::arrival().to_string() })
}

/// A gap as an event, behind which the stream goes on at `id`.
pub(in crate::http) fn gap(id: &str, look_at: &str) -> Value {
    json!({ "event": GAP, "id": id, "data": json!(GapView::new(look_at.to_owned())).to_string() })
}
