use super::*;

fn text(html: &str) -> String {
    Page::read(html).text
}

fn links(html: &str) -> Vec<(String, PageLinkKind)> {
    Page::read(html).links.into_iter().map(|link| (link.href, link.kind)).collect()
}

#[test]
fn blocks_are_lines_and_cells_are_parted_by_tabs() {
    for (html, expected) in [
        ("<p>one\n two</p><div>three<br>four</div>five", "one two\nthree\nfour\nfive"),
        ("<table><tr><td>4<td> 8 </td>\n<td>2</table>", "4\t8\t2"),
        ("<tr><td>a</td></tr><tr><td>b</td></tr>", "a\nb"),
        ("<span>4</span><span>8</span>", "48"),
        ("<pre>a\n  b</pre>c", "a\n  b\nc"),
        ("&lt;b&gt;&nbsp;&#50;&amp&unknown;", "<b>\u{a0}2&&unknown;"),
        ("1 < 2 <> 3 <3", "1 < 2 <> 3 <3"),
        ("<p>never closed<b", "never closed"),
    ] {
        assert_eq!(text(html), expected, "{html}");
    }
}

#[test]
fn what_is_not_shown_is_not_read() {
    for html in [
        "<style>a{}</style><script>b<!--</script><title>c</title><!-- d -->x",
        "<div style='display:none'>a<div>b</div>c</div>x",
        "<div hidden><p>a</div>x",
        "<p hidden>a<p>x",
        "<div><span style='visibility:hidden'>a</div>x",
        "<div style='font-size:0'>a<span style='font-size:14px'>x</span></div>",
        "<div style='max-height:0;overflow:hidden'>a</div>x",
        "<!--[if mso]>a<![endif]--><!--[if !mso]><!-->x<!--<![endif]-->",
        "</div></p>x</div>",
    ] {
        assert_eq!(text(html), "x", "{html}");
    }
}

#[test]
fn what_stands_out_is_known() {
    let page = Page::read("a<b>b</b>c<span style='font-size:28px'>d</span><p style='letter-spacing:4px'>e</p>f");
    let loud: String = page.text.char_indices().filter(|(at, _)| page.is_loud(*at)).map(|(_, c)| c).collect();
    assert_eq!(loud.replace('\n', ""), "bde");
}

#[test]
fn references_are_kept_with_what_they_are_for() {
    let (plain, button) = (PageLinkKind::Anchor { is_button: false }, PageLinkKind::Anchor { is_button: true });
    for (html, expected) in [
        ("<a href=' https://a.example/?b=1&amp;c=2 '>x</a>", vec![("https://a.example/?b=1&c=2", plain)]),
        ("<a href=a href=b>x<a class='big Btn-Primary' href=c>y", vec![("a", plain), ("c", button)]),
        ("<td bgcolor=red><a href=a>x</a></td>", vec![("a", button)]),
        ("<area href=a><a name=b>x</a><a href=''>y</a>", vec![("a", plain)]),
        ("<img src=a><img src=b width=1 height=1>", vec![("a", PageLinkKind::Asset), ("b", PageLinkKind::Beacon)]),
        ("<body background=a><link href=b>", vec![("a", PageLinkKind::Asset), ("b", PageLinkKind::Asset)]),
        (
            "<style>@import url( 'a' ); b{c:url(d)}</style>",
            vec![("a", PageLinkKind::Asset), ("d", PageLinkKind::Asset)],
        ),
        ("<p style=\"background:url('a')\">url(b)</p>", vec![("a", PageLinkKind::Asset)]),
        ("<div style='display:none'><a href=a>x</a></div>", vec![]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|(href, kind)| (href.to_owned(), kind)).collect();
        assert_eq!(links(html), expected, "{html}");
    }
}

#[test]
fn the_text_of_a_link_is_a_part_of_the_page() {
    let page = Page::read("<p>Please <a href=a> <b>click</b> here </a>.</p><a href=b><img src=c alt=Logo></a>");
    let written: Vec<_> = page.links.iter().map(|link| (&page.text[link.text.clone()], &*link.alt)).collect();
    assert_eq!(written, [("click here", ""), ("", "Logo"), ("", "Logo")]);
}

#[test]
fn hostile_pages_are_read_as_far_as_the_limits() {
    let page = Page::read(&"<a href=https://a.example/>x".repeat(100_000));
    assert_eq!(page.links.len(), LINKS_MAX);
    let long = format!("<a href='{}'>x</a>", "a".repeat(100_000));
    assert_eq!(links(&long), []);
    for piece in
        ["<", "<b>", "</b>", "<!--", "<a ", "&", "<script><!--<script>", "<style>url(", "<p style='url('>", "<b x=y"]
    {
        let page = Page::read(&piece.repeat(HTML_MAX_BYTES / 4 / piece.len()));
        assert!(page.text.len() <= HTML_MAX_BYTES / 4 && page.links.len() <= LINKS_MAX, "{piece}");
    }
    assert_eq!(text(&"x".repeat(HTML_MAX_BYTES + 1)).len(), HTML_MAX_BYTES);
}
