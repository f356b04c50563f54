//! A disk that is full, and one that takes nothing: mail stays with its sender, what was acknowledged can be read, and
//! all goes on by itself when the disk does.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::load::{Account, SETTINGS};
use super::reader::Reader;
use crate::process::Restante;
use crate::programs::until;
use crate::small_disk::SmallDisk;

/// How many mails in a row are refused before the disk is called full: a small one may find room where a large one did not.
const REFUSED_IN_A_ROW: usize = 10;

/// Sends mail until it is refused again and again, always with `reply`.
fn send_until_refused(server: &Restante, account: &Account, reply: &str) {
    let mut refused = 0;
    for number in 0.. {
        match account.send(server, &format!("fill-{number}")) {
            Ok(()) => refused = 0,
            Err(told) => {
                assert!(told.starts_with(reply), "{told}");
                refused += 1;
            }
        }
        if refused == REFUSED_IN_A_ROW {
            return;
        }
        assert!(number < 5000, "there is no end");
    }
}

fn a_full_disk_refuses_mail_and_takes_it_again(min_free: &str) {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let data = disk.path().join("data").display().to_string();
    let settings = [&SETTINGS[..], &[("DATA_DIR", data.as_str()), ("STORE_MIN_FREE", min_free)]].concat();
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &settings);
    let (reader, account) = (Reader::of(&server), Account::default());
    send_until_refused(&server, &account, "452 4.3.1 ");
    account.verify(&reader);
    assert_eq!(reader.status("/ready").0, 200, "its mail is there to be read");

    let filler = disk.fill();
    assert!(account.send(&server, "no-room").unwrap_err().starts_with("452 4.3.1 "));
    account.verify(&reader);
    fs::remove_file(filler).unwrap();

    // Where there is no room to note a deletion, it is refused, and that makes some.
    until("room by deletion", || {
        account.delete_all(&reader);
        account.send(&server, "fits-again").ok()
    });
    account.verify(&reader);
    server.kill();
    account.verify(&Reader::of(&Restante::start(dir.path(), &settings)));
}

#[test]
fn a_full_disk_loses_no_mail_and_takes_more_when_some_is_deleted() {
    a_full_disk_refuses_mail_and_takes_it_again("0B");
}

#[test]
fn a_disk_that_is_nearly_full_keeps_what_must_stay_free() {
    a_full_disk_refuses_mail_and_takes_it_again("12MiB");
}

#[test]
fn while_the_disk_takes_nothing_mail_stays_with_its_sender_and_then_all_goes_on_by_itself() {
    let dir = TempDir::new().unwrap();
    // What is too large is then an error, and not the end of the process.
    let server = Restante::start_behind("trap '' XFSZ", dir.path(), &SETTINGS);
    let (reader, account) = (Reader::of(&server), Account::default());
    assert_eq!(account.send(&server, "before"), Ok(()));
    account.verify(&reader);
    assert_eq!(reader.status("/ready").0, 200);

    limit_files(&server, "0:unlimited");
    let refusal = account.send(&server, "meanwhile").unwrap_err();
    assert!(refusal.starts_with("451 4.3.0 "), "{refusal}");
    // What was found within the last second may still be told.
    let retry_after = until("it is not ready", || {
        let (status, retry_after) = reader.status("/ready");
        (status == 503).then_some(retry_after)
    });
    assert!(retry_after.is_some());
    let (status, _) = reader.ask("DELETE", "/emails/before-0").unwrap();
    assert_eq!(status, 503);
    account.verify(&reader);

    limit_files(&server, "unlimited:unlimited");
    until("it is ready, though no mail has come yet", || (reader.status("/ready").0 == 200).then_some(()));
    assert_eq!(account.send(&server, "after"), Ok(()));
    account.verify(&reader);
    server.kill();
    account.verify(&Reader::of(&Restante::start(dir.path(), &SETTINGS)));
}

/// Sets how long the files of a running server may be.
fn limit_files(server: &Restante, limit: &str) {
    let mut prlimit = Command::new("prlimit");
    let status = prlimit.args(["--pid", &server.pid().to_string(), &format!("--fsize={limit}")]).status();
    assert!(status.expect("prlimit is not installed").success());
}
