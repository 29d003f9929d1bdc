//! A request that was taken, until its answer is sent.

use crate::foundation::runtime::handling::{Handling, Run};
use crate::foundation::runtime::sync::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// A request that was taken.
#[derive(Debug)]
pub struct InFlight {
    /// Identifies it among requests with the same text.
    pub number: u64,
    /// The text that was on the list.
    pub text: Vec<u8>,
    /// It has crashed too many servers. It is not to be run, only answered.
    pub given_up: bool,
    taken: Instant,
    state: Mutex<State>,
    answered: AtomicBool,
}

/// The method of a request.
#[derive(Debug, Default)]
struct State {
    run: Option<Run>,
    /// When its caller gives up, in ms on Redis's clock, until that was told.
    deadline: Option<u64>,
    handling: Option<Arc<Handling<InFlight>>>,
}

impl InFlight {
    /// Creates a request that waits for a thread.
    pub fn new(text: Vec<u8>, given_up: bool) -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let (taken, state, answered) = (Instant::now(), Mutex::default(), AtomicBool::new(false));
        Self { number, text, given_up, taken, state, answered }
    }

    /// Records that its method runs. It is looked at once that has run for `patience`.
    pub fn start(self: &Arc<Self>, handling: &Arc<Handling<Self>>, patience: Duration) {
        let run = Run::new(Instant::now(), patience);
        let waited = run.since.saturating_duration_since(self.taken);
        *self.state.lock() = State { run: Some(run), deadline: None, handling: Some(Arc::clone(handling)) };
        handling.begin(self, waited);
    }

    /// Reads or changes what is known of its method. `None` if that does not run.
    pub fn run<T>(&self, look: impl FnOnce(&mut Run) -> T) -> Option<T> {
        self.state.lock().run.as_mut().map(look)
    }

    /// Records when its caller gives up, in ms on Redis's clock.
    pub fn note_deadline(&self, deadline: u64) {
        self.state.lock().deadline = Some(deadline);
    }

    /// Whether its method runs on though `is_past` its deadline. That is so once.
    pub fn has_overrun(&self, is_past: impl FnOnce(u64) -> bool) -> bool {
        let mut state = self.state.lock();
        let has_overrun = state.run.is_some() && state.deadline.is_some_and(is_past);
        if has_overrun {
            state.deadline = None;
        }
        has_overrun
    }

    /// Records that it was answered, or needs no answer. Returns how long it ran. `None` if it was answered before.
    pub fn answer(&self) -> Option<Duration> {
        if self.answered.swap(true, Ordering::SeqCst) {
            return None;
        }
        let State { run, handling, .. } = std::mem::take(&mut *self.state.lock());
        let ran = run.map_or(Duration::ZERO, |run| run.since.elapsed());
        if let Some(handling) = handling {
            handling.end(self, Some(ran));
        }
        Some(ran)
    }

    /// Whether it was answered.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::SeqCst)
    }
}
