//! A copy of the data directory of a server that runs, made as docs/OPERATING.md says.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::load::{Account, Load, SETTINGS};
use super::reader::Reader;
use crate::process::Restante;
use crate::programs::{program, run};

/// The commands of the chapter on backups that copy a directory.
fn commands() -> String {
    let operating = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md");
    let chapter = fs::read_to_string(operating).unwrap().split("## Backup").nth(1).unwrap().to_owned();
    let block = chapter.split("```console\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    block.lines().map(|line| format!("{}\n", line.strip_prefix("$ ").unwrap())).collect()
}

#[test]
fn a_copy_of_a_directory_in_use_has_all_mail_that_was_acknowledged_before_it() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &SETTINGS);
    let account = Account::default();
    let load = Load::start(&[&server], 0, &account);
    load.wait_for(40);
    let settled = account.settled();
    run(program("sh").args(["-eu", "-c", &commands()]).current_dir(dir.path()), b"").ok();
    load.wait_for(10);
    load.stop();
    account.verify(&Reader::of(&server));

    // The copy in another place, beside the one that still runs.
    let other = TempDir::new().unwrap();
    let moved = Command::new("mv").arg(dir.path().join("copy")).arg(other.path().join("data")).status().unwrap();
    assert!(moved.success());
    let copy = Restante::start(other.path(), &SETTINGS);
    assert_eq!(copy.key, server.key);
    settled.verify(&Reader::of(&copy));
}
