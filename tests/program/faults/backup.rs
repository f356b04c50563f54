//! Copies of mail in use, made and restored as docs/OPERATING.md says: of a data directory, and of a Redis.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::load::{Account, Load, SETTINGS};
use super::reader::Reader;
use super::redis::node;
use crate::process::Restante;
use crate::programs::{program, run};
use crate::redis::Redis;

/// The blocks of commands in the chapter on backups, in their order.
struct Chapter {
    directory: String,
    snapshot: String,
    append_only: String,
    restore_snapshot: String,
}

impl Chapter {
    fn read() -> Self {
        let operating = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/OPERATING.md");
        let operating = fs::read_to_string(operating).unwrap();
        let chapter = operating.split("\n## ").find(|chapter| chapter.starts_with("Backup")).unwrap();
        let blocks = chapter.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap());
        let commands = blocks.map(|block| block.lines().map(|line| line.strip_prefix("$ ").unwrap().to_owned() + "\n"));
        let commands: Vec<String> = commands.map(Iterator::collect).collect();
        let [directory, snapshot, append_only, restore_snapshot] = commands.try_into().unwrap();
        Self { directory, snapshot, append_only, restore_snapshot }
    }
}

fn shell(commands: &str, dir: &Path) {
    run(program("sh").args(["-eu", "-c", commands]).current_dir(dir), b"").ok();
}

/// The same where `redis-cli` means this server.
fn shell_at(redis: &Redis, commands: &str, dir: &Path) {
    let port = redis.addr().port();
    let this = format!("alias redis-cli='redis-cli -p {port}'");
    // Nothing that was started is left running, however it ends.
    let end = "trap 'redis-cli SHUTDOWN NOSAVE >/dev/null 2>&1 || true; wait' EXIT";
    let end = if commands.contains("redis-server") { end } else { "" };
    shell(&format!("{this}\n{end}\n{commands}"), dir);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_copy_of_a_directory_in_use_has_all_mail_that_was_acknowledged_before_it() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &SETTINGS);
    let account = Account::default();
    let load = Load::start(&[&server], 0, &account);
    load.wait_for(40);
    let settled = account.settled();
    shell(&Chapter::read().directory, dir.path());
    load.wait_for(10);
    load.stop();
    account.verify(&Reader::of(&server));

    // The copy in another place, beside the one that still runs.
    let other = TempDir::new().unwrap();
    copy(&dir.path().join("copy"), &other.path().join("data"));
    let copy = Restante::start(other.path(), &SETTINGS);
    assert_eq!(copy.key, server.key);
    settled.verify(&Reader::of(&copy));
}

#[test]
fn a_redis_in_use_is_restored_from_a_snapshot_and_from_its_files() {
    let (chapter, dir) = (Chapter::read(), TempDir::new().unwrap());
    let redis = Redis::start_with(&["repl-diskless-sync-delay 0"]);
    let (server, _dir) = node(&redis.url());
    let account = Account::default();
    let load = Load::start(&[&server], 0, &account);
    load.wait_for(30);
    let settled = account.settled();
    shell_at(&redis, &chapter.snapshot, dir.path());
    shell_at(&redis, &chapter.append_only, dir.path());
    load.wait_for(10);
    load.stop();
    drop((server, redis));

    let mut from_snapshot = stopped();
    copy(&dir.path().join("dump.rdb"), from_snapshot.dir());
    shell_at(&from_snapshot, &chapter.restore_snapshot, from_snapshot.dir());
    let mut from_files = stopped();
    copy(&dir.path().join("copy"), &from_files.dir().join("appendonlydir"));
    for restored in [&mut from_snapshot, &mut from_files] {
        restored.restart();
        let (server, _dir) = node(&restored.url());
        settled.verify(&Reader::of(&server));
        assert_eq!(account.send(&server, "after"), Ok(()));
    }
}

/// A Redis that is stopped, with nothing in its directory but its configuration.
fn stopped() -> Redis {
    let mut redis = Redis::start();
    redis.kill();
    fs::remove_dir_all(redis.dir().join("appendonlydir")).unwrap();
    redis
}
