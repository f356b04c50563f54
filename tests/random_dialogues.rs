//! Random conversations with the pure session: it never panics, never takes a message that nobody asked for (the player
//! checks this at each delivery), and says the same however the input is cut.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use restante::smtp::{BareLf, SessionSettings};

use crate::dialogue::session_settings;
use crate::play::Player;

#[path = "support/dialogue.rs"]
mod dialogue;
#[path = "support/play.rs"]
mod play;

/// Commands, good and bad, with and without their line ends; most of the time a conversation gets somewhere.
const COMMANDS: &[&str] = &[
    "EHLO c.example\r\n",
    "HELO c.example\r\n",
    "EHLO\r\n",
    "MAIL FROM:<a@s.example>\r\n",
    "MAIL FROM:<>\r\n",
    "MAIL FROM:<slow@s.example>\r\n",
    "MAIL FROM:<a@s.example> SIZE=60\r\n",
    "MAIL FROM:<a@s.example> SMTPUTF8\r\n",
    "MAIL FROM:<a@s.example> RET=HDRS ENVID=e\r\n",
    "RCPT TO:<u@example.com>\r\n",
    "RCPT TO:<v@example.com> NOTIFY=NEVER ORCPT=rfc822;v\r\n",
    "RCPT TO:<\"u v\"@example.com>\r\n",
    "RCPT TO:<ü@example.com>\r\n",
    "RCPT TO:<u@foreign.example>\r\n",
    "RCPT TO:<postmaster>\r\n",
    "DATA\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT 3\r\n",
    "BDAT 7 LAST\r\n",
    "BDAT 100\r\n",
    "BDAT x\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "STARTTLS x\r\n",
    "AUTH PLAIN\r\n",
    "\r\n",
    "NOOP 0123456789012345678901234567890123456789\r",
    "NOOP 0123456789012345678901234567890123456789RSET\r\n",
];

/// What ends a conversation.
const ENDS: &[&str] = &["QUIT\r\n", "STARTTLS\r\n", "NOOP\n"];

/// All that comes before a message, and before it a way out of what was left open.
const MAIL: &str = "EHLO c.example\r\nRSET\r\nMAIL FROM:<a@s.example>\r\nRCPT TO:<u@example.com>\r\n";

/// Pieces of messages, and everything that could be mistaken for the end of one.
const TEXT: &[&str] = &[
    "text\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "..\r\n",
    ".stuffed\r\n",
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r\n.\r",
    "\r\n.\r\r\n",
    "\r",
    "\n",
    ".",
    "\0",
    "store-is-full\r\n",
    "a line that is a good deal longer than a command line may be\r\n",
];

fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let fixed = |texts: &'static [&'static str]| select(texts).prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![
        12 => fixed(COMMANDS),
        6 => in_data(),
        6 => in_chunks(),
        3 => Just(MAIL.as_bytes().to_vec()),
        2 => fixed(TEXT),
        1 => fixed(ENDS),
        1 => proptest::collection::vec(any::<u8>(), 0..8),
    ]
}

/// A mail by DATA; some of them end sooner or later than one would think.
fn in_data() -> impl Strategy<Value = Vec<u8>> {
    let text = proptest::collection::vec(select(TEXT), 0..5);
    text.prop_map(|text| [MAIL, "DATA\r\n", &text.concat(), "\r\n.\r\n"].concat().into_bytes())
}

/// A mail by BDAT.
fn in_chunks() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(select(TEXT), 1..4).prop_map(|chunks| {
        let chunks = chunks.iter().map(|chunk| format!("BDAT {}\r\n{chunk}", chunk.len()));
        [MAIL, &chunks.collect::<String>(), "BDAT 0 LAST\r\n"].concat().into_bytes()
    })
}

fn settings(bare_lf: BareLf) -> Arc<SessionSettings> {
    Arc::new(SessionSettings {
        max_command_bytes: 40,
        max_message_bytes: 50,
        max_recipients: 2,
        max_errors: 12,
        bare_lf,
        ..session_settings()
    })
}

/// Everything that came out, in a form that can be compared. Before `second` comes the TLS handshake, if `first` has
/// asked for it.
fn played<'a>(
    bare_lf: BareLf,
    first: impl IntoIterator<Item = &'a [u8]>,
    second: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<String>, Vec<String>) {
    let mut player = Player::new(&settings(bare_lf), true);
    first.into_iter().for_each(|piece| player.feed(piece));
    if player.transcript.last().is_some_and(|line| line == "[tls]") {
        player.handshake();
    }
    second.into_iter().for_each(|piece| player.feed(piece));
    (player.transcript, player.delivered.iter().map(|delivery| format!("{delivery:?}")).collect())
}

/// Cuts `input` at random places.
fn cut<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).chain([0, input.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(4_000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_conversation_does_not_depend_on_how_it_is_cut(
        first in proptest::collection::vec(fragment(), 0..20),
        second in proptest::collection::vec(fragment(), 0..10),
        cuts in proptest::collection::vec(any::<Index>(), 0..20),
        keep in any::<bool>(),
    ) {
        let bare_lf = if keep { BareLf::Keep } else { BareLf::Reject };
        let (first, second) = (first.concat(), second.concat());
        let whole = played(bare_lf, [&first[..]], [&second[..]]);
        prop_assert_eq!(&played(bare_lf, first.chunks(1), second.chunks(1)), &whole);
        prop_assert_eq!(&played(bare_lf, cut(&first, &cuts), cut(&second, &cuts)), &whole);
    }
}

/// The conversations above are worth something only if many of them get somewhere.
#[test]
fn random_conversations_deliver_mail() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let conversations = proptest::collection::vec(fragment(), 25);
    let delivered = (0..200).map(|_| {
        let fragments = conversations.new_tree(&mut runner).unwrap().current();
        played(BareLf::Keep, fragments.iter().map(Vec::as_slice), []).1.len()
    });
    let delivered: Vec<usize> = delivered.collect();
    let some = delivered.iter().filter(|&&count| count > 0).count();
    assert!(some > 50, "only {some} of 200 conversations delivered a message");
}
