//! The description of the API against the API.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::events::Stream;
use super::support::{Answer, Api, KEY};
use super::{DESCRIPTION, OPEN, ROUTES};

/// What the page may do: load its own files, ask its own server.
pub(super) const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// An operation of the description.
struct Operation {
    method: String,
    /// With the names of its parameters in braces.
    path: String,
    says: Value,
}

async fn description(api: &Api) -> Value {
    Answer::of(api.request("GET", "/openapi.json")).await.json()
}

fn operations(description: &Value) -> Vec<Operation> {
    let of_path = |(path, item): (&String, &Value)| {
        let of_method = |(method, says): (&String, &Value)| Operation {
            method: method.to_uppercase(),
            path: path.clone(),
            says: says.clone(),
        };
        item.as_object().unwrap().iter().map(of_method).collect::<Vec<_>>()
    };
    description["paths"].as_object().unwrap().iter().flat_map(of_path).collect()
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn parameters(&self, of: &str) -> Vec<&Map<String, Value>> {
        let all = self.says["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        all.iter().map(|parameter| parameter.as_object().unwrap()).filter(|parameter| parameter["in"] == of).collect()
    }

    /// Its path with the examples of its parameters in place.
    fn example_path(&self) -> String {
        self.parameters("path").iter().fold(self.path.clone(), |path, parameter| {
            let value = &parameter["example"];
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &text)
        })
    }

    /// The answer to it with this query, after all that has to be there.
    async fn ask(&self, api: &Api, query: &str) -> Answer {
        let required = self.parameters("query").into_iter().filter(|parameter| parameter["required"] == true);
        let rest = query.split('=').next().unwrap();
        let pairs = required.filter(|parameter| parameter["name"] != rest).map(|parameter| {
            format!("{}={}&", parameter["name"].as_str().unwrap(), parameter["example"].as_str().unwrap())
        });
        let query = pairs.collect::<String>() + query;
        api.ask(&self.method, &format!("{}?{query}", self.example_path())).await
    }
}

/// What a `$ref` leads to; any other value itself.
fn resolved<'a>(description: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => description.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let api = Api::start().await;
    let description = description(&api).await;
    let is_id = |part: &str| part.len() == 36;
    let pattern = |path: &str| {
        let parts = path.split('/').map(|part| match part {
            "user" => "{mailbox}",
            "0" => "{index}",
            id if is_id(id) => "{id}",
            part => part,
        });
        parts.collect::<Vec<_>>().join("/")
    };
    let routes = ROUTES.iter().filter(|(path, _)| !DESCRIPTION.contains(path));
    let routes: BTreeSet<_> = routes
        .flat_map(|(path, methods)| methods.iter().map(move |method| format!("{method} {}", pattern(path))))
        .filter(|route| !route.starts_with("HEAD "))
        .collect();
    let described: BTreeSet<_> = operations(&description).iter().map(Operation::name).collect();
    assert_eq!(routes.difference(&described).collect::<Vec<_>>(), Vec::<&String>::new());
    let only_below_latest = |name: &&String| !name.starts_with("GET /emails/{mailbox}/latest/");
    assert_eq!(described.difference(&routes).filter(only_below_latest).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn what_is_in_a_message_is_described_for_the_newest_one_too() {
    let api = Api::start().await;
    let operations = operations(&description(&api).await);
    let named = |name: &str| operations.iter().find(|operation| operation.name() == name);
    let mut found = 0;
    for operation in &operations {
        if let Some(rest) = operation.name().strip_prefix("GET /emails/{mailbox}/{id}") {
            let latest = named(&format!("GET /emails/{{mailbox}}/latest{rest}")).unwrap();
            assert!(latest.says["operationId"].as_str().unwrap().starts_with("get_latest_"), "{rest}");
            found += 1;
        }
    }
    assert!(found > 5);
}

#[tokio::test]
async fn a_route_takes_the_parameters_that_are_described_and_no_others() {
    let api = Api::start().await;
    for operation in operations(&description(&api).await) {
        let name = operation.name();
        let answer = api.ask(&operation.method, &format!("{}?unheard-of=1", operation.example_path())).await;
        let (error, detail) = answer.problem(400);
        assert_eq!(error, "unknown query parameter", "{name}");
        let (_, allowed) = detail.split_once("; ").unwrap();
        let allowed = allowed.trim_end_matches(" are allowed").trim_end_matches(" is allowed");
        let allowed: Vec<_> = allowed.split(", ").filter(|name| *name != "none is allowed here").collect();
        let described: Vec<_> = operation.parameters("query").iter().map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(described, allowed, "{name}");
    }
}

#[tokio::test]
async fn a_value_is_taken_or_refused_as_its_schema_says() {
    let api = Api::start().await;
    let mut bounds = 0;
    for operation in operations(&description(&api).await) {
        // They are held for as long as they say.
        for parameter in
            operation.parameters("query").iter().filter(|p| !["wait", "for"].contains(&p["name"].as_str().unwrap()))
        {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let at = format!("{} {name}", operation.name());
            // What a parameter needs beside it is said in its description.
            let beside = match name {
                "count" => "wait=1s&limit=200&",
                "remote" => "view=1&",
                _ => "",
            };
            let ask = async |value: &str| operation.ask(&api, &format!("{beside}{name}={value}")).await.status;
            let example = parameter["example"].as_str().map_or_else(|| parameter["example"].to_string(), str::to_owned);
            if name != "count" {
                assert_ne!(ask(&example.replace(' ', "%20")).await, 400, "{at}={example}");
            }
            if let Some(least) = schema["minimum"].as_i64() {
                assert_eq!(ask(&(least - 1).to_string()).await, 400, "{at}");
            }
            if let Some(most) = schema["maximum"].as_u64() {
                assert_eq!(ask(&(most + 1).to_string()).await, 400, "{at}");
                if name != "count" {
                    assert_ne!(ask(&most.to_string()).await, 400, "{at}={most}");
                }
                bounds += 1;
            }
            if schema["type"] != "integer" {
                assert_eq!(ask("").await, 400, "{at}");
            }
            if schema["enum"].is_array() {
                assert_eq!(ask("other").await, 400, "{at}");
            }
        }
    }
    assert!(bounds > 5, "{bounds}");
}

#[tokio::test]
async fn each_route_says_what_it_is_and_shows_examples_of_what_it_answers() {
    let api = Api::start().await;
    let description = description(&api).await;
    let mut ids = BTreeSet::new();
    for operation in operations(&description) {
        let (name, says) = (operation.name(), &operation.says);
        for member in ["summary", "operationId"] {
            assert!(says[member].as_str().is_some_and(|text| !text.is_empty()), "{name} has no {member}");
        }
        assert!(ids.insert(says["operationId"].to_string()), "{name}");
        let tags: Vec<_> = description["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        assert!(tags.contains(&&says["tags"][0]), "{name}: {}", says["tags"]);
        assert_eq!(says["security"].is_array(), !OPEN.contains(&operation.path.as_str()), "{name}");
        for parameter in says["parameters"].as_array().into_iter().flatten() {
            assert!(!parameter["example"].is_null() && parameter["description"].is_string(), "{name}: {parameter}");
        }
        for (status, answer) in says["responses"].as_object().unwrap() {
            let at = format!("{name} {status}");
            let answer = resolved(&description, answer);
            assert!(!answer["description"].as_str().unwrap().is_empty(), "{at}");
            for (kind, content) in answer["content"].as_object().into_iter().flatten() {
                let one = content["example"].clone();
                let several =
                    content["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
                let examples: Vec<_> = several.cloned().chain((!one.is_null()).then_some(one)).collect();
                // What is any bytes, or a part of something, has none.
                assert!(!examples.is_empty() || kind == "*/*" || status == "206", "{at} has no example");
                if status.starts_with(['4', '5']) {
                    assert_eq!(kind, "application/problem+json", "{at}");
                    for example in examples {
                        assert_eq!(example["status"].to_string(), *status, "{at}");
                    }
                }
            }
        }
    }
}

/// Takes out of a message what is of its arrival.
fn without_arrival(mut message: Value) -> Value {
    let members = message.as_object_mut().unwrap();
    for name in ["id", "received_at", "expires_at", "seq", "from", "peer", "envelope"] {
        assert!(members.remove(name).is_some(), "{name}");
    }
    for record in message["attachment_records"].as_array_mut().unwrap() {
        assert!(record.as_object_mut().unwrap().remove("url").is_some());
    }
    message
}

#[tokio::test]
async fn the_examples_are_what_the_server_answers() {
    let api = Api::start().await;
    let description = description(&api).await;
    let example = |path: &str, kind: &str| {
        let content = &description["paths"][path]["get"]["responses"]["200"]["content"][kind];
        assert!(!content["example"].is_null(), "{path}");
        content["example"].clone()
    };
    let raw = example("/emails/{mailbox}/{id}/raw", "message/rfc822");
    api.deliver(&["user@example.com"], raw.as_str().unwrap().to_owned()).await;

    let list = api.get("/emails/user").await.json();
    let shown = example("/emails/{mailbox}", "application/json");
    assert_eq!(without_arrival(list[0].clone()), without_arrival(shown[0].clone()));
    for path in ["/emails/{mailbox}/latest", "/emails/{mailbox}/{id}"] {
        let message = api.get("/emails/user/latest").await.json();
        assert_eq!(without_arrival(message), without_arrival(example(path, "application/json")), "{path}");
    }
    for (part, kind) in [("text", "text/plain"), ("html", "text/html"), ("code", "text/plain"), ("link", "text/plain")]
    {
        let answer = api.get(&format!("/emails/user/latest/{part}")).await;
        assert_eq!(answer.text(), example(&format!("/emails/{{mailbox}}/{{id}}/{part}"), kind), "{part}");
    }
    let fields = api.get("/emails/user/latest/headers").await.json();
    assert_eq!(fields, example("/emails/{mailbox}/{id}/headers", "application/json"));

    for path in ["/health", "/ready", "/emails"] {
        let (answer, shown) = (api.get(path).await.json(), example(path, "application/json"));
        let first = |value: &Value| value.as_array().map_or_else(|| value.clone(), |list| list[0].clone());
        let keys = |value: &Value| first(value).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&answer), keys(&shown), "{path}");
    }
}

fn members(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn each_event_of_a_stream_has_the_schema_of_its_data() {
    let api = Api::start().await;
    let description = description(&api).await;
    api.deliver(&["user@example.com"], "Subject: told\r\n\r\n").await;
    for (path, cursor, kind) in
        [("/emails/{mailbox}/events", "0", "message"), ("/events", "0123456789abcdef-42", "gap")]
    {
        let content = &description["paths"][path]["get"]["responses"]["200"]["content"]["text/event-stream"];
        let kinds = &resolved(&description, &content["schema"])["discriminator"]["mapping"];
        assert_eq!(
            (members(kinds), members(&content["examples"])),
            (BTreeSet::from(["gap", "message"]), members(kinds))
        );
        let schema = description.pointer(kinds[kind].as_str().unwrap().trim_start_matches('#')).unwrap();
        assert_eq!(schema["properties"]["event"]["enum"], serde_json::json!([kind]));
        let data = resolved(&description, &schema["properties"]["data"]["contentSchema"]);

        let mut stream = Stream::open(&api, &format!("{}?after={cursor}", path.replace("{mailbox}", "user"))).await;
        let told = stream.event().await;
        assert_eq!(told.name, kind);
        let example: Value =
            serde_json::from_str(content["examples"][kind]["value"]["data"].as_str().unwrap()).unwrap();
        let required: BTreeSet<_> =
            data["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for found in [members(&data["properties"]), required, members(&example)] {
            assert_eq!(found, members(&told.json()), "{kind}");
        }
    }
}

#[tokio::test]
async fn the_description_and_its_page_are_for_everybody_and_load_nothing_from_elsewhere() {
    let api = Api::start().await;
    for path in DESCRIPTION {
        let answer = Answer::of(api.request("GET", path)).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("//cdn") && !answer.text().contains("https://fonts"), "{path}");

        let again = Answer::of(api.request("GET", path).header("If-None-Match", answer.header("etag"))).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("etag"), answer.header("etag"), "{path}");
        let changed = Answer::of(api.request("GET", path).header("If-None-Match", "\"other\"")).await;
        assert_eq!(changed.status, 200, "{path}");
    }
    let page = Answer::of(api.request("GET", "/docs")).await;
    for attribute in ["src=\"", "href=\""] {
        for link in page.text().split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let part = Answer::of(api.request("GET", &format!("/{link}"))).await;
            assert_eq!(part.status, 200, "{link}");
        }
    }
    let servers = &description(&api).await["servers"];
    assert_eq!(servers[0]["url"], "/");
    api.ask("GET", "/docs/other.js").await.problem(404);
    assert_eq!(Answer::of(api.request("GET", "/openapi.json").header("X-API-KEY", KEY)).await.status, 200);
}
