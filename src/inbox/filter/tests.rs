use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::mail::{
    Attachment, Code, CodeSource, Content, Disposition, Link, LinkKind, MailParameters, Message, MessageId, Naming,
    Peer, TransferEncoding,
};

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn person(name: &str, address: &str) -> HeaderAddress {
    HeaderAddress { name: Some(name.to_owned()), address: Some(address.to_owned()) }
}

/// A mail from a shop, received on 2026-01-31 at noon.
fn order() -> Stored {
    let addr = "192.0.2.1:25".parse().unwrap();
    let received_at = Timestamp::from_rfc3339("2026-01-31T12:00:00Z").unwrap();
    let file = Attachment {
        index: 0,
        filename: Some("Übersicht.pdf".to_owned()),
        content_type: "application/pdf".to_owned(),
        content_id: None,
        disposition: Disposition::Attachment,
        size: 1,
        sha256: String::new(),
        start: 0,
        end: 0,
        encoding: TransferEncoding::Identity,
        subject: None,
    };
    let content = Content {
        subject: Some("Ihre Bestellung in ZÜRICH ist da".to_owned()),
        from: Some(person("The Shop", "orders@shop.example")),
        to: vec![person("Ann", "ann@example.com")],
        cc: vec![person("Bob", "bob@example.com")],
        text: Some("Your order \"4711\" (two items) has shipped.\r\nThank you!".to_owned()),
        attachments: vec![file],
        codes: vec![Code { value: "4711".to_owned(), score: 60, source: CodeSource::Text, context: String::new() }],
        links: vec![Link {
            href: "https://shop.example/track".to_owned(),
            text: "Track it".to_owned(),
            kind: LinkKind::Action,
            score: 80,
        }],
        ..Content::default()
    };
    let message = Message {
        id: MessageId::new(received_at),
        received_at,
        expires_at: received_at,
        mail_from: Some("bounces@mailer.example".to_owned().try_into().unwrap()),
        parameters: MailParameters::default(),
        peer: Peer { addr, local: addr, helo: String::new(), tls: None },
        size: 5_000,
        content,
    };
    let mailbox = Naming::default().parse("ann").unwrap();
    Stored {
        seq: 7,
        mailbox,
        rcpt_to: "ann+x@example.com ALSO=ann+2By@example.com".parse().unwrap(),
        message: Arc::new(message),
    }
}

fn header() -> Vec<HeaderField> {
    let field = |name: &str, value: &str| HeaderField { name: name.into(), value: value.into(), raw: value.into() };
    vec![field("X-Campaign", "Spring Sale"), field("x-campaign", "second")]
}

#[test]
fn a_message_meets_what_it_says() {
    let (order, header) = (order(), header());
    for query in [
        "",
        "order",
        "ORDER shipped",
        "\"has shipped\"",
        "\"order \\\"4711\\\"\"",
        "subject:zürich",
        "subject:Bestellung",
        "from:shop from:\"The Shop\" from:BOUNCES@",
        "to:ann+x to:ann@example.com",
        "to:ann+y",
        "cc:bob",
        "body:\"thank you\"",
        "filename:übersicht",
        "has:attachment has:text -has:html",
        "code:4711 has:code link:shop.example/track link:\"Track it\" has:link",
        "larger:4KiB smaller:1MB",
        "after:2026-01-31 before:2026-02-01T00:00:00Z",
        "after:1769860800",
        "-invoice",
        "-(invoice OR refund)",
        "invoice OR order",
        "(invoice OR order) shipped",
        "invoice OR (order shipped)",
        "subject:re:/^ihre .* da$/",
        "re:/4\\d{3}/",
        "body:re:/two items\\) has/",
        "header:X-Campaign",
        "header:x-campaign=spring header:X-Campaign=SECOND",
        "header:X-Campaign=\"Spring Sale\"",
        "-header:X-Spam",
        "shop.example",
        "12:30 OR order",
        "https://elsewhere.example OR order",
    ] {
        assert!(filter(query).matches(&order, &header, &Stop::default()), "{query}");
        assert_eq!(filter(query).misses(&order, &header, &Stop::default()), Vec::<String>::new(), "{query}");
    }
}

#[test]
fn what_a_message_does_not_meet_is_said_with_what_it_has() {
    let (order, header) = (order(), header());
    for (query, said) in [
        ("subject:Verify", "subject: wanted \"Verify\", got \"Ihre Bestellung in ZÜRICH ist da\""),
        ("from:bank", "from: wanted \"bank\", got \"bounces@mailer.example\", \"The Shop\", \"orders@shop.example\""),
        ("invoice", "\"invoice\": not found"),
        ("body:invoice", "body:\"invoice\": not found"),
        ("-order", "-\"order\": not wanted, but it is there"),
        ("invoice OR refund", "\"invoice\" OR \"refund\": none of these"),
        ("(invoice shipped)", "\"invoice\": not found"),
        ("has:html", "has:html: it has none"),
        ("-has:code", "-has:code: not wanted, but it is there"),
        ("larger:1MB", "larger:1000000: it has 5000 bytes"),
        ("before:2026-01-01", "before:1767225600: it came at 1769860800"),
        ("header:X-Spam", "header X-Spam: it has none"),
        ("header:X-Campaign=Autumn", "header X-Campaign: wanted \"Autumn\", got \"Spring Sale\", \"second\""),
        ("code:0815", "code: wanted \"0815\", got \"4711\""),
        ("link:elsewhere", "link:\"elsewhere\": not found"),
        ("filename:re:/^x/", "filename: wanted re:/^x/, got \"Übersicht.pdf\""),
    ] {
        assert!(!filter(query).matches(&order, &header, &Stop::default()), "{query}");
        assert_eq!(filter(query).misses(&order, &header, &Stop::default()), [said], "{query}");
    }
}

#[test]
fn a_message_without_a_code_or_a_link_is_said_to_have_none() {
    let mut order = order();
    let filter = Filter::has_code().and(Filter::has_link());
    assert!(filter.matches(&order, &[], &Stop::default()));
    Arc::make_mut(&mut order.message).content = Content::default();
    assert_eq!(
        filter.misses(&order, &[], &Stop::default()),
        ["has:code: no code was found in it", "has:link: no link to act on was found in it"]
    );
}

#[test]
fn or_binds_closer_than_standing_side_by_side() {
    let order = order();
    assert!(!filter("invoice order OR shipped").matches(&order, &[], &Stop::default()));
    assert!(filter("order invoice OR shipped").matches(&order, &[], &Stop::default()));
}

#[test]
fn a_long_value_is_shown_by_its_beginning() {
    let mut order = order();
    Arc::make_mut(&mut order.message).content.subject = Some("ä".repeat(1000));
    let said = &filter("subject:b").misses(&order, &[], &Stop::default())[0];
    assert!(said.ends_with("ä\"…") && said.chars().count() < 200, "{said}");
}

#[test]
fn what_is_wrong_with_a_query_is_said_with_its_place() {
    let many = "a ".repeat(65);
    let deep = format!("{}a", "(".repeat(17));
    let long = format!("a {}", "b".repeat(4000));
    let several = r"re:/code \d{6}/ ".repeat(12);
    let large = format!("re:/{}/", "\\pL{500}".repeat(20));
    for (query, column, part) in [
        ("order )", 7, "no ( for this )"),
        ("(order", 1, "no ) for this ("),
        ("a ()", 3, "nothing in the parentheses"),
        ("\"order", 1, "no \" at the end"),
        ("ä \"\"", 3, "phrase is empty"),
        ("re:/a", 1, "no / at the end"),
        ("x re:/(/", 3, "unclosed group"),
        ("subject:", 9, "text to look for"),
        ("subjct:Verify", 1, "\"subjct\" is no field; there are from, to, cc"),
        ("a larger:x", 10, "\"x\": write a number of bytes"),
        ("before:soon", 8, "\"soon\": write a day such as 2026-01-31"),
        ("after:2026-02-30", 7, "write a day"),
        ("after:2026", 7, "write a day"),
        ("before:99999999999999999999", 8, "write a day"),
        ("has:cake", 5, "write one of: attachment, text, html, code, link"),
        ("header:", 8, "header:Name=value"),
        ("header:a:b", 8, "header:Name=value"),
        ("OR a", 1, "between two conditions"),
        ("a OR", 5, "condition is missing"),
        ("a OR OR b", 6, "between two conditions"),
        ("- a", 2, "right before"),
        ("--a", 2, "right before"),
        ("\"a\"b", 4, "a blank between"),
        (&many, 129, "more than 64 conditions"),
        (&deep, 17, "more than 16 deep"),
        (&large, 1, "too large"),
        (&long, 3, "too large"),
        (&several, 161, "too large together; write [a-z0-9_] for \\w"),
    ] {
        let error = query.parse::<Filter>().unwrap_err();
        assert_eq!(error.column, column, "{query}: {error}");
        assert!(error.problem.contains(part), "{query}: {error}");
    }
    assert!(Filter::subject("").is_err() && Filter::from("").is_err() && Filter::to("").is_err());
}

#[test]
fn filters_are_joined() {
    let order = order();
    let both = Filter::subject("bestellung").unwrap().and(Filter::from("shop").unwrap());
    assert!(both.matches(&order, &[], &Stop::default()) && !both.is_empty() && !both.wants_headers());
    assert!(!both.and(Filter::to("bob").unwrap()).matches(&order, &[], &Stop::default()));
    assert!(filter("a OR -(b header:X)").wants_headers());
}

proptest! {
    #[test]
    fn any_text_is_a_query_or_an_error_with_a_place_in_it(text in "[a-z:\"()/\\\\ OR=-]{0,30}|\\PC{0,20}") {
        match text.parse::<Filter>() {
            Ok(filter) => {
                let holds = filter.matches(&order(), &header(), &Stop::default());
                prop_assert_eq!(holds, filter.misses(&order(), &header(), &Stop::default()).is_empty());
            }
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{}", error),
        }
    }
}
