//! Messages that are too broken, too large or too many for a file beside the tests of the crate.

use proptest::prelude::*;

use super::*;

/// A record of every message can be made, and its attachments can be cut out of the message.
fn check(raw: &[u8]) -> Content {
    let content = parse(raw);
    for attachment in &content.attachments {
        assert!(attachment.start <= attachment.end && attachment.end <= raw.len());
        assert_eq!(attachment_bytes(raw, attachment).len() as u64, attachment.size);
    }
    let named: usize = header_fields(raw).iter().map(|field| field.name.len() + 1).sum();
    assert!(named <= raw.len().saturating_mul(3));
    content
}

#[test]
fn what_is_no_message_is_told_in_words() {
    let empty = check(b"");
    assert_eq!(empty.problems, ["the message is empty"]);
    assert_eq!(empty.text, None);
    let bare = check(b"Dear Ben: hello\r\n\r\nBye\r\n");
    assert_eq!(bare.problems, ["the message has no header"]);
    assert_eq!(bare.text.as_deref(), Some("Dear Ben: hello\r\n\r\nBye\r\n"));
    let cut = check(b"Subject: a\r\nno field\r\n");
    assert_eq!(cut.problems, ["the header of the message does not end with an empty line"]);
    assert_eq!((cut.subject.as_deref(), cut.text.as_deref()), (Some("a"), Some("no field\r\n")));
}

#[test]
fn a_header_is_complete_and_in_order() {
    let raw = b"From sender Fri Jan  2 03:04:05 2026\nReceived: one\nX-A : =?utf-8?q?=C3=A4?=\n\tfolded \nreceived:two\r\n\r\nNo: field\n";
    let fields = header_fields(raw);
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
        assert_eq!(content.problems.is_empty(), expected.is_some(), "{date}");
    }
}

#[test]
fn a_boundary_is_found_only_as_a_whole_line() {
    let content = check(
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b  \r\n\r\nnot --b\r\n--b2\r\n --b\r\n--b--x\r\n--b--\r\nepilogue",
    );
    assert_eq!(content.text.as_deref(), Some("not --b\r\n--b2\r\n --b\r\n--b--x"));
    assert_eq!(content.problems, [""; 0]);
}

#[test]
fn an_outer_boundary_ends_all_within_it() {
    let content = check(
        b"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\none\n--o\n\ntwo\n--o--\n",
    );
    assert_eq!(content.text.as_deref(), Some("one\ntwo"));
    assert_eq!(content.problems, ["part 1 is a multipart without its closing boundary"]);
}

#[test]
fn a_multipart_that_cannot_be_taken_apart_is_one_attachment() {
    for (header, problem) in [
        ("multipart/mixed", "the message is a multipart without a boundary; it is kept as one attachment"),
        ("multipart/mixed; boundary=b", "the message is a multipart without parts; it is kept as one attachment"),
    ] {
        let content = check(format!("Content-Type: {header}\r\n\r\nHello\r\n").as_bytes());
        assert_eq!(content.problems, [problem]);
        assert_eq!(content.attachments.len(), 1);
        assert_eq!((content.attachments[0].content_type.as_str(), content.attachments[0].size), ("multipart/mixed", 7));
        assert_eq!(content.text, None);
    }
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
    assert_eq!(
        content.problems,
        [
            "the message has the unknown transfer encoding \"x-uu\"",
            "the message is in the unknown charset \"x-none\"; it was read as UTF-8"
        ]
    );
}

#[test]
fn deep_nesting_is_kept_as_an_attachment() {
    let nested: String =
        (0..20_000).map(|depth| format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n")).collect();
    let content = check(format!("{nested}\nHello").as_bytes());
    assert_eq!(content.attachments.len(), 1);
    assert!(content.problems[0].ends_with("is nested deeper than 64 multiparts; it is kept as one attachment"));
    let messages = "Content-Type: message/rfc822\n\n".repeat(20_000);
    let content = check(messages.as_bytes());
    assert_eq!((content.attachments.len(), content.attachments[0].start), (1, 30));
}

#[test]
fn many_parts_are_counted_and_cut_off() {
    let raw = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n".repeat(100_000));
    let content = check(raw.as_bytes());
    assert_eq!(content.problems, ["the message has more than 1000 parts; the rest is only in its raw bytes"]);
}

#[test]
fn a_huge_header_is_read_as_far_as_it_fits() {
    let many = format!("{}Subject: late\r\n\r\nHello", "X-Field: value\r\n".repeat(100_000));
    let content = check(many.as_bytes());
    assert_eq!((content.subject.as_deref(), content.text.as_deref()), (None, Some("Hello")));
    assert_eq!(content.problems, ["the header of the message is longer than 256 KiB; not all of its fields were read"]);
    assert_eq!(header_fields(many.as_bytes()).len(), 256 * 1024 / 16);
    let crowd = format!("To: {}\r\nSubject: late\r\n\r\n", "a@b.example, ".repeat(100_000));
    let content = check(crowd.as_bytes());
    assert_eq!((content.subject.as_deref(), content.to.len()), (Some("late"), 0));
}

#[test]
fn a_field_full_of_beginnings_takes_no_quadratic_time() {
    let long = format!("Subject: {}\r\n\r\n", "=?utf-8?q?a?= ".repeat(10_000));
    assert_eq!(check(long.as_bytes()).subject.map(|subject| subject.len()), Some(10_000));
    for endless in ["(", "\"", "<", ":", "=?aa?q? ", "=?utf-8?b?", "=?", "*0=;", "\r\n "] {
        let endless = endless.repeat(200_000 / endless.len());
        for name in ["To", "Date", "Subject", "Content-Type", "Message-ID"] {
            check(format!("{name}: {endless}\r\n\r\n").as_bytes());
        }
    }
}

#[test]
fn names_in_addresses_are_decoded() {
    let content = check(
        b"From: =?cp932?B?g2WDWINn?= <a@b.example>, second@b.example\r\n\
        To: =?utf-8?Q?Doe=2C_J=C3=B6?= <c@d.example>,\r\n \"=?iso-8859-1?q?=E4?=\" <e@f.example>\r\n\
        To: g@h.example\r\n\r\n",
    );
    let address = |name: Option<&str>, address: &str| crate::mail::HeaderAddress {
        name: name.map(str::to_owned),
        address: Some(address.to_owned()),
    };
    assert_eq!(content.from, Some(address(Some("テスト"), "a@b.example")));
    assert_eq!(
        content.to,
        [address(Some("Doe, Jö"), "c@d.example"), address(Some("ä"), "e@f.example"), address(None, "g@h.example")]
    );
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
        Just(&b"SGVsbG8=?="[..]),
    ];
    prop::collection::vec(
        prop_oneof![4 => piece.prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..8)],
        0..40,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_a_record(raw in prop::collection::vec(any::<u8>(), 0..512)) {
        check(&raw);
    }

    #[test]
    fn hostile_messages_give_a_record(raw in hostile()) {
        let content = check(&raw);
        prop_assert!(!content.problems.iter().any(|problem| problem.contains("could not be parsed")));
    }
}
