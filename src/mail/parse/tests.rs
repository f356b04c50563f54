//! Messages that are too broken, too large or too many for a file beside the tests of the crate.

use proptest::prelude::*;

use super::*;

/// A record of every message can be made, its attachments can be cut out of the message, and it is no larger than it may be.
fn check_within(raw: &[u8], budgets: &Budgets) -> Content {
    let content = parse(raw, budgets);
    for attachment in &content.attachments {
        assert!(attachment.start <= attachment.end && attachment.end <= raw.len());
        assert_eq!(attachment_bytes(raw, attachment).len() as u64, attachment.size);
        assert!(attachment.size <= raw.len() as u64);
    }
    let fields = header_fields(raw, budgets);
    let named: usize = fields.iter().map(|field| field.name.len() + 1).sum();
    assert!(named <= raw.len().saturating_mul(3));
    assert!(fields.len() <= budgets.max_headers);
    assert!(content.attachments.len() <= budgets.max_parts.max(1));
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    assert!(length(&content.text) + length(&content.html) <= budgets.max_text_bytes + budgets.max_parts);
    // In JSON a part, an address or a control character is some times as long as in the message, and not more.
    assert!(serde_json::to_vec(&content).unwrap().len() <= 40 * raw.len() + 100_000);
    assert!(content.to.len() <= LIST_MAX && content.references.len() <= LIST_MAX && content.problems.len() <= 101);
    content
}

fn check(raw: &[u8]) -> Content {
    check_within(raw, &Budgets::default())
}

/// The ids of the problems, but for those of the short headers and line ends of these messages.
fn problems(content: &Content) -> Vec<&str> {
    let ids = content.problems.iter().map(|problem| problem.split_once(": ").unwrap().0);
    ids.filter(|id| !id.starts_with("missing-") || *id == "missing-boundary")
        .filter(|id| *id != "bare-line-end")
        .collect()
}

/// `multipart/mixed` of these parts, each with its header.
fn multipart(parts: &[&str]) -> Vec<u8> {
    let parts: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
    format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n").into_bytes()
}

#[test]
fn what_is_no_message_is_told_in_words() {
    let empty = check(b"");
    assert_eq!(empty.problems, ["empty-message: the message is empty"]);
    assert_eq!(empty.text, None);
    let bare = check(b"Dear Ben: hello\r\n\r\nBye\r\n");
    assert_eq!(bare.problems, ["no-header: the message has no header"]);
    assert_eq!(bare.text.as_deref(), Some("Dear Ben: hello\r\n\r\nBye\r\n"));
    let cut = check(b"Subject: a\r\nno field\r\n");
    assert_eq!(
        cut.problems,
        [
            "missing-date: the message has no Date",
            "missing-from: the message has no From",
            "missing-message-id: the message has no Message-ID",
            "unended-header: the message has a header that does not end with an empty line",
        ]
    );
    assert_eq!((cut.subject.as_deref(), cut.text.as_deref()), (Some("a"), Some("no field\r\n")));
}

#[test]
fn a_header_is_complete_and_in_order() {
    let raw = b"From sender Fri Jan  2 03:04:05 2026\nReceived: one\nX-A : =?utf-8?q?=C3=A4?=\n\tfolded \nreceived:two\r\n\r\nNo: field\n";
    let fields = header_fields(raw, &Budgets::default());
    let field = |name: &str, value: &str, raw: &str| HeaderField {
        name: name.to_owned(),
        value: value.to_owned(),
        raw: raw.to_owned(),
    };
    assert_eq!(
        fields,
        [
            field("Received", "one", " one"),
            field("X-A", "ä\tfolded", " =?utf-8?q?=C3=A4?=\n\tfolded "),
            field("received", "two", "two")
        ]
    );
}

#[test]
fn dates_that_are_none_are_not_invented() {
    for (date, expected) in [
        ("Thu, 29 Feb 2024 23:59:59 -0530", Some("2024-02-29T23:59:59-05:30")),
        ("2 Jan 2026 03:04 GMT (comment)", Some("2026-01-02T03:04:00Z")),
        ("30 Feb 2026 03:04:05 +0000", None),
        ("31 Dec 2026 24:00:00 +0000", None),
        ("tomorrow", None),
        ("", None),
    ] {
        let content = check(format!("Date: {date}\r\n\r\n").as_bytes());
        assert_eq!(content.date.as_deref(), expected, "{date}");
        assert_eq!(problems(&content).is_empty(), expected.is_some(), "{date}");
    }
}

#[test]
fn a_boundary_is_found_only_as_a_whole_line() {
    let content = check(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b  \r\n\r\nnot --b\r\n--b2\r\n --b\r\n--b--x\r\n--b--\r\nepilogue",
    );
    assert_eq!(content.text.as_deref(), Some("not --b\r\n--b2\r\n --b\r\n--b--x"));
    assert_eq!(problems(&content), [""; 0]);
}

#[test]
fn an_outer_boundary_ends_all_within_it() {
    let content = check(
        b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--o\n\ntwo\n--o--\n",
    );
    assert_eq!(content.text.as_deref(), Some("one\ntwo"));
    assert_eq!(problems(&content), ["unclosed-multipart"]);
    assert!(
        content.problems.contains(&"unclosed-multipart: part 1 is a multipart without its closing boundary".to_owned())
    );
}

#[test]
fn a_multipart_that_cannot_be_taken_apart_is_a_text() {
    for (header, problem) in [
        ("multipart/mixed", "missing-boundary"),
        ("multipart/mixed; boundary=b", "no-parts"),
        ("multipart/mixed; boundary=\"\"", "missing-boundary"),
    ] {
        for (body, text) in [("Hello\r\n", Some("Hello\r\n")), ("", None), ("\r\n \r\n", None)] {
            let content = check(format!("Content-Type: {header}\r\n\r\n{body}").as_bytes());
            assert_eq!(problems(&content), [problem]);
            assert_eq!((content.text.as_deref(), content.attachments.len()), (text, 0), "{header} {body:?}");
        }
    }
}

#[test]
fn a_boundary_that_is_not_named_is_found() {
    let content = check(b"Content-Type: multipart/mixed\r\n\r\n-- \r\npreamble\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n");
    assert_eq!((content.html.as_deref(), content.text.as_deref()), (Some("<p>"), None));
    assert_eq!(problems(&content), ["missing-boundary"]);
}

#[test]
fn what_names_no_readable_type_is_a_text_or_a_file() {
    let text = check(b"Content-Type: text\r\n\r\nHello");
    assert_eq!(text.text.as_deref(), Some("Hello"));
    let file = check(b"Content-Type: ?/?\r\nContent-Disposition: attachment\r\n\r\nHello");
    assert_eq!(file.attachments[0].content_type, "application/octet-stream");
    assert_eq!(file.text, None);
}

#[test]
fn unknown_encodings_and_charsets_are_told() {
    let content = check(b"Content-Type: text/html; charset=x-none\r\nContent-Transfer-Encoding: x-uu\r\n\r\nHello");
    assert_eq!(content.html.as_deref(), Some("Hello"));
    let told = |text: &str| content.problems.iter().any(|problem| problem == text);
    assert!(told(
        "unknown-encoding: the message has a transfer encoding that is not known; its bytes were left as they are (\"x-uu\")"
    ));
    assert!(told(
        "unknown-charset: the message is in a charset that is not known; it was read as UTF-8 where it could be (\"x-none\")"
    ));
}

#[test]
fn html_may_name_its_charset_itself() {
    for (html, expected) in [
        (&b"<meta charset=\"koi8-r\"><p>\xcd\xc9\xd2"[..], "<meta charset=\"koi8-r\"><p>мир"),
        (b"<META content='text/html; CHARSET=koi8-r'>\xcd\xc9\xd2", "<META content='text/html; CHARSET=koi8-r'>мир"),
        ("<meta charset=koi8-r>ä".as_bytes(), "<meta charset=koi8-r>ä"),
    ] {
        let raw = [b"Content-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", html].concat();
        let content = check(&raw);
        assert_eq!(content.html.as_deref(), Some(expected));
        assert_eq!(problems(&content), [""; 0]);
    }
}

#[test]
fn two_delimiters_in_a_row_have_no_part_in_between() {
    let content =
        check(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n\r\none\r\n--b\r\n\r\n--b\r\n--b--\r\n");
    assert_eq!((content.text.as_deref(), content.attachments.len()), (Some("one\n"), 0));
    let none = check(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b--\r\n");
    assert_eq!((none.text.as_deref(), none.attachments.len(), problems(&none).len()), (None, 0, 0));
    let root = check(b"Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\n--b\r\n\r\none\r\n--b--\r\n");
    assert_eq!(root.text.as_deref(), Some("one"));
}

#[test]
fn a_related_multipart_may_name_its_root() {
    let content = check(
        b"Content-Type: multipart/related; boundary=b; start=\"<root@x>\"\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n\
        --b\r\nContent-Type: text/html; name=a.html\r\nContent-ID: <root@x>\r\n\r\n<p>\r\n\
        --b\r\nContent-Type: text/html\r\nContent-ID: <other@x>\r\n\r\n<b>\r\n--b--",
    );
    assert_eq!((content.html.as_deref(), content.attachments.len()), (Some("<p>"), 2));
}

#[test]
fn lines_may_end_in_cr_alone_and_offsets_stay() {
    let raw = b"Subject: a\rContent-Type: multipart/mixed; boundary=b\r\r--b\r\rone=\r\r--b\rContent-Type: image/png\rContent-Transfer-Encoding: quoted-printable\r\ra=\rb\r--b--\r";
    let content = check(raw);
    assert_eq!((content.subject.as_deref(), content.text.as_deref()), (Some("a"), Some("one=\r")));
    assert_eq!(&*attachment_bytes(raw, &content.attachments[0]), b"ab");
    assert_eq!(header_fields(raw, &Budgets::default())[0].value, "a");
}

#[test]
fn problems_are_found_where_they_are() {
    for (raw, expected) in [
        ("Date: x\r\nSubject: a\r\nsubject: b\r\n\r\n".to_owned(), &["duplicate-header", "bad-date"][..]),
        ("Subject: ä\r\n\r\n".to_owned(), &["utf8-header"]),
        ("Subject: =?x-none?q?=E4?=\r\n\r\n".to_owned(), &["bad-encoded-word"]),
        ("Subject: =?utf-8?q?=E4=?=\r\n\r\n".to_owned(), &["bad-encoded-word"]),
        ("A: b\r\n: c\r\n\r\n".to_owned(), &["bad-header-line"]),
        ("A: b\r\n\r\nä".to_owned(), &["undeclared-8bit"]),
        ("A: b\r\n\r\na\0".to_owned(), &["nul"]),
        (format!("A: b\r\n\r\n{}", "x".repeat(999)), &["long-line"]),
        ("Content-Type: nonsense\r\n\r\n".to_owned(), &["bad-content-type"]),
        ("Content-Type: message/partial; id=a\r\n\r\n".to_owned(), &["partial-message"]),
        ("Content-Type: message/external-body\r\n\r\n".to_owned(), &["external-body"]),
        ("Content-Type: application/ms-tnef\r\n\r\n".to_owned(), &["tnef"]),
        ("Content-Transfer-Encoding: quoted-printable\r\n\r\n=4".to_owned(), &["bad-quoted-printable"]),
        ("Content-Transfer-Encoding: base64\r\n\r\nSGVs!bG8".to_owned(), &["bad-base64"]),
        ("Content-Transfer-Encoding: base64\r\n\r\nHello, you!".to_owned(), &["not-base64"]),
        ("Content-Transfer-Encoding: x-uuencode\r\n\r\nHello, you!".to_owned(), &["bad-uuencode"]),
    ] {
        assert_eq!(problems(&check(raw.as_bytes())), expected, "{raw}");
    }
    let eight = check(b"Content-Transfer-Encoding: 8bit\r\nSubject: Gr\xfc\xdfe\r\n\r\nGr\xfc\xdfe aus K\xf6ln");
    assert_eq!(problems(&eight), ["8bit-header", "undeclared-charset"]);
    assert_eq!((eight.subject.as_deref(), eight.text.as_deref()), (Some("Grüße"), Some("Grüße aus Köln")));
    let wrong = check(b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\na\xff");
    assert_eq!(problems(&wrong), ["wrong-charset"]);
    let encoded = check(
        b"Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\n--b\r\n\r\n--b--",
    );
    assert_eq!(problems(&encoded), ["encoded-multipart"]);
}

#[test]
fn a_good_message_has_no_problems() {
    let raw =
        b"Date: Fri, 2 Jan 2026 03:04:05 +0100\r\nFrom: a@b.example\r\nMessage-ID: <1@b.example>\r\n\r\nHello\r\n";
    assert_eq!(check(raw).problems, [""; 0]);
}

#[test]
fn deep_nesting_is_kept_as_an_attachment() {
    for levels in [1_000, 20_000] {
        let nested: String = (0..levels)
            .map(|depth| format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"))
            .collect();
        let content = check(format!("{nested}\nHello").as_bytes());
        assert_eq!(content.attachments.len(), 1);
        assert_eq!(problems(&content)[0], "deep-parts");
    }
    let messages = "Content-Type: message/rfc822\n\n".repeat(20_000);
    let content = check(messages.as_bytes());
    assert_eq!((content.attachments.len(), content.attachments[0].start), (1, 30));
}

#[test]
fn many_parts_are_counted_and_cut_off() {
    let raw =
        format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\nContent-Type: image/png\n".repeat(10_000));
    let content = check(raw.as_bytes());
    assert_eq!(problems(&content).last(), Some(&"many-parts"));
    assert_eq!(content.attachments.len(), 1_000);
    let all = check_within(raw.as_bytes(), &Budgets { max_parts: 20_000, ..Budgets::default() });
    assert_eq!(all.attachments.len(), 10_000);
}

#[test]
fn a_huge_header_is_read_as_far_as_it_fits() {
    let many = format!("{}Subject: late\r\n\r\nHello", "X-Field: value\r\n".repeat(100_000));
    let content = check(many.as_bytes());
    assert_eq!((content.subject.as_deref(), content.text.as_deref()), (None, Some("Hello")));
    assert_eq!(problems(&content), ["many-headers"]);
    assert_eq!(header_fields(many.as_bytes(), &Budgets::default()).len(), 2_000);
    let wide = Budgets { max_headers: 1_000_000, max_header_bytes: 1 << 30, ..Budgets::default() };
    assert_eq!(header_fields(many.as_bytes(), &wide).len(), 100_001);
    let crowd = format!("To: {}\r\nSubject: late\r\n\r\n", "a@b.example, ".repeat(2_000_000));
    let content = check(crowd.as_bytes());
    assert_eq!((content.subject.as_deref(), content.to.len()), (Some("late"), 0));
    assert_eq!(problems(&content), ["large-header", "long-line"].iter().rev().copied().collect::<Vec<_>>());
}

#[test]
fn what_a_few_bytes_could_make_large_is_cut() {
    let crowd = format!(
        "To: {}\r\nReferences: {}\r\nSubject: {}\r\n\r\n",
        "a@b,\r\n ".repeat(10_000),
        "<a>\r\n ".repeat(10_000),
        "=?utf-8?q?a?=\r\n ".repeat(11_000)
    );
    let wide = Budgets { max_header_bytes: 1 << 30, ..Budgets::default() };
    let content = check_within(crowd.as_bytes(), &wide);
    assert_eq!((content.to.len(), content.references.len()), (LIST_MAX, LIST_MAX));
    assert_eq!(problems(&content), ["many-addresses", "many-encoded-words"]);

    let name = "\u{1}".repeat(100_000);
    let content = check(&multipart(&[&format!("Content-Type: image/png; name=\"{name}.png\"\r\n\r\n")]));
    let filename = content.attachments[0].filename.as_deref().unwrap();
    assert!(filename.len() == 1024 && filename.ends_with(".png"));
    assert_eq!(problems(&content), ["long-line", "long-value"]);

    let text = multipart(&["\r\näbc", "Content-Type: text/html\r\n\r\ndefg", "\r\nhij"]);
    let content = check_within(&text, &Budgets { max_text_bytes: 7, ..Budgets::default() });
    assert_eq!((content.text.as_deref(), content.html.as_deref()), (Some("äbc\n"), Some("def")));
    assert_eq!(problems(&content), ["undeclared-8bit", "large-text", "large-text"]);

    let flaws = multipart(&["Content-Type: nonsense\r\nContent-Transfer-Encoding: x\r\n\r\n"; 200]);
    let content = check(&flaws);
    assert_eq!(content.problems.len(), 101);
    assert_eq!(content.problems[100], "many-problems: the message has more problems than are listed: 304 more");
}

#[test]
fn a_field_full_of_beginnings_takes_no_quadratic_time() {
    let long = format!("Subject: {}\r\n\r\n", "=?utf-8?q?a?= ".repeat(10_000));
    assert_eq!(check(long.as_bytes()).subject.map(|subject| subject.len()), Some(10_000));
    for endless in
        ["(", "\"", "<", ":", "=?aa?q? ", "=?aa?q?=", "=?utf-8?b?", "=?", "*0=;", "\r\n ", "<a", "\r\n:", " \r\n\t"]
    {
        let endless = endless.repeat(200_000 / endless.len());
        for name in ["To", "Date", "Subject", "Content-Type", "Message-ID", "References", "List-Unsubscribe"] {
            check(format!("{name}: {endless}\r\n\r\n").as_bytes());
        }
    }
}

#[test]
fn a_large_message_of_nothing_but_beginnings_is_read() {
    for piece in ["--", "\n--", "\n--b", "\n--b\n", "=\n", "begin 6 a\nM\n", "\x1b$", "+", "~{", "> a \n", " \n"] {
        let body = piece.repeat(400_000 / piece.len());
        for header in [
            "Content-Type: multipart/mixed; boundary=b",
            "Content-Type: multipart/mixed",
            "Content-Type: text/plain; charset=utf-7; format=flowed; delsp=yes",
            "Content-Type: text/plain; charset=hz",
            "Content-Type: text/plain; charset=iso-2022-jp",
            "Content-Transfer-Encoding: base64",
            "Content-Transfer-Encoding: quoted-printable",
            "Content-Transfer-Encoding: x-uuencode",
        ] {
            check(format!("{header}\n\n{body}").as_bytes());
        }
    }
}

#[test]
fn multiparts_without_boundaries_are_not_looked_through_for_each_of_them() {
    let parts = "--b\r\nX: y\r\nContent-Type: multipart/mixed\r\n\r\n".repeat(1_000);
    let lines = "--\r\n".repeat(1_000_000);
    let content = check(format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}{lines}").as_bytes());
    assert!(content.problems.iter().any(|problem| problem.starts_with("missing-boundary")), "{:?}", content.problems);
}

#[test]
fn what_answers_and_lists_name_is_found() {
    let content = check(
        b"In-Reply-To: <a@b> (of yesterday)\r\nReferences: <c@d>\r\n\t<a@b>\r\n\
        List-Unsubscribe: <mailto:out@list.example?subject=x>,\r\n <https://list.example/out>\r\n\r\n",
    );
    assert_eq!(content.in_reply_to, ["a@b"]);
    assert_eq!(content.references, ["c@d", "a@b"]);
    assert_eq!(content.list_unsubscribe, ["mailto:out@list.example?subject=x", "https://list.example/out"]);
}

#[test]
fn names_in_addresses_are_decoded() {
    let content = check(
        b"From: =?cp932?B?g2WDWINn?= <a@b.example>, second@b.example\r\n\
        To: =?utf-8?Q?Doe=2C_J=C3=B6?= <c@d.example>,\r\n \"=?iso-8859-1?q?=E4?=\" <e@f.example>\r\n\
        To: g@h.example\r\n\r\n",
    );
    let address = |name: Option<&str>, address: &str| HeaderAddress {
        name: name.map(str::to_owned),
        address: Some(address.to_owned()),
    };
    assert_eq!(content.from, Some(address(Some("テスト"), "a@b.example")));
    assert_eq!(
        content.to,
        [address(Some("Doe, Jö"), "c@d.example"), address(Some("ä"), "e@f.example"), address(None, "g@h.example")]
    );
}

#[test]
fn an_address_that_can_be_none_is_told() {
    for (to, is_bad) in [
        ("Ann <a@x.y>, \"b c\"@x.y, d@[192.0.2.1], =?utf-8?q?=C3=A4?= <\"=?\"@x.y>", false),
        ("Team: a@x.y, b@x.y;, undisclosed-recipients:;", false),
        ("a@x.y b@x.y", false),
        ("Ann <no address here>", true),
        ("<undisclosed-recipients:;>", true),
        ("root (The Superuser)", true),
        ("Ann <a@x.y, b@x.y>", true),
        ("Doe, Jo <a@x.y>", true),
    ] {
        let content = check(format!("To: {to}\r\n\r\n").as_bytes());
        assert_eq!(problems(&content), ["bad-address"; 1][..usize::from(is_bad)], "{to}");
    }
}

/// Messages made of the pieces that parsers stumble over.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"Content-Type: multipart/mixed; boundary=b\r\n"[..]),
        Just(&b"Content-Type: multipart/digest; boundary=\r\n \"b\"\n"[..]),
        Just(&b"Content-Type: message/rfc822\r\n"[..]),
        Just(&b"Content-Type: text/html; charset*0*=''utf-16; name*=x\r\n"[..]),
        Just(&b"Content-Transfer-Encoding: base64\r\n"[..]),
        Just(&b"Content-Transfer-Encoding: quoted-printable\r\n"[..]),
        Just(&b"Content-Disposition: attachment; filename=\"=?utf-8?q?"[..]),
        Just(&b"From: a <b@c> (d), e: \"f\\"[..]),
        Just(&b"Date: Fri, 99 Xyz 99999 99:99"[..]),
        Just(&b"--b\r\n"[..]),
        Just(&b"--b--\n"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\n \t"[..]),
        Just(&b"=3D=\r\n=4"[..]),
        Just(&b"\0\xff:"[..]),
        Just(&b"Content-Type: text/plain; format=flowed; charset=iso-2022-jp\r\n"[..]),
        Just(&b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n"[..]),
        Just(&b"\x1b$B\x0e "[..]),
        Just(&b"Content-Disposition: a,=,:\"(; =*0*=%\r\n"[..]),
        Just(&b",=:="[..]),
        Just(&b"\r"[..]),
        Just(&b"SGVsbG8=?="[..]),
    ];
    prop::collection::vec(
        prop_oneof![4 => piece.prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..8)],
        0..40,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(512), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_record(raw in prop::collection::vec(any::<u8>(), 0..512)) {
        check(&raw);
    }

    #[test]
    fn hostile_messages_give_a_record(raw in hostile()) {
        let content = check(&raw);
        let is_known = |id: &&str| Problem::ALL.iter().any(|problem| problem.id() == *id);
        prop_assert!(problems(&content).iter().all(is_known));
    }
}
