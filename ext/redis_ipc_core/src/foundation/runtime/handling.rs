//! The handlers that run now, and how long work waited for them and kept them busy.

use crate::foundation::runtime::histogram::Histogram;
use crate::foundation::runtime::sync::Mutex;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The handlers of an instance. `H` is what a handler is run for.
#[derive(Debug)]
pub struct Handling<H> {
    running: Mutex<Vec<Weak<H>>>,
    /// How long work waited until its handler began.
    pub wait: Histogram,
    /// How long handlers ran.
    pub run: Histogram,
}

impl<H> Default for Handling<H> {
    fn default() -> Self {
        Self { running: Mutex::default(), wait: Histogram::default(), run: Histogram::default() }
    }
}

impl<H> Handling<H> {
    /// Records that a handler begins with `work`, which has waited for this long.
    pub fn begin(&self, work: &Arc<H>, waited: Duration) {
        self.wait.record(waited);
        let mut running = self.running.lock();
        // Work that was let go of without an end (by a program that does not say when its handlers return) has none.
        if running.len() == running.capacity() {
            running.retain(|other| other.strong_count() > 0);
        }
        running.push(Arc::downgrade(work));
    }

    /// Records that the handler of `work` has returned, after it `ran` for this long. Without a time it was stopped.
    pub fn end(&self, work: &H, ran: Option<Duration>) {
        let mut running = self.running.lock();
        let Some(place) = running.iter().position(|other| std::ptr::eq(other.as_ptr(), work)) else { return };
        running.swap_remove(place);
        drop(running);
        if let Some(ran) = ran {
            self.run.record(ran);
        }
    }

    /// Returns what handlers run for now.
    pub fn running(&self) -> Vec<Arc<H>> {
        self.running.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// When a handler began, and where it was when it was last looked at.
#[derive(Debug)]
pub struct Run {
    /// When it began.
    pub since: Instant,
    /// After this long it is looked at again.
    next_look: Duration,
    /// The line of the application where it was.
    pub frame: Option<String>,
    /// The name of what it runs, if the application gave it one.
    pub event: Option<String>,
}

impl Run {
    /// Begins at the time `since`. It is looked at once it has run for `patience`.
    pub fn new(since: Instant, patience: Duration) -> Self {
        Self { since, next_look: patience, frame: None, event: None }
    }

    /// Whether it has run for so long that it is to be looked at. It is looked at less and less often.
    pub fn is_to_look(&mut self) -> bool {
        let ran = self.since.elapsed();
        let is_due = ran >= self.next_look;
        if is_due {
            self.next_look = ran * 2;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_known_until_it_ends() {
        let (handling, works) = (Handling::default(), [Arc::new(1), Arc::new(1), Arc::new(2)]);
        works.iter().for_each(|work| handling.begin(work, Duration::from_millis(5)));
        handling.end(&works[1], Some(Duration::from_millis(7)));
        handling.end(&works[1], Some(Duration::from_millis(7)));
        handling.end(&works[2], None);
        assert_eq!(handling.running().len(), 1);
        assert!(Arc::ptr_eq(&handling.running()[0], &works[0]));
        assert_eq!((handling.run.sum_ms(), handling.wait.sum_ms()), (7, 15));
    }

    #[test]
    fn what_was_let_go_of_does_not_run_and_takes_no_room() {
        let handling = Handling::default();
        (0..1_000).for_each(|number| handling.begin(&Arc::new(number), Duration::ZERO));
        assert!(handling.running().is_empty());
        assert!(handling.running.lock().capacity() < 100);
    }

    #[test]
    fn a_handler_is_looked_at_less_and_less_often() {
        let mut run = Run::new(Instant::now(), Duration::ZERO);
        assert!(run.is_to_look());
        run.next_look = Duration::from_secs(60);
        assert!(!run.is_to_look());
    }
}
