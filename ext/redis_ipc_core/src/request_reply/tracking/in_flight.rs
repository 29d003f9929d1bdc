//! A request this instance has taken and not yet answered.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::protocol::entry::{Request, Status};
use std::sync::OnceLock;
use std::time::Instant;

/// How far a held request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a consumer.
    Queued,
    /// The handler has it.
    Running,
    /// The handler has returned without an answer; it may follow.
    Open,
    /// It has been answered.
    Answered,
}

/// How a handler's answer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It is on its way.
    InTime(Status),
    /// The deadline had passed; it was dropped.
    TooLate,
}

/// A request held by this instance.
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
    /// Holds `request`, which is queued.
    pub fn new(request: Request) -> Self {
        let taken = Instant::now();
        Self { request, taken, stage: Mutex::new((Stage::Queued, taken)), answered: OnceLock::new() }
    }

    /// Redis's id of the request.
    pub fn id(&self) -> StreamId {
        self.request.redis_id
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage.lock().0
    }

    /// How the handler's answer went; `None` if it has not answered.
    pub fn answered(&self) -> Option<Answered> {
        self.answered.get().copied()
    }

    /// Notes how the handler's answer went, for those who ask later. The first note counts.
    pub fn note(&self, answered: Answered) {
        // It fails where there is one already.
        let _ = self.answered.set(answered);
    }

    /// Marks it as running.
    pub fn start(&self) {
        *self.stage.lock() = (Stage::Running, Instant::now());
    }

    /// Notes that the handler has returned. If it has not answered, the request stays open.
    pub fn leave(&self) {
        let mut stage = self.stage.lock();
        if stage.0 == Stage::Running {
            stage.0 = Stage::Open;
        }
    }

    /// Marks it as answered, and says for how long it ran; `None` if it had been answered before.
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
