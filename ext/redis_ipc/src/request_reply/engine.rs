//! `RedisIPC::Native::Engine`: one connected stream, for Ruby.

use crate::codec::encode;
use crate::codec::options::parse;
use crate::request_reply::answer::NativeAnswer;
use crate::request_reply::call::{self, NativeCall};
use crate::request_reply::context::NativeContext;
use crate::request_reply::dead_letters;
use crate::request_reply::presence;
use crate::request_reply::request::NativeRequest;
use crate::ruby::classes::running_class;
use crate::ruby::errors;
use crate::ruby::gvl::wait_for_work;
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::fetch;
use magnus::prelude::*;
use magnus::{Error, RArray, RHash, RModule, Ruby, Value};
use redis_ipc_core::request_reply::{Calls, Engine, Options, Question, Status, Ticket};
use redis_ipc_core::{Error as CoreError, Running};
use std::sync::Arc;
use std::time::Duration;

/// The function of the core that makes a call.
type Ask = fn(&Calls, Question, Option<Duration>) -> Result<Arc<Ticket>, CoreError>;

/// An engine, bound to the process that started it.
#[magnus::wrap(class = "RedisIPC::Native::Engine", free_immediately, size)]
pub struct NativeEngine(pub ProcessBound<Arc<Engine>>);

impl NativeEngine {
    fn start(
        ruby: &Ruby,
        stream: String,
        group: String,
        options: RHash,
        serves: bool,
        logins: Option<&NativeLogins>,
    ) -> Result<Self, Error> {
        let mut options = parse_options(ruby, options)?;
        logins::connect(ruby, logins, &mut options.redis)?;
        let start = move || Engine::start(&stream, &group, options, serves);
        let why = "the stream was connected before this process was forked; connect it again here";
        ProcessBound::start(ruby, start, Engine::close).map(|bound| Self(bound.saying(why)))
    }

    fn open_call(
        &self,
        ruby: &Ruby,
        ask: Ask,
        question: Question,
        timeout: Option<f64>,
    ) -> Result<(Arc<Engine>, Arc<Ticket>), Error> {
        let engine = self.0.get(ruby)?;
        let timeout = timeout.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let ticket = ask(&engine.calls, question, timeout).map_err(|error| errors::raise(ruby, &error))?;
        Ok((Arc::clone(engine), ticket))
    }

    /// Sends a request, and waits for the answer.
    fn ask(
        ruby: &Ruby,
        rb_self: &Self,
        to: String,
        content: Value,
        timeout: Option<f64>,
        context: Option<&NativeContext>,
    ) -> Result<NativeAnswer, Error> {
        let content = encode::to_json(ruby, content)?;
        let question = Question { content, to, context: NativeContext::of(context) };
        let (engine, ticket) = rb_self.open_call(ruby, Calls::ask, question, timeout)?;
        match call::wait(ruby, &engine, &ticket, None) {
            Ok(Some(outcome)) => outcome
                .map(|answer| NativeAnswer::new(ruby, answer))
                .map_err(|error| errors::raise(ruby, &error)),
            Ok(None) => Err(errors::content(ruby, "the call did not end")),
            Err(interrupt) => {
                engine.calls.cancel(&ticket);
                Err(interrupt)
            }
        }
    }

    /// Sends a request, and returns the call without waiting for it.
    fn ask_async(
        ruby: &Ruby,
        rb_self: &Self,
        to: String,
        content: Value,
        timeout: Option<f64>,
        context: Option<&NativeContext>,
    ) -> Result<NativeCall, Error> {
        let content = encode::to_json(ruby, content)?;
        let question = Question { content, to, context: NativeContext::of(context) };
        let (engine, ticket) = rb_self.open_call(ruby, Calls::ask_ahead, question, timeout)?;
        Ok(NativeCall::new(engine, ticket))
    }

    /// Waits for the next request. Keeps the GVL if a request is ready. Returns nil once no more come.
    fn take(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeRequest>, Error> {
        let service = &rb_self.0.get(ruby)?.service;
        let at_hand = service.try_take();
        let taken =
            wait_for_work(ruby, at_hand, |interrupt| service.take(interrupt), || service.queue.wake())?;
        Ok(taken.map(|held| NativeRequest::new(ruby, held)))
    }

    fn fulfill(ruby: &Ruby, rb_self: &Self, request: &NativeRequest, content: Value) -> Result<bool, Error> {
        rb_self.answer(ruby, request, Status::Fulfilled, content, None)
    }

    fn reject(
        ruby: &Ruby,
        rb_self: &Self,
        request: &NativeRequest,
        content: Value,
        error: Option<String>,
    ) -> Result<bool, Error> {
        rb_self.answer(ruby, request, Status::Rejected, content, error)
    }

    fn answer(
        &self,
        ruby: &Ruby,
        request: &NativeRequest,
        status: Status,
        content: Value,
        error: Option<String>,
    ) -> Result<bool, Error> {
        let engine = self.0.get(ruby)?;
        let content = encode::to_json(ruby, content)?;
        let answered = engine.service.answer(&request.held, status, content, error);
        answered.map_err(|error| errors::raise(ruby, &error))
    }

    /// Rejects a request for a reason of the gem's own. A reason that is too long is truncated.
    fn reject_because(
        ruby: &Ruby,
        rb_self: &Self,
        request: &NativeRequest,
        reason: String,
        error: Option<String>,
    ) -> Result<bool, Error> {
        let engine = rb_self.0.get(ruby)?;
        let answered = engine.service.reject(&request.held, &reason, error);
        answered.map_err(|error| errors::raise(ruby, &error))
    }

    /// Waits until every taken request has been answered, at most for `seconds`.
    fn wait_for_answers(ruby: &Ruby, rb_self: &Self, seconds: f64) -> Result<(), Error> {
        if rb_self.0.get(ruby)?.service.queue.len() == 0 {
            return Ok(());
        }
        let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        rb_self.0.apart(ruby, move |engine| engine.service.queue.wait_for_answers(time))
    }

    /// Waits for the end of a call that a fiber waits for, and returns the call's id. Returns nil once no more come.
    fn next_wake(ruby: &Ruby, rb_self: &Self) -> Result<Option<String>, Error> {
        Ok(fetch(ruby, &rb_self.0.get(ruby)?.wakes)?.map(|id| id.to_string()))
    }

    fn instances(ruby: &Ruby, rb_self: &Self) -> Result<RArray, Error> {
        let found = rb_self.0.inquire(ruby, Engine::instances)?;
        ruby.ary_try_from_iter(found.into_iter().map(|one| presence::row(ruby, one)))
    }
}

/// Checks options without connecting.
fn check_options(ruby: &Ruby, options: RHash) -> Result<(), Error> {
    parse_options(ruby, options).map(drop)
}

/// The options that lib/redis_ipc/runtime/settings.rb reads. The core ignores them.
const OF_RUBY: [&str; 3] = ["logger", "reconnect_after_fork", "reveal_errors"];

fn parse_options(ruby: &Ruby, options: RHash) -> Result<Options, Error> {
    parse(ruby, options, |values, environment| Options::parse(values, environment, &OF_RUBY))
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    running_class!(ruby, native, "Engine": NativeEngine {
        own "start", 5 => function5(NativeEngine::start);
        own "check_options", 1 => function1(check_options);
        // Redis's time in ms since 1970.
        read "now_ms" => |engine| engine.endpoint().clock.now();
        read "instance_id" => |engine| engine.instance().to_owned();
        // How many threads run the handler.
        read "consumers" => |engine| engine.options().consumer.pool_size;
        // How many threads handle the reports.
        read "dispatchers" => |engine| engine.options().dispatchers;
        // The server's address, without credentials.
        read "redis" => |engine| engine.options().redis.redacted();
        ask "expired?" => |_, request: &NativeRequest| request.held.request.is_past();
        "ask", 4 => method4(NativeEngine::ask);
        "ask_async", 4 => method4(NativeEngine::ask_async);
        "take", 0 => method0(NativeEngine::take);
        "fulfill", 2 => method2(NativeEngine::fulfill);
        "reject", 3 => method3(NativeEngine::reject);
        "reject_because", 3 => method3(NativeEngine::reject_because);
        "wait_for_answers", 1 => method1(NativeEngine::wait_for_answers);
        "next_wake", 0 => method0(NativeEngine::next_wake);
        "instances", 0 => method0(NativeEngine::instances);
        "dead_letters", 3 => method3(dead_letters::page);
        "count_dead_letters", 1 => method1(dead_letters::count);
        "retry_dead_letter", 3 => method3(dead_letters::retry);
        "discard_dead_letter", 2 => method2(dead_letters::discard);
    });
    Ok(())
}
