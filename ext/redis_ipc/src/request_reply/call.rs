//! `RedisIPC::Native::Call`: a call under way, what a Future waits for.

use crate::request_reply::answer::NativeAnswer;
use crate::ruby::classes::class;
use crate::ruby::errors;
use crate::ruby::gvl::wait_interruptibly;
use crate::ruby::memo::Memo;
use crate::ruby::process_bound::ProcessBound;
use magnus::prelude::*;
use magnus::{DataTypeFunctions, Error, RModule, Ruby, TypedData, Value, gc};
use redis_ipc_core::Interrupt;
use redis_ipc_core::Running;
use redis_ipc_core::request_reply::{Engine, Outcome, Ticket, Waited};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits for the end of a call, at most until `until`; `None` if it has not ended by then.
pub fn wait(
    ruby: &Ruby,
    engine: &Arc<Engine>,
    ticket: &Arc<Ticket>,
    until: Option<Instant>,
) -> Result<Option<Outcome>, Error> {
    let wait = |interrupt: &Interrupt| match engine.calls.wait(ticket, until, interrupt) {
        Waited::Done(outcome) => Some(Some(outcome)),
        Waited::TimeUp => Some(None),
        Waited::Interrupted => None,
    };
    wait_interruptibly(ruby, wait, || ticket.ending.wake())
}

/// A call, and the engine it goes by (both of one process: a fork of it cannot wait for the answer).
#[derive(TypedData)]
#[magnus(class = "RedisIPC::Native::Call", free_immediately, mark, size)]
pub struct NativeCall {
    parts: ProcessBound<(Arc<Engine>, Arc<Ticket>)>,
    /// The NativeAnswer.
    answer: Memo,
}

impl DataTypeFunctions for NativeCall {
    fn mark(&self, marker: &gc::Marker) {
        self.answer.mark(marker);
    }
}

impl NativeCall {
    /// The call that `ticket` stands for.
    pub fn new(engine: Arc<Engine>, ticket: Arc<Ticket>) -> Self {
        let why = "the call was made before this process was forked; its answer goes to the parent";
        Self { parts: ProcessBound::new((engine, ticket)).saying(why), answer: Memo::default() }
    }

    /// Whether it has ended, without giving up the GVL.
    fn has_ended(ruby: &Ruby, rb_self: &Self) -> Result<bool, Error> {
        Ok(rb_self.parts.get(ruby)?.1.ending.has_ended())
    }

    /// Waits for so many seconds, or until the call's deadline: whether it has ended.
    fn wait(ruby: &Ruby, rb_self: &Self, seconds: Option<f64>) -> Result<bool, Error> {
        // Clones: the call of a forked child may be collected there, and another thread may stand in here at the fork.
        let (engine, ticket) = &rb_self.parts.get(ruby)?.clone();
        if ticket.ending.has_ended() {
            return Ok(true);
        }
        let time = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let until = time.and_then(|time| Instant::now().checked_add(time));
        Ok(wait(ruby, engine, ticket, until)?.is_some())
    }

    /// The answer, always the same object; raises how the call failed, and is nil while it has not ended.
    fn answer(ruby: &Ruby, rb_self: &Self) -> Result<Option<Value>, Error> {
        let ticket = &rb_self.parts.get(ruby)?.1;
        if let Some(answer) = rb_self.answer.get(ruby) {
            return Ok(Some(answer));
        }
        match ticket.ending.outcome() {
            None => Ok(None),
            Some(Ok(answer)) => {
                let made = ruby.obj_wrap(NativeAnswer::new(ruby, answer)).as_value();
                Ok(Some(rb_self.answer.keep(ruby, made)))
            }
            Some(Err(error)) => Err(errors::raise(ruby, &error)),
        }
    }

    /// Has the end of the call reported; false if it has ended already.
    fn watch(ruby: &Ruby, rb_self: &Self) -> Result<bool, Error> {
        let (engine, ticket) = rb_self.parts.get(ruby)?;
        Ok(ticket.ending.watch(engine.endpoint().reporter.watcher()))
    }

    /// Has the waker told of the end of the call; false if it has ended already.
    fn wake(ruby: &Ruby, rb_self: &Self) -> Result<bool, Error> {
        let (engine, ticket) = rb_self.parts.get(ruby)?;
        Ok(ticket.ending.watch(engine.waker.clone()))
    }

    /// Does what is due for the call; in how many seconds there will be more to do, nil once it has ended.
    fn check_deadline(ruby: &Ruby, rb_self: &Self) -> Result<Option<f64>, Error> {
        let (engine, ticket) = rb_self.parts.get(ruby)?;
        let due = engine.calls.check_deadline(ticket);
        Ok(due.map(|due| due.saturating_duration_since(Instant::now()).as_secs_f64()))
    }

    /// Gives the call up, if it has not ended.
    fn cancel(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let (engine, ticket) = rb_self.parts.get(ruby)?;
        engine.calls.cancel(ticket);
        Ok(())
    }

    fn id(ruby: &Ruby, rb_self: &Self) -> Result<String, Error> {
        Ok(rb_self.parts.get(ruby)?.1.id.to_string())
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Call": NativeCall {
        "ended?", 0 => method0(NativeCall::has_ended);
        "wait", 1 => method1(NativeCall::wait);
        "answer", 0 => method0(NativeCall::answer);
        "watch", 0 => method0(NativeCall::watch);
        "wake", 0 => method0(NativeCall::wake);
        "check_deadline", 0 => method0(NativeCall::check_deadline);
        "cancel", 0 => method0(NativeCall::cancel);
        "id", 0 => method0(NativeCall::id);
    });
    Ok(())
}
