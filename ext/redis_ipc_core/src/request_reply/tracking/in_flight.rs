//! A request that this instance has taken and not yet answered.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::protocol::entry::{Request, Status};
use std::sync::OnceLock;
use std::time::Instant;

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
    stage: Mutex<(Stage, Instant)>,
    answered: OnceLock<Answered>,
}

impl InFlight {
    /// Holds `request` which is queued.
    pub fn new(request: Request) -> Self {
        let taken = Instant::now();
        Self { request, taken, stage: Mutex::new((Stage::Queued, taken)), answered: OnceLock::new() }
    }

    /// Returns Redis's id of the request.
    pub fn id(&self) -> StreamId {
        self.request.redis_id
    }

    /// Returns its state.
    pub fn stage(&self) -> Stage {
        self.stage.lock().0
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

    /// Marks it as running.
    pub fn start(&self) {
        *self.stage.lock() = (Stage::Running, Instant::now());
    }

    /// Records that the handler has returned. If it has not answered, the request stays open.
    pub fn leave(&self) {
        let mut stage = self.stage.lock();
        if stage.0 == Stage::Running {
            stage.0 = Stage::Open;
        }
    }

    /// Marks it as answered, and returns how long it ran. `None` if it had been answered before.
    pub fn answer(&self) -> Option<std::time::Duration> {
        let mut stage = self.stage.lock();
        if stage.0 == Stage::Answered {
            return None;
        }
        let ran = stage.1.elapsed();
        *stage = (Stage::Answered, Instant::now());
        Some(ran)
    }
}
