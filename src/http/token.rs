//! Tokens: each opens one mailbox for a while, and nothing else.
//!
//! A token says what it opens, and is signed with a secret that comes of an API key. So nothing is kept of it: every server
//! with that key takes it, and none does when the key is gone.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key::ApiKey;

/// How a token begins, so that it is known for one wherever it turns up.
const PREFIX: &str = "restante_";
/// What is signed, in this order: the version, until when it opens (seconds since 1970), the name of the mailbox.
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 8;
const TAG_BYTES: usize = 32;
/// Who has a token can try keys against it, and nobody counts that. So a try takes a while, for a key that is less random than
/// it should be.
const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not zero");
/// Tells this use of a key from any other (RFC 8018 section 4.1).
const SALT: &[u8] = b"restante: tokens of one mailbox, version 1";

/// What a token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// The name of the mailbox.
    pub(super) mailbox: String,
    /// From when on it opens nothing any more, in seconds since 1970.
    pub(super) expires_at: u64,
}

impl Grant {
    /// How long it still opens, at this second.
    pub(super) const fn left(&self, now: u64) -> Duration {
        Duration::from_secs(self.expires_at.saturating_sub(now))
    }
}

/// Signs tokens of one API key. It takes a while to make.
pub(super) struct Signer(hmac::Key);

impl Signer {
    pub(super) fn new(key: &ApiKey) -> Self {
        let mut secret = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, SALT, key.digest(), &mut secret);
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    /// The token for a grant.
    pub(super) fn sign(&self, grant: &Grant) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&grant.expires_at.to_be_bytes());
        bytes.extend_from_slice(grant.mailbox.as_bytes());
        let tag = hmac::sign(&self.0, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What the bytes of a token grant; `None` if they are not signed by this key. The comparison takes the same time wherever
    /// they differ.
    pub(super) fn read(&self, Unproven(bytes): &Unproven) -> Option<Grant> {
        let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG_BYTES)?)?;
        hmac::verify(&self.0, said, tag).ok()?;
        let (head, mailbox) = said.split_at_checked(HEAD_BYTES)?;
        let (version, expires_at) = head.split_first()?;
        let expires_at = u64::from_be_bytes(expires_at.try_into().ok()?);
        let mailbox = str::from_utf8(mailbox).ok()?.to_owned();
        (*version == VERSION).then_some(Grant { mailbox, expires_at })
    }
}

/// The bytes of what looks like a token; nobody knows yet who has signed it.
pub(super) struct Unproven(Vec<u8>);

impl Unproven {
    /// `None` where `presented` does not even look like a token: it begins like one, and is as long as the shortest.
    pub(super) fn of(presented: &[u8]) -> Option<Self> {
        let encoded = presented.strip_prefix(PREFIX.as_bytes())?;
        URL_SAFE_NO_PAD.decode(encoded).ok().filter(|bytes| bytes.len() > HEAD_BYTES + TAG_BYTES).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static SIGNERS: LazyLock<[Signer; 2]> =
        LazyLock::new(|| ["the-key", "another-key"].map(|key| Signer::new(&key.parse().unwrap())));

    fn grant(mailbox: &str) -> Grant {
        Grant { mailbox: mailbox.to_owned(), expires_at: 1_800_000_000 }
    }

    fn read(signer: &Signer, token: &[u8]) -> Option<Grant> {
        signer.read(&Unproven::of(token)?)
    }

    #[test]
    fn a_token_says_what_it_opens_to_the_key_that_made_it_alone() {
        let [signer, other] = &*SIGNERS;
        for mailbox in ["user", "a@example.com", "пример", &"x".repeat(128)] {
            let token = signer.sign(&grant(mailbox));
            assert_eq!(read(signer, token.as_bytes()), Some(grant(mailbox)));
            assert_eq!(read(other, token.as_bytes()), None);
            assert!(token.len() <= 256 && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
        }
        // The same on every server, and after every restart.
        let again = Signer::new(&"the-key".parse().unwrap());
        assert_eq!(again.sign(&grant("user")), signer.sign(&grant("user")));
    }

    #[test]
    fn what_is_no_token_grants_nothing() {
        let [signer, _] = &*SIGNERS;
        for text in ["", "restante_", "restante_AA", "restante_====", "the-key", "restante_ä"] {
            assert_eq!(read(signer, text.as_bytes()), None, "{text}");
        }
        // Signed, but by another version of the program, or cut short.
        for said in [&[2, 0, 0, 0, 0, 0, 0, 0, 1, b'u'][..], &[1, 0, 0], &[]] {
            let signed = [said, hmac::sign(&signer.0, said).as_ref()].concat();
            assert_eq!(signer.read(&Unproven(signed)), None, "{said:?}");
        }
    }

    #[test]
    fn no_bit_of_a_token_can_be_changed() {
        let [signer, _] = &*SIGNERS;
        let token = signer.sign(&grant("user@example.com")).into_bytes();
        for bit in 0..token.len() * 8 {
            let mut forged = token.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(signer, &forged), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_nobody_has_signed_grants_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
            prop_assert_eq!(read(&SIGNERS[0], token.as_bytes()), None);
            prop_assert_eq!(read(&SIGNERS[0], &bytes), None);
        }

        #[test]
        fn a_token_with_something_cut_off_or_put_on_grants_nothing(mailbox in "[a-z]{1,20}", end in 0..200_usize, more in "[A-Za-z0-9_-]{0,8}") {
            let token = SIGNERS[0].sign(&grant(&mailbox));
            let forged = token[..end.min(token.len())].to_owned() + &more;
            prop_assert_eq!(read(&SIGNERS[0], forged.as_bytes()).is_some(), forged == token);
        }
    }
}
