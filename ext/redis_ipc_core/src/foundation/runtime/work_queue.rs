//! The requests that this instance holds. They are queued for its consumers, or run.
//!
//! The queue also says how many more may be taken. A waiting consumer is room for one. Beyond that the instance reads
//! ahead only what the consumers will get to within a few ms, so that a slow instance does not hoard what a free one
//! could take.

use crate::foundation::runtime::read_ahead::ReadAhead;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::Waker;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// An item of the queue: a request that was taken, until its answer is sent.
pub trait Held: Debug {
    /// Identifies a held request.
    type Key: Copy + Eq + Hash + Debug;

    /// Returns its key.
    fn key(&self) -> Self::Key;

    /// Whether it was answered. The answer may not be sent yet.
    fn is_answered(&self) -> bool;
}

/// The result of taking a request.
#[derive(Debug)]
pub enum Taken<H> {
    /// A request to run.
    Request(Arc<H>),
    /// The queue is closed.
    Closed,
    /// The waiting thread was interrupted.
    Interrupted,
}

/// The queue between the reader of the inbox (or of a list) and the consumers.
#[derive(Debug)]
pub struct WorkQueue<H: Held> {
    consumers: usize,
    /// The least number of requests that are read ahead.
    least: usize,
    /// While more than half of what is read ahead is left, there is no room.
    in_steps: bool,
    state: Mutex<State<H>>,
    work: Condvar,
    room: Condvar,
    /// Notified when a request was answered, or is not held any more.
    answered: Condvar,
}

#[derive(Debug)]
struct State<H: Held> {
    queued: VecDeque<Arc<H>>,
    held: HashMap<H::Key, Arc<H>>,
    /// How many requests the waiting consumers can take.
    waiting: usize,
    read_ahead: ReadAhead,
    /// The last read returned as many as were requested: more are waiting.
    pressed: bool,
    /// Requests were given back that had waited too long, and no handler has ended since.
    stuck: bool,
    closed: bool,
    /// No answer is accepted any more.
    sealed: bool,
    /// Wakes the consumer that reads the inbox itself.
    waker: Option<Arc<Waker>>,
}

impl<H: Held> State<H> {
    fn new() -> Self {
        Self {
            queued: VecDeque::new(),
            held: HashMap::new(),
            waiting: 0,
            read_ahead: ReadAhead::default(),
            pressed: false,
            stuck: false,
            closed: false,
            sealed: false,
            waker: None,
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }

    /// Holds a request. Returns false if it is held already or the queue is closed.
    fn hold(&mut self, request: &Arc<H>) -> bool {
        if self.closed || self.held.contains_key(&request.key()) {
            return false;
        }
        self.held.insert(request.key(), Arc::clone(request));
        true
    }

    fn room(&self, consumers: usize, least: usize) -> usize {
        if self.closed {
            return 0;
        }
        let least = if self.stuck { 0 } else { least };
        (self.waiting + self.read_ahead.count(consumers).max(least)).saturating_sub(self.queued.len())
    }
}

impl<H: Held> WorkQueue<H> {
    /// Creates an empty queue for this number of consumers.
    pub fn new(consumers: usize) -> Self {
        Self::reading_ahead(consumers, 0)
    }

    /// Creates a queue with room for at least `least` requests, for consumers that take several at once.
    pub fn reading_ahead(consumers: usize, least: usize) -> Self {
        Self::with(consumers, least, false)
    }

    /// Creates a queue like [`WorkQueue::reading_ahead`] for much that is handled quickly: while more than half of what
    /// is read ahead is left, there is no room, so that each read brings many.
    pub fn in_steps(consumers: usize, least: usize) -> Self {
        Self::with(consumers, least, true)
    }

    fn with(consumers: usize, least: usize, in_steps: bool) -> Self {
        Self {
            consumers,
            least,
            in_steps,
            state: Mutex::new(State::new()),
            work: Condvar::new(),
            room: Condvar::new(),
            answered: Condvar::new(),
        }
    }

    /// Returns how many requests may be taken now.
    pub fn room(&self) -> usize {
        self.room_in(&self.state.lock())
    }

    fn room_in(&self, state: &State<H>) -> usize {
        let room = state.room(self.consumers, self.least);
        let is_early = self.in_steps && state.waiting == 0 && state.queued.len() > room;
        if is_early { 0 } else { room }
    }

    /// Wakes who waits for room, if there is some.
    fn tell_room(&self, state: MutexGuard<'_, State<H>>) {
        let has_room = self.room.is_awaited() && self.room_in(&state) > 0;
        drop(state);
        if has_room {
            self.room.notify_one();
        }
    }

    /// Waits until there is room, at most for `time`. Returns 0 if there is none.
    pub fn wait_for_room(&self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        loop {
            let room = self.room_in(&state);
            if room > 0 || state.closed || Instant::now() >= until {
                return room;
            }
            state = self.room.wait_until(state, until);
        }
    }

    /// Queues a request. Returns false if it is held already or the queue is closed.
    pub fn push(&self, request: Arc<H>) -> bool {
        let mut state = self.state.lock();
        if !state.hold(&request) {
            return false;
        }
        state.queued.push_back(request);
        // A waiting consumer may have been notified of an earlier request and not be awake yet.
        if state.queued.len() > state.waiting {
            state.wake();
        }
        drop(state);
        self.work.notify_one();
        true
    }

    /// Queues requests, without those that are held already. A consumer that waits for several is woken once for all of
    /// them.
    pub fn push_all(&self, requests: Vec<Arc<H>>) {
        let mut state = self.state.lock();
        let mut count = 0;
        for request in requests {
            if state.hold(&request) {
                state.queued.push_back(request);
                count += 1;
            }
        }
        if state.queued.len() > state.waiting {
            state.wake();
        }
        drop(state);
        (0..count.min(self.consumers)).for_each(|_| self.work.notify_one());
    }

    /// Queues requests, except the first one that is not held already. Returns that one for the calling consumer.
    pub fn push_but_first(&self, requests: Vec<Arc<H>>) -> Option<Arc<H>> {
        let mut requests = requests.into_iter();
        let first = requests.by_ref().find(|request| self.hold(request));
        self.push_all(requests.collect());
        first
    }

    /// Queues a request in place of the held one with its key. Returns false if the queue is closed: then neither is
    /// held.
    pub fn replace(&self, request: Arc<H>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            state.held.remove(&request.key());
            drop(state);
            self.answered.notify_all();
            return false;
        }
        state.held.insert(request.key(), Arc::clone(&request));
        state.queued.push_back(request);
        state.wake();
        drop(state);
        self.work.notify_one();
        true
    }

    /// Queues a held request before all others, because a consumer gives it back. Returns false if the queue is
    /// closed.
    pub fn push_first(&self, request: &Arc<H>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        if !state.held.contains_key(&request.key()) {
            // It has been given back to others meanwhile.
            return true;
        }
        state.queued.push_front(Arc::clone(request));
        state.wake();
        drop(state);
        self.work.notify_one();
        true
    }

    /// Holds a request that is not queued because a consumer has it. Returns false as [`WorkQueue::push`] does.
    pub fn hold(&self, request: &Arc<H>) -> bool {
        self.state.lock().hold(request)
    }

    /// Holds a request that was answered without a consumer, until the answer is sent.
    pub fn hold_answered(&self, request: Arc<H>) {
        self.state.lock().held.insert(request.key(), request);
    }

    /// Queues requests that are not held yet, all or none. Returns them if the queue is closed.
    pub fn push_together(&self, requests: Vec<Arc<H>>) -> Result<(), Vec<Arc<H>>> {
        let count = requests.len();
        let mut state = self.state.lock();
        if state.closed {
            return Err(requests);
        }
        for request in requests {
            state.held.insert(request.key(), Arc::clone(&request));
            state.queued.push_back(request);
        }
        drop(state);
        (0..count.min(self.consumers)).for_each(|_| self.work.notify_one());
        Ok(())
    }

    /// Registers `waker`, which is woken when there is something to take. Returns true if there is already.
    pub fn register_waker(&self, waker: &Arc<Waker>) -> bool {
        let mut state = self.state.lock();
        if state.closed || !state.queued.is_empty() {
            return true;
        }
        state.waker = Some(Arc::clone(waker));
        false
    }

    /// Removes the registered waker.
    pub fn unregister_waker(&self) {
        self.state.lock().waker = None;
    }

    /// Whether handlers take no longer than `quick`, and no more requests wait than there is room for.
    pub fn is_calm(&self, quick: Duration) -> bool {
        let state = self.state.lock();
        !state.closed && !state.pressed && state.read_ahead.usual_run().is_some_and(|usual| usual <= quick)
    }

    /// Takes the next request, if one is queued.
    pub fn try_take(&self) -> Option<Arc<H>> {
        let mut state = self.state.lock();
        let held = state.queued.pop_front()?;
        self.tell_room(state);
        Some(held)
    }

    /// Takes up to `most` requests that are queued.
    pub fn take_queued(&self, most: usize) -> Vec<Arc<H>> {
        let mut state = self.state.lock();
        let count = most.min(state.queued.len());
        let taken = state.queued.drain(..count).collect();
        self.tell_room(state);
        taken
    }

    /// Waits for the next request and takes it.
    pub fn take(&self, interrupt: &Interrupt) -> Taken<H> {
        self.take_for(1, interrupt)
    }

    /// Takes a request like [`WorkQueue::take`]. While it waits there is room for `count`, because the calling thread
    /// takes requests for as many handlers.
    pub fn take_for(&self, count: usize, interrupt: &Interrupt) -> Taken<H> {
        self.wait_to_take(count, interrupt, None).unwrap_or(Taken::Closed)
    }

    /// Takes a request like [`WorkQueue::take`], but waits at most until `until`. Returns `None` then.
    pub fn take_until(&self, interrupt: &Interrupt, until: Option<Instant>) -> Option<Taken<H>> {
        self.wait_to_take(1, interrupt, until)
    }

    fn wait_to_take(&self, count: usize, interrupt: &Interrupt, until: Option<Instant>) -> Option<Taken<H>> {
        let mut state = self.state.lock();
        loop {
            if let Some(held) = state.queued.pop_front() {
                self.tell_room(state);
                return Some(Taken::Request(held));
            }
            if state.closed {
                return Some(Taken::Closed);
            }
            if interrupt.take() {
                return Some(Taken::Interrupted);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
            state.waiting += count;
            self.room.notify_one();
            state = match until {
                Some(until) => self.work.wait_until(state, until),
                None => self.work.wait(state),
            };
            state.waiting -= count;
        }
    }

    /// Wakes every waiting consumer, so that it notices an interrupt.
    pub fn wake(&self) {
        self.state.lock().wake();
        self.work.notify_all();
    }

    /// Returns the request with this key, if it is held.
    pub fn held(&self, key: H::Key) -> Option<Arc<H>> {
        self.state.lock().held.get(&key).cloned()
    }

    /// Returns of each of these keys whether its request is held.
    pub fn are_held(&self, keys: impl Iterator<Item = H::Key>) -> Vec<bool> {
        let state = self.state.lock();
        keys.map(|key| state.held.contains_key(&key)).collect()
    }

    /// Returns what `pick` makes of the held requests.
    pub fn pick<T>(&self, pick: impl Fn(&H) -> Option<T>) -> Vec<T> {
        self.state.lock().held.values().filter_map(|held| pick(held)).collect()
    }

    /// Records the run time of a handler. It determines how much may be read ahead.
    pub fn note_run(&self, ran: Duration) {
        let mut state = self.state.lock();
        state.read_ahead.note_run(ran);
        state.stuck = false;
        self.tell_room(state);
        self.answered.notify_all();
    }

    /// Records that requests were given back that had been queued for longer than `age`. Until handlers are quick
    /// again, only waiting consumers are room for more.
    pub fn note_stuck(&self, age: Duration) {
        let mut state = self.state.lock();
        state.read_ahead.note_stuck(age);
        state.stuck = true;
    }

    /// Records whether more requests wait in the inbox than there is room for here.
    pub fn note_pressure(&self, pressed: bool) {
        self.state.lock().pressed = pressed;
    }

    /// Returns the recent run time of handlers. `None` if no handler has run yet.
    pub fn usual_run(&self) -> Option<Duration> {
        self.state.lock().read_ahead.usual_run()
    }

    /// Returns how many requests a worker is to take together, at most `most`.
    pub fn at_once(&self, most: usize) -> usize {
        self.state.lock().read_ahead.at_once(most)
    }

    /// Returns the recent run time of handlers, while more requests wait than there is room for.
    pub fn usual_run_under_pressure(&self) -> Option<Duration> {
        let state = self.state.lock();
        state.read_ahead.usual_run().filter(|_| state.pressed)
    }

    /// Removes a request whose answer is sent, or never will be. It must not be removed earlier: a request whose
    /// acknowledgement is under way could be taken for one that was never run.
    pub fn finish(&self, key: H::Key) {
        self.finish_all([key]);
    }

    /// Removes requests as [`WorkQueue::finish`] does.
    pub fn finish_all(&self, keys: impl IntoIterator<Item = H::Key>) {
        let mut state = self.state.lock();
        for key in keys {
            state.held.remove(&key);
        }
        let is_last = state.held.is_empty();
        drop(state);
        if is_last {
            self.answered.notify_all();
        }
    }

    /// Removes the requests that `overdue` picks and returns them.
    pub fn remove(&self, overdue: impl Fn(&H) -> bool) -> Vec<Arc<H>> {
        let mut state = self.state.lock();
        let keys: Vec<H::Key> = state
            .held
            .values()
            .filter(|held| !held.is_answered() && overdue(held))
            .map(|held| held.key())
            .collect();
        let removed: Vec<Arc<H>> = keys.iter().filter_map(|id| state.held.remove(id)).collect();
        state.queued.retain(|held| !keys.contains(&held.key()));
        drop(state);
        self.answered.notify_all();
        removed
    }

    /// Waits until every held request has been answered, at most for `time`.
    pub fn wait_for_answers(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        while state.held.values().any(|held| !held.is_answered()) && Instant::now() < until {
            state = self.answered.wait_until(state, until);
        }
    }

    /// Returns every held request. No answer is accepted from now on.
    pub fn seal(&self) -> Vec<Arc<H>> {
        let mut state = self.state.lock();
        state.sealed = true;
        state.held.values().cloned().collect()
    }

    /// Whether [`WorkQueue::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Whether [`WorkQueue::seal`] was called.
    pub fn is_sealed(&self) -> bool {
        self.state.lock().sealed
    }

    /// Accepts no more requests. Removes the queued ones and returns them, unstarted.
    pub fn close(&self) -> Vec<Arc<H>> {
        let mut state = self.state.lock();
        state.closed = true;
        let unstarted: Vec<Arc<H>> = state.queued.drain(..).collect();
        for held in &unstarted {
            state.held.remove(&held.key());
        }
        state.wake();
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
        unstarted
    }

    /// Returns how many requests are held and not answered.
    pub fn len(&self) -> usize {
        self.state.lock().held.values().filter(|held| !held.is_answered()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::runtime::open_sockets::OpenSockets;
    use crate::foundation::runtime::waker::WaitEnd;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A request that is identified by its number.
    #[derive(Debug)]
    struct Numbered(u64, AtomicBool);

    impl Held for Numbered {
        type Key = u64;

        fn key(&self) -> u64 {
            self.0
        }

        fn is_answered(&self) -> bool {
            self.1.load(Ordering::SeqCst)
        }
    }

    fn request(number: u64) -> Arc<Numbered> {
        Arc::new(Numbered(number, AtomicBool::new(false)))
    }

    #[test]
    fn a_request_is_held_once_from_push_to_finish() {
        let queue = WorkQueue::new(1);
        assert!(queue.push(request(1)));
        assert!(!queue.push(request(1)));
        let taken = queue.try_take().unwrap();
        assert!(queue.try_take().is_none());
        assert!(!queue.push(request(1)), "a running request is not queued again");
        queue.finish(taken.key());
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_pushed_together_is_held_once_and_finished_together() {
        let queue = WorkQueue::new(2);
        queue.push(request(2));
        queue.push_all((1..=3).map(request).collect());
        assert_eq!(queue.are_held([1, 2, 3, 4].into_iter()), [true, true, true, false]);
        let order: Vec<u64> = queue.take_queued(9).iter().map(|request| request.key()).collect();
        assert_eq!(order, [2, 1, 3]);
        queue.finish_all(order);
        assert_eq!(queue.len(), 0);
        assert!(queue.push(request(1)));
    }

    #[test]
    fn what_is_pushed_together_wakes_every_consumer_that_it_is_for() {
        let (queue, interrupt) = (WorkQueue::new(3), Interrupt::default());
        std::thread::scope(|scope| {
            let consumers: Vec<_> = (0..3).map(|_| scope.spawn(|| queue.take(&interrupt))).collect();
            while queue.room() < 3 {
                std::thread::yield_now();
            }
            queue.push_all((1..=3).map(request).collect());
            for consumer in consumers {
                assert!(matches!(consumer.join().unwrap(), Taken::Request(_)));
            }
        });
    }

    #[test]
    fn an_answered_request_is_held_until_its_answer_is_out() {
        let queue = WorkQueue::new(1);
        queue.push(request(1));
        let taken = queue.try_take().unwrap();
        taken.1.store(true, Ordering::SeqCst);
        assert_eq!(queue.len(), 0, "for the user it is done");
        assert!(!queue.push(request(1)), "but it is not to be run again");
        assert!(queue.remove(|_| true).is_empty());
        queue.hold_answered(request(2));
        assert!(!queue.push(request(2)));
        queue.finish(taken.key());
        assert!(queue.push(request(1)));
    }

    #[test]
    fn there_is_room_for_all_handlers_that_a_waiting_thread_takes_for() {
        let queue = WorkQueue::new(50);
        let interrupt = Interrupt::default();
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| queue.take_for(7, &interrupt));
            assert_eq!(queue.wait_for_room(Duration::from_secs(5)), 7);
            queue.push_all((1..=7).map(request).collect());
            assert!(matches!(taking.join().unwrap(), Taken::Request(first) if first.key() == 1));
        });
        assert_eq!(queue.room(), 0);
    }

    #[test]
    fn room_is_for_waiting_consumers_and_what_they_will_get_to_soon() {
        let queue = WorkQueue::new(2);
        assert_eq!(queue.room(), 0, "nobody waits yet");
        let interrupt = Interrupt::default();
        std::thread::scope(|scope| {
            let consumer = scope.spawn(|| queue.take(&interrupt));
            assert_eq!(queue.wait_for_room(Duration::from_secs(5)), 1);
            queue.push(request(1));
            assert!(matches!(consumer.join().unwrap(), Taken::Request(_)));
        });
        queue.note_run(Duration::from_millis(1));
        assert_eq!(queue.room(), 10, "5 ms of 1 ms handlers for 2 consumers");
        queue.note_run(Duration::from_secs(60));
        assert_eq!(queue.room(), 0, "slow handlers are not read ahead for");
    }

    #[test]
    fn closing_gives_back_what_was_not_started_and_wakes_everyone() {
        let queue = WorkQueue::new(2);
        for seq in 1..=3 {
            queue.push(request(seq));
        }
        queue.try_take().unwrap();
        let unstarted: Vec<_> = queue.close().iter().map(|request| request.key()).collect();
        assert_eq!(unstarted, [2, 3]);
        assert_eq!(queue.len(), 1);
        assert!(!queue.push(request(4)));
        assert!(matches!(queue.take(&Interrupt::default()), Taken::Closed));
        assert_eq!(queue.wait_for_room(Duration::from_secs(5)), 0);
    }

    #[test]
    fn the_bell_rings_for_what_the_waiting_consumers_cannot_take() {
        let interrupt = Interrupt::default();
        let (_there, here) = UnixStream::pair().unwrap();
        // Sometimes the waiting consumer is awake before the second request is pushed. Then it was notified of the
        // first.
        for _ in 0..100 {
            let queue = WorkQueue::new(2);
            let waker = Arc::new(Waker::new(&OpenSockets::default()).unwrap());
            std::thread::scope(|scope| {
                let consumer = scope.spawn(|| queue.take(&interrupt));
                queue.wait_for_room(Duration::from_secs(5));
                assert!(!queue.register_waker(&waker));
                queue.push(request(1));
                queue.push(request(2));
                assert!(matches!(consumer.join().unwrap(), Taken::Request(_)));
            });
            assert_eq!(waker.wait(here.as_fd(), Instant::now()).unwrap(), WaitEnd::Waker);
        }
    }

    #[test]
    fn an_interrupt_ends_a_wait_and_is_used_up() {
        let (queue, interrupt) = (WorkQueue::<Numbered>::new(1), Interrupt::default());
        std::thread::scope(|scope| {
            let consumer = scope.spawn(|| queue.take(&interrupt));
            queue.wait_for_room(Duration::from_secs(5));
            interrupt.set();
            queue.wake();
            assert!(matches!(consumer.join().unwrap(), Taken::Interrupted));
        });
        assert!(!interrupt.take());
    }
}
