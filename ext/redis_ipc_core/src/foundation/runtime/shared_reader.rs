//! Decides which thread reads a connection.
//!
//! The connection belongs to a thread of the engine. But the messages that this thread reads are for another thread,
//! which it must then wake. So while only one thread waits, the owner lends the connection, and the waiting thread
//! reads for itself. This is the leader/followers pattern (<https://www.dre.vanderbilt.edu/~schmidt/PDF/lf.pdf>). The
//! thread that owns the connection is the owner, and a thread that borrows it is a follower.

use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waker::Waker;
use redis::{RedisError, RedisResult};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state in which a lent session returns to its owner.
#[derive(Debug)]
pub enum Back<S> {
    /// The session is usable.
    Whole(S),
    /// The session is of no more use because of this error.
    Broken(S, RedisError),
    /// The session is gone: the follower panicked.
    Lost,
}

impl<S> Back<S> {
    /// Returns the session, if it is usable.
    pub fn into_result(self) -> RedisResult<S> {
        match self {
            Self::Whole(session) => Ok(session),
            Self::Broken(_, error) => Err(error),
            Self::Lost => Err(io::Error::other("a follower panicked while it read the connection").into()),
        }
    }
}

enum Holder<S> {
    /// The owner has it.
    Owner,
    /// Any follower may take it.
    Free(S),
    /// A follower has it.
    Follower,
    /// A follower gave it back.
    Returned(Back<S>),
}

struct State<S> {
    holder: Holder<S>,
    /// The session must return to its owner as soon as no follower has it.
    recalled: bool,
    /// A follower took the session since the owner last checked.
    followed: bool,
    /// The owner sleeps until the follower returns the session.
    asleep: bool,
    /// Wakes a follower. It is `None` once the owner lends no more.
    waker: Option<Arc<Waker>>,
}

/// A session (a connection and what was read from it so far) that its owner or a follower reads.
pub struct SharedReader<S> {
    state: Mutex<State<S>>,
    changed: Condvar,
}

impl<S> SharedReader<S> {
    /// Creates the state of a session that its owner has. `waker` wakes a follower.
    pub fn new(waker: Waker) -> Self {
        let waker = Some(Arc::new(waker));
        let state = State { holder: Holder::Owner, recalled: false, followed: false, asleep: false, waker };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Closes the waker when the owner lends no more. Other threads may keep a reference to this state for long after
    /// that.
    pub fn end(&self) {
        self.state.lock().waker = None;
    }

    /// Lends the owner's session until it is recalled, or until no follower has taken it for `patience`. `needed` is
    /// asked once followers can take the session: it tells whether there is something to read for which no follower
    /// may come.
    pub fn lend(&self, session: S, patience: Duration, needed: impl FnOnce() -> bool) -> Back<S> {
        let mut state = self.state.lock();
        state.holder = Holder::Free(session);
        (state.recalled, state.followed, state.asleep) = (false, false, false);
        drop(state);
        if needed() {
            self.recall();
        }
        let mut state = self.state.lock();
        let mut look = Instant::now() + patience;
        loop {
            match std::mem::replace(&mut state.holder, Holder::Owner) {
                Holder::Returned(back) => return back,
                Holder::Free(session) if state.recalled => return Back::Whole(session),
                holder => state.holder = holder,
            }
            if Instant::now() < look {
                state = self.changed.wait_until(state, look);
                continue;
            }
            if !std::mem::take(&mut state.followed) {
                match std::mem::replace(&mut state.holder, Holder::Owner) {
                    Holder::Free(session) => return Back::Whole(session),
                    holder => state.holder = holder,
                }
                // A follower has it for long. There is no need to check before it returns the session.
                state.asleep = true;
                while state.asleep {
                    state = self.changed.wait(state);
                }
            }
            look = Instant::now() + patience;
        }
    }

    /// Takes the session for a follower. Returns `None` if another thread has it.
    pub fn follow(&self) -> Option<Follower<'_, S>> {
        let mut state = self.state.lock();
        if !matches!(state.holder, Holder::Free(_)) {
            return None;
        }
        let waker = state.waker.clone()?;
        state.followed = true;
        let holder = std::mem::replace(&mut state.holder, Holder::Follower);
        Some(Follower { shared: self, holder: Some(holder), waker })
    }

    /// Requires the session back: at once, or when its follower returns it.
    pub fn recall(&self) {
        let mut state = self.state.lock();
        state.recalled = true;
        let tell = matches!(state.holder, Holder::Free(_));
        drop(state);
        if tell {
            self.changed.notify_one();
        }
    }

    fn put(&self, holder: Holder<S>) {
        let mut state = self.state.lock();
        let tell = state.recalled || state.asleep || matches!(holder, Holder::Returned(_));
        state.holder = holder;
        state.asleep = false;
        drop(state);
        if tell {
            self.changed.notify_one();
        }
    }
}

/// A session in the hands of a follower.
pub struct Follower<'a, S> {
    shared: &'a SharedReader<S>,
    /// The state that the session returns in. It is `None` during a read, so that a panic returns nothing.
    holder: Option<Holder<S>>,
    waker: Arc<Waker>,
}

impl<S> Follower<'_, S> {
    /// Runs `read` on the session, with the waker that wakes this follower. Then it returns the session to the next
    /// follower, or at once to the owner if `needed`, which is asked after the return, says so. Returns `None` if the
    /// session broke.
    pub fn read<T>(
        mut self,
        read: impl FnOnce(&mut S, &Arc<Waker>) -> RedisResult<T>,
        needed: impl FnOnce() -> bool,
    ) -> Option<T> {
        let Some(Holder::Free(mut session)) = self.holder.take() else { return None };
        let (holder, value) = match read(&mut session, &self.waker) {
            Ok(value) => (Holder::Free(session), Some(value)),
            Err(error) => (Holder::Returned(Back::Broken(session, error)), None),
        };
        self.holder = Some(holder);
        let shared = self.shared;
        drop(self);
        if value.is_some() && needed() {
            shared.recall();
        }
        value
    }
}

impl<S> Drop for Follower<'_, S> {
    fn drop(&mut self) {
        self.shared.put(self.holder.take().unwrap_or(Holder::Returned(Back::Lost)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::runtime::open_sockets::OpenSockets;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    const LONG: Duration = Duration::from_secs(60);

    fn shared() -> SharedReader<usize> {
        SharedReader::new(Waker::new(&OpenSockets::default()).unwrap())
    }

    /// Waits until the session can be taken. It fails where the machine stalled for so long that the owner has taken
    /// the session back for good.
    fn follow(shared: &SharedReader<usize>) -> Follower<'_, usize> {
        let until = Instant::now() + LONG;
        loop {
            if let Some(follow) = shared.follow() {
                return follow;
            }
            assert!(Instant::now() < until, "it is not to be had");
            std::thread::yield_now();
        }
    }

    fn broken() -> RedisError {
        RedisError::from((redis::ErrorKind::Io, "broken"))
    }

    #[test]
    fn only_a_free_session_can_be_followed() {
        let shared = shared();
        assert!(shared.follow().is_none());
        std::thread::scope(|scope| {
            let owner = scope.spawn(|| shared.lend(1, LONG, || false));
            let add = |session: &mut usize, _: &Arc<Waker>| {
                *session += 1;
                Ok(shared.follow().is_none())
            };
            assert_eq!(follow(&shared).read(add, || true), Some(true));
            assert!(matches!(owner.join().unwrap(), Back::Whole(2)));
        });
        assert!(shared.follow().is_none());
    }

    #[test]
    fn it_returns_when_recalled_needed_or_left_alone() {
        let shared = shared();
        assert!(matches!(shared.lend(1, LONG, || true), Back::Whole(1)));
        assert!(matches!(shared.lend(2, Duration::from_millis(1), || false), Back::Whole(2)));
        std::thread::scope(|scope| {
            let owner = scope.spawn(|| shared.lend(3, LONG, || false));
            // The session cannot return while a follower has it.
            let recall = |_: &mut usize, _: &Arc<Waker>| {
                shared.recall();
                Ok(())
            };
            assert!(follow(&shared).read(recall, || false).is_some());
            assert!(matches!(owner.join().unwrap(), Back::Whole(3)));
        });
    }

    #[test]
    fn it_stays_lent_while_followers_come_and_while_one_keeps_it() {
        let (shared, is_returned) = (shared(), AtomicBool::new(false));
        let patience = Duration::from_millis(200);
        std::thread::scope(|scope| {
            let owner = scope.spawn(|| {
                // The loop lends again where no follower came in time because the machine stalled.
                let back = loop {
                    match shared.lend(0, patience, || false) {
                        Back::Whole(0) => {}
                        back => break back,
                    }
                };
                is_returned.store(true, Ordering::SeqCst);
                back
            });
            let stay = |session: &mut usize, _: &Arc<Waker>| {
                *session += 1;
                std::thread::sleep(patience * 2);
                Ok(is_returned.load(Ordering::SeqCst))
            };
            assert_eq!(follow(&shared).read(stay, || false), Some(false));
            assert_eq!(shared.follow().and_then(|follow| follow.read(stay, || false)), Some(false));
            assert!(matches!(owner.join().unwrap(), Back::Whole(2)));
        });
    }

    #[test]
    fn a_follower_that_fails_or_panics_says_so() {
        let shared = shared();
        std::thread::scope(|scope| {
            let owner = scope.spawn(|| (shared.lend(1, LONG, || false), shared.lend(2, LONG, || false)));
            assert_eq!(follow(&shared).read(|_, _| Err::<(), _>(broken()), || true), None);
            let panics = || follow(&shared).read(|_, _| -> RedisResult<()> { panic!("on purpose") }, || true);
            assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
            assert!(matches!(owner.join().unwrap(), (Back::Broken(1, _), Back::Lost)));
        });
    }
}
