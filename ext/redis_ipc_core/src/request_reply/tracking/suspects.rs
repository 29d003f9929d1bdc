//! The requests held here that may crash this process, because a process that had them did not answer. Each has a
//! mark in Redis: a dead letter, which shows what was running if this process crashes too. This module records which
//! marks there are, and which have become stale. `serving/suspect_marks.rs` writes and removes them.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::nudge::Nudge;
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::tracking::in_flight::{InFlight, Stage};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A mark that is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// The request.
    pub request: StreamId,
    /// The mark, if this instance has written one.
    pub mark: Option<StreamId>,
    /// Whether the request is finished. Then marks that other instances have written for it are stale too.
    pub is_finished: bool,
    /// Whether there may be such marks though the own one is there, because the lease may have run out.
    pub may_have_others: bool,
}

/// What is known of the marks of a request that is held.
#[derive(Debug, Clone, Copy, Default)]
struct Marks {
    own: Option<StreamId>,
    may_have_others: bool,
}

impl Marks {
    fn finished(self, request: StreamId) -> Stale {
        Stale { request, mark: self.own, is_finished: true, may_have_others: self.may_have_others }
    }
}

/// The suspects of one instance.
#[derive(Debug)]
pub struct Suspects {
    lease: Duration,
    nudge: Arc<Nudge>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the leases of held requests were renewed last.
    renewed: Instant,
    marks: HashMap<StreamId, Marks>,
    /// Requests whose handlers still run after the deadline.
    overrun: Vec<(Arc<InFlight>, Marks)>,
    stale: Vec<Stale>,
}

impl Suspects {
    /// Creates the record of an instance with leases of this length. `nudge` wakes the thread that removes stale marks.
    pub fn new(lease: Duration, nudge: Arc<Nudge>) -> Self {
        let state =
            State { renewed: Instant::now(), marks: HashMap::new(), overrun: Vec::new(), stale: Vec::new() };
        Self { lease, nudge, state: Mutex::new(state) }
    }

    /// Records that `request` has this mark.
    pub fn marked(&self, request: StreamId, mark: StreamId) {
        self.state.lock().marks.insert(request, Marks { own: Some(mark), may_have_others: false });
    }

    /// Records that the leases of held requests were renewed at `now`. If they may have run out before, others may
    /// have taken the requests over, and marked them. `held` returns the requests.
    pub fn renewed(&self, now: Instant, held: impl FnOnce() -> Vec<StreamId>) {
        let mut state = self.state.lock();
        if now.saturating_duration_since(state.renewed) >= self.lease {
            for request in held() {
                state.marks.entry(request).or_default().may_have_others = true;
            }
        }
        state.renewed = now;
    }

    /// Records that requests are finished in Redis: answered, or acknowledged without an answer.
    pub fn finished(&self, requests: &[StreamId]) {
        let mut state = self.state.lock();
        // The thread that renews may have been stopped as long as this one.
        let may_be_lost = state.renewed.elapsed() >= self.lease;
        if state.marks.is_empty() && !may_be_lost {
            return;
        }
        for request in requests {
            let known = state.marks.remove(request);
            if may_be_lost || known.is_some() {
                let mut marks = known.unwrap_or_default();
                marks.may_have_others |= may_be_lost;
                state.stale.push(marks.finished(*request));
            }
        }
        self.call(&state);
    }

    /// Records that requests were given back to the group by an instance that did not crash.
    pub fn given_back(&self, requests: &[StreamId]) {
        let mut state = self.state.lock();
        for request in requests {
            if let Some(mark @ Some(_)) = state.marks.remove(request).map(|marks| marks.own) {
                let stale = Stale { request: *request, mark, is_finished: false, may_have_others: false };
                state.stale.push(stale);
            }
        }
        self.call(&state);
    }

    /// Records that the deadline of a request has passed and its handler still runs. It keeps its mark until the
    /// handler ends.
    pub fn overrun(&self, held: &Arc<InFlight>) {
        let mut state = self.state.lock();
        if let Some(marks) = state.marks.remove(&held.id()) {
            state.overrun.push((Arc::clone(held), marks));
        }
    }

    /// Records that this instance leaves without a crash. The marks of handlers that still run after the deadline stay.
    pub fn leave(&self) {
        let marked: Vec<StreamId> = self.state.lock().marks.keys().copied().collect();
        self.given_back(&marked);
    }

    /// Returns the marks that are to be removed, each once.
    pub fn take_stale(&self) -> Vec<Stale> {
        let mut state = self.state.lock();
        let overrun = std::mem::take(&mut state.overrun);
        let (running, ended): (Vec<_>, Vec<_>) =
            overrun.into_iter().partition(|(held, _)| held.stage() == Stage::Running);
        state.overrun = running;
        let mut all = std::mem::take(&mut state.stale);
        all.extend(ended.into_iter().map(|(held, marks)| marks.finished(held.id())));
        all
    }

    /// Takes marks back that could not be removed.
    pub fn put_back(&self, stale: Vec<Stale>) {
        self.state.lock().stale.extend(stale);
    }

    fn call(&self, state: &State) {
        if !state.stale.is_empty() {
            self.nudge.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn id(seq: u64) -> StreamId {
        StreamId { ms: 1, seq }
    }

    fn stale(request: u64, mark: Option<u64>, is_finished: bool, may_have_others: bool) -> Stale {
        Stale { request: id(request), mark: mark.map(id), is_finished, may_have_others }
    }

    #[test]
    fn a_mark_is_stale_once_its_request_is_finished_or_given_back() {
        let nudge = Arc::new(Nudge::default());
        let suspects = Suspects::new(LONG, Arc::clone(&nudge));
        (1..4).for_each(|request| suspects.marked(id(request), id(request + 10)));
        suspects.finished(&[id(1), id(9)]);
        assert!(nudge.receiver().try_recv().is_ok());
        suspects.given_back(&[id(2), id(8)]);
        let expected = vec![stale(1, Some(11), true, false), stale(2, Some(12), false, false)];
        assert_eq!(suspects.take_stale(), expected);
        assert!(suspects.take_stale().is_empty());
        suspects.leave();
        assert_eq!(suspects.take_stale(), [stale(3, Some(13), false, false)]);
        suspects.put_back(expected.clone());
        assert_eq!(suspects.take_stale(), expected);
    }

    #[test]
    fn others_may_have_marked_what_was_held_while_leases_were_not_renewed() {
        let suspects = Suspects::new(LONG, Arc::default());
        let start = Instant::now();
        suspects.renewed(start + LONG / 3, || panic!("the leases have not run out"));
        suspects.marked(id(4), id(14));
        suspects.renewed(start + LONG * 2, || vec![id(1), id(2), id(4)]);
        suspects.given_back(&[id(2)]);
        suspects.finished(&[id(1), id(3), id(4)]);
        assert_eq!(suspects.take_stale(), [stale(1, None, true, true), stale(4, Some(14), true, true)]);
        // No thread has renewed.
        let stalled = Suspects::new(Duration::ZERO, Arc::default());
        stalled.finished(&[id(1)]);
        assert_eq!(stalled.take_stale(), [stale(1, None, true, true)]);
    }
}
