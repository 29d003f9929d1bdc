//! `RedisIPC::Native::Call`: a call that is under way. A Future waits for it.

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

/// Waits until a call ends, or until `until`. Returns `None` if it has not ended by then.
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

/// A call with its engine, and the NativeAnswer once there is one. The call is bound to its process, because its answer
/// goes to that process and not to a fork of it.
#[derive(TypedData)]
#[magnus(class = "RedisIPC::Native::Call", free_immediately, mark, size)]
pub struct NativeCall(ProcessBound<(Arc<Engine>, Arc<Ticket>)>, Memo);

impl DataTypeFunctions for NativeCall {
    fn mark(&self, marker: &gc::Marker) {
        self.1.mark(marker);
    }
}

impl NativeCall {
    /// Wraps the call of `ticket`.
    pub fn new(engine: Arc<Engine>, ticket: Arc<Ticket>) -> Self {
        let why = "the call was made before this process was forked; its answer goes to the parent";
        Self(ProcessBound::new((engine, ticket)).saying(why), Memo::default())
    }

    /// Waits until the call ends, at most for `seconds` or until its deadline. Returns whether it has ended.
    fn wait(ruby: &Ruby, rb_self: &Self, seconds: Option<f64>) -> Result<bool, Error> {
        // Clones both, so that the wait does not depend on this object: a forked child may collect it although another
        // thread was in this function at the fork.
        let (engine, ticket) = &rb_self.0.get(ruby)?.clone();
        if ticket.ending.has_ended() {
            return Ok(true);
        }
        let time = seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let until = time.and_then(|time| Instant::now().checked_add(time));
        Ok(wait(ruby, engine, ticket, until)?.is_some())
    }

    /// Returns the answer, always as the same object. Returns nil while the call has not ended. Raises the error if the
    /// call failed.
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
        // Whether the call has ended. Keeps the GVL.
        read "ended?" => |(_, ticket)| ticket.ending.has_ended();
        // Lets `next_report` report the end of the call. Returns false if the call has ended already.
        read "watch" => |(engine, ticket)| ticket.ending.watch(engine.endpoint().reports.watcher());
        // Lets `next_wake` report the end of the call. Returns false if the call has ended already.
        read "wake" => |(engine, ticket)| ticket.ending.watch(engine.wakes.watcher());
        // Does what is due for the call. Returns in how many seconds to call this again, or nil once the call has
        // ended.
        read "check_deadline" => |(engine, ticket)| engine.calls.check_deadline(ticket).map(seconds_until);
        // Gives up the call, if it has not ended.
        read "cancel" => |(engine, ticket)| engine.calls.cancel(ticket);
        read "id" => |(_, ticket)| ticket.id.to_string();
        "wait", 1 => method1(NativeCall::wait);
        "answer", 0 => method0(NativeCall::answer);
    });
    Ok(())
}
