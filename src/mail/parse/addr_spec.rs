//! Whether an address of a header field is one (RFC 5322 section 3.4.1).

use super::address::quoted;

/// Whether a text is an addr-spec, with words in quotes (section 4.4) and UTF-8 (RFC 6532) too.
pub(super) fn is_addr_spec(text: &str) -> bool {
    let mut rest = text;
    loop {
        let end = match rest.strip_prefix('"') {
            Some(_) => quoted(rest).map(|(_, length)| length),
            None => rest.find(|c: char| !is_atext(c)).filter(|end| *end > 0),
        };
        let Some(end) = end else { return false };
        match rest[end..].strip_prefix('.') {
            Some(behind) => rest = behind,
            None => return rest[end..].strip_prefix('@').is_some_and(is_domain),
        }
    }
}

fn is_domain(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(literal) => literal.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'[' | b']' | b'\\')),
        None => text.split('.').all(|label| !label.is_empty() && label.chars().all(is_atext)),
    }
}

/// RFC 5322 section 3.2.3, RFC 6532 section 3.2.
fn is_atext(c: char) -> bool {
    let is_other = |c: char| !c.is_ascii() && !c.is_whitespace() && !c.is_control();
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_other(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_address_is_told() {
        for address in
            ["a@x", "a.b+c@x.y", "\"a b\"@x.y", "a.\"b\"@x.y", "ä@exämple.com", "a@[IPv6:::1]", "a@my_host.x"]
        {
            assert!(is_addr_spec(address), "{address}");
        }
        for address in [
            "",
            "root",
            "@x.y",
            "a@",
            "a@x..y",
            ".a@x.y",
            "a.@x.y",
            "a b@x.y",
            "a@x y",
            "a@x@y",
            "\"a@x.y",
            "\"a\"b@x.y",
            "a@x.y,b@x.y",
            "a@[x",
            "no address here",
            "undisclosed-recipients:;",
        ] {
            assert!(!is_addr_spec(address), "{address}");
        }
    }
}
