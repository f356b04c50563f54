//! What a session says in more than one place.

use super::reply::Reply;

/// RFC 5321 section 4.1.4.
pub(super) fn out_of_order(text: &'static str) -> Reply {
    Reply::new(503, (5, 5, 1), text)
}

/// RFC 3030 section 2.
pub(super) fn in_chunks() -> Reply {
    out_of_order("the message is coming in chunks; go on with BDAT, or RSET to give it up")
}

pub(super) fn recipient_ok() -> Reply {
    Reply::new(250, (2, 1, 5), "recipient ok")
}

/// RFC 6531 section 3.5.
pub(super) fn needs_smtputf8() -> Reply {
    Reply::new(553, (5, 6, 7), "address is not ASCII; MAIL needs the SMTPUTF8 parameter")
}

/// RFC 3207 section 4.
pub(super) fn tls_first() -> Reply {
    Reply::new(530, (5, 7, 0), "mail is taken over TLS only here; send STARTTLS first")
}
