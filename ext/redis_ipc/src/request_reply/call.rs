//! `RedisIPC::Native::Call`: a call under way, what a Future waits for.

use crate::request_reply::answer::NativeAnswer;
use crate::ruby::classes::class;
use crate::ruby::errors;
use crate::ruby::gvl::{seconds_until, wait_interruptibly};
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

/// A call, and the engine it goes by (both of one process: a fork of it cannot wait for the answer); and the
/// NativeAnswer.
#[derive(TypedData)]
#[magnus(class = "RedisIPC::Native::Call", free_immediately, mark, size)]
pub struct NativeCall(ProcessBound<(Arc<Engine>, Arc<Ticket>)>, Memo);

impl DataTypeFunctions for NativeCall {
    fn mark(&self, marker: &gc::Marker) {
        self.1.mark(marker);
    }
}

impl NativeCall {
    /// The call that `ticket` stands for.
    pub fn new(engine: Arc<Engine>, ticket: Arc<Ticket>) -> Self {
        let why = "the call was made before this process was forked; its answer goes to the parent";
        Self(ProcessBound::new((engine, ticket)).saying(why), Memo::default())
    }

    /// Waits for so many seconds, or until the call's deadline: whether it has ended.
    fn wait(ruby: &Ruby, rb_self: &Self, seconds: Option<f64>) -> Result<bool, Error> {
        // Clones: the call of a forked child may be collected there, and another thread may stand in here at the fork.
        let (engine, ticket) = &rb_self.0.get(ruby)?.clone();
        if ticket.ending.has_ended() {
            return Ok(true);
        }
        let time = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let until = time.and_then(|time| Instant::now().checked_add(time));
        Ok(wait(ruby, engine, ticket, until)?.is_some())
    }

    /// The answer, always the same object; raises how the call failed, and is nil while it has not ended.
    fn answer(ruby: &Ruby, rb_self: &Self) -> Result<Option<Value>, Error> {
        let ticket = &rb_self.0.get(ruby)?.1;
        if let Some(answer) = rb_self.1.get(ruby) {
            return Ok(Some(answer));
        }
        match ticket.ending.outcome() {
            None => Ok(None),
            Some(Ok(answer)) => {
                let made = ruby.obj_wrap(NativeAnswer::new(ruby, answer)).as_value();
                Ok(Some(rb_self.1.keep(ruby, made)))
            }
            Some(Err(error)) => Err(errors::raise(ruby, &error)),
        }
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Call": NativeCall {
        // Whether it has ended, without giving up the GVL.
        read "ended?" => |(_, ticket)| ticket.ending.has_ended();
        // Has the end of the call reported; false if it has ended already.
        read "watch" => |(engine, ticket)| ticket.ending.watch(engine.endpoint().reports.watcher());
        // Has the waker told of the end of the call; false if it has ended already.
        read "wake" => |(engine, ticket)| ticket.ending.watch(engine.wakes.watcher());
        // Does what is due for the call; in how many seconds there will be more to do, nil once it has ended.
        read "check_deadline" => |(engine, ticket)| engine.calls.check_deadline(ticket).map(seconds_until);
        // Gives the call up, if it has not ended.
        read "cancel" => |(engine, ticket)| engine.calls.cancel(ticket);
        read "id" => |(_, ticket)| ticket.id.to_string();
        "wait", 1 => method1(NativeCall::wait);
        "answer", 0 => method0(NativeCall::answer);
    });
    Ok(())
}
