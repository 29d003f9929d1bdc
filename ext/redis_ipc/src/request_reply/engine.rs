//! `RedisIPC::Native::Engine`: one connected stream, as Ruby sees it.

use crate::codec::encode;
use crate::codec::options::options_value;
use crate::request_reply::answer::NativeAnswer;
use crate::request_reply::call::{self, NativeCall};
use crate::request_reply::context::NativeContext;
use crate::request_reply::request::NativeRequest;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gvl::{wait_for_thread, wait_without_gvl};
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::{NativeReport, counters, fetch};
use magnus::prelude::*;
use magnus::scan_args::{get_kwargs, scan_args};
use magnus::{Error, RArray, RHash, RModule, Ruby, Value, function, method};
use redis_ipc_core::Error as CoreError;
use redis_ipc_core::Interrupt;
use redis_ipc_core::Taken;
use redis_ipc_core::request_reply::Calls;
use redis_ipc_core::request_reply::Engine;
use redis_ipc_core::request_reply::Options;
use redis_ipc_core::request_reply::Ticket;
use redis_ipc_core::request_reply::{Question, Status};
use std::sync::Arc;
use std::time::Duration;

/// How a call is made.
type Ask = fn(&Calls, Question, Option<Duration>) -> Result<Arc<Ticket>, CoreError>;

/// An engine, and the process it belongs to.
#[magnus::wrap(class = "RedisIPC::Native::Engine", free_immediately, size)]
pub struct NativeEngine(ProcessBound<Arc<Engine>>);

impl NativeEngine {
    /// `start(stream_name, group_name, options, serves:, logins:)`
    fn start(ruby: &Ruby, arguments: &[Value]) -> Result<Self, Error> {
        let arguments = scan_args::<_, (), (), (), _, ()>(arguments)?;
        let (stream, group, options): (String, String, RHash) = arguments.required;
        let keywords = get_kwargs::<_, _, (), ()>(arguments.keywords, &["serves", "logins"], &[])?;
        let (serves, logins): (bool, Option<&NativeLogins>) = keywords.required;
        let mut options = parse_options(ruby, options)?;
        logins::connect(ruby, logins, &mut options.redis)?;
        ProcessBound::start(ruby, move || Engine::start(&stream, &group, options, serves), Engine::close)
            .map(Self)
    }

    /// Runs `work` in a thread of its own, so that Ruby can interrupt the wait for it.
    pub fn inquire<T: Send + 'static>(
        &self,
        ruby: &Ruby,
        work: impl FnOnce(&Engine) -> Result<T, CoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = Arc::clone(self.engine(ruby)?);
        wait_for_thread(ruby, move || work(&engine), drop)?.map_err(|error| errors::raise(ruby, &error))
    }

    /// The engine, unless this process is a fork of the one that started it.
    fn engine(&self, ruby: &Ruby) -> Result<&Arc<Engine>, Error> {
        self.0.get_or(ruby, "the stream was connected before this process was forked; connect it again here")
    }

    fn open_call(
        &self,
        ruby: &Ruby,
        ask: Ask,
        question: Question,
        timeout: Option<f64>,
    ) -> Result<(Arc<Engine>, Arc<Ticket>), Error> {
        let engine = self.engine(ruby)?;
        let timeout = timeout.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        let ticket = ask(engine.calls(), question, timeout).map_err(|error| errors::raise(ruby, &error))?;
        Ok((Arc::clone(engine), ticket))
    }

    /// Asks and waits for the answer.
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
                engine.calls().cancel(&ticket);
                Err(interrupt)
            }
        }
    }

    /// Asks; the call tells when it has ended.
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

    /// The next request: one at hand without giving up the GVL, else one that is waited for; nil once no more come.
    fn take(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeRequest>, Error> {
        let engine = rb_self.engine(ruby)?;
        if let Some(held) = engine.service().try_take() {
            return Ok(Some(NativeRequest::new(ruby, held)));
        }
        let interrupt = Interrupt::default();
        let wait = || match engine.service().take(&interrupt) {
            Taken::Request(held) => Some(Some(held)),
            Taken::Closed => Some(None),
            Taken::Interrupted => None,
        };
        let unblock = || {
            interrupt.set();
            engine.service().wake();
        };
        let taken = wait_without_gvl(ruby, wait, unblock)?;
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
        let engine = self.engine(ruby)?;
        let content = encode::to_json(ruby, content)?;
        let answered = engine.service().answer(&request.held, status, content, error);
        answered.map_err(|error| errors::raise(ruby, &error))
    }

    /// Rejects with a reason of the gem's own; one that is too long is shortened.
    fn reject_because(
        ruby: &Ruby,
        rb_self: &Self,
        request: &NativeRequest,
        reason: String,
        error: Option<String>,
    ) -> Result<bool, Error> {
        let engine = rb_self.engine(ruby)?;
        let answered = engine.service().reject(&request.held, &reason, error);
        answered.map_err(|error| errors::raise(ruby, &error))
    }

    /// Waits for answers to what was taken.
    fn wait_for_answers(ruby: &Ruby, rb_self: &Self, seconds: f64) -> Result<(), Error> {
        let engine = Arc::clone(rb_self.engine(ruby)?);
        if engine.service().held() == 0 {
            return Ok(());
        }
        let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        wait_for_thread(ruby, move || engine.service().wait_for_answers(time), drop)
    }

    fn is_expired(ruby: &Ruby, rb_self: &Self, request: &NativeRequest) -> Result<bool, Error> {
        Ok(rb_self.engine(ruby)?.service().is_expired(&request.held))
    }

    /// Redis's time, ms since 1970.
    fn now_ms(ruby: &Ruby, rb_self: &Self) -> Result<u64, Error> {
        Ok(rb_self.engine(ruby)?.now())
    }

    /// The next report; nil at the end.
    fn next_report(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeReport>, Error> {
        NativeReport::fetch(ruby, rb_self.engine(ruby)?.reports())
    }

    /// The id of the next call that has ended and that a fiber waits for; nil at the end.
    fn next_wake(ruby: &Ruby, rb_self: &Self) -> Result<Option<String>, Error> {
        Ok(fetch(ruby, rb_self.engine(ruby)?.wakes())?.map(|id| id.to_string()))
    }

    /// Takes no more requests.
    fn quiet(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let engine = Arc::clone(rb_self.engine(ruby)?);
        wait_for_thread(ruby, move || engine.quiet(), drop)
    }

    /// Ends everything.
    fn close(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let engine = Arc::clone(rb_self.engine(ruby)?);
        wait_for_thread(ruby, move || engine.close(), drop)
    }

    /// In a forked child: the descriptors of its parent's sockets; none elsewhere.
    fn inherited_sockets(&self) -> Vec<i32> {
        self.0.inherited().map(|engine| engine.inherited_sockets()).unwrap_or_default()
    }

    fn is_connected(&self) -> bool {
        self.0.own().is_some_and(|engine| engine.is_connected())
    }

    fn instance_id(ruby: &Ruby, rb_self: &Self) -> Result<String, Error> {
        Ok(rb_self.engine(ruby)?.instance().to_owned())
    }

    /// How many threads run the handler.
    fn consumers(ruby: &Ruby, rb_self: &Self) -> Result<usize, Error> {
        Ok(rb_self.engine(ruby)?.options().consumer.pool_size)
    }

    /// How many threads work on the reports.
    fn dispatchers(ruby: &Ruby, rb_self: &Self) -> Result<usize, Error> {
        Ok(rb_self.engine(ruby)?.options().dispatcher.pool_size)
    }

    /// The server's address, without credentials.
    fn redis(ruby: &Ruby, rb_self: &Self) -> Result<String, Error> {
        Ok(rb_self.engine(ruby)?.options().redis.redacted())
    }

    fn stats(ruby: &Ruby, rb_self: &Self) -> Result<RHash, Error> {
        counters(ruby, rb_self.engine(ruby)?.stats())
    }

    fn instances(ruby: &Ruby, rb_self: &Self) -> Result<RArray, Error> {
        let found = rb_self.inquire(ruby, Engine::instances)?;
        let list = ruby.ary_new_capa(found.len());
        for presence in found {
            let row = ruby.hash_new();
            row.aset(ruby.to_symbol("group"), presence.group)?;
            row.aset(ruby.to_symbol("instance_id"), presence.instance)?;
            row.aset(ruby.to_symbol("host"), presence.host)?;
            row.aset(ruby.to_symbol("pid"), presence.pid)?;
            row.aset(ruby.to_symbol("seen_ms"), presence.seen)?;
            list.push(row)?;
        }
        Ok(list)
    }
}

/// Checks options without connecting.
fn check_options(ruby: &Ruby, options: RHash) -> Result<(), Error> {
    parse_options(ruby, options).map(drop)
}

/// The options that lib/redis_ipc/runtime/settings.rb takes care of.
const OF_RUBY: [&str; 3] = ["logger", "reconnect_after_fork", "reveal_errors"];

fn parse_options(ruby: &Ruby, options: RHash) -> Result<Options, Error> {
    let (value, environment) = options_value(ruby, options)?;
    Options::parse(value, environment.as_deref(), &OF_RUBY).map_err(|error| errors::raise(ruby, &error))
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Engine", ruby.class_object())?;
    class.define_singleton_method(
        "start",
        function!(entry::function_with_keywords(NativeEngine::start), -1),
    )?;
    class.define_singleton_method("check_options", function!(entry::function1(check_options), 1))?;
    class.undef_default_alloc_func();
    class.define_method("ask", method!(entry::method4(NativeEngine::ask), 4))?;
    class.define_method("ask_async", method!(entry::method4(NativeEngine::ask_async), 4))?;
    class.define_method("take", method!(entry::method0(NativeEngine::take), 0))?;
    class.define_method("fulfill", method!(entry::method2(NativeEngine::fulfill), 2))?;
    class.define_method("reject", method!(entry::method3(NativeEngine::reject), 3))?;
    class.define_method("reject_because", method!(entry::method3(NativeEngine::reject_because), 3))?;
    class.define_method("wait_for_answers", method!(entry::method1(NativeEngine::wait_for_answers), 1))?;
    class.define_method("expired?", method!(entry::method1(NativeEngine::is_expired), 1))?;
    class.define_method("now_ms", method!(entry::method0(NativeEngine::now_ms), 0))?;
    class.define_method("next_report", method!(entry::method0(NativeEngine::next_report), 0))?;
    class.define_method("next_wake", method!(entry::method0(NativeEngine::next_wake), 0))?;
    class.define_method("quiet", method!(entry::method0(NativeEngine::quiet), 0))?;
    class.define_method("close", method!(entry::method0(NativeEngine::close), 0))?;
    class.define_method("inherited_sockets", method!(entry::getter(NativeEngine::inherited_sockets), 0))?;
    class.define_method("connected?", method!(entry::getter(NativeEngine::is_connected), 0))?;
    class.define_method("instance_id", method!(entry::method0(NativeEngine::instance_id), 0))?;
    class.define_method("consumers", method!(entry::method0(NativeEngine::consumers), 0))?;
    class.define_method("dispatchers", method!(entry::method0(NativeEngine::dispatchers), 0))?;
    class.define_method("redis", method!(entry::method0(NativeEngine::redis), 0))?;
    class.define_method("stats", method!(entry::method0(NativeEngine::stats), 0))?;
    class.define_method("instances", method!(entry::method0(NativeEngine::instances), 0))?;
    settle_class::<NativeEngine>(ruby);
    Ok(())
}
