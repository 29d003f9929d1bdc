//! `RedisIPC::Native::ListServer`: a JSON-RPC server, for Ruby; and `ListRequest`: a request that it took.

use crate::codec::decode;
use crate::codec::options::parse;
use crate::ruby::classes::{class, running_class};
use crate::ruby::errors;
use crate::ruby::gc_pressure::GcPressure;
use crate::ruby::gvl::wait_for_work;
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use magnus::prelude::*;
use magnus::{Error, RHash, RModule, RString, Ruby, Value};
use redis_ipc_core::json_rpc::{InFlight, ScannedEnvelope, Server, ServerOptions, scan_envelopes};
use redis_ipc_core::{Running, json};
use std::sync::Arc;

/// A taken request, or a batch of them.
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

    /// Notes where the method is that runs, for the record.
    fn note_frame(_ruby: &Ruby, rb_self: &Self, frame: Option<String>) -> Result<(), Error> {
        rb_self.held.run(|run| run.frame = frame);
        Ok(())
    }

    /// Notes when the caller gives up, in ms on Redis's clock.
    fn note_deadline(_ruby: &Ruby, rb_self: &Self, deadline: u64) -> Result<(), Error> {
        rb_self.held.note_deadline(deadline);
        Ok(())
    }

    /// Parses the text from byte `start` on. Raises ContentError if that is not JSON.
    fn load(ruby: &Ruby, rb_self: &Self, start: usize) -> Result<Value, Error> {
        let text = rb_self.held.text.get(start..).unwrap_or_default();
        json::check(text, text.len()).map_err(|error| errors::content(ruby, error.to_string()))?;
        decode::from_requests(ruby, text)
    }

    /// Returns the first `id` and the first `reply_to` in the text from byte `start` on, without building the rest.
    fn skim(ruby: &Ruby, rb_self: &Self, start: usize) -> Result<(Value, Option<String>), Error> {
        let found = scan_envelopes(rb_self.held.text.get(start..).unwrap_or_default());
        let id = found.iter().find_map(|scanned| scanned.id.as_deref());
        let id = match id {
            // An unreadable id counts as no id.
            Some(id) => decode::from_json(ruby, id).unwrap_or_else(|_| ruby.qnil().as_value()),
            None => ruby.qnil().as_value(),
        };
        Ok((id, found.into_iter().find_map(|ScannedEnvelope { reply_to, .. }| reply_to)))
    }
}

/// A server of a queue.
#[magnus::wrap(class = "RedisIPC::Native::ListServer", free_immediately, size)]
pub struct NativeListServer(ProcessBound<Arc<Server>>);

impl NativeListServer {
    fn start(
        ruby: &Ruby,
        queue: String,
        options: RHash,
        logins: Option<&NativeLogins>,
    ) -> Result<Self, Error> {
        let mut options = parse(ruby, options, ServerOptions::parse)?;
        logins::connect(ruby, logins, &mut options.redis)?;
        ProcessBound::start(ruby, move || Server::start(&queue, options), Server::close).map(Self)
    }

    /// Waits for the next request. Keeps the GVL if a request is ready. Returns nil once no more come.
    fn take(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeListRequest>, Error> {
        let server = rb_self.0.get(ruby)?;
        let at_hand = server.try_take();
        let taken = wait_for_work(ruby, at_hand, |interrupt| server.take(interrupt), || server.wake())?;
        Ok(taken.map(|held| NativeListRequest::new(ruby, held)))
    }

    /// Finishes a request, with or without an answer. Returns false if no answer may go to the list `reply_to`.
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

    /// Whether it is too late to start a request. If the deadline seems to have passed and the last reading of Redis's
    /// clock is too old, reads the clock again first.
    fn has_expired(ruby: &Ruby, rb_self: &Self, deadline: u64) -> Result<bool, Error> {
        let server = rb_self.0.get(ruby)?;
        if server.is_past(deadline) && server.is_clock_due() {
            rb_self.0.apart(ruby, Server::read_clock)?;
        }
        Ok(server.has_expired(deadline))
    }
}

/// Checks options without connecting, and returns them with the defaults.
fn check_options(ruby: &Ruby, options: RHash) -> Result<NativeListServerOptions, Error> {
    parse(ruby, options, ServerOptions::parse).map(NativeListServerOptions)
}

/// The options of a server, with the defaults.
#[magnus::wrap(class = "RedisIPC::Native::ListServerOptions", free_immediately, size)]
pub struct NativeListServerOptions(ServerOptions);

/// Defines the classes.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    running_class!(ruby, native, "ListServer": NativeListServer {
        own "start", 3 => function3(NativeListServer::start);
        own "check_options", 1 => function1(check_options);
        ask "past?" => |server, deadline: u64| server.is_past(deadline);
        ask "reply?" => |server, key: String| server.is_reply(&key);
        "take", 0 => method0(NativeListServer::take);
        "finish", 4 => method4(NativeListServer::finish);
        "expired?", 1 => method1(NativeListServer::has_expired);
    });
    class!(ruby, native, "ListServerOptions": NativeListServerOptions {
        // The delivery guarantee: "at_least_once" or "at_most_once".
        get "guarantee" => |it| it.0.guarantee.name();
        // How many threads run methods.
        get "threads" => |it| it.0.threads;
        // The most bytes of a request.
        get "max_size" => |it| it.0.max_size;
        // The most bytes of an answer.
        get "max_answer_size" => |it| it.0.max_answer_size;
        // The most requests in a batch.
        get "max_batch" => |it| it.0.max_batch;
    });
    class!(ruby, native, "ListRequest": NativeListRequest {
        get "size" => |it| it.held.text.len();
        // The number by which the core names it in reports.
        get "number" => |it| it.held.number.to_string();
        get "given_up?" => |it| it.held.given_up;
        get "answered?" => |it| it.held.is_answered();
        "text", 0 => method0(NativeListRequest::text);
        "load", 1 => method1(NativeListRequest::load);
        "skim", 1 => method1(NativeListRequest::skim);
        "note_frame", 1 => method1(NativeListRequest::note_frame);
        "note_deadline", 1 => method1(NativeListRequest::note_deadline);
    });
    Ok(())
}
