use super::*;

fn found(html: &str, text: &str) -> Vec<(LinkKind, String)> {
    find("", &Page::read(html), text, &[]).into_iter().map(|link| (link.kind, link.href)).collect()
}

fn kinds(html: &str) -> Vec<LinkKind> {
    found(html, "").into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_link_is_what_it_is_for() {
    use LinkKind::{Action, Asset, Other, Tracking, Unsubscribe};
    for (html, expected) in [
        ("<a href='https://a.example/verify?token=8f2a9c40d7be'>Verify</a>", &[Action][..]),
        ("<p>To confirm, <a href='https://a.example/c/8f2a9c40d7be'>click here</a></p>", &[Action]),
        ("<a href='https://a.example/c/8f2a9c40d7be'>Click here</a> to confirm", &[Action]),
        ("<a href='http://localhost:3000/verify?token=abc'>here</a>", &[Action]),
        ("<a href='http://localhost:3000/verify?token=abc'>here</a> <a href=/x>or there</a>", &[Other, Other]),
        ("<a href='https://a.example/x' class=button>View your order</a>", &[Action]),
        (
            "<a href='https://a.example/x' class=button>View</a><a href='https://a.example/u'>Unsubscribe</a>",
            &[Other, Unsubscribe],
        ),
        ("<a href='https://a.example/'>Home</a>", &[Other]),
        ("<a href='https://a.example/privacy'>Privacy</a>", &[Other]),
        ("<a href='https://a.example/abmelden?x=1'>hier</a>", &[Unsubscribe]),
        ("<a href='mailto:verify@a.example'>Verify</a>", &[Other]),
        ("<a href='myapp://verify?token=8f2a9c40d7be'>Verify email</a>", &[Action]),
        ("<a href='com.example.app://verify?token=8f2a9c40d7be'>Verify email</a>", &[Action]),
        ("<a href='//a.example/verify?token=8f2a9c40d7be'>Verify email</a>", &[Action]),
        ("<a href='file:///verify?token=8f2a9c40d7be'>Verify email</a>", &[Other]),
        ("<a href='vbscript://verify'>Verify email</a><a href='ver ify://x'>Verify email</a>", &[Other, Other]),
        ("<img src='https://a.example/wf/open?u=1'><img src=logo.png>", &[Tracking, Asset]),
        ("<a href='#top'>x</a><a href='javascript:y'>Verify</a><img src='cid:1'>", &[]),
    ] {
        assert_eq!(kinds(html), expected, "{html}");
    }
}

#[test]
fn actions_come_first_and_the_others_in_their_order() {
    let html = "<a href='https://a.example/one'>One</a><a href='https://a.example/r/8f2a9c40'>Reset</a><a href='https://a.example/two'>Two</a>";
    let hrefs: Vec<_> = found(html, "").into_iter().map(|(_, href)| href).collect();
    assert_eq!(hrefs, ["https://a.example/r/8f2a9c40", "https://a.example/one", "https://a.example/two"]);
}

#[test]
fn an_address_is_listed_once_with_the_text_that_it_has() {
    let page =
        Page::read("<a href='https://a.example/x'><img src=x.png></a><a href='https://a.example/x'> The\n x </a>");
    let links =
        find("", &page, "x: https://a.example/x", &["https://a.example/x", "mailto:u@a.example"].map(str::to_owned));
    let shown: Vec<_> = links.iter().map(|link| (link.kind, &*link.href, &*link.text)).collect();
    assert_eq!(
        shown,
        [
            (LinkKind::Unsubscribe, "https://a.example/x", "The x"),
            (LinkKind::Asset, "x.png", ""),
            (LinkKind::Unsubscribe, "mailto:u@a.example", "")
        ]
    );
}

#[test]
fn what_stands_before_an_address_in_a_text_says_what_it_is_for() {
    let text = "Please confirm here:\n\n<https://a.example/c/\n  8f2a9c40d7be>\n\nHelp: https://a.example/help\nUnsubscribe: https://a.example/x";
    assert_eq!(
        found("", text),
        [
            (LinkKind::Action, "https://a.example/c/8f2a9c40d7be".to_owned()),
            (LinkKind::Other, "https://a.example/help".to_owned()),
            (LinkKind::Unsubscribe, "https://a.example/x".to_owned())
        ]
    );
}

#[test]
fn there_are_never_too_many() {
    let many = |tag: &str| (0..2000).map(|n| format!("{tag}https://a.example/{n}>")).collect::<String>();
    assert_eq!(found(&many("<a href="), "").len(), LINKS_MAX);
    assert_eq!(found(&many("<img src="), "").len(), ASSETS_MAX);
    let long: String =
        (0..100).map(|n| format!("https://a.example/{n}{} ", "x".repeat(HREF_MAX_BYTES - 100))).collect();
    assert!(found("", &long).iter().map(|(_, href)| href.len()).sum::<usize>() <= TOTAL_MAX_BYTES);
    assert_eq!(found("", &format!("https://a.example/{}", "x".repeat(HREF_MAX_BYTES))), []);
}

#[test]
fn an_address_is_one_line_whatever_stands_in_it() {
    let html = "<a href=' https://a.example/ver\r\n\tify?t=1&#27;[2J'>Confirm</a>";
    let hrefs: Vec<_> = found(html, "").into_iter().map(|(_, href)| href).collect();
    assert_eq!(hrefs, ["https://a.example/verify?t=1%1B[2J"]);
}
