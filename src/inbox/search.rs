//! Looking for messages, and waiting for them.

use std::sync::Arc;
use std::vec::IntoIter;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::filter::Filter;
use super::turns::{Stop, Turn};
use super::{INLINE_MAX_BYTES, Inbox};
use crate::mail::{HeaderField, MailboxName};
use crate::store::{Listing, Page, StoreError, Stored};

/// So many messages are looked at in one go.
const BATCH_MESSAGES: usize = 100;
/// So much is read and looked in at a time, or one message that is larger. It bounds what a search holds while it waits for
/// its turn, and what others wait for.
const PIECE_MAX_BYTES: usize = 1024 * 1024;
/// Expressions look in less at a time, the less the larger they are: this is its length times theirs. It is a few tenths of a
/// second where they are made to cost much, and far less where they are not.
const PIECE_MAX_WORK: usize = 1 << 31;
/// No expressions are so small that they look in more at a time.
const GLANCE_MAX_BYTES: usize = 256 * 1024;
/// A batch that is deleted ends before its texts have more than this.
const BATCH_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What a search has found.
struct Found {
    listing: Listing,
    /// The newest message that was looked at.
    newest: Option<u64>,
}

/// A message, and the conditions that it does not meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Miss {
    /// The message.
    pub stored: Stored,
    /// What it does not meet, in words.
    pub misses: Vec<String>,
}

impl Inbox {
    /// The messages of a mailbox that meet `filter`, newest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn search(&self, mailbox: &MailboxName, filter: &Arc<Filter>, page: Page) -> Result<Listing, StoreError> {
        self.find(mailbox, filter, page).await.map(|found| found.listing)
    }

    /// Waits until `count` messages of the part of the mailbox that `page` names meet `filter` and `is_news` says that they
    /// are, and returns them as [`Inbox::search`] does; what there is, where `until` comes first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn wait(
        &self,
        mailbox: &MailboxName,
        filter: &Arc<Filter>,
        page: Page,
        count: usize,
        until: Instant,
        is_news: impl Fn(&Listing) -> bool,
    ) -> Result<Listing, StoreError> {
        // Before the first look: what arrives between the two is not missed.
        let mut watch = self.store.watch(mailbox.clone());
        // In boxes: who waits takes no more room than waiting needs.
        let mut found = Box::pin(self.find(mailbox, filter, page)).await?;
        loop {
            // A page may be full of bytes before it has so many messages.
            if (found.listing.messages.len() >= count || found.listing.more) && is_news(&found.listing) {
                return Ok(found.listing);
            }
            if timeout_at(until, watch.arrival()).await.is_err() {
                // What was found may have expired or been deleted meanwhile.
                return Box::pin(self.search(mailbox, filter, page)).await;
            }
            // What did not meet the filter will not do so later: it is enough to look at what is new.
            let after = page.after.max(found.newest);
            let new = Box::pin(self.find(mailbox, filter, Page { after, ..page })).await?;
            found.newest = found.newest.max(new.newest);
            if !new.listing.messages.is_empty() {
                // All of it anew: what was found before may have been deleted.
                found = Box::pin(self.find(mailbox, filter, page)).await?;
            }
        }
    }

    /// Deletes the messages of a mailbox that meet `filter`; says how many there were.
    ///
    /// # Errors
    /// Where the store cannot be read or written.
    pub async fn clear_matching(&self, mailbox: &MailboxName, filter: &Arc<Filter>) -> Result<u64, StoreError> {
        let mut page = Page { before: None, after: None, limit: BATCH_MESSAGES, max_bytes: BATCH_MAX_BYTES };
        let mut deleted = 0;
        loop {
            let found = self.search(mailbox, filter, page).await?;
            for stored in &found.messages {
                deleted += u64::from(self.delete(mailbox, stored.message.id).await?);
            }
            page.before = found.messages.last().map(|stored| stored.seq);
            if !found.more {
                return Ok(deleted);
            }
        }
    }

    /// The newest messages of the part of a mailbox that `page` names, each with the conditions that it does not meet.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn misses(
        &self,
        mailbox: &MailboxName,
        filter: &Arc<Filter>,
        page: Page,
    ) -> Result<Vec<Miss>, StoreError> {
        let messages = self.store.list(mailbox, page).await?.messages;
        let miss = |filter: &Filter, stored: Stored, headers: &[HeaderField], stop: &Stop| {
            let misses = filter.misses(&stored, headers, stop);
            Some(Miss { stored, misses })
        };
        self.look_at(filter, messages, miss).await
    }

    async fn find(&self, mailbox: &MailboxName, filter: &Arc<Filter>, page: Page) -> Result<Found, StoreError> {
        if filter.is_empty() {
            let listing = self.store.list(mailbox, page).await?;
            let newest = listing.messages.first().map(|stored| stored.seq);
            return Ok(Found { listing, newest });
        }
        let mut found = Found { listing: Listing::default(), newest: None };
        // What is looked in piece by piece is read piece by piece.
        let max_bytes = page.max_bytes.min(Pace::of(filter).max_bytes as u64);
        let mut rest = Page { limit: BATCH_MESSAGES, max_bytes, ..page };
        let mut bytes = 0;
        loop {
            let batch = self.store.list(mailbox, rest).await?;
            found.newest = found.newest.max(batch.messages.first().map(|stored| stored.seq));
            rest.before = batch.messages.last().map(|stored| stored.seq);
            for stored in self.matching(filter, batch.messages).await? {
                bytes += stored.text_bytes() as u64;
                let is_full = !found.listing.messages.is_empty() && bytes > page.max_bytes;
                if found.listing.messages.len() == page.limit || is_full {
                    found.listing.more = true;
                    return Ok(found);
                }
                found.listing.messages.push(stored);
            }
            if !batch.more {
                return Ok(found);
            }
        }
    }

    /// Those of `messages` that meet `filter`.
    pub(super) async fn matching(
        &self,
        filter: &Arc<Filter>,
        messages: Vec<Stored>,
    ) -> Result<Vec<Stored>, StoreError> {
        if filter.is_empty() {
            return Ok(messages);
        }
        let meets = |filter: &Filter, stored: Stored, headers: &[HeaderField], stop: &Stop| {
            filter.matches(&stored, headers, stop).then_some(stored)
        };
        self.look_at(filter, messages, meets).await
    }

    /// What `look` makes of each message of `batch`, where it holds up nobody.
    async fn look_at<T: Send + 'static>(
        &self,
        filter: &Arc<Filter>,
        batch: Vec<Stored>,
        look: impl Fn(&Filter, Stored, &[HeaderField], &Stop) -> Option<T> + Copy + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        let Pace { is_costly, max_bytes } = Pace::of(filter);
        let mut batch = Batch { messages: batch.into_iter(), left: None };
        let mut found = Vec::new();
        loop {
            let piece = self.piece(filter, &mut batch, max_bytes).await?;
            if piece.candidates.is_empty() {
                return Ok(found);
            }
            let turns = match is_costly {
                false if piece.bytes <= INLINE_MAX_BYTES => {
                    found.extend(piece.looked_at(filter, look, &Stop::default()));
                    continue;
                }
                false => &self.looking,
                true if piece.bytes <= max_bytes => &self.glancing,
                true => &self.matching,
            };
            // After each piece others come first.
            let (turn, piece) = if piece.bytes <= max_bytes {
                (Turn::take(turns).await, piece)
            } else {
                Box::pin(self.again(turns, piece)).await?
            };
            let filter = filter.clone();
            found.extend(turn.work(move |stop| piece.looked_at(&filter, look, stop)).await?);
        }
    }

    /// The next of a batch, as many as are looked in at a time. Their headers are read only now: there may be much of them.
    async fn piece(&self, filter: &Filter, batch: &mut Batch, max_bytes: usize) -> Result<Piece, StoreError> {
        let mut piece = Piece::default();
        while piece.bytes <= max_bytes {
            let candidate = match batch.left.take() {
                Some(left) => left,
                None => match batch.messages.next() {
                    Some(stored) => Candidate { headers: self.headers(filter, &stored).await?, stored },
                    None => break,
                },
            };
            if !piece.candidates.is_empty() && piece.bytes + candidate.bytes() > max_bytes {
                batch.left = Some(candidate);
                break;
            }
            piece.bytes += candidate.bytes();
            piece.candidates.push(candidate);
        }
        Ok(piece)
    }

    /// A turn for what is large. It is let go until then, and read again. What has gone meanwhile is not in the piece any more.
    async fn again(&self, turns: &Arc<Semaphore>, piece: Piece) -> Result<(Turn, Piece), StoreError> {
        let Piece { candidates, bytes } = piece;
        let named = |Candidate { stored, headers }| (stored.mailbox, stored.message.id, headers);
        let named: Vec<_> = candidates.into_iter().map(named).collect();
        let turn = Turn::take(turns).await;
        let mut piece = Piece { candidates: Vec::with_capacity(named.len()), bytes };
        for (mailbox, id, headers) in named {
            let stored = self.store.message(&mailbox, id).await?;
            piece.candidates.extend(stored.map(|stored| Candidate { stored, headers }));
        }
        Ok((turn, piece))
    }

    /// The header of a message, where `filter` asks for it. A message that has gone meanwhile has none.
    async fn headers(&self, filter: &Filter, stored: &Stored) -> Result<Vec<HeaderField>, StoreError> {
        if !filter.wants_headers() {
            return Ok(Vec::new());
        }
        // In a box: it is large, and hardly any search comes here.
        let fields = Box::pin(self.header_fields(&stored.mailbox, stored.message.id)).await?;
        Ok(fields.unwrap_or_default())
    }
}

/// How much a filter looks in at a time, unless it is one message.
struct Pace {
    /// Whether the work may be many times the length of what it looks in.
    is_costly: bool,
    max_bytes: usize,
}

impl Pace {
    fn of(filter: &Filter) -> Self {
        match PIECE_MAX_WORK.checked_div(filter.expression_bytes()) {
            None => Self { is_costly: false, max_bytes: PIECE_MAX_BYTES },
            Some(max_bytes) => Self { is_costly: true, max_bytes: max_bytes.min(GLANCE_MAX_BYTES) },
        }
    }
}

/// Messages that are still to be looked at.
struct Batch {
    messages: IntoIter<Stored>,
    /// The one before them, which had no room in the last piece.
    left: Option<Candidate>,
}

/// A message, and its header where a filter asks for it.
struct Candidate {
    stored: Stored,
    headers: Vec<HeaderField>,
}

impl Candidate {
    /// How much of it may be looked in.
    fn bytes(&self) -> usize {
        let content = &self.stored.message.content;
        let people = content.from.iter().chain(&content.to).chain(&content.cc);
        let names = people.flat_map(|person| person.name.iter().chain(&person.address));
        let files = content.attachments.iter().filter_map(|file| file.filename.as_ref());
        let of_header: usize = content.subject.iter().chain(names).chain(files).map(String::len).sum();
        self.stored.text_bytes() + of_header + self.headers.iter().map(|field| field.value.len()).sum::<usize>()
    }
}

/// What is looked at in one go.
#[derive(Default)]
struct Piece {
    candidates: Vec<Candidate>,
    bytes: usize,
}

impl Piece {
    fn looked_at<T>(
        self,
        filter: &Filter,
        look: impl Fn(&Filter, Stored, &[HeaderField], &Stop) -> Option<T>,
        stop: &Stop,
    ) -> Vec<T> {
        let candidates = self.candidates.into_iter();
        candidates.filter_map(|Candidate { stored, headers }| look(filter, stored, &headers, stop)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::inbox::LARGE_AT_ONCE;
    use crate::inbox::tests::{envelope, inbox, settings};
    use crate::mail::MessageId;

    const DEADLINE: Duration = Duration::from_secs(60);
    const ALL: Page = Page { before: None, after: None, limit: 10, max_bytes: 1 << 20 };

    fn filter(text: &str) -> Arc<Filter> {
        Arc::new(text.parse().unwrap())
    }

    async fn deliver(inbox: &Inbox, subject: &str, body: &str) {
        let raw = format!("Subject: {subject}\r\nX-Test: {subject}\r\n\r\n{body}\r\n");
        crate::smtp::Backend::deliver(inbox, &envelope(&["user@example.com"]), Bytes::from(raw)).await.unwrap();
    }

    fn subjects(listing: &Listing) -> Vec<&str> {
        listing.messages.iter().map(|stored| stored.message.content.subject.as_deref().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_search_finds_what_matches_across_pages() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        for number in 0..10 {
            deliver(&inbox, if number % 2 == 0 { "even" } else { "odd" }, &format!("number {number}")).await;
        }
        let all = inbox.search(&user, &filter("even"), ALL).await.unwrap();
        assert_eq!((subjects(&all), all.more), (vec!["even"; 5], false));
        let some = inbox.search(&user, &filter("header:x-test=even"), Page { limit: 2, ..ALL }).await.unwrap();
        assert_eq!((subjects(&some), some.more), (vec!["even"; 2], true));
        let before = some.messages.last().map(|stored| stored.seq);
        let rest = inbox.search(&user, &filter("even"), Page { before, ..ALL }).await.unwrap();
        assert_eq!((subjects(&rest), rest.more), (vec!["even"; 3], false));
        let page = inbox.search(&user, &filter("even"), Page { max_bytes: 1, ..ALL }).await.unwrap();
        assert_eq!((subjects(&page), page.more), (vec!["even"], true));
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_mail_that_was_meant() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        deliver(&inbox, "verify", "old").await;
        let after = inbox.search(&user, &filter(""), ALL).await.unwrap().messages[0].seq;
        let page = Page { after: Some(after), ..ALL };
        let until = Instant::now() + Duration::from_secs(60);
        let filter = filter("subject:verify");
        let waiting = inbox.wait(&user, &filter, page, 2, until, |_| true);
        let sending = async {
            for subject in ["verify", "reset", "verify"] {
                // The one who waits has its turn in between.
                tokio::task::yield_now().await;
                deliver(&inbox, subject, "new").await;
            }
        };
        let (found, ()) = tokio::join!(waiting, sending);
        assert_eq!(subjects(&found.unwrap()), ["verify", "verify"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_gets_what_there_is() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        deliver(&inbox, "verify", "text").await;
        let start = Instant::now();
        let until = start + Duration::from_secs(30);
        let found = inbox.wait(&user, &filter("verify"), ALL, 2, until, |_| true).await.unwrap();
        assert_eq!(subjects(&found), ["verify"]);
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test]
    async fn what_was_deleted_while_somebody_waits_does_not_count() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        deliver(&inbox, "verify", "first").await;
        let first: MessageId = inbox.search(&user, &filter(""), ALL).await.unwrap().messages[0].message.id;
        let until = Instant::now() + Duration::from_secs(60);
        let filter = filter("verify");
        let waiting = inbox.wait(&user, &filter, ALL, 2, until, |_| true);
        let changing = async {
            tokio::task::yield_now().await;
            assert!(inbox.delete(&user, first).await.unwrap());
            for body in ["second", "third"] {
                deliver(&inbox, "verify", body).await;
                tokio::task::yield_now().await;
            }
        };
        let (found, ()) = tokio::join!(waiting, changing);
        assert!(found.unwrap().messages.iter().all(|stored| stored.message.id != first));
    }

    /// Thousands may wait. What is done before and after has boxes of its own.
    #[tokio::test]
    async fn who_waits_takes_little_room() {
        let inbox = inbox(settings(), u64::MAX).await;
        let (user, filter) = (inbox.mailbox("user").unwrap(), filter("verify"));
        let waiting = inbox.wait(&user, &filter, ALL, 1, Instant::now(), |_| true);
        assert!(size_of_val(&waiting) < 1024, "{} bytes", size_of_val(&waiting));
    }

    #[tokio::test]
    async fn expressions_take_turns_and_keep_no_other_search_waiting() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        let large = "x".repeat(600 * 1024);
        for subject in ["one", "two", "three"] {
            deliver(&inbox, subject, &large).await;
        }
        let busy = inbox.matching.clone().acquire_many_owned(LARGE_AT_ONCE as u32).await.unwrap();
        let expression = filter("re:/^t/");
        let all = Page { max_bytes: u64::MAX, ..ALL };
        let mut searching = std::pin::pin!(inbox.search(&user, &expression, all));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(searching.as_mut().poll(&mut cx).is_pending());
        let plain = inbox.search(&user, &filter("subject:t"), all).await.unwrap();
        assert_eq!(subjects(&plain), ["three", "two"]);
        assert!(searching.as_mut().poll(&mut cx).is_pending());
        assert_eq!(inbox.looking.available_permits(), LARGE_AT_ONCE, "it waits for its turn, and takes no other");
        drop(busy);
        assert_eq!(inbox.matching.available_permits(), LARGE_AT_ONCE - 1, "it has its turn");
        assert_eq!(subjects(&searching.await.unwrap()), ["three", "two"]);
        // Each message is a piece of its own: all have been looked at, and each turn has been given back.
        assert_eq!(inbox.matching.available_permits(), LARGE_AT_ONCE);
    }

    #[tokio::test]
    async fn who_has_little_to_look_in_waits_for_nobody_who_has_much() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        for number in 0..10 {
            deliver(&inbox, &format!("number {number}"), &"x".repeat(8 * 1024)).await;
        }
        let _busy = inbox.matching.clone().acquire_many_owned(LARGE_AT_ONCE as u32).await.unwrap();
        for expression in [r"re:/number [1-3]/", r"subject:re:/^\w+ [1-3]$/", r"header:x-test=re:/ [1-3]$/"] {
            let filter = filter(expression);
            let found = timeout_at(Instant::now() + DEADLINE, inbox.search(&user, &filter, ALL)).await;
            assert_eq!(found.unwrap().unwrap().messages.len(), 3, "{expression}");
        }
    }

    #[tokio::test]
    async fn a_search_that_waits_for_its_turn_holds_nothing_large() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        deliver(&inbox, "one", &"x".repeat(600 * 1024)).await;
        let all = Page { max_bytes: u64::MAX, ..ALL };
        let one = inbox.list(&user, all).await.unwrap().messages.remove(0);
        let held = Arc::strong_count(&one.message);
        let busy = inbox.matching.clone().acquire_many_owned(LARGE_AT_ONCE as u32).await.unwrap();
        let expression = filter("re:/^one$/");
        let mut searching = std::pin::pin!(inbox.search(&user, &expression, all));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(searching.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Arc::strong_count(&one.message), held);
        drop(busy);
        assert_eq!(subjects(&searching.await.unwrap()), ["one"]);
        // One that has gone when its turn comes is not found.
        let busy = inbox.matching.clone().acquire_many_owned(LARGE_AT_ONCE as u32).await.unwrap();
        let mut searching = std::pin::pin!(inbox.search(&user, &expression, all));
        assert!(searching.as_mut().poll(&mut cx).is_pending());
        assert!(inbox.delete(&user, one.message.id).await.unwrap());
        drop(busy);
        assert!(searching.await.unwrap().messages.is_empty());
    }

    #[tokio::test]
    async fn headers_count_as_what_is_looked_in_and_are_read_when_it_is_their_turn() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        for _ in 0..5 {
            deliver(&inbox, &"x".repeat(900), "text").await;
        }
        let messages = inbox.list(&user, ALL).await.unwrap().messages;
        let of = async |filter: &str, max_bytes| {
            let filter: Filter = filter.parse().unwrap();
            let mut batch = Batch { messages: messages.clone().into_iter(), left: None };
            let mut pieces = Vec::new();
            loop {
                let piece = inbox.piece(&filter, &mut batch, max_bytes).await.unwrap();
                match piece.candidates.len() {
                    0 => return pieces,
                    len => pieces.push(len),
                }
            }
        };
        // Each has its subject twice in its header, and once in what is looked in anyway.
        assert_eq!(of("header:x-test=re:/y/", 6000).await, [2, 2, 1]);
        assert_eq!(of("re:/y/", 6000).await, [5]);
        assert_eq!(of("re:/y/", 1).await, [1; 5]);
    }

    #[tokio::test]
    async fn misses_are_told_newest_first() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        deliver(&inbox, "first", "text").await;
        deliver(&inbox, "second", "text").await;
        let misses = inbox.misses(&user, &filter("subject:verify text"), ALL).await.unwrap();
        let said: Vec<_> = misses.iter().map(|miss| miss.misses.join(";")).collect();
        assert_eq!(said, [r#"subject: wanted "verify", got "second""#, r#"subject: wanted "verify", got "first""#]);
    }
}
