//! Wakes the callers whose calls have ended. Many callers are woken one after the other.
//!
//! A woken thread needs a lock that is not ours: Ruby's. If all threads were woken together, all but one would find
//! the lock taken and sleep once more. So the next caller is woken by the thread that begins to wait next, because
//! that thread has just released the lock.

use crate::foundation::runtime::sync::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// This many callers are woken one after the other. Fewer are woken at once.
const CROWD: usize = 3;
/// How long the other callers wait for a woken thread to wait again. It may never do so.
const PATIENCE: Duration = Duration::from_micros(250);

/// A call that a thread may wait for.
pub trait Sleeper {
    /// Returns whether a thread sleeps until the call ends.
    fn is_awaited(&self) -> bool;

    /// Wakes the waiting threads, now that the call has ended.
    fn rouse(&self);
}

struct State<S> {
    asleep: VecDeque<Arc<S>>,
    /// When a thread was last woken that has not begun to wait again, as far as is known.
    woken: Option<Instant>,
}

/// The queue of callers to wake.
pub struct StaggeredWake<S>(Mutex<State<S>>);

impl<S> Default for StaggeredWake<S> {
    fn default() -> Self {
        Self(Mutex::new(State { asleep: VecDeque::new(), woken: None }))
    }
}

impl<S: Sleeper> StaggeredWake<S> {
    /// Adds a call that has ended. Its waiting thread is woken later.
    pub fn put(&self, ended: Arc<S>) {
        if ended.is_awaited() {
            self.0.lock().asleep.push_back(ended);
        }
    }

    /// Starts to wake the queued callers, unless that is under way.
    pub fn start(&self) {
        let state = self.0.lock();
        let goes_on = state.woken.is_some_and(|woken| woken.elapsed() < PATIENCE);
        let crowded = state.asleep.len() >= CROWD;
        drop(state);
        match (goes_on, crowded) {
            (true, _) => {}
            (false, true) => self.next(),
            (false, false) => self.all(),
        }
    }

    /// Wakes the next caller. A caller that begins to wait runs this.
    pub fn next(&self) {
        let mut state = self.0.lock();
        let next = std::iter::from_fn(|| state.asleep.pop_front()).find(|ticket| ticket.is_awaited());
        state.woken = next.is_some().then(Instant::now);
        drop(state);
        if let Some(ticket) = next {
            ticket.rouse();
        }
    }

    /// Returns when [`StaggeredWake::all`] is due for the remaining callers. `None` if none remain.
    pub fn due(&self) -> Option<Instant> {
        let state = self.0.lock();
        state.woken.filter(|_| !state.asleep.is_empty()).map(|woken| woken + PATIENCE)
    }

    /// Wakes all queued callers.
    pub fn all(&self) {
        let mut state = self.0.lock();
        state.woken = None;
        let all = std::mem::take(&mut state.asleep);
        drop(state);
        all.into_iter().for_each(|ticket| ticket.rouse());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::runtime::waiting::{Ending, Interrupt, Waited};
    use crossbeam_channel::{Receiver, unbounded};
    use std::thread;

    type Ticket = Ending<(), ()>;

    impl Sleeper for Ticket {
        fn is_awaited(&self) -> bool {
            self.is_awaited()
        }

        fn rouse(&self) {
            self.rouse();
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    /// Starts threads that each sleep until their call ends. The receiver gets the number of each woken thread.
    fn sleepers(count: usize) -> (Vec<Arc<Ticket>>, Receiver<usize>) {
        let (sender, woken) = unbounded();
        let tickets: Vec<_> = (0..count).map(|_| Arc::new(Ticket::new(()))).collect();
        for (index, ticket) in tickets.iter().cloned().enumerate() {
            let sender = sender.clone();
            thread::spawn(move || {
                assert!(matches!(ticket.wait(Instant::now() + LONG, &Interrupt::default()), Waited::Done(_)));
                sender.send(index).unwrap();
            });
        }
        while !tickets.iter().all(|ticket| ticket.is_awaited()) {
            thread::yield_now();
        }
        (tickets, woken)
    }

    fn put_all(queue: &StaggeredWake<Ticket>, tickets: &[Arc<Ticket>]) {
        for ticket in tickets {
            assert!(ticket.settle_quietly(1.into(), |()| true, || ()));
            queue.put(Arc::clone(ticket));
        }
    }

    fn order(woken: &Receiver<usize>, count: usize) -> Vec<usize> {
        (0..count).map(|_| woken.recv_timeout(LONG).unwrap()).collect()
    }

    #[test]
    fn a_crowd_wakes_one_after_the_other_as_callers_come_to_wait() {
        let (tickets, woken) = sleepers(CROWD + 2);
        let queue = StaggeredWake::default();
        put_all(&queue, &tickets);
        assert!(queue.due().is_none());
        queue.start();
        assert!(queue.due().is_some());
        for index in 0..tickets.len() {
            assert_eq!(order(&woken, 1), [index]);
            assert!(woken.is_empty());
            queue.next();
        }
        assert!(queue.due().is_none());
    }

    #[test]
    fn few_wake_at_once() {
        let (tickets, woken) = sleepers(CROWD - 1);
        let queue = StaggeredWake::default();
        put_all(&queue, &tickets);
        queue.start();
        assert!(queue.due().is_none());
        order(&woken, tickets.len());
    }

    #[test]
    fn the_rest_wakes_if_nobody_comes() {
        let (tickets, woken) = sleepers(2 * CROWD);
        let queue = StaggeredWake::default();
        put_all(&queue, &tickets[..CROWD]);
        queue.start();
        let due = queue.due().unwrap();
        assert_eq!(order(&woken, 1), [0]);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // More calls have ended, and now it is known that the first caller does not wait again.
        put_all(&queue, &tickets[CROWD..]);
        queue.start();
        assert_eq!(order(&woken, 1), [1]);
        queue.all();
        assert!(queue.due().is_none());
        let mut rest = order(&woken, 2 * CROWD - 2);
        rest.sort_unstable();
        assert_eq!(rest, (2..2 * CROWD).collect::<Vec<_>>());
    }

    #[test]
    fn those_that_nobody_waits_for_any_more_are_passed_over() {
        let (tickets, woken) = sleepers(CROWD + 1);
        let queue = StaggeredWake::default();
        put_all(&queue, &tickets);
        // An interrupt wakes it.
        tickets[0].wake();
        assert_eq!(order(&woken, 1), [0]);
        while tickets[0].is_awaited() {
            thread::yield_now();
        }
        queue.start();
        assert_eq!(order(&woken, 1), [1]);
        queue.all();
        order(&woken, CROWD - 1);
        put_all(&queue, &sleepers(0).0);
        queue.start();
        assert!(queue.due().is_none());
    }
}
