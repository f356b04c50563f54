//! Mail of the store into files.

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use tokio::runtime::Runtime;

use super::files::write::Writer;
use super::progress::Progress;
use super::{Failure, Format};
use crate::clock::Clock;
use crate::config::Config;
use crate::mail::{MailboxName, MessageId};
use crate::store::{Page, Store, StoreError};

/// So many mailboxes, and messages of one, are asked for at a time.
const PAGE: usize = 200;
/// So many bytes of their records at a time.
const PAGE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What is exported, and where to.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The directory to write to; made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// How to write it
    #[arg(long, value_enum)]
    format: Format,
    /// Only this mailbox, a name or an address; may be given several times
    #[arg(long, value_name = "NAME")]
    mailbox: Vec<String>,
}

/// What has been done.
#[derive(Default)]
struct Count {
    messages: u64,
    mailboxes: u64,
    bytes: u64,
    /// What cannot be read back.
    damaged: u64,
}

/// Exports, mailbox by mailbox and message by message.
pub(super) fn run(arguments: &Arguments, runtime: &Runtime, store: &Store, config: &Config) -> Result<(), Failure> {
    let named = arguments.mailbox.iter().map(|name| config.inbox.naming.parse(name));
    let named = named.collect::<Result<Vec<_>, _>>().map_err(|error| Failure::Setup(format!("--mailbox: {error}")))?;
    let progress = Progress::new(Clock::system());
    let mut export = Export { arguments, runtime, store, count: Count::default(), progress };
    let done = if named.is_empty() { export.all() } else { named.iter().try_for_each(|name| export.mailbox(name)) };
    let Count { messages, mailboxes, bytes, damaged } = export.count;
    let to = arguments.to.display();
    export.progress.say(format_args!("exported {messages} messages of {mailboxes} mailboxes, {bytes} bytes, to {to}"));
    done.map_err(Failure::NotDone)?;
    if damaged == 0 { Ok(()) } else { Err(Failure::NotDone(format!("{damaged} messages were not written"))) }
}

struct Export<'a> {
    arguments: &'a Arguments,
    runtime: &'a Runtime,
    store: &'a Store,
    count: Count,
    progress: Progress,
}

impl Export<'_> {
    fn all(&mut self) -> Result<(), String> {
        let mut last = None;
        loop {
            let page = self.runtime.block_on(self.store.mailboxes(last.as_ref(), PAGE)).map_err(said)?;
            for summary in &page {
                self.mailbox(&summary.mailbox)?;
            }
            match page.into_iter().last() {
                Some(summary) => last = Some(summary.mailbox),
                None => return Ok(()),
            }
        }
    }

    /// Writes the messages of a mailbox, the oldest first, so that they come back in their order.
    fn mailbox(&mut self, mailbox: &MailboxName) -> Result<(), String> {
        let failed = |error| format!("mailbox {mailbox} was not written: {error}");
        let ids = self.ids(mailbox)?;
        if ids.is_empty() {
            return Ok(());
        }
        let to = &self.arguments.to;
        let mut files = Writer::begin(self.arguments.format, to, mailbox).map_err(failed)?;
        for id in ids.into_iter().rev() {
            let read = async { Ok((self.store.message(mailbox, id).await?, self.store.raw(mailbox, id).await?)) };
            let (stored, raw) = match self.runtime.block_on(read) {
                Ok((Some(stored), Some(raw))) => (stored, raw),
                // It has expired meanwhile.
                Ok(_) => continue,
                Err(StoreError::Damaged(error)) => {
                    self.leave_out(1, format_args!("mailbox {mailbox}: {error}"));
                    continue;
                }
                Err(error) => return Err(said(error)),
            };
            files.write(&stored, &raw).map_err(failed)?;
            self.count.messages += 1;
            self.count.bytes += raw.len() as u64;
            let Count { messages, bytes, .. } = self.count;
            self.progress.step(|| format!("exported {messages} messages, {bytes} bytes so far; now mailbox {mailbox}"));
        }
        files.finish().map_err(failed)?;
        self.count.mailboxes += 1;
        Ok(())
    }

    /// Goes on without what is damaged, and says so.
    fn leave_out(&mut self, messages: u64, what: impl Display) {
        self.count.damaged += messages;
        self.progress.say(format_args!("not written: {what}"));
    }

    /// The messages of a mailbox, newest first.
    fn ids(&mut self, mailbox: &MailboxName) -> Result<Vec<MessageId>, String> {
        let mut ids = Vec::new();
        let mut before = None;
        loop {
            let page = Page { before, after: None, limit: PAGE, max_bytes: PAGE_MAX_BYTES };
            let listing = self.runtime.block_on(self.store.list(mailbox, page)).map_err(said)?;
            if listing.left_out > 0 {
                let records =
                    format_args!("mailbox {mailbox}: the records of {} messages cannot be read back", listing.left_out);
                self.leave_out(listing.left_out, records);
            }
            before = listing.messages.last().map(|stored| stored.seq);
            ids.extend(listing.messages.iter().map(|stored| stored.message.id));
            if !listing.more || before.is_none() {
                return Ok(ids);
            }
        }
    }
}

fn said(error: StoreError) -> String {
    error.to_string()
}
