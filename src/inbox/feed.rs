//! Mail as it arrives, for who follows it: of one mailbox, or of all.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::Inbox;
use super::filter::Filter;
use crate::mail::MailboxName;
use crate::store::{Event, Lagged, Mark, Page, StoreError, Stored, Subscription, Watch};

/// So many messages of a mailbox are read in one go, and so many bytes of records: each feed may hold them.
const BATCH_MESSAGES: usize = 100;
const BATCH_MAX_BYTES: u64 = 1024 * 1024;

/// Mail in the order of its arrival. It takes what it tells from the store, so a feed that nobody reads for a while takes no
/// more room for that.
pub struct Feed {
    inbox: Inbox,
    filter: Arc<Filter>,
    source: Source,
}

enum Source {
    Mailbox(Arrivals),
    All(Everything),
}

/// What a feed has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A message that meets the filter.
    Message(Box<Stored>),
    /// Nothing for now, but the place has moved: messages were there that do not meet the filter, or are gone already.
    Nothing,
    /// Messages may have come that are not told of: who follows looks at the lists again.
    Missed,
}

/// A place in a feed, from which it can be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Behind this `seq` of the mailbox.
    Seq(u64),
    /// Behind this event of all mailboxes. There is no `seq` over all of them that would be the same for every store.
    Mark(Mark),
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seq(seq) => seq.fmt(f),
            Self::Mark(mark) => mark.fmt(f),
        }
    }
}

impl Inbox {
    /// The messages of a mailbox that meet `filter`, as they arrive; with `after`, those behind that `seq` that are there
    /// already come first. What arrives from this call on is not missed.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn follow(
        &self,
        mailbox: MailboxName,
        filter: Arc<Filter>,
        after: Option<u64>,
    ) -> Result<Feed, StoreError> {
        // Before the look: what arrives between the two is not missed.
        let watch = self.store.watch(mailbox.clone());
        let read = match after {
            Some(after) => after,
            None => self.newest(&mailbox).await?.unwrap_or_default(),
        };
        let ends = if after.is_some() { vec![None] } else { Vec::new() };
        let arrivals = Arrivals { mailbox, watch, told: read, read, ends, batch: VecDeque::new() };
        Ok(Feed { inbox: self.clone(), filter, source: Source::Mailbox(arrivals) })
    }

    /// The messages of all mailboxes that meet `filter`, as they arrive; with `after`, from that place of an earlier feed on,
    /// as far as it is known.
    #[must_use]
    pub fn follow_all(&self, filter: Arc<Filter>, after: Option<Mark>) -> Feed {
        let subscription = self.store.subscribe(after);
        let everything = Everything { told: subscription.mark(), subscription, event: None };
        Feed { inbox: self.clone(), filter, source: Source::All(everything) }
    }

    /// The largest `seq` that is there.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn newest(&self, mailbox: &MailboxName) -> Result<Option<u64>, StoreError> {
        let page = Page { before: None, after: None, limit: 1, max_bytes: BATCH_MAX_BYTES };
        Ok(self.store.list(mailbox, page).await?.messages.first().map(|stored| stored.seq))
    }
}

impl Feed {
    /// What comes next; waits for it. Behind an error the feed can be asked again, and has lost nothing.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn next(&mut self) -> Result<News, StoreError> {
        match &mut self.source {
            Source::Mailbox(arrivals) => arrivals.next(&self.inbox, &self.filter).await,
            Source::All(everything) => everything.next(&self.inbox, &self.filter).await,
        }
    }

    /// The place behind what was told last.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        match &self.source {
            Source::Mailbox(arrivals) => Cursor::Seq(arrivals.told),
            Source::All(everything) => Cursor::Mark(everything.told),
        }
    }

    /// The mailbox that is followed, where it is one.
    #[must_use]
    pub const fn mailbox(&self) -> Option<&MailboxName> {
        match &self.source {
            Source::Mailbox(arrivals) => Some(&arrivals.mailbox),
            Source::All(_) => None,
        }
    }
}

/// The messages of one mailbox behind a place.
struct Arrivals {
    mailbox: MailboxName,
    watch: Watch,
    /// Everything up to this `seq` has been told of.
    told: u64,
    /// Everything up to this `seq` has been read.
    read: u64,
    /// Where the pages end that are still to be read, the oldest last. The store lists the newest first, so the way to the
    /// oldest leads over all of them; to note their ends takes little room, to keep them would take the whole mailbox.
    ends: Vec<Option<u64>>,
    /// What has been read and not told of, the oldest first.
    batch: VecDeque<Stored>,
}

impl Arrivals {
    async fn next(&mut self, inbox: &Inbox, filter: &Arc<Filter>) -> Result<News, StoreError> {
        loop {
            if let Some(stored) = self.batch.pop_front() {
                self.told = stored.seq;
                return Ok(News::Message(Box::new(stored)));
            }
            let Some(before) = self.ends.last().copied() else {
                self.watch.arrival().await;
                self.ends.push(None);
                continue;
            };
            let page = Page { before, after: Some(self.read), limit: BATCH_MESSAGES, max_bytes: BATCH_MAX_BYTES };
            let listing = inbox.store.list(&self.mailbox, page).await?;
            let (newest, oldest) = (listing.messages.first(), listing.messages.last());
            let (newest, oldest) = (newest.map(|stored| stored.seq), oldest.map(|stored| stored.seq));
            if listing.more {
                self.ends.push(oldest);
                continue;
            }
            if newest.is_none() && before.is_none() && self.has_started_over(inbox).await? {
                return Ok(News::Missed);
            }
            let mut found = inbox.matching(filter, listing.messages).await?;
            found.reverse();
            self.batch = found.into();
            self.ends.pop();
            self.read = self.read.max(newest.unwrap_or_default());
            if self.batch.is_empty() {
                self.told = self.read;
                return Ok(News::Nothing);
            }
        }
    }

    /// Whether the store counts from the beginning again, as one in memory does after a restart: then nothing would be
    /// behind our place for a long time. It looks the same when the newest messages have been deleted; what is behind the
    /// newest one that is left is new in both cases.
    async fn has_started_over(&mut self, inbox: &Inbox) -> Result<bool, StoreError> {
        let newest = inbox.newest(&self.mailbox).await?.filter(|newest| *newest < self.read);
        if let Some(newest) = newest {
            (self.told, self.read) = (newest, newest);
            self.ends.pop();
        }
        Ok(newest.is_some())
    }
}

/// The messages of all mailboxes behind an event.
struct Everything {
    subscription: Subscription,
    /// Everything up to here has been told of.
    told: Mark,
    /// An event whose message has not been read yet.
    event: Option<Event>,
}

impl Everything {
    async fn next(&mut self, inbox: &Inbox, filter: &Arc<Filter>) -> Result<News, StoreError> {
        let event = match self.event.take() {
            Some(event) => event,
            None => match self.subscription.next().await {
                Ok(event) => event,
                Err(Lagged) => {
                    self.told = self.subscription.mark();
                    return Ok(News::Missed);
                }
            },
        };
        let Event { mailbox, seq } = self.event.insert(event);
        let page = Page { before: seq.checked_add(1), after: seq.checked_sub(1), limit: 1, max_bytes: BATCH_MAX_BYTES };
        let messages = inbox.store.list(mailbox, page).await?.messages;
        let found = inbox.matching(filter, messages).await?.pop();
        self.event = None;
        self.told = self.subscription.mark();
        // A message that is gone already is none.
        Ok(found.map_or(News::Nothing, |stored| News::Message(Box::new(stored))))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;

    use super::*;
    use crate::inbox::tests::{envelope, inbox, settings};

    async fn deliver(inbox: &Inbox, to: &str, subject: &str) {
        let raw = format!("Subject: {subject}\r\n\r\ntext\r\n");
        crate::smtp::Backend::deliver(inbox, &envelope(&[to]), Bytes::from(raw)).await.unwrap();
    }

    /// What the feed has to tell now, as far as it is worth telling: subjects, and `missed`.
    fn told(feed: &mut Feed) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            match pin!(feed.next()).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return told,
                Poll::Ready(Ok(News::Message(stored))) => told.push(stored.message.content.subject.clone().unwrap()),
                Poll::Ready(Ok(News::Missed)) => told.push("missed".to_owned()),
                Poll::Ready(Ok(News::Nothing)) => {}
                Poll::Ready(Err(error)) => told.push(error.to_string()),
            }
        }
    }

    async fn follow(inbox: &Inbox, filter: &str, after: Option<u64>) -> Feed {
        let filter = Arc::new(filter.parse().unwrap());
        inbox.follow(inbox.mailbox("user").unwrap(), filter, after).await.unwrap()
    }

    fn follow_all(inbox: &Inbox, filter: &str, after: Option<Mark>) -> Feed {
        inbox.follow_all(Arc::new(filter.parse().unwrap()), after)
    }

    #[tokio::test]
    async fn a_mailbox_is_followed_in_order_from_now_or_from_a_place_on() {
        let inbox = inbox(settings(), u64::MAX).await;
        deliver(&inbox, "user@example.com", "one").await;
        let (mut now, mut all) = (follow(&inbox, "", None).await, follow(&inbox, "", Some(0)).await);
        assert_eq!(told(&mut now), Vec::<&str>::new());
        deliver(&inbox, "other@example.com", "another").await;
        deliver(&inbox, "user@example.com", "two").await;
        deliver(&inbox, "user@example.com", "three").await;
        assert_eq!(told(&mut now), ["two", "three"]);
        assert_eq!(told(&mut all), ["one", "two", "three"]);
        let Cursor::Seq(seq) = now.cursor() else { panic!("{:?}", now.cursor()) };
        deliver(&inbox, "user@example.com", "four").await;
        assert_eq!(told(&mut follow(&inbox, "", Some(seq)).await), ["four"]);
        assert_eq!(told(&mut now), ["four"]);
    }

    #[tokio::test]
    async fn what_does_not_match_moves_the_place_on() {
        let inbox = inbox(settings(), u64::MAX).await;
        let mut feeds = [follow(&inbox, "subject:yes", None).await, follow_all(&inbox, "subject:yes", None)];
        for feed in &mut feeds {
            let before = feed.cursor();
            deliver(&inbox, "user@example.com", "no").await;
            assert_eq!(told(feed), Vec::<&str>::new());
            assert_ne!(feed.cursor(), before);
        }
        deliver(&inbox, "user@example.com", "yes").await;
        deliver(&inbox, "user@example.com", "no").await;
        feeds.iter_mut().for_each(|feed| assert_eq!(told(feed), ["yes"]));
    }

    #[tokio::test]
    async fn a_mailbox_of_many_pages_is_told_from_its_beginning() {
        let inbox = inbox(settings(), u64::MAX).await;
        let user = inbox.mailbox("user").unwrap();
        let mut feed = follow(&inbox, "", Some(0)).await;
        // The texts of a page come to less than three of these.
        let large = "x".repeat(400 * 1024);
        for number in 0..8 {
            let raw = format!("Subject: {number}\r\n\r\n{large}\r\n");
            crate::smtp::Backend::deliver(&inbox, &envelope(&["user@example.com"]), Bytes::from(raw)).await.unwrap();
        }
        let mut subjects = Vec::new();
        while subjects.len() < 5 {
            let Ok(News::Message(stored)) = feed.next().await else { panic!() };
            subjects.push(stored.message.content.subject.clone().unwrap());
        }
        assert_eq!(subjects, ["0", "1", "2", "3", "4"]);
        let all = Page { before: None, after: None, limit: 10, max_bytes: u64::MAX };
        let last = inbox.list(&user, all).await.unwrap().messages.remove(0);
        assert!(inbox.delete(&user, last.message.id).await.unwrap());
        deliver(&inbox, "user@example.com", "last").await;
        assert_eq!(told(&mut feed), ["5", "6", "last"]);
    }

    #[tokio::test]
    async fn a_message_that_is_gone_before_it_is_told_of_is_none() {
        let inbox = inbox(settings(), u64::MAX).await;
        let mut feeds = [follow(&inbox, "", None).await, follow_all(&inbox, "", None)];
        deliver(&inbox, "user@example.com", "gone").await;
        inbox.clear(&inbox.mailbox("user").unwrap()).await.unwrap();
        deliver(&inbox, "user@example.com", "there").await;
        feeds.iter_mut().for_each(|feed| assert_eq!(told(feed), ["there"]));
    }

    #[tokio::test]
    async fn who_follows_all_and_falls_behind_or_comes_back_late_is_told_so() {
        let inbox = inbox(settings(), u64::MAX).await;
        let mut slow = follow_all(&inbox, "", None);
        let Cursor::Mark(early) = slow.cursor() else { panic!() };
        for number in 0..5000 {
            deliver(&inbox, "user@example.com", &number.to_string()).await;
        }
        assert_eq!(told(&mut slow), ["missed"]);
        assert_eq!(told(&mut follow_all(&inbox, "", Some(early))), ["missed"]);
        let Cursor::Mark(late) = slow.cursor() else { panic!() };
        deliver(&inbox, "other@example.com", "new").await;
        assert_eq!(told(&mut slow), ["new"]);
        assert_eq!(told(&mut follow_all(&inbox, "", Some(late))), ["new"]);
    }

    #[tokio::test]
    async fn a_store_that_has_started_over_does_not_fall_silent() {
        let inbox = inbox(settings(), u64::MAX).await;
        deliver(&inbox, "user@example.com", "one").await;
        let mut feed = follow(&inbox, "", Some(57)).await;
        assert_eq!(told(&mut feed), ["missed"]);
        deliver(&inbox, "user@example.com", "two").await;
        assert_eq!(told(&mut feed), ["two"]);
    }

    #[tokio::test]
    async fn a_store_that_cannot_be_read_costs_no_message() {
        let inbox = inbox(settings(), u64::MAX).await;
        let mut feed = follow_all(&inbox, "", None);
        deliver(&inbox, "user@example.com", "one").await;
        let before = feed.cursor();
        inbox.store.close().await;
        assert!(feed.next().await.is_err() && feed.next().await.is_err());
        assert_eq!(feed.cursor(), before);
    }
}
