//! `RedisIPC::Native::ListClient`: a client of a list, as Ruby sees it, and `ListCall`, a call that a fiber waits for.

use crate::codec::decode;
use crate::codec::options::options_value;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gvl::{wait_for_thread, wait_without_gvl};
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::{NativeReport, counters, fetch};
use magnus::prelude::*;
use magnus::{Error, RHash, RModule, Ruby, Value, function, method};
use redis_ipc_core::Interrupt;
use redis_ipc_core::json;
use redis_ipc_core::json_rpc::Client;
use redis_ipc_core::json_rpc::ClientOptions;
use redis_ipc_core::json_rpc::{Outcome, Pending};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client of a list.
#[magnus::wrap(class = "RedisIPC::Native::ListClient", free_immediately, size)]
pub struct NativeListClient(ProcessBound<Arc<Client>>);

impl NativeListClient {
    fn start(
        ruby: &Ruby,
        queue: String,
        options: RHash,
        logins: Option<&NativeLogins>,
    ) -> Result<Self, Error> {
        let mut options = parse_options(ruby, options)?;
        logins::connect(ruby, logins, &mut options.redis)?;
        ProcessBound::start(ruby, move || Client::start(&queue, options), Client::close).map(Self)
    }

    /// The first of so many ids.
    fn reserve(ruby: &Ruby, rb_self: &Self, count: u64) -> Result<u64, Error> {
        Ok(rb_self.0.get(ruby)?.reserve(count))
    }

    fn reply_to(ruby: &Ruby, rb_self: &Self) -> Result<String, Error> {
        Ok(rb_self.0.get(ruby)?.reply_to())
    }

    /// What Redis's clock will show after so many seconds (the default timeout if nil), in ms.
    fn deadline(ruby: &Ruby, rb_self: &Self, seconds: Option<f64>) -> Result<u64, Error> {
        let client = rb_self.0.get(ruby)?;
        Ok(client.deadline(time(client, seconds)))
    }

    /// Sends a text and waits for the answer to its `count` requests from id `first` on; with none, until Redis has it:
    /// then nil is returned.
    fn call(
        ruby: &Ruby,
        rb_self: &Self,
        first: u64,
        count: u64,
        text: String,
        seconds: Option<f64>,
    ) -> Result<Value, Error> {
        let client = rb_self.0.get(ruby)?;
        let pending = send(ruby, client, first..first + count, text, seconds)?;
        let interrupt = Interrupt::default();
        let wait = || client.wait(&pending, &interrupt);
        let unblock = || {
            interrupt.set();
            pending.wake();
        };
        match wait_without_gvl(ruby, wait, unblock) {
            Ok(outcome) => answer(ruby, &pending, outcome),
            Err(interrupt) => {
                client.cancel(&pending);
                Err(interrupt)
            }
        }
    }

    /// As `call`, without waiting.
    fn call_async(
        ruby: &Ruby,
        rb_self: &Self,
        first: u64,
        count: u64,
        text: String,
        seconds: Option<f64>,
    ) -> Result<NativeListCall, Error> {
        let client = rb_self.0.get(ruby)?;
        let pending = send(ruby, client, first..first + count, text, seconds)?;
        Ok(NativeListCall(ProcessBound::new((Arc::clone(client), pending))))
    }

    /// The id of the next call that has ended and that a fiber waits for; nil at the end.
    fn next_wake(ruby: &Ruby, rb_self: &Self) -> Result<Option<String>, Error> {
        Ok(fetch(ruby, rb_self.0.get(ruby)?.wakes())?.map(|id| id.to_string()))
    }

    /// The next report; nil at the end.
    fn next_report(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeReport>, Error> {
        NativeReport::fetch(ruby, rb_self.0.get(ruby)?.reports())
    }

    /// Ends everything.
    fn close(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let client = Arc::clone(rb_self.0.get(ruby)?);
        wait_for_thread(ruby, move || client.close(), drop)
    }

    fn inherited_sockets(&self) -> Vec<i32> {
        self.0.inherited().map(|client| client.inherited_sockets()).unwrap_or_default()
    }

    fn is_connected(&self) -> bool {
        self.0.own().is_some_and(|client| client.is_connected())
    }

    fn stats(ruby: &Ruby, rb_self: &Self) -> Result<RHash, Error> {
        counters(ruby, rb_self.0.get(ruby)?.stats())
    }
}

/// A call that a fiber waits for.
#[magnus::wrap(class = "RedisIPC::Native::ListCall", free_immediately, size)]
pub struct NativeListCall(ProcessBound<(Arc<Client>, Arc<Pending>)>);

impl NativeListCall {
    /// The answer; raises how the call failed, and is nil for a notification, and while it has not ended.
    fn answer(ruby: &Ruby, rb_self: &Self) -> Result<Value, Error> {
        let (client, pending) = rb_self.0.get(ruby)?;
        match client.outcome(pending) {
            Some(outcome) => answer(ruby, pending, outcome),
            None => Ok(ruby.qnil().as_value()),
        }
    }

    /// Has the waker told of the end of the call; false if it has ended already.
    fn wake(ruby: &Ruby, rb_self: &Self) -> Result<bool, Error> {
        let (client, pending) = rb_self.0.get(ruby)?;
        Ok(client.watch(pending))
    }

    /// Does what is due for the call; in how many seconds there will be more to do, nil once it has ended.
    fn check_deadline(ruby: &Ruby, rb_self: &Self) -> Result<Option<f64>, Error> {
        let (client, pending) = rb_self.0.get(ruby)?;
        let due = client.check_deadline(pending);
        Ok(due.map(|due| due.saturating_duration_since(Instant::now()).as_secs_f64()))
    }

    /// Gives the call up, if it has not ended.
    fn cancel(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let (client, pending) = rb_self.0.get(ruby)?;
        client.cancel(pending);
        Ok(())
    }

    fn id(ruby: &Ruby, rb_self: &Self) -> Result<String, Error> {
        Ok(rb_self.0.get(ruby)?.1.id().to_string())
    }
}

fn send(
    ruby: &Ruby,
    client: &Client,
    ids: Range<u64>,
    text: String,
    seconds: Option<f64>,
) -> Result<Arc<Pending>, Error> {
    let sent = client.send(ids, text.into_bytes(), time(client, seconds));
    sent.map_err(|error| errors::raise(ruby, &error))
}

fn answer(ruby: &Ruby, pending: &Pending, outcome: Outcome) -> Result<Value, Error> {
    match outcome {
        Ok(_) if pending.is_notification() => Ok(ruby.qnil().as_value()),
        Ok(answer) => {
            json::check(&answer, answer.len()).map_err(|why| errors::malformed(ruby, &why.to_string()))?;
            decode::from_json(ruby, &answer).map_err(|why| {
                if errors::is_content(ruby, &why) { errors::malformed(ruby, &why.to_string()) } else { why }
            })
        }
        Err(error) => Err(errors::raise(ruby, &error)),
    }
}

fn time(client: &Client, seconds: Option<f64>) -> Duration {
    match seconds {
        None => client.options().timeout,
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or_default(),
    }
}

/// Checks options without connecting, and returns what they amount to.
fn check_options(ruby: &Ruby, options: RHash) -> Result<NativeListClientOptions, Error> {
    parse_options(ruby, options).map(NativeListClientOptions)
}

fn parse_options(ruby: &Ruby, options: RHash) -> Result<ClientOptions, Error> {
    let (value, environment) = options_value(ruby, options)?;
    ClientOptions::parse(value, environment.as_deref()).map_err(|error| errors::raise(ruby, &error))
}

/// The options of a client, with the defaults.
#[magnus::wrap(class = "RedisIPC::Native::ListClientOptions", free_immediately, size)]
pub struct NativeListClientOptions(ClientOptions);

impl NativeListClientOptions {
    /// The most requests in a batch.
    fn max_batch(&self) -> usize {
        self.0.max_batch
    }
}

/// Defines the classes.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("ListClient", ruby.class_object())?;
    class.define_singleton_method("start", function!(entry::function3(NativeListClient::start), 3))?;
    class.define_singleton_method("check_options", function!(entry::function1(check_options), 1))?;
    class.undef_default_alloc_func();
    class.define_method("reserve", method!(entry::method1(NativeListClient::reserve), 1))?;
    class.define_method("reply_to", method!(entry::method0(NativeListClient::reply_to), 0))?;
    class.define_method("deadline", method!(entry::method1(NativeListClient::deadline), 1))?;
    class.define_method("call", method!(entry::method4(NativeListClient::call), 4))?;
    class.define_method("call_async", method!(entry::method4(NativeListClient::call_async), 4))?;
    class.define_method("next_report", method!(entry::method0(NativeListClient::next_report), 0))?;
    class.define_method("next_wake", method!(entry::method0(NativeListClient::next_wake), 0))?;
    class.define_method("close", method!(entry::method0(NativeListClient::close), 0))?;
    class
        .define_method("inherited_sockets", method!(entry::getter(NativeListClient::inherited_sockets), 0))?;
    class.define_method("connected?", method!(entry::getter(NativeListClient::is_connected), 0))?;
    class.define_method("stats", method!(entry::method0(NativeListClient::stats), 0))?;
    settle_class::<NativeListClient>(ruby);

    let class = native.define_class("ListClientOptions", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("max_batch", method!(entry::getter(NativeListClientOptions::max_batch), 0))?;
    settle_class::<NativeListClientOptions>(ruby);

    let class = native.define_class("ListCall", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("answer", method!(entry::method0(NativeListCall::answer), 0))?;
    class.define_method("wake", method!(entry::method0(NativeListCall::wake), 0))?;
    class.define_method("check_deadline", method!(entry::method0(NativeListCall::check_deadline), 0))?;
    class.define_method("cancel", method!(entry::method0(NativeListCall::cancel), 0))?;
    class.define_method("id", method!(entry::method0(NativeListCall::id), 0))?;
    settle_class::<NativeListCall>(ruby);
    Ok(())
}
