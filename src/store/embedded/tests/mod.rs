//! What only a store in files can get wrong: what it finds when it is opened, and what it leaves on the disk.

mod power;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::store::contract::{ALL, Lab, Subject, all, name, to};
use crate::store::{CHUNK_BYTES, GoneReason, Kind, Lost, Store};

const DAY: Duration = Duration::from_secs(24 * 3600);
const MIB: usize = 1024 * 1024;
/// How long a test waits for what the store does by itself.
const DEADLINE: Duration = Duration::from_secs(20);

impl Lab {
    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    async fn try_open(&self) -> Result<Store, OpenError> {
        Store::open(&self.settings, self.clock.clone(), Arc::default(), &self.tasks).await
    }

    /// Closes the store, has `between` done to its files, and opens it again.
    pub(in crate::store) async fn reopen(mut self, between: impl FnOnce(&Path)) -> Self {
        self.store.close().await;
        between(&self.data_dir());
        self.store = self.open_again().await;
        self
    }

    /// A program that another test is just starting has the lock, too, until it has closed the files of this one.
    async fn open_again(&self) -> Store {
        for _ in 0..10_000 {
            match self.try_open().await {
                Err(OpenError(error)) if error.contains("is in use") => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
        panic!("the directory is in use");
    }

    fn disk_bytes(&self) -> u64 {
        segments(&self.data_dir()).iter().map(|path| fs::metadata(path).unwrap().blocks() * 512).sum()
    }

    /// Waits until the segments take less than `max_bytes`: room that was set aside is given back when no mail is coming.
    async fn shrinks_below(&self, max_bytes: u64) {
        let shrunk = async {
            while self.disk_bytes() >= max_bytes {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, shrunk).await.unwrap_or_else(|_| panic!("{} bytes", self.disk_bytes()));
    }
}

fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = data_dir.join("segments").read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Changes one byte of the only segment, counted from its end.
fn flip(data_dir: &Path, from_end: u64) {
    let paths = segments(data_dir);
    assert_eq!(paths.len(), 1);
    let file = OpenOptions::new().read(true).write(true).open(&paths[0]).unwrap();
    let at = file.metadata().unwrap().len() - from_end;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test]
async fn a_store_that_is_opened_again_has_everything_and_goes_on_counting() {
    let lab = Lab::open(Subject::Embedded).await;
    let (first, id) = lab.deliver("alice", b"hello").await;
    let (cleared, _) = lab.deliver("bob", b"cleared").await;
    lab.store.clear(&name("bob")).await.unwrap();
    let before = lab.store.list(&name("alice"), ALL).await.unwrap().messages;
    let lab = lab.reopen(|_| ()).await;
    assert_eq!(lab.store.list(&name("alice"), ALL).await.unwrap().messages, before);
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"hello"[..]);
    let (next, _) = lab.deliver("alice", b"again").await;
    assert!(next > cleared && cleared > first, "{first} {cleared} {next}");
    assert_eq!(lab.seqs("alice").await, [next, first]);
    assert_eq!(segments(&lab.data_dir()).len(), 2, "a run never writes into a segment of another");
}

#[tokio::test]
async fn a_store_that_is_opened_again_with_the_clock_behind_goes_on_counting() {
    let lab = Lab::open(Subject::Embedded).await;
    let (first, _) = lab.deliver("alice", b"first").await;
    lab.clock.set(Timestamp::from_millis(lab.clock.now().as_millis() - 10 * 24 * 3_600_000));
    let lab = lab.reopen(|_| ()).await;
    let (second, id) = lab.deliver("alice", b"second").await;
    assert_eq!(lab.seqs("alice").await, [second, first]);
    lab.clock.advance(2 * DAY);
    assert_eq!(lab.store.sweep().await.unwrap(), 1);
    assert_eq!((lab.seqs("alice").await, lab.raw("alice", id).await), (vec![first], None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_crash() {
    let lab = Lab::open(Subject::Embedded).await;
    let senders = (0..16).map(|_| {
        let (store, messages) = (lab.store.clone(), (0..10).map(|_| lab.message()).collect::<Vec<_>>());
        async move {
            for message in messages {
                let raw = Bytes::from(message.id.to_string());
                store.append(to(&["alice", "bob"]), message, raw).await.unwrap();
            }
        }
    });
    all(&lab.tasks, senders).await;
    // What a killed process leaves: the files as they are, nothing closed, and half an entry at an end.
    let crashed = lab.dir.path().join("crashed");
    power::copy_index(&lab.data_dir(), &crashed);
    power::copy_segments(&lab.data_dir(), &crashed, |mut bytes| {
        bytes.extend_from_within(..100);
        bytes
    });
    let store = lab.open_copy(&crashed).await;
    let found = store.list(&name("alice"), ALL).await.unwrap().messages;
    assert_eq!(found.len(), 160);
    assert_eq!(found, lab.store.list(&name("alice"), ALL).await.unwrap().messages);
    for stored in found {
        let id = stored.message.id;
        assert_eq!(store.raw(&name("bob"), id).await.unwrap().unwrap(), id.to_string());
    }
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_directory() {
    let lab = Lab::open(Subject::Embedded).await;
    let error = lab.try_open().await.err().unwrap().to_string();
    assert!(error.contains(&lab.data_dir().display().to_string()), "{error}");
    assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
    let (_, id) = lab.deliver("alice", b"the first goes on").await;
    assert!(lab.raw("alice", id).await.is_some());
}

#[tokio::test]
async fn a_format_of_the_future_is_refused_and_left_alone() {
    let lab = Lab::open(Subject::Embedded).await;
    lab.deliver("alice", b"hello").await;
    lab.store.close().await;
    let index = rusqlite::Connection::open(lab.data_dir().join("index.sqlite3")).unwrap();
    index.pragma_update(None, "user_version", 99).unwrap();
    index.close().unwrap();
    let files = || {
        let index = fs::read(lab.data_dir().join("index.sqlite3")).unwrap();
        (index, segments(&lab.data_dir()).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>())
    };
    let before = files();
    let error = lab.try_open().await.err().unwrap().to_string();
    for part in [&lab.data_dir().display().to_string(), "format 99", "start the version that wrote it"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(files() == before);
}

/// `tests/formats/1` was written by the version that had this format.
#[tokio::test]
async fn a_directory_of_the_first_format_is_taken_over_with_all_that_is_in_it() {
    let lab = Lab::open(Subject::Embedded).await;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/1");
    let old = lab.dir.path().join("old");
    power::copy_segments(&fixture, &old, |bytes| bytes);
    let index = rusqlite::Connection::open(old.join("index.sqlite3")).unwrap();
    index.execute_batch(&fs::read_to_string(fixture.join("index.sql")).unwrap()).unwrap();
    index.close().unwrap();
    lab.clock.set(Timestamp::from_millis(1_795_889_600_000));
    let store = lab.open_copy(&old).await;
    let listed = async |mailbox: &str| store.list(&name(mailbox), ALL).await.unwrap().messages;
    let alice = listed("alice").await;
    let subjects: Vec<_> = alice.iter().map(|stored| (stored.seq, stored.message.content.subject.as_deref())).collect();
    assert_eq!(subjects, [(4, Some("Last")), (1, Some("For two"))]);
    let [bob] = &listed("bob").await[..] else { panic!("one message") };
    assert_eq!(bob.message, alice[1].message);
    let raw = store.raw(&name("bob"), bob.message.id).await.unwrap().unwrap();
    assert!(raw.starts_with(b"Date: Sat, 28 Nov 2026 18:12:58 +0000\r\nTo: alice@example.com,bob@example.com\r\n"));

    let next = store.append(to(&["alice"]), lab.message(), Bytes::new()).await.unwrap();
    assert!(next[0] > 4, "{next:?}");
    let lease = Lease { token: LeaseToken::random(), until: lab.clock.now().after(DAY) };
    let id = bob.message.id;
    assert_eq!(store.claim(&name("bob"), vec![id], lease).await.unwrap(), Some(id));
    assert!(store.delete(&name("bob"), bob.message.id).await.unwrap());
    assert!(store.gone(&name("bob"), bob.message.id).await.unwrap().is_some());
    lab.clock.advance(DAY - Duration::from_secs(10));
    assert_eq!(store.sweep().await.unwrap(), 2, "what it had expires on its own time");
    assert_eq!(segments(&old).len(), 1, "a segment of before goes as soon as it is empty");
    lab.clock.advance(DAY);
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(segments(&old).len(), 0);
}

#[tokio::test]
async fn what_is_done_and_what_is_leased_stays_so_over_a_kill() {
    let lab = Lab::open(Subject::Embedded).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(lab.deliver("alice", b"hello").await.1);
    }
    let (done, token) = lab.claim("alice", &ids).await.unwrap();
    let (leased, _) = lab.claim("alice", &ids).await.unwrap();
    assert_eq!(lab.step("alice", done, token, LeaseStep::Finish).await, LeaseOutcome::Stepped);
    let crashed = lab.dir.path().join("crashed");
    power::copy_index(&lab.data_dir(), &crashed);
    power::copy_segments(&lab.data_dir(), &crashed, |bytes| bytes);
    let store = lab.open_copy(&crashed).await;
    let lease = || Lease { token: LeaseToken::random(), until: lab.clock.now().after(DAY) };
    assert_eq!(store.claim(&name("alice"), ids.clone(), lease()).await.unwrap(), Some(ids[2]));
    lab.clock.advance(DAY / 2);
    assert_eq!(store.claim(&name("alice"), ids.clone(), lease()).await.unwrap(), Some(leased));
    assert_eq!(store.claim(&name("alice"), ids, lease()).await.unwrap(), None);
}

#[tokio::test]
async fn how_messages_went_is_remembered_over_a_restart() {
    let lab = Lab::open(Subject::Embedded).await;
    let (_, deleted) = lab.deliver("alice", b"deleted").await;
    let (_, expired) = lab.deliver("alice", b"expired").await;
    assert!(lab.store.delete(&name("alice"), deleted).await.unwrap());
    lab.clock.advance(DAY / 2);
    let lab = lab.reopen(|_| ()).await;
    assert_eq!(lab.gone("alice", deleted).await, Some((GoneReason::Deleted, Duration::ZERO)));
    lab.clock.advance(DAY / 4);
    // What has expired while the server was down, too.
    let clock = lab.clock.clone();
    let lab = lab.reopen(|_| clock.advance(DAY / 4)).await;
    lab.store.sweep().await.unwrap();
    assert_eq!(lab.gone("alice", expired).await, Some((GoneReason::Expired, DAY)));
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_says_so() {
    let lab = Lab::open(Subject::Memory).await;
    let file = lab.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let kind = Kind::Embedded { data_dir: file.clone(), min_free_bytes: 0 };
    let opened =
        Store::open(&Settings { kind, ..lab.settings.clone() }, lab.clock.clone(), Arc::default(), &lab.tasks).await;
    let error = opened.err().unwrap().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn mail_is_private_on_the_disk() {
    let lab = Lab::open(Subject::Embedded).await;
    lab.deliver("alice", b"hello").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let data_dir = lab.data_dir();
    assert_eq!(mode(&data_dir), 0o700);
    assert_eq!(mode(&data_dir.join("segments")), 0o700);
    for file in ["restante.lock", "index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm"] {
        assert_eq!(mode(&data_dir.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&segments(&data_dir)[0]), 0o600);
}

#[tokio::test]
async fn garbage_at_the_end_of_a_segment_is_never_seen() {
    let lab = Lab::open(Subject::Embedded).await;
    let (first, id) = lab.deliver("alice", b"hello").await;
    let lab = lab
        .reopen(|data_dir| {
            let path = &segments(data_dir)[0];
            let len = fs::metadata(path).unwrap().len();
            OpenOptions::new().write(true).open(path).unwrap().write_all_at(&[b'x'; 5000], len).unwrap();
        })
        .await;
    let (second, _) = lab.deliver("alice", b"later").await;
    assert_eq!(lab.seqs("alice").await, [second, first]);
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"hello"[..]);
}

#[tokio::test]
async fn raw_bytes_that_have_changed_are_not_given_out() {
    let lab = Lab::open(Subject::Embedded).await;
    let (seq, id) = lab.deliver("alice", b"hello").await;
    let lab = lab.reopen(|data_dir| flip(data_dir, 1)).await;
    let raw = lab.store.raw(&name("alice"), id).await;
    assert!(matches!(raw, Err(StoreError::Damaged(_))), "{raw:?}");
    assert_eq!(lab.seqs("alice").await, [seq], "its record is whole");
}

#[tokio::test]
async fn a_large_message_that_has_changed_is_not_begun() {
    let lab = Lab::open(Subject::Embedded).await;
    let (_, id) = lab.deliver("alice", &[b'x'; 3 * CHUNK_BYTES]).await;
    let lab = lab.reopen(|data_dir| flip(data_dir, 1)).await;
    let mut raw = lab.store.open_raw(&name("alice"), id).await.unwrap().unwrap();
    assert!(matches!(raw.chunk().await, Err(Lost::Failed(StoreError::Damaged(_)))));
    let part = lab.store.open_raw(&name("alice"), id).await.unwrap().unwrap().part(0..5);
    assert!(matches!(part.into_bytes().await, Err(StoreError::Damaged(_))), "a part of it either");
}

#[tokio::test]
async fn a_message_that_changes_while_it_is_read_does_not_come_to_its_end() {
    let lab = Lab::open(Subject::Embedded).await;
    let (_, id) = lab.deliver("alice", &[b'x'; 3 * CHUNK_BYTES]).await;
    let mut raw = lab.store.open_raw(&name("alice"), id).await.unwrap().unwrap();
    assert_eq!(raw.chunk().await.unwrap().unwrap().len(), CHUNK_BYTES);
    flip(&lab.data_dir(), 1);
    assert_eq!(raw.chunk().await.unwrap().unwrap().len(), CHUNK_BYTES);
    assert!(matches!(raw.chunk().await, Err(Lost::Failed(StoreError::Damaged(_)))));
}

#[tokio::test]
async fn a_message_whose_room_is_given_back_while_it_is_read_ends_in_an_error() {
    let lab = Lab::open(Subject::Embedded).await;
    let (_, id) = lab.deliver("alice", &[b'x'; 5 * CHUNK_BYTES]).await;
    let mut raw = lab.store.open_raw(&name("alice"), id).await.unwrap().unwrap();
    assert!(raw.chunk().await.unwrap().is_some());
    lab.clock.advance(Duration::from_secs(26 * 3600));
    lab.store.sweep().await.unwrap();
    assert!(matches!(raw.chunk().await, Err(Lost::Deleted)));
}

#[tokio::test]
async fn one_damaged_record_does_not_hide_the_others() {
    let lab = Lab::open(Subject::Embedded).await;
    let (oldest, _) = lab.deliver("alice", b"").await;
    let (_, damaged) = lab.deliver("alice", b"").await;
    // Behind the record there are only the recipients, and they are shorter than this.
    let lab = lab.reopen(|data_dir| flip(data_dir, 60)).await;
    let (newest, _) = lab.deliver("alice", b"").await;
    let message = lab.store.message(&name("alice"), damaged).await;
    assert!(matches!(message, Err(StoreError::Damaged(_))), "{message:?}");
    let page = Page { limit: 2, ..ALL };
    let Listing { messages: listed, left_out, .. } = lab.store.list(&name("alice"), page).await.unwrap();
    assert_eq!(left_out, 1);
    assert_eq!(listed.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [newest, oldest], "the page is full");
    // Wherever a page ends, it counts once.
    for max_bytes in (1..4000).step_by(50) {
        let (mut page, mut all_left_out, mut seqs) = (Page { max_bytes, ..ALL }, 0, Vec::new());
        loop {
            let Listing { messages, left_out, more } = lab.store.list(&name("alice"), page).await.unwrap();
            all_left_out += left_out;
            seqs.extend(messages.iter().map(|stored| stored.seq));
            page.before = seqs.last().copied();
            if !more {
                break;
            }
        }
        assert_eq!((all_left_out, seqs), (1, vec![newest, oldest]), "{max_bytes}");
    }
    assert!(lab.store.delete(&name("alice"), damaged).await.unwrap());
}

#[tokio::test]
async fn what_cannot_be_read_for_a_moment_is_in_the_next_list() {
    let lab = Lab::open(Subject::Embedded).await;
    let (first, _) = lab.deliver("alice", b"").await;
    let lab = lab.reopen(|data_dir| flip(data_dir, 60)).await;
    assert!(lab.seqs("alice").await.is_empty());
    flip(&lab.data_dir(), 60);
    assert_eq!(lab.seqs("alice").await, [first]);
}

#[tokio::test]
async fn a_segment_that_was_cut_off_loses_only_what_was_cut() {
    let lab = Lab::open(Subject::Embedded).await;
    let (first, id) = lab.deliver("alice", b"hello").await;
    let (_, lost) = lab.deliver("alice", &[b'x'; 1000]).await;
    let lab = lab
        .reopen(|data_dir| {
            let file = OpenOptions::new().write(true).open(&segments(data_dir)[0]).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1000).unwrap();
        })
        .await;
    let raw = lab.store.raw(&name("alice"), lost).await;
    assert!(matches!(raw, Err(StoreError::Damaged(_))), "{raw:?}");
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"hello"[..]);
    let (next, _) = lab.deliver("alice", b"later").await;
    assert!(lab.seqs("alice").await.ends_with(&[first]) && lab.seqs("alice").await.starts_with(&[next]));
}

#[tokio::test]
async fn the_disk_is_given_back_when_mail_expires() {
    let lab = Lab::open(Subject::Embedded).await;
    for _ in 0..10 {
        let (_, id) = lab.deliver("alice", &vec![b'x'; MIB]).await;
        assert_eq!(lab.raw("alice", id).await.unwrap().len(), MIB);
        lab.clock.advance(Duration::from_secs(360));
    }
    let full = lab.disk_bytes();
    assert!(full >= 10 * MIB as u64, "{full}");
    lab.clock.advance(DAY - Duration::from_secs(3600));
    assert_eq!(lab.store.sweep().await.unwrap(), 1);
    let one_less = lab.disk_bytes();
    assert!(cfg!(not(target_os = "linux")) || one_less <= full - MIB as u64 + 8192, "{full} {one_less}");
    lab.clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(lab.store.sweep().await.unwrap(), 9);
    assert_eq!(segments(&lab.data_dir()), Vec::<PathBuf>::new());
    assert_eq!(held_open(&lab.data_dir()), 0, "a file that is still open is still on the disk");
}

/// How many removed files below `path` this process keeps from being freed.
fn held_open(path: &Path) -> usize {
    let Ok(files) = fs::read_dir("/proc/self/fd") else { return 0 };
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(path) && target.to_string_lossy().ends_with("(deleted)")).count()
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_disk_is_given_back_when_mail_is_deleted_or_pushed_out() {
    let lab = Lab::with_limits(Subject::Embedded, 3, u64::MAX).await;
    let (_, large) = lab.deliver("alice", &vec![b'x'; MIB]).await;
    let (_, kept) = lab.deliver("bob", b"kept").await;
    lab.store.delete(&name("alice"), large).await.unwrap();
    lab.shrinks_below(32 * 1024).await;
    for _ in 0..100 {
        lab.deliver("alice", &[b'x'; 3000]).await;
    }
    lab.shrinks_below(64 * 1024).await;
    for stored in lab.store.list(&name("alice"), ALL).await.unwrap().messages {
        assert_eq!(lab.raw("alice", stored.message.id).await.unwrap(), [b'x'; 3000][..]);
    }
    assert_eq!(lab.raw("bob", kept).await.unwrap(), b"kept"[..]);
}

#[tokio::test]
async fn segments_that_nothing_refers_to_are_removed_when_the_store_is_opened() {
    let lab = Lab::open(Subject::Embedded).await;
    let (_, id) = lab.deliver("alice", b"hello").await;
    let lab = lab
        .reopen(|data_dir| {
            fs::write(data_dir.join("segments/500000-7.seg"), "left by a crash").unwrap();
            fs::write(data_dir.join("segments/readme"), "not ours").unwrap();
        })
        .await;
    let names: Vec<_> = segments(&lab.data_dir()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(lab.raw("alice", id).await.is_some());
}

#[tokio::test]
async fn what_is_held_is_counted_again_when_the_store_is_opened() {
    let lab = Lab::with_limits(Subject::Embedded, 500, 3 * MIB as u64).await;
    let raw = Bytes::from(vec![b'x'; 2 * MIB]);
    lab.store.append(to(&["alice"]), lab.message(), raw.clone()).await.unwrap();
    let lab = lab.reopen(|_| ()).await;
    let refused = lab.store.append(to(&["alice"]), lab.message(), raw.clone()).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    lab.store.clear(&name("alice")).await.unwrap();
    assert!(lab.store.append(to(&["alice"]), lab.message(), raw).await.is_ok());
}

/// What the index has counted of each segment, and what there is.
fn counted(data_dir: &Path) -> [Vec<(i64, i64, i64)>; 2] {
    let index = rusqlite::Connection::open(data_dir.join("index.sqlite3")).unwrap();
    [
        "SELECT segment, entries, bytes FROM segment WHERE entries > 0 ORDER BY segment",
        "SELECT segment, count(*), sum(len) FROM
        (SELECT DISTINCT segment, start, front_len + raw_len AS len FROM message) GROUP BY segment ORDER BY segment",
    ]
    .map(|question| {
        let mut statement = index.prepare(question).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    })
}

#[tokio::test]
async fn what_each_segment_holds_is_counted_with_every_change() {
    let mut lab = Lab::with_limits(Subject::Embedded, 5, u64::MAX).await;
    for _ in 0..4 {
        for number in 0..8 {
            let message = lab.message();
            let id = message.id;
            lab.store
                .append(to(&["alice", "bob", "carol"]), message.clone(), Bytes::from(vec![b'x'; number]))
                .await
                .unwrap();
            // A repetition that is kept for one mailbox more, and one that is not kept.
            lab.store.append(to(&["alice", "dave"]), message.clone(), Bytes::new()).await.unwrap();
            lab.store.append(to(&["bob"]), message, Bytes::new()).await.unwrap();
            if number % 3 == 0 {
                lab.store.delete(&name("bob"), id).await.unwrap();
            }
        }
        lab.store.clear(&name("carol")).await.unwrap();
        let [known, there] = counted(&lab.data_dir());
        assert!(known == there && !there.is_empty(), "{known:?} {there:?}");
        lab.clock.advance(Duration::from_secs(3600));
        lab = lab.reopen(|_| ()).await;
    }
    lab.clock.advance(DAY - Duration::from_secs(2 * 3600));
    lab.store.sweep().await.unwrap();
    let [known, there] = counted(&lab.data_dir());
    assert_eq!(known, there);
    lab.clock.advance(DAY);
    lab.store.sweep().await.unwrap();
    assert_eq!(counted(&lab.data_dir()), [vec![], vec![]]);
    assert_eq!(segments(&lab.data_dir()).len(), 0);
}

#[tokio::test]
async fn mail_is_refused_before_the_disk_is_full_and_can_still_be_read() {
    let mut lab = Lab::open(Subject::Embedded).await;
    let (seq, id) = lab.deliver("alice", b"hello").await;
    lab.settings.kind = Kind::Embedded { data_dir: lab.data_dir(), min_free_bytes: u64::MAX };
    let lab = lab.reopen(|_| ()).await;
    let refused = lab.store.append(to(&["alice"]), lab.message(), Bytes::new()).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    assert!(matches!(lab.store.ready().await, Err(StoreError::Full(_))));
    assert_eq!(lab.seqs("alice").await, [seq]);
    assert!(lab.store.delete(&name("alice"), id).await.unwrap());
}

#[tokio::test]
async fn no_mail_is_taken_into_files_that_somebody_has_deleted() {
    let lab = Lab::open(Subject::Embedded).await;
    lab.deliver("alice", b"before").await;
    for segment in fs::read_dir(lab.data_dir().join("segments")).unwrap() {
        fs::remove_file(segment.unwrap().path()).unwrap();
    }
    let append = async || lab.store.append(to(&["alice"]), lab.message(), Bytes::from_static(b"behind it")).await;
    let refused = async || {
        // Under load the writer does not look each time.
        for _ in 0..100 {
            if let Err(error) = append().await {
                return matches!(error, StoreError::Unavailable(_));
            }
        }
        false
    };
    assert!(refused().await);
    let (_, id) = lab.deliver("alice", b"behind it").await;
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"behind it"[..]);

    fs::remove_dir_all(lab.data_dir()).unwrap();
    assert!(refused().await);
    assert!(matches!(append().await, Err(StoreError::Unavailable(_))), "there is no place for new files");
    assert!(matches!(lab.store.ready().await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn mail_with_no_end_is_kept_and_never_swept() {
    let lab = Lab::open(Subject::Embedded).await;
    let mut message = lab.message();
    message.expires_at = Timestamp::from_millis(u64::MAX);
    let id = message.id;
    lab.store.append(to(&["alice"]), message.clone(), Bytes::from_static(b"hello")).await.unwrap();
    lab.clock.advance(DAY * 10_000);
    assert_eq!(lab.store.sweep().await.unwrap(), 0);
    let lab = lab.reopen(|_| ()).await;
    assert_eq!(*lab.store.message(&name("alice"), id).await.unwrap().unwrap().message, message);
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"hello"[..]);
}
