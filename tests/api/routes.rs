use std::fs;
use std::path::Path;

use super::openapi::DOCS_POLICY;
use super::support::{Answer, Api, KEY, read_until};
use super::{DESCRIPTION, OPEN, ROUTES, security_headers};

/// The paths that the router has beside those that describe themselves, as they stand in its source.
fn declared() -> Vec<String> {
    let source = |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let all = source("src/http/router.rs").split("#[cfg(test)]").next().unwrap().to_owned();
    let all = all + &source("src/http/openapi/page.rs");
    let paths = all.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    // Nobody finds anything there; it has a test of its own.
    paths.filter(|path| path != "/emails/").collect()
}

/// Whether `path` is one of those that `pattern` stands for.
fn fits(path: &str, pattern: &str) -> bool {
    let (path, pattern): (Vec<_>, Vec<_>) = (path.split('/').collect(), pattern.split('/').collect());
    path.len() == pattern.len() && path.iter().zip(&pattern).all(|(part, own)| own.starts_with('{') || part == own)
}

/// A route that is added with its description is in that; `every_route_is_described_and_nothing_else` compares the two.
#[test]
fn the_list_of_routes_is_the_one_of_the_router() {
    let declared = declared();
    assert_eq!(declared.len(), DESCRIPTION.len(), "{declared:?}");
    for pattern in &declared {
        assert!(DESCRIPTION.iter().any(|path| fits(path, pattern)), "{pattern} is not described");
    }
    for path in DESCRIPTION {
        assert!(ROUTES.iter().any(|(route, _)| *route == path), "{path} is not in the list");
    }
}

#[tokio::test]
async fn every_route_has_a_key_a_limit_for_bodies_and_safe_headers() {
    let api = Api::start().await;
    for (path, methods) in ROUTES {
        for &method in methods {
            let at = format!("{method} {path}");
            let stranger = Answer::of(api.request(method, path)).await;
            assert_eq!(stranger.status, if OPEN.contains(&path) { 200 } else { 401 }, "{at}");

            let large = api.request(method, path).header("X-API-KEY", KEY).body(vec![b'x'; 65 * 1024]);
            let large = Answer::of(large).await;
            assert_eq!(large.status, 413, "{at}");

            for answer in [stranger, large, api.ask(method, path).await] {
                for (name, value) in security_headers(&answer) {
                    // A page that runs something has a policy of its own.
                    let value = if path == "/docs" && answer.status == 200 && value.starts_with("sandbox") {
                        DOCS_POLICY
                    } else {
                        value
                    };
                    assert_eq!(answer.header(name), value, "{at} {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_body_without_an_announced_size_is_not_waited_for() {
    let api = Api::start().await;
    // Where a body is wanted, it is waited for.
    for (path, methods) in ROUTES.iter().filter(|(_, methods)| !methods.contains(&"POST")) {
        let method = methods.last().unwrap().replace("HEAD", "GET");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        );
        let mut stream = api.connect(request.as_bytes()).await;
        let status = String::from_utf8(read_until(&mut stream, b"\r\n").await).unwrap();
        let answered = ["200", "400", "404"].iter().any(|code| status.starts_with(&format!("HTTP/1.1 {code} ")));
        assert!(answered, "{method} {path}: {status}");
    }
}
