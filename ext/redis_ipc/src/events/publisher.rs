//! `RedisIPC::Native::EventPublisher`: adds events to streams.

use crate::codec::options::options_value;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gvl::{read_bytes, wait_for_thread};
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use magnus::prelude::*;
use magnus::{Error, RArray, RHash, RModule, RString, Ruby, Value, function, method};
use redis_ipc_core::events::{Publisher, PublisherOptions, Trim};
use std::sync::Arc;
use std::time::Duration;

/// A publisher, and the process it belongs to.
#[magnus::wrap(class = "RedisIPC::Native::EventPublisher", free_immediately, size)]
pub struct NativeEventPublisher(ProcessBound<Arc<Publisher>>);

impl NativeEventPublisher {
    fn start(ruby: &Ruby, options: RHash, logins: Option<&NativeLogins>) -> Result<Self, Error> {
        let (value, environment) = options_value(ruby, options)?;
        let parsed = PublisherOptions::parse(value, environment.as_deref());
        let mut options = parsed.map_err(|error| errors::raise(ruby, &error))?;
        logins::connect(ruby, logins, &mut options.redis)?;
        Ok(Self(ProcessBound::new(Arc::new(Publisher::new(&options)))))
    }

    fn publisher(&self, ruby: &Ruby) -> Result<&Arc<Publisher>, Error> {
        self.0.get_or(ruby, "the publisher was made before this process was forked")
    }

    /// Adds events, each an Array of names and values by turns. Returns their ids.
    fn publish(
        ruby: &Ruby,
        rb_self: &Self,
        stream: String,
        events: RArray,
        maxlen: Option<u64>,
        keep: Option<f64>,
    ) -> Result<RArray, Error> {
        let publisher = Arc::clone(rb_self.publisher(ruby)?);
        let events: Vec<Vec<Vec<u8>>> = events.into_iter().map(words).collect::<Result<_, _>>()?;
        let trim = match (maxlen, keep) {
            (Some(most), _) => Trim::Longer(most),
            (None, Some(age)) => Trim::Older(Duration::try_from_secs_f64(age).unwrap_or(Duration::MAX)),
            (None, None) => Trim::Nothing,
        };
        let published = wait_for_thread(ruby, move || publisher.publish(&stream, &events, trim), drop)?;
        let ids = published.map_err(|error| errors::raise(ruby, &error))?;
        Ok(ruby.ary_from_iter(ids.into_iter().map(|id| id.to_string())))
    }

    fn close(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        rb_self.publisher(ruby).map(|publisher| publisher.close())
    }

    fn inherited_sockets(&self) -> Vec<i32> {
        self.0.inherited().map(|publisher| publisher.inherited_sockets()).unwrap_or_default()
    }
}

fn words(event: Value) -> Result<Vec<Vec<u8>>, Error> {
    RArray::try_convert(event)?
        .into_iter()
        .map(|word| RString::try_convert(word).map(|word| read_bytes(word, <[u8]>::to_vec)))
        .collect()
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("EventPublisher", ruby.class_object())?;
    class.define_singleton_method("start", function!(entry::function2(NativeEventPublisher::start), 2))?;
    class.undef_default_alloc_func();
    class.define_method("publish", method!(entry::method4(NativeEventPublisher::publish), 4))?;
    class.define_method("close", method!(entry::method0(NativeEventPublisher::close), 0))?;
    class.define_method(
        "inherited_sockets",
        method!(entry::getter(NativeEventPublisher::inherited_sockets), 0),
    )?;
    settle_class::<NativeEventPublisher>(ruby);
    Ok(())
}
