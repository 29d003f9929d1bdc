//! Whose turn it is to read a connection.
//!
//! It belongs to a thread of the engine. But what that thread reads is for another one, which must be woken for it. So
//! while only one thread waits, the connection is lent, and whoever waits reads for itself: what is called
//! leader/followers (<https://www.dre.vanderbilt.edu/~schmidt/PDF/lf.pdf>).

use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waker::Waker;
use redis::{RedisError, RedisResult};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a lent session comes back.
#[derive(Debug)]
pub enum Back<S> {
    /// As it was lent.
    Whole(S),
    /// Of no more use, because of this error.
    Broken(S, RedisError),
    /// Not at all: the visitor panicked.
    Lost,
}

impl<S> Back<S> {
    /// The session, if it is of any use.
    pub fn into_result(self) -> RedisResult<S> {
        match self {
            Self::Whole(session) => Ok(session),
            Self::Broken(_, error) => Err(error),
            Self::Lost => Err(io::Error::other("a thread that read for itself panicked").into()),
        }
    }
}

enum Place<S> {
    /// Its own thread has it.
    Home,
    /// Whoever comes may take it.
    Free(S),
    /// A visitor has it.
    Away,
    /// A visitor gave it back.
    Returned(Back<S>),
}

struct State<S> {
    place: Place<S>,
    /// It is to come home as soon as nobody has it.
    recalled: bool,
    /// A visitor came since its own thread last looked.
    visited: bool,
    /// Its own thread sleeps until the visitor leaves.
    asleep: bool,
    /// Wakes a visitor. Gone when nothing will be lent any more.
    waker: Option<Arc<Waker>>,
}

/// A session (a connection and what was read from it so far) that is read at home or by visitors.
pub struct SharedReader<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

impl<S> SharedReader<S> {
    /// The session is at home. `waker` wakes a visitor.
    pub fn new(waker: Waker) -> Self {
        let waker = Some(Arc::new(waker));
        let state = State { place: Place::Home, recalled: false, visited: false, asleep: false, waker };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// For its own thread, which lends nothing any more: closes the waker. Whoever still has a hold of this may keep it
    /// for long.
    pub fn end(&self) {
        self.state.lock().waker = None;
    }

    /// For its own thread: lends the session until it is recalled, or free and not visited for `patience`. `needed`
    /// tells, once visitors can have it, whether there is something to read that none of them may be coming for.
    pub fn lend(&self, session: S, patience: Duration, needed: impl FnOnce() -> bool) -> Back<S> {
        let mut state = self.state.lock();
        state.place = Place::Free(session);
        (state.recalled, state.visited, state.asleep) = (false, false, false);
        drop(state);
        if needed() {
            self.recall();
        }
        let mut state = self.state.lock();
        let mut look = Instant::now() + patience;
        loop {
            match std::mem::replace(&mut state.place, Place::Home) {
                Place::Returned(back) => return back,
                Place::Free(session) if state.recalled => return Back::Whole(session),
                place => state.place = place,
            }
            if Instant::now() < look {
                state = self.changed.wait_until(state, look);
                continue;
            }
            if !std::mem::take(&mut state.visited) {
                match std::mem::replace(&mut state.place, Place::Home) {
                    Place::Free(session) => return Back::Whole(session),
                    place => state.place = place,
                }
                // A long visit. No need to look before it ends.
                state.asleep = true;
                while state.asleep {
                    state = self.changed.wait(state);
                }
            }
            look = Instant::now() + patience;
        }
    }

    /// The session, if nobody has it.
    pub fn visit(&self) -> Option<Visit<'_, S>> {
        let mut state = self.state.lock();
        if !matches!(state.place, Place::Free(_)) {
            return None;
        }
        let waker = state.waker.clone()?;
        state.visited = true;
        let place = std::mem::replace(&mut state.place, Place::Away);
        Some(Visit { turn: self, place: Some(place), waker })
    }

    /// Has the session come home: at once, or when the visitor leaves.
    pub fn recall(&self) {
        let mut state = self.state.lock();
        state.recalled = true;
        let tell = matches!(state.place, Place::Free(_));
        drop(state);
        if tell {
            self.changed.notify_one();
        }
    }

    fn put(&self, place: Place<S>) {
        let mut state = self.state.lock();
        let tell = state.recalled || state.asleep || matches!(place, Place::Returned(_));
        state.place = place;
        state.asleep = false;
        drop(state);
        if tell {
            self.changed.notify_one();
        }
    }
}

/// The session, in a visitor's hands.
pub struct Visit<'a, S> {
    turn: &'a SharedReader<S>,
    /// Where it goes when the visit ends; nothing while it is read, so that a panic leaves nothing.
    place: Option<Place<S>>,
    waker: Arc<Waker>,
}

impl<S> Visit<'_, S> {
    /// Runs `read` on the session, with the waker that wakes the visitor, and puts it back, for the next visitor or for
    /// its own thread: for that one at once if `needed`, asked when it is back, says so. `None` if the session broke.
    pub fn read<T>(
        mut self,
        read: impl FnOnce(&mut S, &Arc<Waker>) -> RedisResult<T>,
        needed: impl FnOnce() -> bool,
    ) -> Option<T> {
        let Some(Place::Free(mut session)) = self.place.take() else { return None };
        let (place, value) = match read(&mut session, &self.waker) {
            Ok(value) => (Place::Free(session), Some(value)),
            Err(error) => (Place::Returned(Back::Broken(session, error)), None),
        };
        self.place = Some(place);
        let turn = self.turn;
        drop(self);
        if value.is_some() && needed() {
            turn.recall();
        }
        value
    }
}

impl<S> Drop for Visit<'_, S> {
    fn drop(&mut self) {
        self.turn.put(self.place.take().unwrap_or(Place::Returned(Back::Lost)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::runtime::open_sockets::OpenSockets;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    const LONG: Duration = Duration::from_secs(60);

    fn turn() -> SharedReader<usize> {
        SharedReader::new(Waker::new(&OpenSockets::default()).unwrap())
    }

    /// Waits until it can be visited. Fails where the machine stalled for so long that it is home again, for good.
    fn visit(turn: &SharedReader<usize>) -> Visit<'_, usize> {
        let until = Instant::now() + LONG;
        loop {
            if let Some(visit) = turn.visit() {
                return visit;
            }
            assert!(Instant::now() < until, "it is not to be had");
            std::thread::yield_now();
        }
    }

    fn broken() -> RedisError {
        RedisError::from((redis::ErrorKind::Io, "broken"))
    }

    #[test]
    fn what_is_at_home_or_away_cannot_be_visited() {
        let turn = turn();
        assert!(turn.visit().is_none());
        std::thread::scope(|scope| {
            let home = scope.spawn(|| turn.lend(1, LONG, || false));
            let add = |session: &mut usize, _: &Arc<Waker>| {
                *session += 1;
                Ok(turn.visit().is_none())
            };
            assert_eq!(visit(&turn).read(add, || true), Some(true));
            assert!(matches!(home.join().unwrap(), Back::Whole(2)));
        });
        assert!(turn.visit().is_none());
    }

    #[test]
    fn it_comes_home_when_recalled_needed_or_left_alone() {
        let turn = turn();
        assert!(matches!(turn.lend(1, LONG, || true), Back::Whole(1)));
        assert!(matches!(turn.lend(2, Duration::from_millis(1), || false), Back::Whole(2)));
        std::thread::scope(|scope| {
            let home = scope.spawn(|| turn.lend(3, LONG, || false));
            // While a visitor has it, it cannot.
            let recall = |_: &mut usize, _: &Arc<Waker>| {
                turn.recall();
                Ok(())
            };
            assert!(visit(&turn).read(recall, || false).is_some());
            assert!(matches!(home.join().unwrap(), Back::Whole(3)));
        });
    }

    #[test]
    fn it_stays_out_while_visitors_come_and_during_a_long_visit() {
        let (turn, is_home) = (turn(), AtomicBool::new(false));
        let patience = Duration::from_millis(200);
        std::thread::scope(|scope| {
            let home = scope.spawn(|| {
                // Again where nobody came in time: the machine stalled.
                let back = loop {
                    match turn.lend(0, patience, || false) {
                        Back::Whole(0) => {}
                        back => break back,
                    }
                };
                is_home.store(true, Ordering::SeqCst);
                back
            });
            let stay = |session: &mut usize, _: &Arc<Waker>| {
                *session += 1;
                std::thread::sleep(patience * 2);
                Ok(is_home.load(Ordering::SeqCst))
            };
            assert_eq!(visit(&turn).read(stay, || false), Some(false));
            assert_eq!(turn.visit().and_then(|visit| visit.read(stay, || false)), Some(false));
            assert!(matches!(home.join().unwrap(), Back::Whole(2)));
        });
    }

    #[test]
    fn a_visitor_that_fails_or_panics_says_so() {
        let turn = turn();
        std::thread::scope(|scope| {
            let home = scope.spawn(|| (turn.lend(1, LONG, || false), turn.lend(2, LONG, || false)));
            assert_eq!(visit(&turn).read(|_, _| Err::<(), _>(broken()), || true), None);
            let panics = || visit(&turn).read(|_, _| -> RedisResult<()> { panic!("on purpose") }, || true);
            assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
            assert!(matches!(home.join().unwrap(), (Back::Broken(1, _), Back::Lost)));
        });
    }
}
