//! The ledger of attempts: mail that did not get in, and why. It is in memory alone, and gone with the process.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::mail::{Address, MailboxName, Naming, Peer, client_network};
use crate::smtp::{self, Reply};

/// How many attempts that nobody is shown any more are removed before others get the lock.
const SWEEP_STEP: usize = 100;

/// Mail that did not get in, for one of its recipients: whoever reads it sees none of the others.
///
/// No text in it is longer than SMTP lets it be: 255 bytes what the client called itself, 254 each address, 128 the
/// mailbox. With its places in the ledger an attempt takes less than 3 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it was refused.
    pub attempted_at: Timestamp,
    /// Who brought it.
    pub peer: Peer,
    /// The reverse-path; `None` is the null sender.
    pub mail_from: Option<Address>,
    /// The reverse-path as the client wrote it, where it is no address; `mail_from` is `None` then.
    pub written_from: Option<String>,
    /// The forward-path; `None` where the sender was refused and no recipient was named.
    pub rcpt_to: Option<Address>,
    /// The mailbox of the forward-path, whether its domain is ours or not; `None` where it names none.
    pub mailbox: Option<MailboxName>,
    /// The refusal; `None` where the client went away in the middle of the message.
    pub reply: Option<Reply>,
}

impl Attempt {
    /// What `refused` is to each of its recipients.
    pub(super) fn each(refused: smtp::Attempt, naming: Naming, attempted_at: Timestamp) -> Vec<Self> {
        let smtp::Attempt { envelope, written_from, reply } = refused;
        let attempt = |rcpt_to: Option<Address>| Self {
            attempted_at,
            peer: envelope.peer.clone(),
            mail_from: envelope.mail_from.clone(),
            written_from: written_from.clone(),
            mailbox: rcpt_to.as_ref().and_then(|to| naming.of(to).ok()),
            rcpt_to,
            reply: reply.clone(),
        };
        if envelope.rcpt_to.is_empty() {
            return vec![attempt(None)];
        }
        envelope.rcpt_to.into_iter().map(|to| attempt(Some(to.address))).collect()
    }
}

/// How many attempts are kept, and how long they are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) per_place: usize,
    pub(super) in_all: usize,
    pub(super) shown_for: Duration,
}

/// The attempts that are kept, behind one lock. It is never held across an await and no call does much under it.
pub(super) struct Ledger {
    limits: Limits,
    state: Mutex<State>,
}

/// Each attempt has a number, in the order in which they came.
#[derive(Default)]
struct State {
    last: u64,
    attempts: BTreeMap<u64, Arc<Attempt>>,
    at_place: HashMap<Place, BTreeSet<u64>>,
    of_client: HashMap<IpAddr, BTreeSet<u64>>,
    /// The clients by how much of the ledger they take.
    shares: BTreeSet<Share>,
}

/// What keeps its latest attempts. Those without a mailbox count for their client: a runaway sender that is refused again
/// and again has one place alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Mailbox(MailboxName),
    Nowhere(IpAddr),
}

/// How many attempts a client has, its oldest one, and the client: among those with the same number of attempts the last
/// is the one with the oldest.
type Share = (usize, Reverse<Option<u64>>, IpAddr);

impl Ledger {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Keeps `attempts`; the oldest of a place go when it has too many. When there are too many in all, the oldest of
    /// the client that has most of them go: whoever tries many names pushes out its own attempts, not those of others.
    pub(super) fn record(&self, attempts: Vec<Attempt>, now: Timestamp) {
        // The lock is taken for each: a message may have thousands of recipients.
        for attempt in attempts {
            let mut state = self.swept(now);
            state.insert(attempt, self.limits.per_place);
            if state.attempts.len() > self.limits.in_all {
                state.remove_one();
            }
        }
    }

    /// The attempts at a mailbox, newest first, none from before `since`.
    pub(super) fn of(
        &self,
        mailbox: &MailboxName,
        since: Option<Timestamp>,
        limit: usize,
        now: Timestamp,
    ) -> Vec<Arc<Attempt>> {
        let state = self.swept(now);
        let numbers = state.at_place.get(&Place::Mailbox(mailbox.clone())).into_iter().flatten().rev();
        let attempts = numbers.filter_map(|number| state.attempts.get(number));
        let wanted = attempts
            .filter(|attempt| since.is_none_or(|since| attempt.attempted_at >= since) && self.is_shown(attempt, now));
        wanted.take(limit).cloned().collect()
    }

    /// All attempts, newest first.
    pub(super) fn all(&self, limit: usize, now: Timestamp) -> Vec<Arc<Attempt>> {
        let state = self.swept(now);
        let newest_first = state.attempts.values().rev();
        newest_first.take_while(|attempt| self.is_shown(attempt, now)).take(limit).cloned().collect()
    }

    /// Forgets the attempts at a mailbox.
    pub(super) fn clear(&self, mailbox: &MailboxName) {
        let mut state = self.state();
        for number in state.at_place.get(&Place::Mailbox(mailbox.clone())).cloned().unwrap_or_default() {
            state.remove(number);
        }
    }

    fn is_shown(&self, attempt: &Attempt, now: Timestamp) -> bool {
        now < attempt.attempted_at.after(self.limits.shown_for)
    }

    /// The state without some of the attempts that are shown no more.
    fn swept(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.sweep(|oldest| !self.is_shown(oldest, now));
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, attempt: Attempt, per_place: usize) {
        self.last += 1;
        let number = self.last;
        self.change_share(client(&attempt), |numbers| numbers.insert(number));
        let here = self.at_place.entry(place(&attempt)).or_default();
        here.insert(number);
        let one_too_many = here.first().copied().filter(|_| here.len() > per_place);
        self.attempts.insert(number, Arc::new(attempt));
        one_too_many.into_iter().for_each(|oldest| self.remove(oldest));
    }

    fn remove(&mut self, number: u64) {
        let Some(attempt) = self.attempts.remove(&number) else { return };
        self.change_share(client(&attempt), |numbers| numbers.remove(&number));
        let place = place(&attempt);
        let Some(here) = self.at_place.get_mut(&place) else { return };
        here.remove(&number);
        if here.is_empty() {
            self.at_place.remove(&place);
        }
    }

    /// Removes the oldest attempt of the client that has most.
    fn remove_one(&mut self) {
        if let Some((_, Reverse(Some(oldest)), _)) = self.shares.last().copied() {
            self.remove(oldest);
        }
    }

    fn sweep(&mut self, is_over: impl Fn(&Attempt) -> bool) {
        for _ in 0..SWEEP_STEP {
            let Some((&oldest, _)) = self.attempts.first_key_value().filter(|(_, oldest)| is_over(oldest)) else {
                break;
            };
            self.remove(oldest);
        }
    }

    fn change_share(&mut self, client: IpAddr, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let share = |numbers: &BTreeSet<u64>| (numbers.len(), Reverse(numbers.first().copied()), client);
        let numbers = self.of_client.entry(client).or_default();
        self.shares.remove(&share(numbers));
        change(numbers);
        if numbers.is_empty() {
            self.of_client.remove(&client);
        } else {
            self.shares.insert(share(numbers));
        }
    }
}

fn client(attempt: &Attempt) -> IpAddr {
    client_network(attempt.peer.addr.ip())
}

fn place(attempt: &Attempt) -> Place {
    attempt.mailbox.clone().map_or_else(|| Place::Nowhere(client(attempt)), Place::Mailbox)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::mail::{Envelope, MailParameters, NamingScheme};

    const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const MANY: usize = 1_000;

    fn ledger(per_place: usize, in_all: usize) -> Ledger {
        Ledger::new(Limits { per_place, in_all, shown_for: DAY })
    }

    /// What the client at `ip` tried to send to `to` at `START`.
    fn attempts(ip: &str, to: &[&str]) -> Vec<Attempt> {
        made(ip, to, Naming::default())
    }

    fn made(ip: &str, to: &[&str], naming: Naming) -> Vec<Attempt> {
        let addr = SocketAddr::new(ip.parse().unwrap(), 49_152);
        let envelope = Envelope {
            peer: Peer { addr, local: addr, helo: "client.example".into(), tls: None },
            mail_from: None,
            parameters: MailParameters::default(),
            rcpt_to: to.iter().map(|to| Address::parse(to).unwrap().into()).collect(),
        };
        let reply = Some(Reply::new(550, (5, 7, 1), "relaying denied"));
        Attempt::each(smtp::Attempt::new(envelope, reply), naming, START)
    }

    fn mailbox(text: &str) -> MailboxName {
        Naming::default().parse(text).unwrap()
    }

    /// The recipients of the attempts, without their domain.
    fn shown(attempts: &[Arc<Attempt>]) -> Vec<&str> {
        attempts.iter().map(|attempt| attempt.rcpt_to.as_ref().map_or("", Address::local_part)).collect()
    }

    /// How many attempts there are, and how many each index names, which has to be as many; nothing empty is left in one.
    #[track_caller]
    fn counts(ledger: &Ledger) -> [usize; 4] {
        let state = ledger.state();
        let (places, clients) =
            (state.at_place.values().map(BTreeSet::len), state.of_client.values().map(BTreeSet::len));
        assert!(places.clone().chain(clients.clone()).all(|count| count > 0));
        assert_eq!(state.shares.len(), clients.len());
        [state.attempts.len(), places.sum(), clients.sum(), state.shares.iter().map(|(share, ..)| share).sum()]
    }

    #[test]
    fn the_attempts_at_a_mailbox_are_listed_from_the_newest_and_no_others() {
        let ledger = ledger(MANY, MANY);
        for to in ["A@foreign.example", "b@example.com", "a@example.com"] {
            ledger.record(attempts("192.0.2.1", &[to]), START);
        }
        assert_eq!(shown(&ledger.of(&mailbox("a"), None, MANY, START)), ["a", "A"]);
        assert_eq!(shown(&ledger.of(&mailbox("a"), None, 1, START)), ["a"]);
        assert_eq!(shown(&ledger.of(&mailbox("c"), None, MANY, START)), Vec::<&str>::new());
        assert_eq!(shown(&ledger.all(MANY, START)), ["a", "b", "A"]);
        assert_eq!(shown(&ledger.all(2, START)), ["a", "b"]);
    }

    #[test]
    fn each_recipient_is_an_attempt_of_its_own() {
        let made = attempts("192.0.2.1", &["a@example.com", "b@example.org"]);
        let told: Vec<_> = made.iter().map(|made| made.rcpt_to.as_ref().unwrap().to_string()).collect();
        assert_eq!(told, ["a@example.com", "b@example.org"]);
        assert_eq!([&made[0].mailbox, &made[1].mailbox], [&Some(mailbox("a")), &Some(mailbox("b"))]);
    }

    #[test]
    fn what_has_no_mailbox_is_in_the_list_of_all_alone() {
        let ledger = ledger(MANY, MANY);
        let full = Naming { scheme: NamingScheme::Full, ..Naming::default() };
        let no_name = format!("a@{}example.com", "long.".repeat(30));
        let [named, unnamed] = [Naming::default(), full].map(|naming| made("192.0.2.1", &[&no_name], naming));
        assert_eq!((&named[0].mailbox, &unnamed[0].mailbox), (&Some(mailbox("a")), &None));
        ledger.record(attempts("192.0.2.1", &[]), START);
        ledger.record(unnamed, START);
        assert_eq!(shown(&ledger.all(MANY, START)), ["a", ""]);
        assert_eq!(shown(&ledger.of(&mailbox("a"), None, MANY, START)), Vec::<&str>::new());
        assert_eq!(counts(&ledger), [2; 4]);
    }

    #[test]
    fn a_mailbox_keeps_its_latest_attempts() {
        let ledger = ledger(2, MANY);
        for domain in ["one.example", "two.example", "three.example"] {
            ledger.record(attempts("192.0.2.1", &[&format!("a@{domain}"), &format!("other@{domain}")]), START);
        }
        let kept = ledger.of(&mailbox("a"), None, MANY, START);
        let kept: Vec<_> = kept.iter().map(|kept| kept.rcpt_to.as_ref().unwrap().to_string()).collect();
        assert_eq!(kept, ["a@three.example", "a@two.example"]);
        assert_eq!(counts(&ledger), [4; 4]);
    }

    #[test]
    fn a_sender_that_is_refused_again_and_again_keeps_one_place() {
        let ledger = ledger(3, MANY);
        ledger.record(attempts("192.0.2.1", &["a@example.com"]), START);
        for ip in ["192.0.2.1", "192.0.2.2"] {
            for _ in 0..10 {
                ledger.record(attempts(ip, &[]), START);
            }
        }
        assert_eq!(shown(&ledger.all(MANY, START)), ["", "", "", "", "", "", "a"]);
        assert_eq!(counts(&ledger), [7; 4]);
    }

    #[test]
    fn who_tries_many_names_pushes_out_its_own_attempts() {
        let ledger = ledger(10, 100);
        for _ in 0..10 {
            ledger.record(attempts("192.0.2.1", &["busy@foreign.example"]), START);
        }
        for number in 0..1_000 {
            let ip = format!("2001:db8:0:{}::{number}", number % 3);
            ledger.record(attempts(&ip, &[&format!("name{number}@example.com")]), START);
            assert!(counts(&ledger)[0] <= 100);
        }
        assert_eq!(ledger.of(&mailbox("busy"), None, MANY, START).len(), 10);
        assert_eq!(ledger.of(&mailbox("name999"), None, MANY, START).len(), 1);
        assert_eq!(ledger.of(&mailbox("name0"), None, MANY, START).len(), 0);
        assert_eq!(counts(&ledger), [100; 4]);
    }

    #[test]
    fn among_clients_with_as_many_attempts_the_oldest_attempt_goes() {
        let ledger = ledger(10, 2);
        for (ip, to) in
            [("192.0.2.9", "first@x.example"), ("192.0.2.1", "second@x.example"), ("192.0.2.5", "third@x.example")]
        {
            ledger.record(attempts(ip, &[to]), START);
        }
        assert_eq!(shown(&ledger.all(MANY, START)), ["third", "second"]);
    }

    #[test]
    fn an_attempt_is_shown_as_long_as_mail_is_kept_and_then_forgotten() {
        let ledger = ledger(MANY, MANY);
        ledger.record(attempts("192.0.2.1", &["a@example.com"]), START);
        let (last, over) = (START.after(DAY - Duration::from_millis(1)), START.after(DAY));
        assert_eq!((ledger.all(MANY, last).len(), ledger.of(&mailbox("a"), None, MANY, last).len()), (1, 1));
        assert_eq!((ledger.all(MANY, over).len(), ledger.of(&mailbox("a"), None, MANY, over).len()), (0, 0));
        let mut later = attempts("192.0.2.1", &["b@example.com"]);
        later[0].attempted_at = over;
        ledger.record(later, over);
        assert_eq!(counts(&ledger), [1; 4]);
        assert_eq!(shown(&ledger.all(MANY, over)), ["b"]);
    }

    #[test]
    fn a_reader_asks_for_what_came_since_a_moment() {
        let ledger = ledger(MANY, MANY);
        let moments = [0, 1, 2].map(|secs| START.after(Duration::from_secs(secs)));
        for moment in moments {
            let mut made = attempts("192.0.2.1", &["a@example.com"]);
            made[0].attempted_at = moment;
            ledger.record(made, moment);
        }
        let since = |moment| ledger.of(&mailbox("a"), Some(moment), MANY, moments[2]).len();
        assert_eq!(moments.map(since), [3, 2, 1]);
        assert_eq!(since(START.after(Duration::from_secs(3))), 0);
    }

    #[test]
    fn a_cleared_mailbox_has_no_attempts_and_the_others_keep_theirs() {
        let ledger = ledger(MANY, MANY);
        ledger.record(attempts("192.0.2.1", &["a@example.com", "b@example.com", "a@foreign.example"]), START);
        ledger.clear(&mailbox("a"));
        ledger.clear(&mailbox("c"));
        assert_eq!(shown(&ledger.all(MANY, START)), ["b"]);
        assert_eq!(counts(&ledger), [1; 4]);
    }

    #[test]
    fn zero_keeps_nothing() {
        let ledger = ledger(MANY, 0);
        ledger.record(attempts("192.0.2.1", &["a@example.com", "b@example.com"]), START);
        assert_eq!(counts(&ledger), [0; 4]);
    }

    /// What is left of attempts of these clients at these mailboxes, each kept in turn, by the rules and without an index.
    fn left(tried: &[(u8, u8)], per_place: usize, in_all: usize) -> Vec<(u8, u8)> {
        let mut left: Vec<(u8, u8)> = Vec::new();
        for &(client, mailbox) in tried {
            left.push((client, mailbox));
            if left.iter().filter(|(_, other)| *other == mailbox).count() > per_place {
                left.remove(left.iter().position(|(_, other)| *other == mailbox).unwrap());
            }
            if left.len() > in_all {
                let of = |client| left.iter().filter(|(other, _)| *other == client).count();
                let most = left.iter().map(|(client, _)| of(*client)).max().unwrap();
                left.remove(left.iter().position(|(client, _)| of(*client) == most).unwrap());
            }
        }
        left.reverse();
        left
    }

    proptest! {
        #[test]
        fn the_ledger_keeps_what_the_rules_leave(
            tried in prop::collection::vec((0_u8..5, 0_u8..6), 0..60),
            per_place in 1_usize..6,
            in_all in 0_usize..20,
        ) {
            let ledger = ledger(per_place, in_all);
            for (client, mailbox) in &tried {
                ledger.record(attempts(&format!("192.0.2.{client}"), &[&format!("m{mailbox}@x.example")]), START);
            }
            let told = |attempt: &Arc<Attempt>| {
                format!("{} {}", attempt.peer.addr.ip(), attempt.mailbox.as_ref().unwrap())
            };
            let expected = left(&tried, per_place, in_all);
            let expected: Vec<_> = expected.iter().map(|(client, mailbox)| format!("192.0.2.{client} m{mailbox}")).collect();
            prop_assert_eq!(ledger.all(MANY, START).iter().map(told).collect::<Vec<_>>(), &expected[..]);
            prop_assert_eq!(counts(&ledger), [expected.len(); 4]);
        }
    }
}
