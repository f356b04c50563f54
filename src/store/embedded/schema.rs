//! The index: its tables, and how its connections are set up.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::directory::Directory;
use crate::store::{OpenError, StoreError};

/// Earlier versions can lose what was committed: a bug of the WAL that was fixed in 3.51.3.
const SQLITE_MIN_VERSION: i32 = 3_051_003;
/// The version of everything that is in the data directory, the segments included.
const FORMAT: i64 = FORMATS.len() as i64;
const CACHED_STATEMENTS: usize = 32;

/// Each row is one message in one mailbox; copies of a message share its id and its place, and their seqs follow each other.
/// An id begins with the time of its arrival, so that the index by id grows at its end, where an index by mailbox first would
/// touch a page for each mailbox; only `message_mailbox` does, and it has all that the list of the mailboxes needs.
///
/// The segments are the log that all this is made from: `segment` says up to where it has been. It changes in one transaction
/// with the rows, so that what was deleted is not found in the log again. `counter` has the largest seq that was given out.
const FORMAT_1: &str = "
    CREATE TABLE message (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        mailbox TEXT NOT NULL,
        rcpt_to TEXT NOT NULL,
        received_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        segment INTEGER NOT NULL,
        start INTEGER NOT NULL,
        record_len INTEGER NOT NULL,
        front_len INTEGER NOT NULL,
        raw_len INTEGER NOT NULL,
        checksum INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX message_id ON message (id, mailbox);
    CREATE INDEX message_mailbox ON message (mailbox, seq, expires_ms, received_ms);
    CREATE INDEX message_expiry ON message (expires_ms);
    CREATE TABLE segment (segment INTEGER PRIMARY KEY, indexed_end INTEGER NOT NULL);
    CREATE TABLE counter (last_seq INTEGER NOT NULL, syncs INTEGER NOT NULL);
    INSERT INTO counter VALUES (0, 0);
";

/// Each row of `gone` is a message that is not in its mailbox any more. The numbers are the order in which they went. A message
/// that was claimed has a token, and an end of its lease, which is the end of time where it is done.
const FORMAT_2: &str = "
    CREATE TABLE gone (
        number INTEGER PRIMARY KEY,
        mailbox TEXT NOT NULL,
        id BLOB NOT NULL,
        reason INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX gone_message ON gone (mailbox, id);
    ALTER TABLE message ADD COLUMN claim_token BLOB;
    ALTER TABLE message ADD COLUMN claimed_until_ms INTEGER;
    CREATE INDEX message_claimed ON message (mailbox, claimed_until_ms) WHERE claimed_until_ms IS NOT NULL;
";

/// How many entries of each segment are referred to, and their bytes: the start does not count them.
const FORMAT_3: &str = "
    ALTER TABLE segment ADD COLUMN entries INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE segment ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
    UPDATE segment SET entries = held.entries, bytes = held.bytes FROM (
        SELECT segment, count(*) AS entries, sum(len) AS bytes
        FROM (SELECT DISTINCT segment, start, front_len + raw_len AS len FROM message) GROUP BY segment
    ) AS held WHERE held.segment = segment.segment;
";

/// What makes each format from the one before it. A new directory goes through all of them.
const FORMATS: [&str; 3] = [FORMAT_1, FORMAT_2, FORMAT_3];

/// Opens the one connection that writes, and makes the tables in a new directory; one of an earlier format is brought up to
/// this one.
pub(super) fn writing(directory: &Directory) -> Result<Connection, OpenError> {
    let name = directory.path().display();
    if rusqlite::version_number() < SQLITE_MIN_VERSION {
        let version = rusqlite::version();
        return Err(OpenError(format!("SQLite {version} can lose mail; build restante with SQLite 3.51.3 or later")));
    }
    let failed = |error: rusqlite::Error| {
        let advice = match StoreError::from(error) {
            StoreError::Full(error) => format!("{error}; make some room on its disk"),
            StoreError::Damaged(error) => format!("{error}; restore it or choose another"),
            StoreError::Unavailable(error) => format!("{error}; make it readable and writable for this user"),
        };
        OpenError(format!("the index in data directory {name} cannot be opened: {advice}"))
    };
    let mut connection = Connection::open(directory.index()).map_err(failed)?;
    match prepare(&mut connection).map_err(failed)? {
        FORMAT => Ok(connection),
        other => Err(OpenError(format!(
            "data directory {name} has store format {other}, and this version of restante knows formats up to {FORMAT}; \
             start the version that wrote it, or choose another directory"
        ))),
    }
}

/// Sets the connection up and returns the format that it found, or made.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let missing = usize::try_from(format).ok().and_then(|format| FORMATS.get(format..));
    let Some(missing) = missing.filter(|_| format != 0 || tables == 0) else { return Ok(format) };
    // The first two count only before the first table, and before the WAL. NORMAL: what the last transactions had found in the
    // log may go with the power, and is found there again; removals are synced (see `index::set_durable`). Only a checkpoint
    // ever waits, for readers, and it is tried again.
    connection.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;")?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    connection.execute_batch(
        "PRAGMA busy_timeout = 250; PRAGMA cache_size = -16000; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;",
    )?;
    if !missing.is_empty() {
        let tables = connection.transaction()?;
        missing.iter().try_for_each(|step| tables.execute_batch(step))?;
        tables.pragma_update(None, "user_version", FORMAT)?;
        tables.commit()?;
    }
    Ok(FORMAT)
}

/// Opens a connection that reads.
pub(super) fn reading(index: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(index, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.execute_batch("PRAGMA busy_timeout = 10000; PRAGMA cache_size = -8000;")?;
    Ok(connection)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// For each question the steps in which a new index answers it, beside what is expected of them.
    pub(in crate::store::embedded) fn plans<'a>(questions: &[(&str, &'a str)]) -> Vec<(Vec<String>, &'a str)> {
        let dir = tempfile::tempdir().unwrap();
        let connection = writing(&Directory::open(dir.path().to_owned()).unwrap()).unwrap();
        let steps = |question: &str| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {question}")).unwrap();
            statement.raw_query().mapped(|row| row.get(3)).collect::<rusqlite::Result<_>>().unwrap()
        };
        questions.iter().map(|(question, expected)| (steps(question), *expected)).collect()
    }

    #[test]
    fn a_new_index_is_consistent_and_can_shrink() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path().to_owned()).unwrap();
        let connection = writing(&directory).unwrap();
        let pragma = |name: &str| -> String {
            connection
                .query_row(&format!("PRAGMA {name}"), [], |row| {
                    row.get::<_, rusqlite::types::Value>(0).map(|value| format!("{value:?}"))
                })
                .unwrap()
        };
        assert_eq!(pragma("journal_mode"), "Text(\"wal\")");
        assert_eq!(pragma("synchronous"), "Integer(1)");
        assert_eq!(pragma("auto_vacuum"), "Integer(2)");
        assert_eq!(pragma("page_size"), "Integer(4096)");
        assert_eq!(pragma("user_version"), "Integer(3)");
    }
}
