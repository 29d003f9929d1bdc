//! `RedisIPC::Native::ListServer`: a server of a list, as Ruby sees it, and `ListRequest`, what it takes.

use crate::codec::decode;
use crate::codec::options::options_value;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gc_pressure::GcPressure;
use crate::ruby::gvl::{wait_for_thread, wait_without_gvl};
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::{NativeReport, counters};
use magnus::prelude::*;
use magnus::{Error, RHash, RModule, RString, Ruby, Value, function, method};
use redis_ipc_core::Interrupt;
use redis_ipc_core::Taken;
use redis_ipc_core::json;
use redis_ipc_core::json_rpc::InFlight;
use redis_ipc_core::json_rpc::Server;
use redis_ipc_core::json_rpc::ServerOptions;
use redis_ipc_core::json_rpc::{ScannedEnvelope, scan_envelopes};
use std::sync::Arc;

/// A request that was taken.
#[magnus::wrap(class = "RedisIPC::Native::ListRequest", free_immediately, size)]
pub struct NativeListRequest {
    held: Arc<InFlight>,
    _weight: Option<GcPressure>,
}

impl NativeListRequest {
    fn new(ruby: &Ruby, held: Arc<InFlight>) -> Self {
        let weight = GcPressure::of(ruby, held.text.len());
        Self { held, _weight: weight }
    }

    fn text(ruby: &Ruby, rb_self: &Self) -> RString {
        ruby.enc_str_new(&rb_self.held.text, ruby.utf8_encoding())
    }

    fn size(&self) -> usize {
        self.held.text.len()
    }

    fn given_up(&self) -> bool {
        self.held.given_up
    }

    fn is_answered(&self) -> bool {
        self.held.is_answered()
    }

    /// What it holds, as Ruby objects; raises ContentError if it is not JSON. From byte `start` on.
    fn load(ruby: &Ruby, rb_self: &Self, start: usize) -> Result<Value, Error> {
        let text = rb_self.held.text.get(start..).unwrap_or_default();
        json::check(text, text.len()).map_err(|error| errors::content(ruby, error.to_string()))?;
        decode::from_requests(ruby, text)
    }

    /// The first `id` and the first `reply_to` in it, without building the rest.
    fn skim(ruby: &Ruby, rb_self: &Self, start: usize) -> Result<(Value, Option<String>), Error> {
        let found = scan_envelopes(rb_self.held.text.get(start..).unwrap_or_default());
        let id = found.iter().find_map(|scanned| scanned.id.as_deref());
        let id = match id {
            // What cannot be read counts as none.
            Some(id) => decode::from_json(ruby, id).unwrap_or_else(|_| ruby.qnil().as_value()),
            None => ruby.qnil().as_value(),
        };
        Ok((id, found.into_iter().find_map(|ScannedEnvelope { reply_to, .. }| reply_to)))
    }
}

/// A server of a list.
#[magnus::wrap(class = "RedisIPC::Native::ListServer", free_immediately, size)]
pub struct NativeListServer(ProcessBound<Arc<Server>>);

impl NativeListServer {
    fn start(
        ruby: &Ruby,
        queue: String,
        options: RHash,
        logins: Option<&NativeLogins>,
    ) -> Result<Self, Error> {
        let mut options = parse_options(ruby, options)?;
        logins::connect(ruby, logins, &mut options.redis)?;
        ProcessBound::start(ruby, move || Server::start(&queue, options), Server::close).map(Self)
    }

    /// The next request: one at hand without giving up the GVL, else one that is waited for; nil once no more come.
    fn take(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeListRequest>, Error> {
        let server = rb_self.0.get(ruby)?;
        if let Some(held) = server.try_take() {
            return Ok(Some(NativeListRequest::new(ruby, held)));
        }
        let interrupt = Interrupt::default();
        let wait = || match server.take(&interrupt) {
            Taken::Request(held) => Some(Some(held)),
            Taken::Closed => Some(None),
            Taken::Interrupted => None,
        };
        let unblock = || {
            interrupt.set();
            server.wake();
        };
        let taken = wait_without_gvl(ruby, wait, unblock)?;
        Ok(taken.map(|held| NativeListRequest::new(ruby, held)))
    }

    /// Is done with a request, with an answer or without; false if the answer cannot go where it was wanted.
    fn finish(
        ruby: &Ruby,
        rb_self: &Self,
        request: &NativeListRequest,
        reply_to: Option<String>,
        text: Option<String>,
        deadline: Option<u64>,
    ) -> Result<bool, Error> {
        let reply = reply_to.zip(text.map(String::into_bytes));
        let finished = rb_self.0.get(ruby)?.finish(&request.held, reply, deadline);
        finished.map_err(|error| errors::raise(ruby, &error))
    }

    /// Whether it is too late to start a request; waits for Redis's clock where it looks so.
    fn has_expired(ruby: &Ruby, rb_self: &Self, deadline: u64) -> Result<bool, Error> {
        let server = rb_self.0.get(ruby)?;
        if server.is_past(deadline) && server.is_clock_due() {
            let server = Arc::clone(server);
            wait_for_thread(ruby, move || server.read_clock(), drop)?;
        }
        Ok(server.has_expired(deadline))
    }

    fn is_past(ruby: &Ruby, rb_self: &Self, deadline: u64) -> Result<bool, Error> {
        Ok(rb_self.0.get(ruby)?.is_past(deadline))
    }

    fn is_reply(ruby: &Ruby, rb_self: &Self, key: String) -> Result<bool, Error> {
        Ok(rb_self.0.get(ruby)?.is_reply(&key))
    }

    /// The next report; nil at the end.
    fn next_report(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeReport>, Error> {
        NativeReport::fetch(ruby, rb_self.0.get(ruby)?.reports())
    }

    /// Takes no more requests.
    fn quiet(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let server = Arc::clone(rb_self.0.get(ruby)?);
        wait_for_thread(ruby, move || server.quiet(), drop)
    }

    /// Ends everything.
    fn close(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let server = Arc::clone(rb_self.0.get(ruby)?);
        wait_for_thread(ruby, move || server.close(), drop)
    }

    fn inherited_sockets(&self) -> Vec<i32> {
        self.0.inherited().map(|server| server.inherited_sockets()).unwrap_or_default()
    }

    fn is_connected(&self) -> bool {
        self.0.own().is_some_and(|server| server.is_connected())
    }

    fn stats(ruby: &Ruby, rb_self: &Self) -> Result<RHash, Error> {
        counters(ruby, rb_self.0.get(ruby)?.stats())
    }
}

/// Checks options without connecting, and returns what they amount to.
fn check_options(ruby: &Ruby, options: RHash) -> Result<NativeListServerOptions, Error> {
    parse_options(ruby, options).map(NativeListServerOptions)
}

/// The options of a server, with the defaults.
#[magnus::wrap(class = "RedisIPC::Native::ListServerOptions", free_immediately, size)]
pub struct NativeListServerOptions(ServerOptions);

impl NativeListServerOptions {
    /// What it promises: "at_least_once" or "at_most_once".
    fn guarantee(&self) -> &'static str {
        self.0.guarantee.name()
    }

    /// How many threads run methods.
    fn threads(&self) -> usize {
        self.0.threads
    }

    /// The most bytes of a request.
    fn max_size(&self) -> usize {
        self.0.max_size
    }

    /// The most bytes of an answer.
    fn max_answer_size(&self) -> usize {
        self.0.max_answer_size
    }

    /// The most requests in a batch.
    fn max_batch(&self) -> usize {
        self.0.max_batch
    }
}

fn parse_options(ruby: &Ruby, options: RHash) -> Result<ServerOptions, Error> {
    let (value, environment) = options_value(ruby, options)?;
    ServerOptions::parse(value, environment.as_deref()).map_err(|error| errors::raise(ruby, &error))
}

/// Defines the classes.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("ListServer", ruby.class_object())?;
    class.define_singleton_method("start", function!(entry::function3(NativeListServer::start), 3))?;
    class.define_singleton_method("check_options", function!(entry::function1(check_options), 1))?;
    class.undef_default_alloc_func();
    class.define_method("take", method!(entry::method0(NativeListServer::take), 0))?;
    class.define_method("finish", method!(entry::method4(NativeListServer::finish), 4))?;
    class.define_method("expired?", method!(entry::method1(NativeListServer::has_expired), 1))?;
    class.define_method("past?", method!(entry::method1(NativeListServer::is_past), 1))?;
    class.define_method("reply?", method!(entry::method1(NativeListServer::is_reply), 1))?;
    class.define_method("next_report", method!(entry::method0(NativeListServer::next_report), 0))?;
    class.define_method("quiet", method!(entry::method0(NativeListServer::quiet), 0))?;
    class.define_method("close", method!(entry::method0(NativeListServer::close), 0))?;
    class
        .define_method("inherited_sockets", method!(entry::getter(NativeListServer::inherited_sockets), 0))?;
    class.define_method("connected?", method!(entry::getter(NativeListServer::is_connected), 0))?;
    class.define_method("stats", method!(entry::method0(NativeListServer::stats), 0))?;
    settle_class::<NativeListServer>(ruby);

    let class = native.define_class("ListServerOptions", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("guarantee", method!(entry::getter(NativeListServerOptions::guarantee), 0))?;
    class.define_method("threads", method!(entry::getter(NativeListServerOptions::threads), 0))?;
    class.define_method("max_size", method!(entry::getter(NativeListServerOptions::max_size), 0))?;
    class.define_method(
        "max_answer_size",
        method!(entry::getter(NativeListServerOptions::max_answer_size), 0),
    )?;
    class.define_method("max_batch", method!(entry::getter(NativeListServerOptions::max_batch), 0))?;
    settle_class::<NativeListServerOptions>(ruby);

    let class = native.define_class("ListRequest", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("text", method!(entry::method0(NativeListRequest::text), 0))?;
    class.define_method("size", method!(entry::getter(NativeListRequest::size), 0))?;
    class.define_method("given_up?", method!(entry::getter(NativeListRequest::given_up), 0))?;
    class.define_method("answered?", method!(entry::getter(NativeListRequest::is_answered), 0))?;
    class.define_method("load", method!(entry::method1(NativeListRequest::load), 1))?;
    class.define_method("skim", method!(entry::method1(NativeListRequest::skim), 1))?;
    settle_class::<NativeListRequest>(ruby);
    Ok(())
}
