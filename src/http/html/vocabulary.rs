//! What a page keeps of a message: a list of elements and of attributes. What is not on it, a browser does not get to see,
//! so nothing has to be known of what the next browser may run or load.

/// What becomes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays, under this name.
    Keep(&'static str),
    /// Its tags go, its content stays.
    Unwrap,
    /// It goes with all that is in it.
    Drop,
}

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It stays as it is.
    Plain,
    /// It is a URL that a reader may click on.
    Link,
    /// It is a URL that a browser loads.
    Load,
    /// It is a list of URLs of which a browser loads one.
    LoadOne,
    /// It is CSS.
    Style,
}

/// Elements that lay out and mark up text, sorted.
#[rustfmt::skip]
const KEPT: [&str; 94] = [
    "a", "abbr", "acronym", "address", "area", "article", "aside", "audio", "b", "bdi", "bdo", "big", "blockquote",
    "body", "br", "caption", "center", "cite", "code", "col", "colgroup", "dd", "del", "details", "dfn", "dir", "div",
    "dl", "dt", "em", "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header",
    "hgroup", "hr", "html", "i", "img", "ins", "kbd", "li", "link", "listing", "main", "map", "mark", "menu", "nav",
    "nobr", "ol", "p", "picture", "pre", "q", "rb", "rp", "rt", "rtc", "ruby", "s", "samp", "section", "small",
    "source", "span", "strike", "strong", "style", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th",
    "thead", "time", "tr", "tt", "u", "ul", "var", "video", "wbr",
];

/// Elements whose content is no text of the message, sorted.
#[rustfmt::skip]
const DROPPED: [&str; 7] = [
    "iframe", "noembed", "noframes", "noscript", "script", "template", "title",
];

/// Attributes that neither load, nor run, nor send anything on any element of [`KEPT`], sorted.
#[rustfmt::skip]
const PLAIN: [&str; 70] = [
    "abbr", "align", "alink", "alt", "aria-describedby", "aria-hidden", "aria-label", "aria-labelledby", "axis",
    "bgcolor", "border", "bordercolor", "bottommargin", "cellpadding", "cellspacing", "char", "charoff", "class",
    "clear", "color", "cols", "colspan", "compact", "controls", "coords", "datetime", "dir", "face", "frame",
    "headers", "height", "hidden", "hspace", "id", "lang", "leftmargin", "link", "loop", "marginheight",
    "marginwidth", "media", "muted", "name", "noshade", "nowrap", "open", "reversed", "rightmargin", "role", "rows",
    "rowspan", "rules", "scope", "shape", "size", "sizes", "span", "start", "summary", "text", "title", "topmargin",
    "type", "usemap", "valign", "value", "vlink", "vspace", "width", "xml:lang",
];

/// What becomes of the element `name`, which is lower-cased.
pub(super) fn fate(name: &str) -> Fate {
    if let Some(name) = find(&KEPT, name) {
        return Fate::Keep(name);
    }
    if find(&DROPPED, name).is_some() { Fate::Drop } else { Fate::Unwrap }
}

/// What becomes of the attribute `name`, which is lower-cased, of an element of [`KEPT`]; `None` if it goes.
pub(super) fn role(element: &str, name: &str) -> Option<(&'static str, Role)> {
    match (element, name) {
        (_, "style") => Some(("style", Role::Style)),
        ("a" | "area", "href") => Some(("href", Role::Link)),
        ("link", "href") => Some(("href", Role::Load)),
        ("img" | "source" | "audio" | "video", "src") => Some(("src", Role::Load)),
        ("img" | "source", "srcset") => Some(("srcset", Role::LoadOne)),
        ("video", "poster") => Some(("poster", Role::Load)),
        ("body" | "table" | "thead" | "tbody" | "tfoot" | "tr" | "td" | "th", "background") => {
            Some(("background", Role::Load))
        }
        _ => find(&PLAIN, name).map(|name| (name, Role::Plain)),
    }
}

fn find(sorted: &[&'static str], name: &str) -> Option<&'static str> {
    sorted.binary_search(&name).ok().map(|at| sorted[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_apart() {
        for list in [&KEPT[..], &DROPPED, &PLAIN] {
            assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
        }
        assert!(KEPT.iter().all(|name| !DROPPED.contains(name)));
    }

    #[test]
    fn nothing_that_runs_or_sends_is_on_a_list() {
        for name in [
            "script", "iframe", "object", "embed", "applet", "form", "input", "button", "textarea", "select", "base",
            "meta", "frame", "portal", "svg", "math", "track", "dialog", "marquee", "bgsound", "param", "keygen",
            "isindex",
        ] {
            assert!(!matches!(fate(name), Fate::Keep(_)), "{name}");
        }
        for name in [
            "onclick",
            "onload",
            "action",
            "formaction",
            "autofocus",
            "ping",
            "srcdoc",
            "http-equiv",
            "content",
            "data",
            "code",
            "codebase",
            "classid",
            "archive",
            "dynsrc",
            "lowsrc",
            "manifest",
            "is",
            "nonce",
            "target",
            "rel",
            "contenteditable",
            "tabindex",
            "accesskey",
            "popover",
            "popovertarget",
            "xlink:href",
            "imagesrcset",
            "longdesc",
            "profile",
            "download",
            "autoplay",
            "preload",
            "data-blocked-src",
        ] {
            assert_eq!(role("img", name), None, "{name}");
        }
        assert_eq!(role("p", "src"), None);
        assert_eq!(role("p", "background"), None);
    }
}
