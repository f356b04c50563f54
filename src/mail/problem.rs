//! What can be wrong with a message, each with an id that scripts may rely on.

/// Writes the enum, its list, its ids and its texts from one table.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident $id:literal $text:literal)*) => {
        /// What can be wrong with a message or with one of its parts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Problem {
            $(#[doc = concat!("The message, or the part, ", $text, ".")] $name,)*
        }

        impl Problem {
            /// All of them, in the order in which they are documented.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name for scripts. It never changes.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id),* }
            }

            /// What it says of the message or of the part, as the end of a sentence. It may be worded anew.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

problems! {
    // The message as a whole.
    EmptyMessage "empty-message" "is empty"
    Unreadable "unreadable" "could not be parsed; only its raw bytes are kept"
    NoHeader "no-header" "has no header"
    MissingDate "missing-date" "has no Date"
    BadDate "bad-date" "has a Date that cannot be read"
    MissingFrom "missing-from" "has no From"
    MissingMessageId "missing-message-id" "has no Message-ID"
    MissingMimeVersion "missing-mime-version" "has MIME fields but no MIME-Version"
    DuplicateHeader "duplicate-header" "has a field twice that may be there once; the first one counts"
    LongLine "long-line" "has a line of more than 998 bytes"
    BareLineEnd "bare-line-end" "has a CR or an LF that stands alone"
    Nul "nul" "has NUL bytes"
    // Headers.
    UnendedHeader "unended-header" "has a header that does not end with an empty line"
    BadHeaderLine "bad-header-line" "has a line in its header that is no field; it was left out"
    Utf8Header "utf8-header" "has UTF-8 in its header, which only mail sent with SMTPUTF8 may have"
    EightBitHeader "8bit-header" "has bytes in its header that are neither ASCII nor UTF-8; their charset was guessed"
    BadEncodedWord "bad-encoded-word" "has an encoded word in its header that cannot be decoded as it says"
    BadAddress "bad-address" "has an entry in an address field that is no address; a comma in a name needs quotes"
    BadContentType "bad-content-type" "has a Content-Type that cannot be read; it was taken for text/plain"
    // The structure.
    MissingBoundary "missing-boundary" "is a multipart that names no boundary"
    NoParts "no-parts" "is a multipart without parts"
    UnclosedMultipart "unclosed-multipart" "is a multipart without its closing boundary"
    EncodedMultipart "encoded-multipart" "is a multipart with a transfer encoding, which was not taken off"
    // Bodies and attachments.
    UnknownEncoding "unknown-encoding" "has a transfer encoding that is not known; its bytes were left as they are"
    BadBase64 "bad-base64" "has bad base64; what could be decoded was"
    NotBase64 "not-base64" "is not the base64 that its header announces; its bytes were left as they are"
    BadQuotedPrintable "bad-quoted-printable" "has quoted-printable sequences that cannot be decoded; they were left as they are"
    BadUuencode "bad-uuencode" "has bad uuencoded lines; what could be decoded was"
    Undeclared8Bit "undeclared-8bit" "has 8-bit bytes but is announced as 7bit"
    UndeclaredCharset "undeclared-charset" "names no charset for a text that is neither ASCII nor UTF-8; it was guessed"
    UnknownCharset "unknown-charset" "is in a charset that is not known; it was read as UTF-8 where it could be"
    WrongCharset "wrong-charset" "has bytes that its charset does not have; they were replaced"
    PartialMessage "partial-message" "is a fragment (message/partial); the fragments are not put together"
    ExternalBody "external-body" "is only a reference to a body elsewhere (message/external-body)"
    Tnef "tnef" "is a TNEF container (winmail.dat); what is inside was not taken out"
    // Limits.
    LargeHeader "large-header" "has a header over the limit of bytes; not all of its fields were read"
    ManyHeaders "many-headers" "has more header fields than the limit; not all of them were read"
    ManyEncodedWords "many-encoded-words" "has more encoded words than the limit; the others were not decoded"
    ManyAddresses "many-addresses" "has more addresses or ids in a field than the limit; the others were left out"
    ManyParts "many-parts" "has more parts than the limit; the rest is only in the raw bytes"
    DeepParts "deep-parts" "is nested deeper than the limit; it is kept as one attachment"
    LargeText "large-text" "has more text than the limit; the rest is only in the raw bytes"
    LongValue "long-value" "has a file name or an id over the limit of bytes; it was cut"
    ManyProblems "many-problems" "has more problems than are listed"
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_problem_has_an_id_of_its_own() {
        let ids: HashSet<_> = Problem::ALL.iter().map(|problem| problem.id()).collect();
        assert_eq!(ids.len(), Problem::ALL.len());
        for id in ids {
            assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{id}");
        }
    }
}
