//! Mail from files into the store.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use tokio::runtime::Runtime;

use super::files::Found;
use super::files::read::sources;
use super::progress::Progress;
use super::{Failure, Format, foreign};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::inbox::record_of;
use crate::mail::{Address, Content, Message, Recipient};
use crate::store::{Delivery, Store};

/// What is imported.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A file, or a directory in which mail is looked for
    #[arg(value_name = "FROM")]
    from: PathBuf,
    /// Only mail that lies there in this way
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// For mail that no export has written: its recipient, whatever its header says; may be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = Address::parse)]
    to: Vec<Address>,
    /// For mail that no export has written: it came when its `From ` line or the time of its file says, not now
    #[arg(long)]
    keep_times: bool,
    /// Keep everything for RETENTION from now on, expired mail too
    #[arg(long, conflicts_with = "keep_times")]
    renew: bool,
}

/// What became of a message.
enum Taken {
    Imported,
    There,
    Expired,
}

#[derive(Default)]
struct Count {
    imported: u64,
    there: u64,
    expired: u64,
    changed: u64,
    failed: u64,
}

/// Imports, message by message.
pub(super) fn run(arguments: &Arguments, runtime: &Runtime, store: &Store, config: &Config) -> Result<(), Failure> {
    let sources = sources(&arguments.from, arguments.format).map_err(Failure::Setup)?;
    if sources.is_empty() {
        let place = arguments.from.display();
        return Err(Failure::Setup(format!("no mail in {place}: no .eml file, no .mbox file, no Maildir")));
    }
    let clock = Clock::system();
    let progress = Progress::new(clock.clone());
    let mut import = Import { arguments, runtime, store, config, clock, count: Count::default(), progress };
    for source in sources {
        source.each(config.smtp.session.max_message_bytes, |found| import.add(found));
    }
    let Count { imported, there, expired, changed, failed } = import.count;
    import.progress.say(format_args!(
        "imported {imported} messages; {there} were there already, {expired} have expired, {failed} were not taken"
    ));
    if changed > 0 {
        import.progress.say(format_args!(
            "{changed} have been changed since their export: their bytes are taken as they are, under another id"
        ));
    }
    if failed == 0 { Ok(()) } else { Err(Failure::NotDone(format!("{failed} messages were not taken"))) }
}

struct Import<'a> {
    arguments: &'a Arguments,
    runtime: &'a Runtime,
    store: &'a Store,
    config: &'a Config,
    clock: Clock,
    count: Count,
    progress: Progress,
}

impl Import<'_> {
    /// Takes one message, and counts what became of it.
    fn add(&mut self, found: Result<Found, String>) {
        let place = found.as_ref().map(|found| found.place.clone()).unwrap_or_default();
        match found.map_err(|error| (String::new(), error)).and_then(|found| self.take(found).map_err(|e| (place, e))) {
            Ok(Taken::Imported) => self.count.imported += 1,
            Ok(Taken::There) => self.count.there += 1,
            Ok(Taken::Expired) => self.count.expired += 1,
            Err((place, error)) => {
                self.count.failed += 1;
                let colon = if place.is_empty() { "" } else { ": " };
                self.progress.say(format_args!("not taken: {place}{colon}{error}"));
            }
        }
        let Count { imported, there, expired, failed, .. } = self.count;
        self.progress.step(|| {
            let all = imported + there + expired + failed;
            format!("{all} messages so far: {imported} imported, {there} were there already")
        });
    }

    fn take(&mut self, found: Found) -> Result<Taken, String> {
        let (mut message, recipients, raw) = self.message(found)?;
        let now = self.clock.now();
        if self.arguments.renew {
            message.expires_at = now.after(self.config.inbox.retention);
        }
        if message.expires_at <= now {
            return Ok(Taken::Expired);
        }
        let deliveries = self.missing(&message, recipients)?;
        if deliveries.is_empty() {
            return Ok(Taken::There);
        }
        self.runtime.block_on(self.store.append(deliveries, message, raw)).map_err(|error| error.to_string())?;
        Ok(Taken::Imported)
    }

    /// The message as it was kept, or as it is made up of what its file says.
    fn message(&mut self, found: Found) -> Result<(Message, Vec<Recipient>, Bytes), String> {
        let original = found.record.as_ref().and_then(|record| record.raw(&found.bytes));
        let is_changed = found.record.is_some() && original.is_none();
        let raw = Bytes::from(original.unwrap_or_else(|| found.on_its_way()));
        let content = record_of(&raw, &self.config.inbox.mime);
        let size = raw.len() as u64;
        if let Some(record) = found.record {
            self.count.changed += u64::from(is_changed);
            let id = if is_changed { foreign::id(&raw, &content) } else { record.id };
            let recipients = record.recipients()?.into_iter().collect();
            let (received_at, expires_at) = (record.received_at_ms, record.expires_at_ms);
            let (mail_from, parameters, peer) = (record.from, record.parameters, record.peer);
            let message = Message { id, received_at, expires_at, mail_from, parameters, peer, size, content };
            return Ok((message, recipients, raw));
        }
        let recipients = self.recipients(&raw, &content);
        if recipients.is_empty() {
            return Err("no header says for whom it is; say it with --to".to_owned());
        }
        let received_at = self.moment(found.moment);
        let message = Message {
            id: foreign::id(&raw, &content),
            received_at,
            expires_at: received_at.after(self.config.inbox.retention),
            mail_from: foreign::sender(&found, &raw, &content, &self.config.inbox.mime),
            parameters: foreign::parameters(),
            peer: foreign::peer(),
            size,
            content,
        };
        Ok((message, recipients, raw))
    }

    fn moment(&self, of_file: Option<Timestamp>) -> Timestamp {
        let now = self.clock.now();
        of_file.filter(|_| self.arguments.keep_times).map_or(now, |moment| moment.min(now))
    }

    fn recipients(&self, raw: &Bytes, content: &Content) -> Vec<Recipient> {
        if !self.arguments.to.is_empty() {
            return self.arguments.to.iter().cloned().map(Recipient::from).collect();
        }
        foreign::recipients(raw, content, &self.config.inbox.mime, &self.config.inbox.domains)
    }

    /// One delivery for each mailbox that does not have the message.
    fn missing(&self, message: &Message, recipients: Vec<Recipient>) -> Result<Vec<Delivery>, String> {
        let mailbox = |to: &Recipient| self.config.inbox.naming.of(&to.address).map_err(|error| error.to_string());
        let named = recipients.into_iter().map(|to| Ok((mailbox(&to)?, to))).collect::<Result<Vec<_>, String>>()?;
        let mut missing = Vec::new();
        for delivery in Delivery::each(named) {
            let there = self.runtime.block_on(self.store.message(&delivery.mailbox, message.id));
            if there.map_err(|error| error.to_string())?.is_none() {
                missing.push(delivery);
            }
        }
        Ok(missing)
    }
}
