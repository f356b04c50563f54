//! What is found after a crash or a power cut: the segments have all that was acknowledged, the index may be behind.

use super::*;
use crate::mail::MessageId;

impl Lab {
    /// Opens a copy of the data directory, made while the store went on.
    pub(super) async fn open_copy(&self, data_dir: &Path) -> Store {
        let kind = Kind::Embedded { data_dir: data_dir.to_owned(), min_free_bytes: 0 };
        Store::open(&Settings { kind, ..self.settings.clone() }, self.clock.clone(), Arc::default(), &self.tasks)
            .await
            .unwrap()
    }
}

pub(super) fn copy_index(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in ["index.sqlite3", "index.sqlite3-wal"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// Copies the segments, each as `change` leaves it.
pub(super) fn copy_segments(from: &Path, to: &Path, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    fs::create_dir_all(to.join("segments")).unwrap();
    for path in segments(from) {
        let bytes = change(fs::read(&path).unwrap());
        fs::write(to.join("segments").join(path.file_name().unwrap()), bytes).unwrap();
    }
}

async fn seqs(store: &Store, mailbox: &str) -> Vec<u64> {
    store.list(&name(mailbox), ALL).await.unwrap().messages.iter().map(|stored| stored.seq).collect()
}

#[tokio::test]
async fn an_index_that_lost_its_end_with_the_power_is_brought_up_to_date() {
    let lab = Lab::open(Subject::Embedded).await;
    let (_, deleted) = lab.deliver("alice", b"deleted").await;
    lab.deliver("bob", b"cleared").await;
    let (early, _) = lab.deliver("alice", b"early").await;
    assert!(lab.store.delete(&name("alice"), deleted).await.unwrap());
    assert_eq!(lab.store.clear(&name("bob")).await.unwrap(), 1);
    let cut = lab.dir.path().join("cut");
    copy_index(&lab.data_dir(), &cut);
    let mut last = early;
    for count in 0..20 {
        let message = lab.message();
        let raw = Bytes::from(format!("mail {count} {}", message.id));
        last = *lab.store.append(to(&["bob", "alice", "carol"]), message, raw).await.unwrap().last().unwrap();
        if count == 10 {
            lab.seqs("alice").await;
        }
    }
    copy_segments(&lab.data_dir(), &cut, |bytes| bytes);
    let store = lab.open_copy(&cut).await;
    for mailbox in ["alice", "bob", "carol"] {
        let found = store.list(&name(mailbox), ALL).await.unwrap().messages;
        assert_eq!(found, lab.store.list(&name(mailbox), ALL).await.unwrap().messages, "{mailbox}");
        for stored in found {
            let id = stored.message.id;
            assert_eq!(store.raw(&name(mailbox), id).await.unwrap(), lab.raw(mailbox, id).await);
        }
    }
    assert_eq!(seqs(&store, "alice").await.len(), 21);
    assert_eq!(store.message(&name("alice"), deleted).await.unwrap(), None);
    let next = store.append(to(&["alice"]), lab.message(), Bytes::new()).await.unwrap();
    assert!(next[0] > last, "{next:?} after {last}");
}

#[tokio::test]
async fn an_index_that_is_gone_is_made_again_from_the_segments() {
    let lab = Lab::open(Subject::Embedded).await;
    lab.deliver("alice", b"has expired by then").await;
    lab.clock.advance(DAY / 2);
    let shared = lab.message();
    let id = shared.id;
    lab.store.append(to(&["alice", "bob"]), shared, Bytes::from_static(b"hello")).await.unwrap();
    let last = lab.deliver("carol", b"").await.0;
    lab.clock.advance(DAY / 2);
    let (alice, bob) = (lab.seqs("alice").await, lab.seqs("bob").await);
    let lab = lab
        .reopen(|data_dir| {
            for file in data_dir.read_dir().unwrap().map(|file| file.unwrap().path()) {
                if file.to_string_lossy().contains("index") {
                    fs::remove_file(file).unwrap();
                }
            }
        })
        .await;
    assert_eq!((lab.seqs("alice").await, lab.seqs("bob").await), (alice, bob));
    assert_eq!(lab.seqs("carol").await, [last]);
    assert_eq!(lab.raw("bob", id).await.unwrap(), b"hello"[..]);
    assert!(lab.deliver("alice", b"").await.0 > last);
    assert_eq!(lab.store.sweep().await.unwrap(), 1, "what has expired by a clock that may be wrong waits for a sweep");
}

#[tokio::test]
async fn an_entry_that_is_not_whole_is_not_there_and_those_before_it_are() {
    let lab = Lab::open(Subject::Embedded).await;
    let empty = lab.dir.path().join("empty");
    copy_index(&lab.data_dir(), &empty);
    let (first, id) = lab.deliver("alice", b"hello").await;
    let (second, _) = lab.deliver("alice", &[b'x'; 500]).await;
    lab.store.close().await;
    let end = fs::metadata(&segments(&lab.data_dir())[0]).unwrap().len();
    let front_len = (usize::try_from(end).unwrap() - 500 - b"hello".len()) / 2;
    // In the head, in the record, in the recipients, in the raw bytes; and with something behind it.
    for cut in [0, 50, 103, 104, 200, front_len - 20, front_len, front_len + 200, front_len + 499] {
        for behind in [&b""[..], &[0; 4096], &[b'?'; 4096]] {
            let torn = lab.dir.path().join(format!("torn-{cut}-{}", behind.first().copied().unwrap_or(1)));
            copy_index(&empty, &torn);
            let kept = front_len + b"hello".len() + cut;
            copy_segments(&lab.data_dir(), &torn, |bytes| [&bytes[..kept], behind].concat());
            let store = lab.open_copy(&torn).await;
            assert_eq!(seqs(&store, "alice").await, [first], "cut at {cut}");
            assert_eq!(store.raw(&name("alice"), id).await.unwrap().unwrap(), b"hello"[..]);
            let next = store.append(to(&["alice"]), lab.message(), Bytes::new()).await.unwrap();
            assert_eq!(seqs(&store, "alice").await, [next[0], first]);
        }
    }
    copy_segments(&lab.data_dir(), &empty, |bytes| bytes);
    assert_eq!(seqs(&lab.open_copy(&empty).await, "alice").await, [second, first]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_or_told_of_is_listed_at_once() {
    let lab = Lab::open(Subject::Embedded).await;
    let mut events = lab.store.subscribe(None);
    let senders = (0..16).map(|task| {
        let (store, messages) = (lab.store.clone(), (0..20).map(|_| lab.message()).collect::<Vec<_>>());
        async move {
            let mailbox = format!("box-{task}");
            for message in messages {
                let kept = store.append(to(&[&mailbox]), message, Bytes::new()).await.unwrap();
                assert_eq!(seqs(&store, &mailbox).await.first(), kept.last());
            }
        }
    });
    let told = async {
        for _ in 0..16 * 20 {
            let event = events.next().await.unwrap();
            let listed = lab.store.list(&event.mailbox, ALL).await.unwrap().messages;
            assert!(listed.iter().any(|stored| stored.seq == event.seq), "{event:?}");
        }
    };
    tokio::join!(all(&lab.tasks, senders), told);
}

#[tokio::test]
async fn an_index_that_cannot_be_written_stops_readers_and_loses_no_mail() {
    let lab = Lab::open(Subject::Embedded).await;
    let index = rusqlite::Connection::open(lab.data_dir().join("index.sqlite3")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (seq, id) = lab.deliver("alice", b"hello").await;
    let alice = name("alice");
    assert!(matches!(lab.store.list(&alice, ALL).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(lab.store.raw(&alice, id).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(lab.store.delete(&alice, id).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(lab.store.ready().await, Err(StoreError::Unavailable(_))));
    let (later, _) = lab.deliver("alice", b"mail is still taken").await;
    index.execute_batch("ROLLBACK").unwrap();
    assert_eq!(lab.seqs("alice").await, [later, seq]);
    let ready = async {
        while lab.store.ready().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.unwrap();
}

#[tokio::test]
async fn a_store_that_could_not_index_before_it_was_closed_has_its_mail_when_it_is_opened_again() {
    let lab = Lab::open(Subject::Embedded).await;
    let index = rusqlite::Connection::open(lab.data_dir().join("index.sqlite3")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (seq, id): (u64, MessageId) = lab.deliver("alice", b"hello").await;
    let lab = lab.reopen(|_| drop(index)).await;
    assert_eq!(lab.seqs("alice").await, [seq]);
    assert_eq!(lab.raw("alice", id).await.unwrap(), b"hello"[..]);
    assert!(lab.deliver("alice", b"").await.0 > seq);
}
