//! The mail server that the scripted dialogues talk to: its settings, and what its backend takes and refuses.

use restante::mail::{Address, Domain};
use restante::smtp::{BareLf, Reply, SessionSettings};

/// Small limits, so that a script can reach each of them in a few lines.
pub(crate) fn session_settings() -> SessionSettings {
    SessionSettings {
        hostname: "mx.example.com".to_owned(),
        max_command_bytes: 1_000,
        max_message_bytes: 10_000,
        max_recipients: 10,
        max_text_line_bytes: 0,
        max_errors: 20,
        max_noops: 50,
        bare_lf: BareLf::Reject,
        require_tls: false,
        dsn: true,
    }
}

/// Senders whose local-part is `slow` have to wait.
pub(crate) fn may_send(from: Option<&Address>) -> Result<(), Reply> {
    match from {
        Some(from) if from.local_part() == "slow" => Err(Reply::new(450, (4, 7, 1), "too many messages")),
        _ => Ok(()),
    }
}

/// Recipients at `foreign.example` are not ours.
pub(crate) fn may_receive(to: &Address) -> Result<(), Reply> {
    match to.domain() {
        Domain::Name(name) if name == "foreign.example" => Err(Reply::new(550, (5, 7, 1), "relaying denied")),
        _ => Ok(()),
    }
}

/// A message that says `store-is-full` finds the store full.
pub(crate) fn keep(raw: &[u8]) -> Result<Reply, Reply> {
    let full = b"store-is-full";
    if raw.windows(full.len()).any(|window| window == full) {
        return Err(Reply::new(452, (4, 3, 1), "mail system full"));
    }
    Ok(Reply::new(250, (2, 0, 0), "kept"))
}
