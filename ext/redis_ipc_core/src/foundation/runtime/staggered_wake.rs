//! Wakes the callers whose calls have ended: a crowd one after the other.
//!
//! A thread that is woken wants a lock which is not ours: Ruby's. Woken together, all but one would find it taken and
//! sleep once more, each of them. So the next one is woken by whoever waits next, who has just given that lock up.

use crate::foundation::runtime::sync::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many are woken one after the other; fewer, at once.
const CROWD: usize = 3;
/// How long the others wait for one who was woken and has not come to wait again: it may never do so.
const PATIENCE: Duration = Duration::from_micros(250);

/// A call that a thread may wait for.
pub trait Sleeper {
    /// Whether a thread waits asleep.
    fn is_awaited(&self) -> bool;

    /// Wakes the threads that wait, now that the call has ended.
    fn rouse(&self);
}

struct State<S> {
    asleep: VecDeque<Arc<S>>,
    /// When one was woken who has not come to wait again, as far as is known.
    woken: Option<Instant>,
}

/// The callers to be woken.
pub struct StaggeredWake<S>(Mutex<State<S>>);

impl<S> Default for StaggeredWake<S> {
    fn default() -> Self {
        Self(Mutex::new(State { asleep: VecDeque::new(), woken: None }))
    }
}

impl<S: Sleeper> StaggeredWake<S> {
    /// Adds a call that has ended. Who waits for it is woken later.
    pub fn put(&self, ended: Arc<S>) {
        if ended.is_awaited() {
            self.0.lock().asleep.push_back(ended);
        }
    }

    /// Begins to wake those that were added, unless it has begun and goes on.
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

    /// For a caller that begins to wait: wakes the next one.
    pub fn next(&self) {
        let mut state = self.0.lock();
        let next = std::iter::from_fn(|| state.asleep.pop_front()).find(|ticket| ticket.is_awaited());
        state.woken = next.is_some().then(Instant::now);
        drop(state);
        if let Some(ticket) = next {
            ticket.rouse();
        }
    }

    /// When to wake [`StaggeredWake::all`] of those that are left, if any are.
    pub fn due(&self) -> Option<Instant> {
        let state = self.0.lock();
        state.woken.filter(|_| !state.asleep.is_empty()).map(|woken| woken + PATIENCE)
    }

    /// Wakes all of them.
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

    /// So many threads, each asleep till its call ends, which the receiver tells of.
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
        // More have come; now the first one is known not to come back.
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
        // By an interrupt.
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
