//! The open calls of one engine. Each has a caller that waits for its answer, a deadline and an outcome.

use crate::error::{Error, Fate};
use crate::foundation::payload::id::Id;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::staggered_wake::Sleeper;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waiting::{self, Ending};
use crate::request_reply::protocol::entry::Answer;
use crate::request_reply::tracking::outcomes::{Ends, Outcomes};
use crate::request_reply::tracking::whereabouts::Whereabouts;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a call ended.
pub type Outcome = Result<Arc<Answer>, Error>;

/// The progress of a request on its way to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It has not been written.
    No,
    /// It was written, but Redis has not confirmed it.
    Perhaps,
    /// It is in the inbox under this id.
    Yes(StreamId),
}

/// The reason why a wait for a call ended.
pub type Waited = waiting::Waited<Outcome>;

/// One open call.
#[derive(Debug)]
pub struct Ticket {
    /// The request's id.
    pub id: Id,
    /// The destination group.
    pub to: String,
    /// When the caller gives up.
    pub deadline: Instant,
    /// When the call was made.
    pub asked: Instant,
    /// How it ends: its outcome is waited for here.
    pub ending: Ending<Outcome, Progress>,
    /// Where its end is counted.
    ends: Arc<Ends>,
}

/// How far a call has come.
#[derive(Debug)]
pub struct Progress {
    sent: Sent,
    /// A copy that was sent before the last one may have reached Redis.
    earlier_copy: bool,
    /// The number of the connection on which Redis confirmed it.
    confirmed_on: Option<u64>,
    /// What Redis told of it when it was withdrawn.
    whereabouts: Option<Whereabouts>,
}

impl Sleeper for Ticket {
    fn is_awaited(&self) -> bool {
        self.ending.is_awaited()
    }

    fn rouse(&self) {
        self.ending.rouse();
    }
}

impl Ticket {
    fn new(id: Id, to: &str, timeout: Duration, ends: Arc<Ends>) -> Self {
        let asked = Instant::now();
        let ending = Ending::new(Progress {
            sent: Sent::No,
            earlier_copy: false,
            confirmed_on: None,
            whereabouts: None,
        });
        Self { id, to: to.to_owned(), deadline: asked + timeout, asked, ending, ends }
    }

    /// Ends the call. Only the first end counts. Returns false if the call had ended before.
    pub fn finish(&self, outcome: Outcome) -> bool {
        self.ending.settle(self.id, |_| true, || self.counted(outcome))
    }

    /// Ends the call like [`Ticket::finish`], but leaves waiting threads asleep until `Ticket::rouse`.
    pub fn finish_quietly(&self, outcome: Outcome) -> bool {
        self.ending.settle_quietly(self.id, |_| true, || self.counted(outcome))
    }

    /// Ends the call if nothing of it was ever written. Then nothing will be.
    pub fn finish_unsent(&self, outcome: impl FnOnce() -> Outcome) -> bool {
        self.ending.settle(self.id, |progress| progress.sent == Sent::No, || self.counted(outcome()))
    }

    /// Counts how the call ends.
    fn counted(&self, outcome: Outcome) -> Outcome {
        self.ends.count(&outcome, self.asked.elapsed());
        outcome
    }

    /// Returns how many whole ms are left until the deadline. `None` if it is too late to send the request.
    pub fn whole_ms_left(&self) -> Option<NonZeroU64> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        NonZeroU64::new(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the progress of the request.
    pub fn sent(&self) -> Sent {
        self.ending.progress(|progress, _| progress.sent)
    }

    /// Records that the request is being written. Returns whether an earlier copy may have reached Redis. `None` if
    /// the call has ended and nothing may be sent.
    pub fn sending(&self) -> Option<bool> {
        self.ending.progress(|progress, outcome| {
            if outcome.is_some() {
                return None;
            }
            progress.earlier_copy |= progress.sent == Sent::Perhaps;
            progress.sent = Sent::Perhaps;
            Some(progress.earlier_copy)
        })
    }

    /// Records that Redis refused the last copy, or that it was never written.
    pub fn not_sent(&self) {
        self.ending.progress(|progress, _| {
            progress.sent = if progress.earlier_copy { Sent::Perhaps } else { Sent::No };
        });
    }

    /// Whether a copy in an unknown state may exist besides the one that was confirmed.
    pub fn has_earlier_copy(&self) -> bool {
        self.ending.progress(|progress, _| progress.earlier_copy)
    }

    /// Records what Redis told of the request's last copy when it was withdrawn.
    pub fn withdrawn(&self, whereabouts: Whereabouts) {
        self.ending.progress(|progress, _| progress.whereabouts = Some(whereabouts));
    }

    /// Returns what is known of the request, if it was written. Of an earlier copy nothing is known.
    pub fn whereabouts(&self) -> Whereabouts {
        let known = self.ending.progress(|progress, _| progress.whereabouts.clone());
        match known {
            Some(found) if found.fate() == Fate::Unknown || !self.has_earlier_copy() => found,
            _ => Whereabouts::Unknown,
        }
    }

    /// Whether Redis confirmed it on the connection with this number. If that broke since, the server may be another
    /// one now, which does not know everything that happened to the request.
    pub fn was_confirmed_on(&self, connection: u64) -> bool {
        self.ending.progress(|progress, _| progress.confirmed_on == Some(connection))
    }

    /// Records the id that Redis gave it, and the connection. Returns false if the request is no longer wanted: the
    /// call has ended without an answer, or with one that may be to another copy.
    pub fn confirmed(&self, redis_id: StreamId, connection: u64) -> bool {
        self.ending.progress(|progress, outcome| {
            progress.sent = Sent::Yes(redis_id);
            progress.confirmed_on = Some(connection);
            match outcome {
                None => true,
                // The answer may arrive before Redis's confirmation is read.
                Some(Ok(_)) => !progress.earlier_copy,
                Some(Err(_)) => false,
            }
        })
    }
}

/// The open calls, by id.
#[derive(Debug, Default)]
pub struct Ledger {
    open: Mutex<HashMap<Id, Arc<Ticket>>>,
    /// How the calls ended.
    pub outcomes: Outcomes,
}

impl Ledger {
    /// Opens a call. Returns `None` if `most` are open already.
    pub fn open(&self, id: Id, to: &str, timeout: Duration, most: usize) -> Option<Arc<Ticket>> {
        let ticket = Arc::new(Ticket::new(id, to, timeout, self.outcomes.of(to)));
        let mut open = self.open.lock();
        if open.len() >= most {
            return None;
        }
        open.insert(id, Arc::clone(&ticket));
        Some(ticket)
    }

    /// Closes a call, so that it accepts no answer any more. Only one caller gets the ticket.
    pub fn close(&self, id: Id) -> Option<Arc<Ticket>> {
        self.open.lock().remove(&id)
    }

    /// Closes the only open call, if there is exactly one and its request may have reached Redis.
    pub fn close_only(&self) -> Option<Arc<Ticket>> {
        let mut open = self.open.lock();
        let is_one = open.len() == 1 && open.values().all(|ticket| ticket.sent() != Sent::No);
        if is_one { open.drain().next().map(|(_, ticket)| ticket) } else { None }
    }

    /// Closes the calls whose deadline was before `now`.
    pub fn close_overdue(&self, now: Instant) -> Vec<Arc<Ticket>> {
        let mut open = self.open.lock();
        let overdue: Vec<Id> =
            open.values().filter(|ticket| ticket.deadline <= now).map(|ticket| ticket.id).collect();
        overdue.iter().filter_map(|id| open.remove(id)).collect()
    }

    /// Closes every call.
    pub fn close_all(&self) -> Vec<Arc<Ticket>> {
        self.open.lock().drain().map(|(_, ticket)| ticket).collect()
    }

    /// Returns how many calls are open.
    pub fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Whether no call is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::foundation::runtime::id_source::IdSource;
    use crate::foundation::runtime::waiting::Interrupt;
    use proptest::prelude::*;

    fn error() -> Error {
        Error::new(ErrorKind::Timeout(Fate::Unknown), "late")
    }

    fn ledger_with(timeouts: &[u64]) -> (Ledger, Vec<Arc<Ticket>>) {
        let (ledger, ids) = (Ledger::default(), IdSource::default());
        let open = |ms: &u64| {
            let timeout = Duration::from_millis(*ms);
            ledger.open(ids.next().unwrap(), "child", timeout, usize::MAX).unwrap()
        };
        let tickets = timeouts.iter().map(open).collect();
        (ledger, tickets)
    }

    #[test]
    fn a_ticket_is_closed_and_finished_once() {
        let (ledger, tickets) = ledger_with(&[1_000]);
        let ticket = ledger.close(tickets[0].id).unwrap();
        assert!(ledger.close(ticket.id).is_none());
        assert!(ticket.finish(Err(error())));
        assert!(!ticket.finish(Err(Error::new(ErrorKind::Internal, "again"))));
        assert_eq!(ticket.ending.wait(Instant::now(), &Interrupt::default()), Waited::Done(Err(error())));
    }

    #[test]
    fn a_call_is_picked_out_only_if_it_is_alone_and_was_sent() {
        let (ledger, tickets) = ledger_with(&[1_000, 1_000]);
        assert!(tickets.iter().all(|ticket| ticket.sending() == Some(false)));
        assert!(ledger.close_only().is_none());
        ledger.close(tickets[0].id);
        assert_eq!(ledger.close_only().map(|ticket| ticket.id), Some(tickets[1].id));
        assert!(ledger.close_only().is_none());
        let (unsent, _tickets) = ledger_with(&[1_000]);
        assert!(unsent.close_only().is_none());
    }

    #[test]
    fn no_more_are_opened_than_allowed() {
        let (ledger, tickets) = ledger_with(&[1_000, 1_000]);
        let open =
            |most| ledger.open(IdSource::default().next().unwrap(), "child", Duration::from_secs(1), most);
        assert!(open(2).is_none());
        ledger.close(tickets[0].id);
        assert!(open(2).is_some());
    }

    #[test]
    fn waiting_ends_by_outcome_by_time_and_by_interrupt() {
        let (_ledger, tickets) = ledger_with(&[10_000]);
        let (ticket, interrupt) = (&tickets[0], Interrupt::default());
        assert_eq!(ticket.ending.wait(Instant::now(), &interrupt), Waited::TimeUp);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| ticket.ending.wait(ticket.deadline, &interrupt));
            interrupt.set();
            ticket.ending.wake();
            assert_eq!(waiter.join().unwrap(), Waited::Interrupted);
            let waiter = scope.spawn(|| ticket.ending.wait(ticket.deadline, &interrupt));
            ticket.finish(Err(error()));
            assert_eq!(waiter.join().unwrap(), Waited::Done(Err(error())));
        });
    }

    #[test]
    fn a_request_is_not_sent_once_its_call_has_ended() {
        let (_ledger, tickets) = ledger_with(&[1_000, 1_000]);
        assert_eq!(tickets[0].sending(), Some(false));
        assert_eq!(tickets[0].sending(), Some(true));
        tickets[1].finish(Err(error()));
        assert_eq!(tickets[1].sending(), None);
        assert!(!tickets[1].confirmed(StreamId::default(), 1));
    }

    #[test]
    fn only_a_request_that_is_not_wanted_any_more_is_withdrawn() {
        let answer = || {
            Ok(Arc::new(Answer {
                id: "1".into(),
                instance_id: "i".into(),
                status: crate::request_reply::protocol::entry::Status::Fulfilled,
                content: b"1".to_vec().into(),
                error: None,
                source_group: "child".into(),
                destination_group: "parent".into(),
                redis_id: StreamId::default(),
            }))
        };
        let (_ledger, tickets) = ledger_with(&[1_000, 1_000]);
        tickets[0].sending();
        tickets[0].finish(answer());
        assert!(
            tickets[0].confirmed(StreamId::default(), 1),
            "it was answered before its confirmation was read"
        );
        tickets[1].sending();
        tickets[1].sending();
        tickets[1].finish(answer());
        assert!(!tickets[1].confirmed(StreamId::default(), 1), "the answer may be to the other copy");
    }

    #[test]
    fn a_request_is_good_for_the_whole_ms_that_are_left() {
        let (_ledger, tickets) = ledger_with(&[0, 60_000]);
        assert_eq!(tickets[0].whole_ms_left(), None);
        assert!(tickets[1].whole_ms_left().is_some_and(|left| (50_000..=60_000).contains(&left.get())));
    }

    #[test]
    fn only_the_connection_that_confirmed_a_request_knows_all_of_it() {
        let (_ledger, tickets) = ledger_with(&[1_000]);
        tickets[0].sending();
        tickets[0].confirmed(StreamId::default(), 7);
        assert_eq!([7, 8].map(|number| tickets[0].was_confirmed_on(number)), [true, false]);
    }

    #[test]
    fn a_copy_of_which_nothing_is_known_is_never_forgotten() {
        let (_ledger, tickets) = ledger_with(&[1_000]);
        let ticket = &tickets[0];
        ticket.sending();
        ticket.not_sent();
        ticket.withdrawn(Whereabouts::NotTaken);
        assert_eq!((ticket.sent(), ticket.whereabouts()), (Sent::No, Whereabouts::NotTaken));
        ticket.sending();
        assert_eq!(ticket.sending(), Some(true));
        ticket.not_sent();
        assert_eq!((ticket.sent(), ticket.whereabouts()), (Sent::Perhaps, Whereabouts::Unknown));
        assert_eq!(ticket.sending(), Some(true), "the next copy says so too");
        ticket.confirmed(StreamId::default(), 1);
        assert_eq!(ticket.whereabouts(), Whereabouts::Unknown);
    }

    proptest! {
        #[test]
        fn exactly_the_overdue_are_closed(timeouts in proptest::collection::vec(0u64..100, 0..50), after in 0u64..100) {
            let (ledger, tickets) = ledger_with(&timeouts);
            let now = Instant::now() + Duration::from_millis(after);
            let expected = tickets.iter().filter(|ticket| ticket.deadline <= now).count();
            let closed = ledger.close_overdue(now);
            prop_assert_eq!(closed.len(), expected);
            prop_assert!(closed.iter().all(|ticket| ticket.deadline <= now));
            prop_assert_eq!(ledger.len(), tickets.len() - expected);
            prop_assert_eq!(ledger.close_all().len(), tickets.len() - expected);
        }
    }
}
