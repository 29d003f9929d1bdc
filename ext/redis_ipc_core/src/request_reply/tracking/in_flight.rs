//! A request that this instance has taken and not yet answered.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::handling::{Handling, Run};
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::protocol::entry::{Request, Status};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The state of a held request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a consumer.
    Queued,
    /// Its handler runs.
    Running,
    /// Its handler has returned without an answer. The answer may follow.
    Open,
    /// It has been answered.
    Answered,
}

/// The result of a handler's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It is being sent.
    InTime(Status),
    /// The deadline had passed, and it was dropped.
    TooLate,
}

/// A request that this instance holds.
#[derive(Debug)]
pub struct InFlight {
    /// The request.
    pub request: Request,
    /// When it was taken.
    pub taken: Instant,
    state: Mutex<State>,
    answered: OnceLock<Answered>,
    handling: OnceLock<Arc<Handling<InFlight>>>,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    /// When it was queued, or its handler began, or it was answered.
    since: Instant,
    /// Its handler, from its start to its return.
    run: Option<Run>,
}

impl InFlight {
    /// Holds `request` which is queued.
    pub fn new(request: Request) -> Self {
        let taken = Instant::now();
        Self {
            request,
            taken,
            state: Mutex::new(State { stage: Stage::Queued, since: taken, run: None }),
            answered: OnceLock::new(),
            handling: OnceLock::new(),
        }
    }

    /// Returns Redis's id of the request.
    pub fn id(&self) -> StreamId {
        self.request.redis_id
    }

    /// Returns its state.
    pub fn stage(&self) -> Stage {
        self.state.lock().stage
    }

    /// Returns the result of the handler's answer. `None` if it has not answered.
    pub fn answered(&self) -> Option<Answered> {
        self.answered.get().copied()
    }

    /// Records the result of the handler's answer. Only the first one counts.
    pub fn note(&self, answered: Answered) {
        // This fails if a result is recorded already.
        let _ = self.answered.set(answered);
    }

    /// Marks it as running, after it has `waited` for a handler.
    pub fn start(self: &Arc<Self>, handling: &Arc<Handling<Self>>, waited: Duration, run: Run) {
        *self.state.lock() = State { stage: Stage::Running, since: run.since, run: Some(run) };
        // A request is started once.
        let _ = self.handling.set(Arc::clone(handling));
        handling.begin(self, waited);
    }

    /// Records that the handler has returned. If it has not answered, the request stays open.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        if state.stage == Stage::Running {
            state.stage = Stage::Open;
        }
        let run = state.run.take();
        drop(state);
        self.end(run, true);
    }

    /// Records that the thread of the handler was killed. The request stays as it is.
    pub fn vanish(&self) {
        let run = self.state.lock().run.take();
        self.end(run, false);
    }

    fn end(&self, run: Option<Run>, returned: bool) {
        if let (Some(run), Some(handling)) = (run, self.handling.get()) {
            handling.end(self, returned.then(|| run.since.elapsed()));
        }
    }

    /// Reads or changes what is known of its handler. `None` if that does not run.
    pub fn run<T>(&self, look: impl FnOnce(&mut Run) -> T) -> Option<T> {
        self.state.lock().run.as_mut().map(look)
    }

    /// Notes where its handler is, and the name of what it runs.
    pub fn note_frame(&self, frame: Option<String>, event: Option<String>) {
        self.run(|run| (run.frame, run.event) = (frame, event));
    }

    /// Marks it as answered, and returns how long it ran. `None` if it had been answered before.
    pub fn answer(&self) -> Option<Duration> {
        let mut state = self.state.lock();
        if state.stage == Stage::Answered {
            return None;
        }
        let now = Instant::now();
        let ran = now - state.since;
        (state.stage, state.since) = (Stage::Answered, now);
        Some(ran)
    }
}
