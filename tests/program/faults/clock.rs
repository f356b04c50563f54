//! A clock that jumps: by days, ahead and back, while the program runs.

use std::fs;

use tempfile::TempDir;

use super::load::{Account, SETTINGS};
use super::reader::Reader;
use crate::process::Restante;
use crate::programs::bent_clock;

#[test]
fn a_clock_that_jumps_by_days_loses_no_mail_and_stops_nothing() {
    let dir = TempDir::new().unwrap();
    let clock = dir.path().join("clock");
    let jump = |to: &str| fs::write(&clock, to).unwrap();
    jump("+0");
    let bent = [
        ("LD_PRELOAD", bent_clock()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // The time that passes is not what jumps.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let bent = bent.each_ref().map(|(name, value)| (*name, value.as_str()));
    let settings = [&SETTINGS[..], &bent].concat();
    let server = Restante::start(dir.path(), &settings);
    let (reader, account) = (Reader::of(&server), Account::default());
    let send = |name: &str| account.send(&server, name).unwrap();
    let subjects = |mailbox: &str| -> Vec<String> {
        reader.all(mailbox).iter().map(|mail| mail["subject"].as_str().unwrap().to_owned()).collect()
    };
    send("now");
    jump("+3d");
    send("ahead");
    assert_eq!((subjects("now-0"), subjects("ahead-0")), (vec![], vec!["ahead".to_owned()]));
    jump("-3d");
    send("behind");
    account.verify(&reader);
    jump("+0");
    send("again");
    assert_eq!(subjects("behind-0"), [""; 0], "its day is over");
    jump("-3d");
    account.verify(&reader);
    server.kill();
    account.verify(&Reader::of(&Restante::start(dir.path(), &settings)));
}
