//! The parameters of MAIL and RCPT: RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8) and RFC 3461 (DSN).

use super::reply::Reply;
use crate::mail::{Body, MailParameters, Ret, decode_xtext};

/// RFC 3461 section 4.4, of the decoded text.
const ENVID_MAX_CHARS: usize = 100;
/// RFC 3461 section 4.2, of the parameter as it is sent.
const ORCPT_MAX_CHARS: usize = 500;

/// The parameters of MAIL. Without `dsn` those of RFC 3461 are not known.
///
/// # Errors
/// `555` for one that is not known, `501` for one that is malformed or given twice (RFC 5321 section 4.1.1.11).
pub(super) fn of_mail(text: &str, dsn: bool) -> Result<MailParameters, Reply> {
    let mut parameters = MailParameters::default();
    for (name, value) in each(text)? {
        match (name.as_str(), value) {
            // RFC 1870 section 3: 1 to 20 digits. What does not fit in 64 bits is larger than any limit.
            ("SIZE", Some(digits)) if is_number(digits) => parameters.size = Some(digits.parse().unwrap_or(u64::MAX)),
            ("SIZE", _) => return Err(malformed("SIZE wants a number of bytes: SIZE=1024")),
            ("BODY", value) => parameters.body = Some(body(value)?),
            ("SMTPUTF8", None) => parameters.smtputf8 = true,
            ("SMTPUTF8", Some(_)) => return Err(malformed("SMTPUTF8 takes no value")),
            ("RET", value) if dsn => parameters.ret = Some(ret(value)?),
            ("ENVID", value) if dsn => parameters.envid = Some(envid(value)?),
            _ if dsn => return Err(not_known("MAIL", "SIZE, BODY, SMTPUTF8, RET, ENVID")),
            _ => return Err(not_known("MAIL", "SIZE, BODY, SMTPUTF8")),
        }
    }
    Ok(parameters)
}

/// The NOTIFY and ORCPT of RCPT. Without `dsn` neither is known.
///
/// # Errors
/// As of [`of_mail`].
pub(super) fn of_rcpt(text: &str, dsn: bool) -> Result<(Option<String>, Option<String>), Reply> {
    let (mut notify_value, mut orcpt_value) = (None, None);
    for (name, value) in each(text)? {
        match name.as_str() {
            "NOTIFY" if dsn => notify_value = Some(notify(value)?),
            "ORCPT" if dsn => orcpt_value = Some(orcpt(value)?),
            _ if dsn => return Err(not_known("RCPT", "NOTIFY, ORCPT")),
            _ => return Err(Reply::new(555, (5, 5, 4), "RCPT parameter not recognized; none is known")),
        }
    }
    Ok((notify_value, orcpt_value))
}

/// Whether `text` is 1 to 20 digits.
pub(super) fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The names, in upper case, and values.
fn each(text: &str) -> Result<Vec<(String, Option<&str>)>, Reply> {
    let mut all: Vec<(String, Option<&str>)> = Vec::new();
    for word in text.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let name = name.to_ascii_uppercase();
        if all.iter().any(|(seen, _)| *seen == name) {
            return Err(malformed(format!("parameter {name} is given twice")));
        }
        all.push((name, value));
    }
    Ok(all)
}

fn body(value: Option<&str>) -> Result<Body, Reply> {
    match value.map(str::to_ascii_uppercase).as_deref() {
        Some("7BIT") => Ok(Body::SevenBit),
        Some("8BITMIME") => Ok(Body::EightBitMime),
        _ => Err(malformed("BODY is 7BIT or 8BITMIME")),
    }
}

fn ret(value: Option<&str>) -> Result<Ret, Reply> {
    match value.map(str::to_ascii_uppercase).as_deref() {
        Some("FULL") => Ok(Ret::Full),
        Some("HDRS") => Ok(Ret::Hdrs),
        _ => Err(malformed("RET is FULL or HDRS")),
    }
}

fn envid(value: Option<&str>) -> Result<String, Reply> {
    let value = value.unwrap_or_default();
    match decode_xtext(value) {
        Some(decoded) if (1..=ENVID_MAX_CHARS).contains(&decoded.len()) && is_printable(&decoded) => {
            Ok(value.to_owned())
        }
        _ => Err(malformed("ENVID is 1 to 100 printable ASCII characters, as xtext (RFC 3461 section 4)")),
    }
}

/// RFC 3461 section 4.1: NEVER alone, or others, each once.
fn notify(value: Option<&str>) -> Result<String, Reply> {
    let value = value.unwrap_or_default().to_ascii_uppercase();
    let mut words: Vec<_> = value.split(',').collect();
    let is_known = value == "NEVER" || words.iter().all(|word| matches!(*word, "SUCCESS" | "FAILURE" | "DELAY"));
    let count = words.len();
    words.sort_unstable();
    words.dedup();
    if is_known && words.len() == count {
        Ok(value)
    } else {
        Err(malformed("NOTIFY is NEVER, or SUCCESS, FAILURE, DELAY with commas between, each once"))
    }
}

/// RFC 3461 section 4.2: `addr-type ";" xtext`; of type `utf-8` the address may be written in UTF-8 (RFC 6533 section 3).
/// Postfix (3.7) sends an address in UTF-8 as xtext of type `rfc822`, and returns the mail to its sender where we refuse.
fn orcpt(value: Option<&str>) -> Result<String, Reply> {
    let value = value.unwrap_or_default();
    let is_good = value.len() <= ORCPT_MAX_CHARS
        && value.split_once(';').is_some_and(|(kind, address)| match kind.to_ascii_lowercase().as_str() {
            "utf-8" => is_text(address),
            _ => is_address_type(kind) && decode_xtext(address).is_some_and(|text| is_text(&text)),
        });
    if is_good {
        Ok(value.to_owned())
    } else {
        Err(malformed("ORCPT is a type, a semicolon and an address as xtext: ORCPT=rfc822;user@example.com"))
    }
}

/// RFC 3461 section 4.2 `addr-type`, an `atom` of RFC 5322.
fn is_address_type(kind: &str) -> bool {
    !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_control())
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' '..=b'~'))
}

fn malformed(text: impl Into<std::borrow::Cow<'static, str>>) -> Reply {
    Reply::new(501, (5, 5, 4), text)
}

fn not_known(verb: &str, known: &str) -> Reply {
    Reply::new(555, (5, 5, 4), format!("{verb} parameter not recognized; known are {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mail_says_is_read() {
        let said = of_mail("size=10 body=8bitmime SMTPUTF8 ret=hdrs ENVID=QQ314+2B159", true).unwrap();
        let expected = MailParameters {
            size: Some(10),
            body: Some(Body::EightBitMime),
            smtputf8: true,
            ret: Some(Ret::Hdrs),
            envid: Some("QQ314+2B159".to_owned()),
        };
        assert_eq!(said, expected);
        assert_eq!(of_mail("BODY=7BIT RET=FULL", true).unwrap().ret, Some(Ret::Full));
        assert_eq!(of_mail("", false), Ok(MailParameters::default()));
    }

    #[test]
    fn what_rcpt_says_is_read() {
        let said = of_rcpt("notify=success,Delay ORCPT=rfc822;Bob+2Bx@Example.com", true).unwrap();
        assert_eq!(said, (Some("SUCCESS,DELAY".to_owned()), Some("rfc822;Bob+2Bx@Example.com".to_owned())));
        assert_eq!(of_rcpt("NOTIFY=NEVER", true).unwrap().0.as_deref(), Some("NEVER"));
        for orcpt in ["utf-8;üser@example.com", "rfc822;+C3+BCser@example.com"] {
            assert!(of_rcpt(&format!("ORCPT={orcpt}"), true).is_ok(), "{orcpt}");
        }
        assert_eq!(of_rcpt("", false), Ok((None, None)));
    }

    #[test]
    fn what_is_malformed_is_named() {
        let long = format!("ENVID={}", "x".repeat(101));
        for (text, named) in [
            ("SIZE", "SIZE"),
            ("SIZE=x", "SIZE"),
            ("SIZE=+5", "SIZE"),
            ("SIZE=1 size=2", "SIZE is given twice"),
            ("BODY", "BODY"),
            ("BODY=BINARYMIME", "BODY"),
            ("SMTPUTF8=1", "SMTPUTF8"),
            ("RET", "RET"),
            ("RET=BODY", "RET"),
            ("ENVID=", "ENVID"),
            ("ENVID=a+0Ab", "ENVID"),
            ("ENVID=a=b", "ENVID"),
            (&long, "ENVID"),
        ] {
            let reply = of_mail(text, true).unwrap_err();
            assert_eq!((reply.code, reply.enhanced), (501, Some((5, 5, 4))), "{text}");
            assert!(reply.text.contains(named), "{text}: {reply}");
        }
        let long = format!("ORCPT=rfc822;{}", "x".repeat(500));
        for (text, named) in [
            ("NOTIFY", "NOTIFY"),
            ("NOTIFY=", "NOTIFY"),
            ("NOTIFY=NEVER,DELAY", "NOTIFY"),
            ("NOTIFY=DELAY,DELAY", "NOTIFY"),
            ("NOTIFY=DELAY,", "NOTIFY"),
            ("ORCPT=user@example.com", "ORCPT"),
            ("ORCPT=;user@example.com", "ORCPT"),
            ("ORCPT=rfc822;", "ORCPT"),
            ("ORCPT=rfc822;a+zz", "ORCPT"),
            ("ORCPT=rfc822;ü", "ORCPT"),
            ("ORCPT=rfc822;a ORCPT=rfc822;b", "ORCPT is given twice"),
            (&long, "ORCPT"),
        ] {
            let reply = of_rcpt(text, true).unwrap_err();
            assert_eq!((reply.code, reply.enhanced), (501, Some((5, 5, 4))), "{text}");
            assert!(reply.text.contains(named), "{text}: {reply}");
        }
    }

    #[test]
    fn what_is_not_known_is_told_with_what_is() {
        for (reply, known) in [
            (of_mail("FOO=1", true).unwrap_err(), "RET"),
            (of_mail("AUTH=<>", true).unwrap_err(), "SIZE"),
            (of_mail("RET=FULL", false).unwrap_err(), "SIZE"),
            (of_rcpt("FOO", true).unwrap_err(), "NOTIFY"),
            (of_rcpt("NOTIFY=NEVER", false).unwrap_err(), "none"),
        ] {
            assert_eq!((reply.code, reply.enhanced), (555, Some((5, 5, 4))));
            assert!(reply.text.contains(known), "{reply}");
        }
    }
}
