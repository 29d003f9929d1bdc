//! The open calls of one client. Each has a caller that waits for its answer, a deadline and an outcome.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::id::Id;
use crate::foundation::runtime::stats::{Counter, Stats};
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waiting::{self, Ending};
use crate::json_rpc::options::MAX_TIMEOUT;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a call ended: with the text of its answer, or with an error. The text is empty for a notification.
pub type Outcome = Result<Arc<Vec<u8>>, Error>;

/// The reason why a wait for a call ended.
pub type Waited = waiting::Waited<Outcome>;

/// One open call: a request, a batch or a notification.
#[derive(Debug)]
pub struct Pending {
    /// The ids of its requests. They are empty for a notification.
    pub ids: Range<u64>,
    /// The text that is sent.
    pub text: Vec<u8>,
    /// When the caller gives up.
    pub deadline: Instant,
    /// When the call was made.
    pub asked: Instant,
    /// How it ends: its outcome is waited for here.
    pub ending: Ending<Outcome, Progress>,
}

/// How far a call has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// A part of it may have reached Redis.
    written: bool,
    /// It is being withdrawn.
    withdrawn: bool,
    /// The number of the connection on which Redis confirmed it.
    confirmed_by: Option<u64>,
}

impl Pending {
    /// Creates a call that begins now and waits at most for `MAX_TIMEOUT`. `ids` are those of its requests. An empty
    /// range still begins with a number of its own.
    pub fn new(ids: Range<u64>, text: Vec<u8>, timeout: Duration) -> Self {
        let asked = Instant::now();
        let deadline = asked.checked_add(timeout.min(MAX_TIMEOUT)).unwrap_or(asked);
        Self { ids, text, asked, deadline, ending: Ending::new(Progress::default()) }
    }

    /// Returns the id that its end is reported with.
    pub fn id(&self) -> Id {
        Id::from(self.ids.start)
    }

    /// Whether it is a notification, which ends once Redis has it.
    pub fn is_notification(&self) -> bool {
        self.ids.is_empty()
    }

    /// Ends the call and counts the outcome. Only the first end counts. Returns false if the call had ended before.
    pub fn finish(&self, outcome: Outcome, stats: &Stats) -> bool {
        let counter = match &outcome {
            Ok(_) => &stats.fulfilled,
            Err(error) if matches!(error.kind, ErrorKind::Timeout(_)) => &stats.timed_out,
            Err(_) => &stats.failed,
        };
        self.settle(counter, |_| true, || outcome)
    }

    /// Ends the call, because its time is over, if nothing was written of it. Then nothing will be.
    pub fn finish_unsent(&self, outcome: impl FnOnce() -> Outcome, stats: &Stats) -> bool {
        self.settle(&stats.timed_out, |progress| !progress.written, outcome)
    }

    /// Ends the call of a caller that gave up. Returns false if the call had ended before.
    pub fn cancel(&self, outcome: Outcome, stats: &Stats) -> bool {
        self.settle(&stats.cancelled, |_| true, || outcome)
    }

    /// Counts the outcome before any thread can see it.
    fn settle(
        &self,
        counter: &Counter,
        condition: impl FnOnce(&Progress) -> bool,
        outcome: impl FnOnce() -> Outcome,
    ) -> bool {
        let counted = || {
            counter.increment();
            outcome()
        };
        self.ending.settle(self.id(), condition, counted)
    }

    /// Records that it is being written. Returns false if the call has ended and must not be sent.
    pub fn writing(&self) -> bool {
        self.ending.progress(|progress, outcome| {
            progress.written |= outcome.is_none();
            outcome.is_none()
        })
    }

    /// Records that it is being withdrawn. Returns false if it was withdrawn before.
    pub fn withdrawing(&self) -> bool {
        self.ending.progress(|progress, _| !std::mem::replace(&mut progress.withdrawn, true))
    }

    /// Records that it did not reach Redis after all.
    pub fn not_sent(&self) {
        self.ending.progress(|progress, _| progress.written = false);
    }

    /// Records that Redis has it, on the connection with this number.
    pub fn confirmed(&self, connection: Option<u64>) {
        self.ending.progress(|progress, _| progress.confirmed_by = connection);
    }

    /// Returns the number of the connection on which Redis confirmed it.
    pub fn confirmed_by(&self) -> Option<u64> {
        self.ending.progress(|progress, _| progress.confirmed_by)
    }

    /// Whether a part of it may have reached Redis.
    pub fn was_written(&self) -> bool {
        self.ending.progress(|progress, _| progress.written)
    }
}

/// The open calls, by the ids of their requests.
#[derive(Debug, Default)]
pub struct PendingCalls(Mutex<HashMap<u64, Arc<Pending>>>);

impl PendingCalls {
    /// Opens a call.
    pub fn open(&self, pending: &Arc<Pending>) {
        let mut open = self.0.lock();
        for id in pending.ids.clone() {
            open.insert(id, Arc::clone(pending));
        }
    }

    /// Closes the call that one of `ids` belongs to, so that it accepts no further answer.
    pub fn close(&self, ids: impl IntoIterator<Item = u64>) -> Option<Arc<Pending>> {
        let mut open = self.0.lock();
        let pending = ids.into_iter().find_map(|id| open.remove(&id))?;
        for id in pending.ids.clone() {
            open.remove(&id);
        }
        Some(pending)
    }

    /// Closes the only open call, if there is exactly one and it may have reached Redis.
    pub fn close_only(&self) -> Option<Arc<Pending>> {
        let mut open = self.0.lock();
        let first = Arc::clone(open.values().next()?);
        let is_one = open.values().all(|pending| Arc::ptr_eq(pending, &first)) && first.was_written();
        is_one.then(|| {
            open.clear();
            first
        })
    }

    /// Closes every call.
    pub fn close_all(&self) -> Vec<Arc<Pending>> {
        self.0.lock().drain().map(|(_, pending)| pending).collect()
    }

    /// Returns how many requests are open.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::runtime::waiting::Interrupt;

    #[test]
    fn a_batch_is_closed_by_any_of_its_ids() {
        let calls = PendingCalls::default();
        calls.open(&Arc::new(Pending::new(3..6, Vec::new(), Duration::from_secs(1))));
        assert_eq!(calls.len(), 3);
        assert!(calls.close([9, 4]).is_some_and(|pending| pending.ids == (3..6)));
        assert_eq!(calls.len(), 0);
        assert!(calls.close([3]).is_none());
    }

    #[test]
    fn a_call_is_picked_out_only_if_it_is_alone_and_was_written() {
        let calls = PendingCalls::default();
        let [one, other] =
            [0..2, 2..3].map(|ids| Arc::new(Pending::new(ids, Vec::new(), Duration::from_secs(1))));
        calls.open(&one);
        assert!(calls.close_only().is_none());
        one.writing();
        calls.open(&other);
        assert!(calls.close_only().is_none());
        calls.close([2]);
        assert!(calls.close_only().is_some_and(|pending| Arc::ptr_eq(&pending, &one)));
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn the_first_end_counts_and_ends_the_wait() {
        let pending = Pending::new(0..1, Vec::new(), Duration::from_secs(60));
        let (answer, stats) = (Ok(Arc::new(b"1".to_vec())), Stats::default());
        assert!(pending.finish(answer.clone(), &stats));
        assert!(!pending.finish(Ok(Arc::default()), &stats));
        assert!(!pending.cancel(Ok(Arc::default()), &stats));
        assert_eq!((stats.fulfilled.get(), stats.cancelled.get()), (1, 0));
        assert_eq!(pending.ending.wait(Instant::now(), &Interrupt::default()), Waited::Done(answer));
        assert!(!pending.writing(), "what has ended is not sent");
    }

    #[test]
    fn no_timeout_is_too_long() {
        let pending = Pending::new(0..1, Vec::new(), Duration::MAX);
        assert_eq!(pending.deadline - pending.asked, MAX_TIMEOUT);
    }

    #[test]
    fn what_was_written_does_not_end_as_unsent_and_is_withdrawn_once() {
        let pending = Pending::new(0..1, Vec::new(), Duration::from_secs(60));
        assert!(pending.writing());
        let stats = Stats::default();
        assert!(!pending.finish_unsent(|| Ok(Arc::default()), &stats));
        assert!(pending.withdrawing());
        assert!(!pending.withdrawing());
        pending.not_sent();
        assert!(pending.finish_unsent(|| Ok(Arc::default()), &stats));
        assert_eq!(stats.timed_out.get(), 1);
    }
}
