//! The soak of `scripts/soak`, in short: every client a few times. The long one is for people.

use std::path::Path;

use crate::programs::{program, run};

#[test]
fn good_mail_is_kept_whatever_hostile_clients_do_meanwhile() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/soak");
    let mut soak = program("python3");
    soak.arg(script).args(["--program", env!("CARGO_BIN_EXE_restante"), "--short"]);
    let said = run(&mut soak, b"").ok();
    assert!(said.contains("sent 40, acknowledged 40, found 40\n"), "{said}");
    for (client, answer) in [
        ("announced too large", "552"),
        ("dribbles", "421"),
        ("says nothing", "421"),
        ("speaks http", "521"),
        ("guesses", "421"),
        ("talks early", "221"),
        ("closes its half", "cut off"),
    ] {
        assert!(said.contains(&format!("{client}: {answer} 1x")), "{client} is not answered {answer}:\n{said}");
    }
}
