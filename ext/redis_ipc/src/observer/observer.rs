//! `RedisIPC::Native::Observer`: reads what Redis knows, for those who operate a system.

use crate::codec::decode::entry_id;
use crate::codec::options::options_value;
use crate::events::consumer::position;
use crate::observer::{answer, query};
use crate::ruby::classes::class;
use crate::ruby::errors;
use crate::ruby::gvl::read_bytes;
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use magnus::prelude::*;
use magnus::{Error, RArray, RHash, RModule, RString, Ruby, Value};
use redis_ipc_core::observer::{Observer, ObserverOptions};
use redis_ipc_core::{Error as CoreError, StreamId};
use std::sync::Arc;
use std::time::Duration;

/// An observer, bound to the process that made it.
#[magnus::wrap(class = "RedisIPC::Native::Observer", free_immediately, size)]
pub struct NativeObserver(ProcessBound<Arc<Observer>>);

impl NativeObserver {
    fn start(ruby: &Ruby, options: RHash, logins: Option<&NativeLogins>) -> Result<Self, Error> {
        let (value, environment) = options_value(ruby, options)?;
        let parsed = ObserverOptions::parse(value, environment.as_deref());
        let mut options = parsed.map_err(|error| errors::raise(ruby, &error))?;
        logins::connect(ruby, logins, &mut options.redis)?;
        let why = "the observer was made before this process was forked";
        Ok(Self(ProcessBound::new(Arc::new(Observer::new(options))).saying(why)))
    }

    /// Returns what Redis answers to each query: an object, or the exception of the refusal.
    fn read(ruby: &Ruby, rb_self: &Self, queries: RArray) -> Result<RArray, Error> {
        let asked: Vec<query::Asked> =
            queries.into_iter().map(|one| query::read(ruby, one)).collect::<Result<_, _>>()?;
        let queries: Vec<_> = asked.iter().map(|one| one.query.clone()).collect();
        let told = rb_self.0.apart(ruby, move |observer| observer.read(&queries))?;
        ruby.ary_try_from_iter(asked.iter().zip(told).map(|(one, told)| answer::object(ruby, one, told)))
    }

    /// Returns the address of a node, its clock in ms, and the seconds that it took to answer.
    fn clock_of(ruby: &Ruby, rb_self: &Self, node: String) -> Result<RArray, Error> {
        let clock = rb_self.0.inquire(ruby, move |observer| observer.clock_of(&node))?;
        let row = ruby.ary_new_capa(3);
        row.push(clock.address)?;
        row.push(clock.now)?;
        row.push(clock.took.as_secs_f64())?;
        Ok(row)
    }

    /// Moves a group of events to "beginning", "new", an id, or a time in ms since 1970. Returns the new position.
    fn seek(ruby: &Ruby, rb_self: &Self, stream: String, group: String, to: Value) -> Result<String, Error> {
        let to = position(ruby, to)?;
        rb_self
            .0
            .inquire(ruby, move |observer| observer.seek(&stream, &group, to))
            .map(|position| position.to_string())
    }

    /// Does something about a request of a queue.
    fn act_on_queue(
        ruby: &Ruby,
        rb_self: &Self,
        queue: String,
        text: RString,
        act: fn(&Observer, &str, &[u8]) -> Result<bool, CoreError>,
    ) -> Result<bool, Error> {
        let text = read_bytes(text, <[u8]>::to_vec);
        rb_self.0.inquire(ruby, move |observer| act(observer, &queue, &text))
    }

    /// Waits for requests that are added to the inbox of a group. Returns them, and the id to go on from.
    fn tap(
        ruby: &Ruby,
        rb_self: &Self,
        stream: String,
        group: String,
        after: Option<String>,
        seconds: f64,
    ) -> Result<RArray, Error> {
        let after = after.map(|id| entry_id(ruby, &id)).transpose()?;
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let (found, last) =
            rb_self.0.inquire(ruby, move |observer| observer.tap(&stream, &group, after, wait))?;
        let row = ruby.ary_new_capa(2);
        row.push(ruby.ary_try_from_iter(found.iter().map(|entry| answer::whole_entry(ruby, entry)))?)?;
        row.push(last.to_string())?;
        Ok(row)
    }

    fn tell(
        ruby: &Ruby,
        rb_self: &Self,
        stream: String,
        group: String,
        before: Option<String>,
        after: Option<String>,
    ) -> Result<bool, Error> {
        let tell =
            move |observer: &Observer| observer.tell(&stream, &group, before.as_deref(), after.as_deref());
        rb_self.0.inquire(ruby, tell)
    }
}

/// Something that is done about a dead letter of a group.
type OnLetter = fn(&Observer, &str, &str, StreamId) -> Result<bool, CoreError>;

/// Makes a method that does something about a dead letter of a group.
fn on_letter(
    act: OnLetter,
) -> impl Fn(&Ruby, &NativeObserver, String, String, String) -> Result<bool, Error> {
    move |ruby: &Ruby, it: &NativeObserver, stream: String, group: String, id: String| {
        let id = entry_id(ruby, &id)?;
        it.0.inquire(ruby, move |observer| act(observer, &stream, &group, id))
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Observer": NativeObserver {
        own "start", 2 => function2(NativeObserver::start);
        get "inherited_sockets" => |it| {
            it.0.inherited().map(|observer| observer.inherited_sockets()).unwrap_or_default()
        };
        // The address of Redis, without credentials.
        read "address" => |observer| observer.address().to_owned();
        read "close" => |observer| observer.close();
        "read", 1 => method1(NativeObserver::read);
        "clock_of", 1 => method1(NativeObserver::clock_of);
        "retry_letter", 3 => method3(on_letter(Observer::retry_letter));
        "discard_letter", 3 => method3(on_letter(Observer::discard_letter));
        "retry_event", 3 => method3(on_letter(Observer::retry_event));
        "discard_event", 3 => method3(on_letter(Observer::discard_event));
        "seek", 3 => method3(NativeObserver::seek);
        "retry_request", 2 => method2(|ruby: &Ruby, it: &NativeObserver, queue: String, text: RString| {
            NativeObserver::act_on_queue(ruby, it, queue, text, Observer::retry_request)
        });
        "discard_request", 2 => method2(|ruby: &Ruby, it: &NativeObserver, queue: String, text: RString| {
            NativeObserver::act_on_queue(ruby, it, queue, text, Observer::discard_request)
        });
        "delete", 1 => method1(|ruby: &Ruby, it: &NativeObserver, keys: Vec<String>| {
            it.0.inquire(ruby, move |observer| observer.delete(&keys))
        });
        "tap", 4 => method4(NativeObserver::tap);
        "tell", 4 => method4(NativeObserver::tell);
        "nodes", 0 => method0(|ruby: &Ruby, it: &NativeObserver| it.0.inquire(ruby, Observer::nodes));
        "now_ms", 0 => method0(|ruby: &Ruby, it: &NativeObserver| it.0.inquire(ruby, Observer::now));
    });
    Ok(())
}
