use std::fs::OpenOptions;
use std::path::Path;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::*;
use crate::store::contract::{message, to};
use crate::store::embedded::entry::{Entry, Recipient};
use crate::store::embedded::index::SWEEP_STEP;
use crate::store::embedded::schema;

const HOUR_MS: u64 = 3_600_000;
/// Lets every transaction fail that has mail for bob.
const TRAP: &str = "CREATE TEMP TRIGGER trap AFTER INSERT ON main.message WHEN new.mailbox = 'bob'
                    BEGIN SELECT raise(ABORT, 'trap'); END";

fn writer(path: &Path) -> Writer {
    let directory = Directory::open(path.join("data")).unwrap();
    let connection = schema::writing(&directory).unwrap();
    let quota = Arc::new(Quota::new(directory.path(), u64::MAX, 0, Arc::default()).unwrap());
    let files = Arc::new(SegmentFiles::new(&directory.segments()));
    let events = Events::new();
    let health = Arc::new(Health::new(directory.path()));
    let metrics = Arc::default();
    let changes = Changes::default();
    let parts = Parts { directory, connection, quota, health, files, changes, events, metrics, max_messages: 500 };
    Writer::open(parts, Backlog::default(), Timestamp::from_millis(0)).unwrap()
}

/// Does one batch of messages, one for each mailbox, which expire in the hour beside it.
fn append(writer: &mut Writer, batch: &[(&str, u64)]) -> Vec<Result<Vec<u64>, StoreError>> {
    let mut appends = Vec::new();
    let mut answers = Vec::new();
    for (mailbox, hour) in batch {
        let (answer, answered) = Answer::channel();
        let recipients: Vec<_> = to(&[mailbox]).iter().map(Recipient::from).collect();
        let entry = Entry::new(&message(0, hour * HOUR_MS), &recipients, Bytes::from_static(b"hello")).unwrap();
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        appends.push(Append { entry, recipients, answer, _room: room });
        answers.push(answered);
    }
    writer.work(Batch { appends, ..Batch::default() });
    answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
}

/// One step of a sweep at the beginning of `hour`.
fn expire(writer: &mut Writer, hour: u64) -> Result<u64, StoreError> {
    let (answer, mut answered) = Answer::channel();
    let expire = Chore::Expire(Timestamp::from_millis(hour * HOUR_MS), answer);
    writer.work(Batch { chores: vec![expire], ..Batch::default() });
    answered.try_recv().unwrap()
}

fn divert(writer: &mut Writer, hour: u64, device: &str) {
    let device = OpenOptions::new().write(true).open(device).unwrap();
    writer.segments.divert(Timestamp::from_millis(hour * HOUR_MS), device);
}

fn rows(writer: &Writer) -> usize {
    let count = "SELECT count(*) FROM message";
    writer.parts.connection.query_row(count, [], |row| row.get::<_, u32>(0)).unwrap() as usize
}

/// How often the index was synced for bytes to be given back.
fn syncs(writer: &Writer) -> i64 {
    writer.parts.connection.query_row("SELECT syncs FROM counter", [], |row| row.get(0)).unwrap()
}

fn execute(writer: &Writer, sql: &str) {
    writer.parts.connection.execute_batch(sql).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_write_that_finds_the_disk_full_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    divert(&mut writer, 7, "/dev/full");
    let answers = append(&mut writer, &[("alice", 6), ("bob", 7), ("carol", 8)]);
    assert!(matches!(answers[..], [Ok(_), Err(StoreError::Full(_)), Ok(_)]), "{answers:?}");
    writer.flush().unwrap();
    assert_eq!(rows(&writer), 2);
}

#[test]
#[cfg(target_os = "linux")]
fn a_segment_whose_sync_failed_is_never_trusted_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    // It takes every byte, and cannot be synced.
    divert(&mut writer, 7, "/dev/null");
    let answers = append(&mut writer, &[("alice", 6), ("bob", 7)]);
    assert!(matches!(answers[..], [Ok(_), Err(StoreError::Unavailable(_))]), "{answers:?}");
    writer.flush().unwrap();
    assert_eq!(rows(&writer), 1);
    let answers = append(&mut writer, &[("bob", 7)]);
    assert!(matches!(answers[..], [Ok(_)]), "a new segment was begun: {answers:?}");
}

#[test]
fn mail_that_was_refused_is_not_found_in_the_log_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = writer(dir.path());
    assert!(append(&mut first, &[("alice", 6)])[0].is_ok());
    first.segments.fail_syncs();
    let answers = append(&mut first, &[("bob", 6), ("carol", 7), ("bob", 6)]);
    assert!(matches!(answers[..], [Err(_), Ok(_), Err(_)]), "{answers:?}");
    assert_eq!(rows(&first), 0, "the log alone has it");
    drop(first);
    let second = writer(dir.path());
    assert_eq!(rows(&second), 2);
    let bob = "SELECT count(*) FROM message WHERE mailbox = 'bob'";
    assert_eq!(second.parts.connection.query_row(bob, [], |row| row.get::<_, u32>(0)).unwrap(), 0);
}

#[test]
fn a_writer_that_was_killed_before_it_indexed_has_all_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = writer(dir.path());
    let answers = append(&mut first, &[("alice", 6), ("bob", 7), ("alice", 6)]);
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [[1], [2], [3]]);
    assert_eq!(rows(&first), 0, "nothing is indexed yet");
    drop(first);
    let mut second = writer(dir.path());
    assert_eq!(rows(&second), 3);
    assert_eq!(append(&mut second, &[("alice", 6)])[0].as_deref().unwrap(), [4]);
    assert_eq!(second.live.values().map(|held| held.entries).sum::<u64>(), 4);
}

#[test]
fn bytes_are_given_back_only_when_the_index_is_durable_without_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    writer.parts.max_messages = 2;
    append(&mut writer, &[("alice", 6), ("alice", 6)]);
    writer.flush().unwrap();
    assert_eq!(syncs(&writer), 0, "nothing was pushed out");
    append(&mut writer, &[("alice", 6)]);
    writer.flush().unwrap();
    assert_eq!((syncs(&writer), rows(&writer)), (1, 2));
    let synchronous: i64 = writer.parts.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(synchronous, 1, "only that was synced");
}

#[test]
fn what_expires_costs_one_sync_before_its_segment_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    append(&mut writer, &[("alice", 6); 3 * SWEEP_STEP as usize]);
    while expire(&mut writer, 6).unwrap() > 0 {}
    assert_eq!((syncs(&writer), rows(&writer), writer.freed.len()), (0, 0, 3 * SWEEP_STEP as usize));
    writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert_eq!((syncs(&writer), writer.freed.len()), (1, 0));
    assert_eq!(dir.path().join("data/segments").read_dir().unwrap().count(), 0);
}

#[test]
fn the_index_is_measured_by_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    writer.parts.max_messages = u64::MAX;
    let used = |writer: &Writer| index::used_bytes(&writer.parts.connection).unwrap();
    let empty = used(&writer);
    assert!(append(&mut writer, &[("alice", 6); 500]).iter().all(Result::is_ok));
    writer.flush().unwrap();
    let rows = used(&writer) - empty;
    assert!((500 * 150..500 * 500).contains(&rows), "{rows}");
    while expire(&mut writer, 6).unwrap() > 0 {}
    execute(&writer, "DELETE FROM gone");
    assert!(used(&writer) < empty + rows / 10, "{}", used(&writer));
}

#[test]
fn what_has_changed_nothing_syncs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    append(&mut writer, &[("alice", 6)]);
    assert_eq!(expire(&mut writer, 6).unwrap(), 1);
    let clear = |writer: &mut Writer, mailbox| {
        let (answer, _answered) = Answer::channel();
        let clear = Chore::Clear(to(&[mailbox])[0].mailbox.clone(), Timestamp::from_millis(0), answer);
        writer.work(Batch { chores: vec![clear], ..Batch::default() });
    };
    clear(&mut writer, "nobody");
    assert_eq!(writer.freed.len(), 1, "the index may come back with it");
    append(&mut writer, &[("bob", 7)]);
    clear(&mut writer, "bob");
    assert_eq!((writer.freed.len(), syncs(&writer)), (0, 0), "the deletion was synced, and what came before it");
}

#[test]
fn room_that_cannot_be_given_back_is_given_back_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    append(&mut writer, &[("alice", 6), ("bob", 6)]);
    assert_eq!(expire(&mut writer, 6).unwrap(), 2);
    execute(&writer, "CREATE TEMP TRIGGER trap2 BEFORE UPDATE ON main.counter BEGIN SELECT raise(ABORT, 'trap'); END");
    let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
    writer.segments.retire(Timestamp::from_millis(7 * HOUR_MS));
    writer.tidy(Timestamp::from_millis(6 * HOUR_MS), 0);
    assert_eq!((writer.freed.len(), segments()), (2, 1), "rows may come back that name the segment");
    execute(&writer, "DROP TRIGGER trap2");
    writer.tidy(Timestamp::from_millis(6 * HOUR_MS), 0);
    assert_eq!((writer.freed.len(), segments()), (0, 0));
}

#[test]
fn an_index_that_cannot_be_written_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    let mut events = writer.parts.events.subscribe(None);
    execute(&writer, TRAP);
    let answers = append(&mut writer, &[("alice", 6), ("bob", 6), ("carol", 6)]);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(events.try_next().unwrap().unwrap().seq, 1);
    assert!(matches!(writer.flush(), Err(StoreError::Unavailable(_))));
    assert!(matches!(expire(&mut writer, 5), Err(StoreError::Unavailable(_))));
    assert_eq!(rows(&writer), 0);
    execute(&writer, "DROP TRIGGER trap");
    assert_eq!(append(&mut writer, &[("alice", 6)]).pop().unwrap().unwrap(), [4]);
    assert!(writer.rest().is_none());
    assert_eq!(rows(&writer), 4);
}

#[test]
fn mail_is_refused_when_too_much_is_pending_and_taken_again_once_it_is_indexed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    writer.parts.max_messages = u64::MAX;
    execute(&writer, TRAP);
    let mut kept = 0;
    let refused = loop {
        let answers = append(&mut writer, &[("bob", 6); 512]);
        kept += answers.iter().filter(|answer| answer.is_ok()).count();
        assert!(kept < 2 * PENDING_MAX_ROWS, "there is no bound");
        if let Some(Err(error)) = answers.into_iter().find(Result::is_err) {
            break error;
        }
    };
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert_eq!(kept, PENDING_MAX_ROWS);
    assert!(writer.rest().is_some(), "there is something left to do");
    execute(&writer, "DROP TRIGGER trap");
    assert!(append(&mut writer, &[("bob", 6)])[0].is_ok());
    writer.flush().unwrap();
    assert_eq!(rows(&writer), kept + 1);
}

#[test]
fn a_segment_with_mail_that_is_pending_stays_and_goes_with_its_hour_after_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    execute(&writer, TRAP);
    assert!(append(&mut writer, &[("bob", 6)])[0].is_ok());
    let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
    writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert_eq!(segments(), 1);
    execute(&writer, "DROP TRIGGER trap");
    assert_eq!(expire(&mut writer, 7).unwrap(), 1);
    writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert_eq!(segments(), 0);
    assert!(held::all(&writer.parts.connection).unwrap().is_empty());
}

#[test]
fn a_segment_that_is_over_goes_though_there_was_no_room_to_index_its_mail() {
    let dir = tempfile::tempdir().unwrap();
    let mut full = writer(dir.path());
    full.parts.max_messages = u64::MAX;
    execute(&full, "PRAGMA max_page_count = 24");
    let mut last = 0;
    while full.flush().is_ok() {
        last = append(&mut full, &[("alice", 6); 10]).pop().unwrap().unwrap()[0];
    }
    assert!(append(&mut full, &[("bob", 8)])[0].is_ok());
    let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
    full.tidy(Timestamp::from_millis(7 * HOUR_MS - 1), 0);
    assert_eq!((segments(), full.pending.messages().len()), (2, 11), "the hour has a millisecond left");
    full.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert_eq!((segments(), full.pending.messages().len(), full.pending.rows()), (1, 1, 1));
    while expire(&mut full, 7).unwrap() > 0 {}
    full.flush().unwrap();
    assert_eq!(rows(&full), 1);
    drop(full);
    let mut later = writer(dir.path());
    assert!(append(&mut later, &[("alice", 9)]).pop().unwrap().unwrap()[0] > last + 1, "no seq is given out again");
}

#[test]
fn no_seq_of_mail_that_was_let_go_is_given_out_again_whenever_the_writer_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut full = writer(dir.path());
    full.parts.max_messages = u64::MAX;
    execute(&full, "PRAGMA max_page_count = 24");
    let mut last = 0;
    while full.flush().is_ok() {
        last = append(&mut full, &[("alice", 6); 10]).pop().unwrap().unwrap()[0];
    }
    let trap =
        "CREATE TEMP TRIGGER trap2 BEFORE UPDATE OF last_seq ON main.counter BEGIN SELECT raise(ABORT, 'trap'); END";
    execute(&full, trap);
    let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
    full.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert_eq!((segments(), full.pending.messages().len()), (1, 10), "nobody else knows the last seq");
    execute(&full, "DROP TRIGGER trap2");
    full.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert_eq!((segments(), full.pending.messages().len()), (0, 0));
    drop(full);
    let mut later = writer(dir.path());
    assert_eq!(append(&mut later, &[("alice", 9)]).pop().unwrap().unwrap(), [last + 1]);
}

#[test]
fn a_segment_that_was_let_go_is_not_in_the_index_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut full = writer(dir.path());
    full.parts.max_messages = u64::MAX;
    execute(&full, "PRAGMA max_page_count = 24");
    while full.flush().is_ok() {
        assert!(append(&mut full, &[("alice", 8); 10]).iter().all(Result::is_ok));
    }
    assert!(append(&mut full, &[("bob", 6)])[0].is_ok());
    full.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert!(full.pending.messages().iter().all(|message| message.recipients[0].mailbox.as_str() == "alice"));
    execute(&full, "PRAGMA max_page_count = 1000");
    full.flush().unwrap();
    assert_eq!(held::all(&full.parts.connection).unwrap().len(), 1);
}

#[test]
fn a_segment_that_was_emptied_goes_with_its_hour() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    assert!(append(&mut writer, &[("bob", 6)])[0].is_ok());
    let (answer, _answered) = Answer::channel();
    writer.work(Batch {
        chores: vec![Chore::Clear(to(&["bob"])[0].mailbox.clone(), Timestamp::from_millis(0), answer)],
        ..Batch::default()
    });
    let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
    writer.tidy(Timestamp::from_millis(7 * HOUR_MS - 1), 0);
    assert_eq!(segments(), 1, "more may come into it");
    writer.tidy(Timestamp::from_millis(7 * HOUR_MS), 0);
    assert_eq!(segments(), 0);
}

#[test]
fn mail_of_a_transaction_that_failed_pushes_nothing_out_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    writer.parts.max_messages = 2;
    assert!(append(&mut writer, &[("alice", 6)])[0].is_ok());
    writer.flush().unwrap();
    execute(&writer, TRAP);
    append(&mut writer, &[("alice", 6), ("bob", 6)]);
    assert!(writer.flush().is_err());
    execute(&writer, "DROP TRIGGER trap");
    writer.flush().unwrap();
    assert_eq!(rows(&writer), 3, "two for alice, one for bob");
}

#[test]
fn an_index_that_is_full_takes_mail_again_once_some_has_expired() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    writer.parts.max_messages = u64::MAX;
    execute(&writer, "PRAGMA max_page_count = 24");
    let mut kept = 0;
    while writer.flush().is_ok() {
        assert!(append(&mut writer, &[("alice", 6); 10]).iter().all(Result::is_ok));
        kept += 10;
    }
    assert!(matches!(writer.flush(), Err(StoreError::Full(_))));
    let indexed = rows(&writer);
    assert_eq!(indexed, kept - 10);
    let mut expired = expire(&mut writer, 6).unwrap();
    assert_eq!(expired, SWEEP_STEP, "before what is pending");
    // It has made room for that, and that is due too.
    while let step @ 1.. = expire(&mut writer, 6).unwrap() {
        expired += step;
    }
    assert_eq!(usize::try_from(expired).unwrap(), kept);
    assert!(append(&mut writer, &[("alice", 7); 10]).iter().all(Result::is_ok));
    writer.flush().unwrap();
    assert_eq!(rows(&writer), 10);
}

#[test]
fn a_segment_that_is_over_goes_though_there_was_no_room_to_remove_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path());
    assert!(append(&mut writer, &[("alice", 6), ("bob", 6), ("carol", 7)]).iter().all(Result::is_ok));
    writer.flush().unwrap();
    let segments = || dir.path().join("data/segments").read_dir().unwrap().count();
    writer.tidy(Timestamp::from_millis(7 * HOUR_MS - 1), SWEEP_STEP);
    assert_eq!(segments(), 2, "the hour has a millisecond left");
    writer.tidy(Timestamp::from_millis(7 * HOUR_MS), SWEEP_STEP);
    assert_eq!(segments(), 1);
    assert_eq!(expire(&mut writer, 6).unwrap(), 2);
    assert_eq!(rows(&writer), 1);
}
