//! 250 means kept: the program is killed in mid-load, again and again, and nothing that it acknowledged is gone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use super::load::{Account, Load, SETTINGS};
use super::reader::Reader;
use crate::process::Restante;

/// How often the program is killed.
const ROUNDS: usize = 20;

#[test]
fn what_was_acknowledged_is_there_after_a_kill_and_nothing_is_there_by_half() {
    let dir = TempDir::new().unwrap();
    let account = Account::default();
    for round in 0..ROUNDS {
        let server = Restante::start(dir.path(), &SETTINGS);
        let load = Load::start(&[&server], round, &account);
        // At another moment each time, from the first mails on.
        load.wait_for(1 + round * 17 % 40);
        server.kill();
        load.stop();
        if round % 2 == 1 {
            tear(dir.path());
        }
    }
    assert!(account.acknowledged() >= ROUNDS * 10, "{}", account.acknowledged());
    assert!(account.refusals().is_empty(), "{:?}", account.refusals());
    account.verify(&Reader::of(&Restante::start(dir.path(), &SETTINGS)));
}

/// Leaves half an entry at the end of each segment, as the end of a machine in mid-write does.
fn tear(dir: &Path) {
    for segment in dir.join("data/segments").read_dir().unwrap() {
        let path = segment.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let half = &bytes[..bytes.len().min(700)];
        OpenOptions::new().append(true).open(&path).unwrap().write_all(half).unwrap();
    }
}
