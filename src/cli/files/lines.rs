//! The ends of lines: CRLF on the wire, LF in the files of mail programs.

/// Whether every line ends with CRLF, and there is one: then LF can stand for it, and nothing is lost.
pub(super) fn is_crlf(raw: &[u8]) -> bool {
    let mut ends = memchr::memchr_iter(b'\n', raw).peekable();
    ends.peek().is_some() && ends.all(|at| at > 0 && raw[at - 1] == b'\r')
}

/// LF for CRLF.
pub(super) fn to_lf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for (at, &byte) in raw.iter().enumerate() {
        if byte != b'\r' || raw.get(at + 1) != Some(&b'\n') {
            out.push(byte);
        }
    }
    out
}

/// CRLF for LF.
pub(super) fn to_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    for &byte in bytes {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_may_be_written_with_lf_comes_back(raw in "[a\r\n]{0,12}") {
            if is_crlf(raw.as_bytes()) {
                prop_assert_eq!(to_crlf(&to_lf(raw.as_bytes())), raw.as_bytes());
            }
        }
    }

    #[test]
    fn a_bare_line_end_keeps_all_as_they_are() {
        for (raw, is) in
            [("", false), ("a", false), ("\r\n", true), ("a\r\nb\r", true), ("a\r\nb\n", false), ("\n", false)]
        {
            assert_eq!(is_crlf(raw.as_bytes()), is, "{raw:?}");
        }
    }
}
