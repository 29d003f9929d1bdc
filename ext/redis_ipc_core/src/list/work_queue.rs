//! The requests this server holds: queued for its threads, running, or answered with the answer on its way.

use crate::ledger::Interrupt;
use crate::list::job::Job;
use crate::read_ahead::ReadAhead;
use crate::sync::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a thread gets.
#[derive(Debug)]
pub enum Taken {
    /// A request to run.
    Job(Arc<Job>),
    /// No more will come.
    Closed,
    /// The waiting thread was interrupted.
    Interrupted,
}

/// The queue between the reader of the list and the threads that run the methods.
#[derive(Debug)]
pub struct WorkQueue {
    threads: usize,
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queued: VecDeque<Arc<Job>>,
    held: HashMap<u64, Arc<Job>>,
    last_number: u64,
    waiting: usize,
    read_ahead: ReadAhead,
    closed: bool,
}

impl State {
    fn room(&self, threads: usize) -> usize {
        if self.closed {
            return 0;
        }
        (self.waiting + self.read_ahead.count(threads)).saturating_sub(self.queued.len())
    }

    fn take(&mut self) -> Option<Arc<Job>> {
        let job = self.queued.pop_front()?;
        job.start();
        Some(job)
    }
}

impl WorkQueue {
    /// An empty queue for so many threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, state: Mutex::default(), work: Condvar::new(), room: Condvar::new() }
    }

    /// Waits until there is room, at most for `time`; 0 if there is none.
    pub fn wait_for_room(&self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        loop {
            let room = state.room(self.threads);
            if room > 0 || state.closed || Instant::now() >= until {
                return room;
            }
            state = self.room.wait_until(state, until);
        }
    }

    /// Queues requests; gives them back if the queue is closed.
    pub fn push(&self, texts: Vec<Vec<u8>>, given_up: bool) -> Result<(), Vec<Vec<u8>>> {
        let count = texts.len();
        let mut state = self.state.lock();
        if state.closed {
            return Err(texts);
        }
        for text in texts {
            state.last_number += 1;
            let job = Arc::new(Job::new(state.last_number, text, given_up));
            state.held.insert(job.number, Arc::clone(&job));
            state.queued.push_back(job);
        }
        drop(state);
        (0..count.min(self.threads)).for_each(|_| self.work.notify_one());
        Ok(())
    }

    /// The next request, if one is queued.
    pub fn try_take(&self) -> Option<Arc<Job>> {
        let job = self.state.lock().take()?;
        self.room.notify_one();
        Some(job)
    }

    /// The next request; waits for it.
    pub fn take(&self, interrupt: &Interrupt) -> Taken {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.take() {
                drop(state);
                self.room.notify_one();
                return Taken::Job(job);
            }
            if state.closed {
                return Taken::Closed;
            }
            if interrupt.take() {
                return Taken::Interrupted;
            }
            state.waiting += 1;
            self.room.notify_one();
            state = self.work.wait(state);
            state.waiting -= 1;
        }
    }

    /// Wakes every waiting thread, so that it notices an interrupt.
    pub fn wake(&self) {
        drop(self.state.lock());
        self.work.notify_all();
    }

    /// Notes that a method took so long: it tells how much may be read ahead.
    pub fn note_run(&self, ran: Duration) {
        self.state.lock().read_ahead.note_run(ran);
        self.room.notify_one();
    }

    /// Lets go of a request: its answer is out, or never will be.
    pub fn release(&self, job: &Job) {
        self.state.lock().held.remove(&job.number);
    }

    /// How often each text is held.
    pub fn held_texts(&self) -> HashMap<Vec<u8>, usize> {
        let mut texts = HashMap::new();
        for job in self.state.lock().held.values() {
            *texts.entry(job.text.clone()).or_default() += 1;
        }
        texts
    }

    /// Takes nothing more and lets go of what is queued: returns it, oldest first.
    pub fn close(&self) -> Vec<Arc<Job>> {
        let mut state = self.state.lock();
        state.closed = true;
        let unstarted: Vec<Arc<Job>> = state.queued.drain(..).collect();
        for job in &unstarted {
            state.held.remove(&job.number);
        }
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
        unstarted
    }

    /// How many requests are held and not answered.
    pub fn len(&self) -> usize {
        self.state.lock().held.values().filter(|job| !job.is_answered()).count()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_held_from_push_to_release() {
        let queue = WorkQueue::new(1);
        queue.push(vec![b"a".to_vec(), b"a".to_vec()], false).unwrap();
        assert_eq!(queue.held_texts()[&b"a".to_vec()], 2);
        let job = queue.try_take().unwrap();
        assert!(job.answer().is_some());
        assert!(job.answer().is_none(), "it is answered once");
        assert_eq!(queue.len(), 1);
        queue.release(&job);
        assert_eq!(queue.held_texts()[&b"a".to_vec()], 1);
    }

    #[test]
    fn closing_gives_back_what_was_not_started() {
        let queue = WorkQueue::new(1);
        queue.push(vec![b"a".to_vec(), b"b".to_vec()], false).unwrap();
        let running = queue.try_take().unwrap();
        let unstarted: Vec<Vec<u8>> = queue.close().iter().map(|job| job.text.clone()).collect();
        assert_eq!((running.text.as_slice(), unstarted), (&b"a"[..], vec![b"b".to_vec()]));
        assert_eq!(queue.push(vec![b"c".to_vec()], false), Err(vec![b"c".to_vec()]));
        assert!(matches!(queue.take(&Interrupt::default()), Taken::Closed));
        assert_eq!(queue.wait_for_room(Duration::from_secs(5)), 0);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn an_interrupt_ends_a_wait() {
        let (queue, interrupt) = (WorkQueue::new(1), Interrupt::default());
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| queue.take(&interrupt));
            assert_eq!(queue.wait_for_room(Duration::from_secs(5)), 1);
            interrupt.set();
            queue.wake();
            assert!(matches!(thread.join().unwrap(), Taken::Interrupted));
        });
    }
}
