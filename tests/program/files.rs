//! Mail moved between stores and files, by `restante export` and `restante import`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::api::path_of;
use crate::dialogue::Client;
use crate::process::{Restante, command};
use crate::programs::{Ended, bent_clock, file, fixture, program, run, wait};
use crate::redis::Redis;

const FORMATS: [&str; 3] = ["eml", "maildir", "mbox"];

/// What is hard to keep: quotes and separators of mbox files, bytes that are no text, any end of a line, and none.
const HOSTILE: [&[u8]; 8] = [
    b"Subject: plain\r\n\r\nHello\r\n",
    b"Subject: from\r\n\r\nFrom me\r\n>From you\r\n>>From all\r\n\r\nFrom a@b Fri Jan  2 03:04:05 2026\r\n\r\n",
    b"Subject: no end\r\n\r\nFrom the last line",
    b"Subject: bare\r\n\r\na\nb\rc\r\r\nd\n\nFrom x\n",
    b"Subject: nul\r\n\r\n\0\xff\xfe\r\n\0",
    b"X-Restante: {\"restante\":1}\r\nSubject: record\r\n\r\n",
    b"From nobody Fri Jan  2 03:04:05 2026\r\nSubject: separator\r\n\r\nx\r\n\r\n\r\n",
    b"\r",
];

fn restante(dir: &Path, arguments: &[&str]) -> Ended {
    run(command(dir, &[]).args(arguments), b"")
}

/// A server with hostile mail in three mailboxes, and what its API says of it.
fn filled(dir: &Path) -> Vec<(Value, Vec<u8>)> {
    let server = Restante::start(dir, &[("BARE_LF", "keep")]);
    let mut client = Client::connect(server.smtp);
    client.ehlo();
    for (raw, from) in HOSTILE.iter().zip(["a@example.org", ""].iter().cycle()) {
        assert!(client.say(&format!("MAIL FROM:<{from}> BODY=8BITMIME ENVID=x+2B")).starts_with("250"));
        // The last two lead to the same mailbox.
        let others = ["<\"../a b\"@example.com> NOTIFY=NEVER", "<\"../A b\"@example.com> ORCPT=rfc822;x"];
        for to in ["<user@example.com>"].iter().chain(&others) {
            assert!(client.say(&format!("RCPT TO:{to}")).starts_with("250"), "{to}");
        }
        client.send(format!("BDAT {} LAST\r\n", raw.len()));
        client.send(raw);
        assert!(client.line().starts_with("250"), "{raw:?}");
    }
    contents(&server)
}

/// All mail of a server as the API shows it, without its place in the store, and the raw bytes.
fn contents(server: &Restante) -> Vec<(Value, Vec<u8>)> {
    let mailboxes: Vec<Value> = serde_json::from_slice(&server.get("/emails")).unwrap();
    let mut all = Vec::new();
    for mailbox in mailboxes {
        let name = mailbox["name"].as_str().unwrap();
        for mut mail in server.mails(&name.replace('/', "%2F").replace(' ', "%20")) {
            let path = path_of(&mail).replace(name, &name.replace('/', "%2F").replace(' ', "%20"));
            let raw = server.get(&format!("{path}/raw"));
            mail.as_object_mut().unwrap().remove("seq");
            all.push((mail, raw));
        }
    }
    all
}

#[test]
fn mail_comes_back_from_every_format_as_it_was() {
    let from = TempDir::new().unwrap();
    let original = filled(from.path());
    assert_eq!(original.len(), 2 * HOSTILE.len());
    for raw in HOSTILE {
        assert_eq!(original.iter().filter(|(_, kept)| kept == raw).count(), 2);
    }
    for format in FORMATS {
        let to = TempDir::new().unwrap();
        let files = to.path().join("files");
        let files = files.to_str().unwrap();
        let exported = restante(from.path(), &["export", "--to", files, "--format", format]);
        assert!(exported.ok().starts_with("exported 16 messages of 2 mailboxes, "), "{}", exported.text());
        let imported = restante(to.path(), &["import", files]);
        assert!(imported.ok().starts_with("imported 16 messages; 0 were there"), "{format}: {}", imported.text());
        let again = restante(to.path(), &["import", files, "--format", format]).ok();
        assert!(again.starts_with("imported 0 messages; 16 were there"), "{format}: {again}");
        assert_eq!(contents(&Restante::start(to.path(), &[])), original, "{format}");
        let other = FORMATS.iter().find(|other| **other != format).unwrap();
        assert_eq!(restante(to.path(), &["import", files, "--format", other]).code, Some(2), "{format}");
    }
}

/// Runs a command with a terminal for its output, as a person would; what comes there.
fn on_a_terminal(dir: &Path, arguments: &[&str]) -> String {
    let line = [&[env!("CARGO_BIN_EXE_restante")], arguments].concat().join(" ");
    let mut script = program("script");
    run(script.current_dir(dir).env_clear().args(["--quiet", "--return", "--command", &line, "/dev/null"]), b"").ok()
}

#[test]
fn who_looks_at_a_terminal_sees_how_far_a_move_is_and_a_file_has_the_end_alone() {
    let dir = TempDir::new().unwrap();
    filled(dir.path());
    let seen = on_a_terminal(dir.path(), &["export", "--to", "seen", "--format", "mbox"]);
    assert!(seen.starts_with("\r\x1b[K\x1b[?7lexported 1 messages, "), "{seen:?}");
    assert!(seen.contains("\x1b[?7h\r\x1b[Kexported 16 messages of 2 mailboxes, "), "{seen:?}");
    let kept = restante(dir.path(), &["export", "--to", "kept", "--format", "mbox"]);
    assert!(kept.ok().starts_with("exported 16 messages of "), "{}", kept.stderr);
    let seen = on_a_terminal(dir.path(), &["import", "seen"]);
    assert!(seen.starts_with("\r\x1b[K\x1b[?7l1 messages so far: 0 imported, 1 were there already"), "{seen:?}");
    assert!(seen.contains("\x1b[?7h\r\x1b[Kimported 0 messages; 16 were there"), "{seen:?}");
    let kept = restante(dir.path(), &["import", "kept"]);
    assert!(kept.ok().starts_with("imported 0 messages; "), "{}", kept.stderr);
}

#[test]
fn all_mail_is_taken_though_nobody_hears_of_it() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let original = filled(from.path());
    let files = to.path().join("files").to_str().unwrap().to_owned();
    restante(from.path(), &["export", "--to", &files, "--format", "mbox"]).ok();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut child = command(to.path(), &[]).args(["import", &files]).stderr(full).spawn().unwrap();
    assert_eq!(wait(&mut child, "restante import").code(), Some(0));
    assert_eq!(contents(&Restante::start(to.path(), &[])), original);
}

#[test]
fn mail_moves_from_a_directory_into_redis_and_on_as_it_was() {
    let redis = Redis::start();
    let url = redis.url();
    let key = ("API_KEY", "0123456789abcdef");
    let in_redis = [("STORE", "redis"), ("REDIS_URL", &*url), ("DATA_DIR", "data"), key];
    let (from, there, back) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let original = filled(from.path());
    let files = |dir: &TempDir| dir.path().join("files").to_str().unwrap().to_owned();
    restante(from.path(), &["export", "--to", &files(&from), "--format", "mbox"]).ok();

    let (server, _dir) = Restante::start_anywhere(&in_redis);
    let imported = run(command(there.path(), &in_redis).args(["import", &files(&from)]), b"");
    assert!(imported.ok().starts_with("imported 16 messages; 0 were there"), "{}", imported.text());
    assert_eq!(contents(&server), original, "a server that runs has it at once");
    let again = run(command(there.path(), &in_redis).args(["import", &files(&from)]), b"").ok();
    assert!(again.starts_with("imported 0 messages; 16 were there"), "{again}");
    let export = ["export", "--to", &files(&there), "--format", "mbox"];
    let exported = run(command(there.path(), &in_redis).args(export), b"").ok();
    assert!(exported.starts_with("exported 16 messages of 2 mailboxes, "), "{exported}");

    restante(back.path(), &["import", &files(&there)]).ok();
    assert_eq!(contents(&Restante::start(back.path(), &[])), original);
}

/// Changes the one byte at `place` of the only segment below `dir`.
fn damage(dir: &Path, place: impl FnOnce(&[u8]) -> usize) {
    let mut segments = fs::read_dir(dir.join("data/segments")).unwrap();
    let path = segments.next().unwrap().unwrap().path();
    assert!(segments.next().is_none());
    let mut bytes = fs::read(&path).unwrap();
    let place = place(&bytes);
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_mail_is_named_and_all_else_is_exported() {
    let dir = TempDir::new().unwrap();
    let server = Restante::start(dir.path(), &[]);
    let mut client = Client::connect(server.smtp);
    client.ehlo();
    for to in ["a", "b", "c"] {
        for number in 0..3 {
            client.begin(&format!("{to}@example.com"));
            assert!(client.say(&format!("Subject: x\r\n\r\n{to}{number}-mark\r\n.")).starts_with("250"));
        }
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let export = |to: &str| restante(dir.path(), &["export", "--to", to, "--format", "eml"]);
    let written = |to: &str| -> usize {
        let mailboxes = fs::read_dir(dir.path().join(to)).unwrap().map(|mailbox| mailbox.unwrap().path());
        let names = mailboxes.flat_map(|mailbox| fs::read_dir(mailbox).unwrap().map(|file| file.unwrap().file_name()));
        names.filter(|name| name.to_str().unwrap().ends_with(".eml")).count()
    };
    // Each text is in the record of its message, and behind it in the raw bytes.
    let at = |bytes: &[u8], mark: &str| -> Vec<usize> {
        bytes.windows(mark.len()).enumerate().filter(|(_, found)| *found == mark.as_bytes()).map(|(at, _)| at).collect()
    };
    damage(dir.path(), |bytes| *at(bytes, "a1-mark").last().unwrap());
    let exported = export("first");
    assert_eq!((exported.code, written("first")), (Some(1), 8), "{}", exported.text());
    assert!(exported.stderr.contains("not written: mailbox a: message "), "{}", exported.stderr);
    assert!(exported.stderr.contains("exported 8 messages of 3 mailboxes, "), "{}", exported.stderr);
    damage(dir.path(), |bytes| at(bytes, "b1-mark")[0]);
    let exported = export("second");
    assert_eq!((exported.code, written("second")), (Some(1), 7), "{}", exported.text());
    assert!(exported.stderr.contains("mailbox b: the records of 1 messages cannot"), "{}", exported.stderr);
    assert!(exported.stderr.contains("2 messages were not written"), "{}", exported.stderr);
}

#[test]
fn what_has_expired_is_kept_anew_where_that_is_asked_for() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let original = filled(from.path());
    let files = from.path().join("files");
    let files = files.to_str().unwrap();
    restante(from.path(), &["export", "--to", files, "--format", "eml"]).ok();
    let library = bent_clock();
    let a_month_later = [("LD_PRELOAD", &library[..]), ("FAKETIME", "+30d"), ("RETENTION", "40d")];
    let import = |more: &[&str]| run(command(to.path(), &a_month_later).args(["import", files]).args(more), b"").ok();
    let left_out = import(&[]);
    assert!(left_out.starts_with("imported 0 messages; 0 were there already, 16 have expired"), "{left_out}");
    let renewed = import(&["--renew"]);
    assert!(renewed.starts_with("imported 16 messages; 0 were there already, 0 have expired"), "{renewed}");

    let server = Restante::start(to.path(), &[]);
    let secs = |mail: &Value, name: &str| mail[name].as_u64().unwrap();
    for ((mut mail, raw), (original, original_raw)) in contents(&server).into_iter().zip(original) {
        let left = secs(&mail, "expires_at") - secs(&original, "expires_at");
        assert!(left >= (30 + 39) * 24 * 3600, "it lives for {left} s longer");
        mail["expires_at"] = original["expires_at"].clone();
        assert_eq!((mail, raw), (original, original_raw), "all else is as it was");
    }
}

#[test]
fn python_reads_what_is_exported() {
    let dir = TempDir::new().unwrap();
    filled(dir.path());
    for format in ["maildir", "mbox"] {
        let to = dir.path().join(format);
        restante(dir.path(), &["export", "--to", to.to_str().unwrap(), "--format", format, "--mailbox", "user"]).ok();
        let path = to.join(if format == "mbox" { "user.mbox" } else { "user" });
        let subjects =
            run(program("python3").arg(fixture("mailboxes.py")).args([format, path.to_str().unwrap()]), b"").ok();
        let subjects: Vec<String> = serde_json::from_str(&subjects).unwrap();
        assert_eq!(subjects.len(), HOSTILE.len(), "{subjects:?}");
        for subject in ["plain", "from", "no end", "bare", "nul"] {
            assert!(subjects.iter().any(|found| found == subject), "{subject} in {subjects:?}");
        }
    }
}

#[test]
fn mail_of_other_programs_is_taken_to_whom_it_was_for() {
    let dir = TempDir::new().unwrap();
    let mail = dir.path().join("mail");
    for part in ["", "box", "box/cur", "box/new", "box/tmp"] {
        fs::create_dir(mail.join(part)).unwrap();
    }
    file(
        &mail,
        "a.eml",
        "Delivered-To: ada@example.com\nReturn-Path: <bob@example.org>\nTo: list@example.org\nSubject: eml\n\nx\n",
    );
    file(
        &mail,
        "b.eml",
        "To: Ada <ada@example.com>, eve@example.com\nFrom: Bob <b@example.org>\nSubject: header\n\nx\n",
    );
    file(&mail, "c.eml", "Subject: for nobody\n\nx\n");
    file(
        &mail,
        "old.mbox",
        "From bob@example.org Thu Jan  2 03:04:05 2020\nTo: ada@example.com\nSubject: one\n\n>From me\n\n\
         From MAILER-DAEMON Thu Jan  2 03:04:05 2020\nTo: ada@example.com\nSubject: two\n\nx\n",
    );
    file(&mail.join("box/cur"), "1.x:2,S", "X-Original-To: ada@example.com\nSubject: maildir\n\nx\n");
    let mail = mail.to_str().unwrap();

    let ended = restante(dir.path(), &["import", mail]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("c.eml: no header says for whom it is; say it with --to"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("imported 5 messages; 0 were there already, 0 have expired, 1 were not"),
        "{}",
        ended.stderr
    );
    let again = restante(dir.path(), &["import", mail]);
    assert!(again.stderr.contains("imported 0 messages; 5 were there already"), "{}", again.stderr);
    let to = restante(dir.path(), &["import", &format!("{mail}/c.eml"), "--to", "carol@example.com"]).ok();
    assert!(to.starts_with("imported 1 messages"), "{to}");
    let old =
        restante(dir.path(), &["import", &format!("{mail}/old.mbox"), "--keep-times", "--to", "old@example.com"]).ok();
    assert!(old.starts_with("imported 0 messages; 0 were there already, 2 have expired"), "{old}");

    let server = Restante::start(dir.path(), &[]);
    let subjects: Vec<_> = server.mails("ada").iter().map(|mail| mail["subject"].clone()).collect();
    for subject in ["eml", "header", "one", "two", "maildir"] {
        assert!(subjects.contains(&subject.into()), "{subject} in {subjects:?}");
    }
    let of = |subject: &str| server.mails("ada").into_iter().find(|mail| mail["subject"] == subject).unwrap();
    assert_eq!((&of("eml")["from"], &of("two")["from"]), (&"bob@example.org".into(), &"".into()));
    assert_eq!(
        server.get(&format!("{}/raw", path_of(&of("one")))),
        b"To: ada@example.com\r\nSubject: one\r\n\r\nFrom me\r\n"
    );
    assert_eq!(server.mail("eve")["subject"], "header");
    assert_eq!(server.mail("carol")["subject"], "for nobody");
    assert!(server.mails("list").is_empty() && server.mails("old").is_empty());
}

#[test]
fn what_was_changed_since_its_export_is_taken_as_another_message() {
    let dir = TempDir::new().unwrap();
    filled(dir.path());
    let files = dir.path().join("files");
    restante(dir.path(), &["export", "--to", files.to_str().unwrap(), "--format", "eml", "--mailbox", "user"]).ok();
    let first = fs::read_dir(files.join("user")).unwrap().map(|entry| entry.unwrap().path());
    let first = first.filter(|path| path.extension().is_some_and(|ending| ending == "eml")).min().unwrap();
    fs::write(&first, "Subject: changed\r\n\r\n").unwrap();
    let imported = restante(dir.path(), &["import", files.to_str().unwrap()]).ok();
    assert!(
        imported.contains("imported 1 messages; 7 were there") && imported.contains("1 have been changed"),
        "{imported}"
    );
    let server = Restante::start(dir.path(), &[]);
    let changed = server.mails("user").into_iter().find(|mail| mail["subject"] == "changed").unwrap();
    assert_eq!(changed["from"], "a@example.org");
}

#[test]
fn what_is_in_the_way_of_a_move_is_said_and_nothing_is_done() {
    let (server, dir) = Restante::start_anywhere(&[]);
    let files = dir.path().join("files");
    let export = ["export", "--to", files.to_str().unwrap(), "--format", "mbox"];
    let locked = restante(dir.path(), &export);
    assert_eq!(locked.code, Some(2));
    assert!(locked.stderr.contains("is in use by another restante process (pid "), "{}", locked.stderr);
    drop(server);
    let in_memory = run(command(dir.path(), &[("STORE", "memory")]).args(export), b"");
    assert!(in_memory.code == Some(2) && in_memory.stderr.contains("STORE=memory"), "{}", in_memory.text());
    let nothing = restante(dir.path(), &["import", "nowhere"]);
    assert!(nothing.code == Some(2) && nothing.stderr.contains("nowhere: "), "{}", nothing.text());
    let elsewhere = run(command(dir.path(), &[("DATA_DIR", "elsewhere")]).args(export), b"");
    assert!(elsewhere.code == Some(2) && elsewhere.stderr.contains("elsewhere"), "{}", elsewhere.text());
    assert!(!files.exists() && !dir.path().join("elsewhere").exists());
}
