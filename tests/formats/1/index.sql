-- The index of a data directory of format 1. The segment beside it has its mail: one for alice and bob, one deleted,
-- one for alice.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN TRANSACTION;
CREATE TABLE counter (last_seq INTEGER NOT NULL, syncs INTEGER NOT NULL);
INSERT INTO "counter" VALUES(4,0);
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
INSERT INTO "message" VALUES(1,X'01A2235C40727E4EAEF262A7D41A7392','alice','alice@example.com',1795889578098,1795975978098,2142681874563072,0,531,690,238,-426644898136063196);
INSERT INTO "message" VALUES(2,X'01A2235C40727E4EAEF262A7D41A7392','bob','bob@example.com',1795889578098,1795975978098,2142681874563072,0,531,690,238,-426644898136063196);
INSERT INTO "message" VALUES(4,X'01A2235C446B7EA4BC058C8E55168041','alice','alice@example.com',1795889579115,1795975979115,2142681874563072,1772,494,628,216,-3524735795284674821);
CREATE TABLE segment (segment INTEGER PRIMARY KEY, indexed_end INTEGER NOT NULL);
INSERT INTO "segment" VALUES(2142681874563072,2616);
CREATE UNIQUE INDEX message_id ON message (id, mailbox);
CREATE INDEX message_mailbox ON message (mailbox, seq, expires_ms, received_ms);
CREATE INDEX message_expiry ON message (expires_ms);
COMMIT;
PRAGMA user_version = 1;
