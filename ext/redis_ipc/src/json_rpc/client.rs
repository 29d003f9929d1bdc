//! `RedisIPC::Native::ListClient`: a JSON-RPC client, for Ruby; and `ListCall`: a call that a fiber waits for.

use crate::codec::decode;
use crate::codec::options::parse;
use crate::ruby::classes::{class, running_class};
use crate::ruby::errors;
use crate::ruby::gvl::{seconds_until, wait_interruptibly};
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::fetch;
use magnus::prelude::*;
use magnus::{Error, RHash, RModule, Ruby, Value};
use redis_ipc_core::json_rpc::{Client, ClientOptions, Outcome, Pending};
use redis_ipc_core::{Interrupt, Running, json};
use std::sync::Arc;
use std::time::Duration;

/// A client of a queue.
#[magnus::wrap(class = "RedisIPC::Native::ListClient", free_immediately, size)]
pub struct NativeListClient(ProcessBound<Arc<Client>>);

impl NativeListClient {
    fn start(
        ruby: &Ruby,
        queue: String,
        options: RHash,
        logins: Option<&NativeLogins>,
    ) -> Result<Self, Error> {
        let mut options = parse(ruby, options, ClientOptions::parse)?;
        logins::connect(ruby, logins, &mut options.redis)?;
        ProcessBound::start(ruby, move || Client::start(&queue, options), Client::close).map(Self)
    }

    /// Sends a text that holds `count` requests, with the ids from `first` on, and waits for the answer. If it holds
    /// only notifications (`count` is 0), waits until Redis has it, and returns nil.
    fn call(
        ruby: &Ruby,
        rb_self: &Self,
        first: u64,
        count: u64,
        text: String,
        seconds: Option<f64>,
    ) -> Result<Value, Error> {
        let NativeListCall(call) = Self::call_async(ruby, rb_self, first, count, text, seconds)?;
        let (client, pending) = call.get(ruby)?;
        let wait = |interrupt: &Interrupt| client.wait(pending, interrupt);
        match wait_interruptibly(ruby, wait, || pending.ending.wake()) {
            Ok(outcome) => answer(ruby, pending, outcome),
            Err(interrupt) => {
                client.cancel(pending);
                Err(interrupt)
            }
        }
    }

    /// Like `call`, but does not wait.
    fn call_async(
        ruby: &Ruby,
        rb_self: &Self,
        first: u64,
        count: u64,
        text: String,
        seconds: Option<f64>,
    ) -> Result<NativeListCall, Error> {
        let client = rb_self.0.get(ruby)?;
        let sent = client.send(first..first + count, text.into_bytes(), time(client, seconds));
        let pending = sent.map_err(|error| errors::raise(ruby, &error))?;
        Ok(NativeListCall(ProcessBound::new((Arc::clone(client), pending))))
    }

    /// Waits for the end of a call that a fiber waits for, and returns the call's id. Returns nil once no more come.
    fn next_wake(ruby: &Ruby, rb_self: &Self) -> Result<Option<String>, Error> {
        Ok(fetch(ruby, &rb_self.0.get(ruby)?.wakes)?.map(|id| id.to_string()))
    }
}

/// A call that a fiber waits for.
#[magnus::wrap(class = "RedisIPC::Native::ListCall", free_immediately, size)]
pub struct NativeListCall(ProcessBound<(Arc<Client>, Arc<Pending>)>);

impl NativeListCall {
    /// Returns the answer. Returns nil for a notification, and while the call has not ended. Raises the error if the
    /// call failed.
    fn answer(ruby: &Ruby, rb_self: &Self) -> Result<Value, Error> {
        let (client, pending) = rb_self.0.get(ruby)?;
        match client.outcome(pending) {
            Some(outcome) => answer(ruby, pending, outcome),
            None => Ok(ruby.qnil().as_value()),
        }
    }
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
        None => client.options.timeout,
        Some(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or_default(),
    }
}

/// Checks options without connecting. Returns the most requests that a batch may have.
fn check_options(ruby: &Ruby, options: RHash) -> Result<usize, Error> {
    parse(ruby, options, ClientOptions::parse).map(|options| options.max_batch)
}

/// Defines the classes.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    running_class!(ruby, native, "ListClient": NativeListClient {
        own "start", 3 => function3(NativeListClient::start);
        own "check_options", 1 => function1(check_options);
        read "reply_to" => |client| client.reply_to();
        // Reserves consecutive ids, and returns the first.
        ask "reserve" => |client, count: u64| client.reserve(count);
        // The deadline of a call that starts now, in ms on Redis's clock. Without seconds it has the default timeout.
        ask "deadline" => |client, seconds: Option<f64>| client.deadline(time(client, seconds));
        "call", 4 => method4(NativeListClient::call);
        "call_async", 4 => method4(NativeListClient::call_async);
        "next_wake", 0 => method0(NativeListClient::next_wake);
    });
    class!(ruby, native, "ListCall": NativeListCall {
        // Lets `next_wake` report the end of the call. Returns false if the call has ended already.
        read "wake" => |(client, pending)| client.watch(pending);
        // Does what is due for the call. Returns in how many seconds to call this again, or nil once the call has
        // ended.
        read "check_deadline" => |(client, pending)| client.check_deadline(pending).map(seconds_until);
        // Gives up the call, if it has not ended.
        read "cancel" => |(client, pending)| client.cancel(pending);
        read "id" => |(_, pending)| pending.id().to_string();
        "answer", 0 => method0(NativeListCall::answer);
    });
    Ok(())
}
