//! `RedisIPC::Native::EventPublisher`: adds events to streams.

use crate::codec::options::options_value;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gvl::read_bytes;
use crate::ruby::helpers::Helpers;
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use magnus::prelude::*;
use magnus::{Error, RArray, RHash, RModule, RString, Ruby, Value, function, method};
use redis_ipc_core::events::{self, NewEvent, PublishOptions, Publisher, PublisherOptions, Trim, Trimmed};
use std::sync::Arc;
use std::time::Duration;

/// A publisher, bound to the process that made it.
#[magnus::wrap(class = "RedisIPC::Native::EventPublisher", free_immediately, size)]
pub struct NativeEventPublisher {
    publisher: ProcessBound<Arc<Publisher>>,
    helpers: Helpers,
}

impl NativeEventPublisher {
    fn start(ruby: &Ruby, options: RHash, logins: Option<&NativeLogins>) -> Result<Self, Error> {
        let (value, environment) = options_value(ruby, options)?;
        let parsed = PublisherOptions::parse(value, environment.as_deref());
        let mut options = parsed.map_err(|error| errors::raise(ruby, &error))?;
        logins::connect(ruby, logins, &mut options.redis)?;
        let publisher = Publisher::new(&options).map_err(|error| errors::raise(ruby, &error))?;
        Ok(Self { publisher: ProcessBound::new(Arc::new(publisher)), helpers: Helpers::new() })
    }

    fn publisher(&self, ruby: &Ruby) -> Result<&Arc<Publisher>, Error> {
        self.publisher.get_or(ruby, "the publisher was made before this process was forked")
    }

    /// Adds events to a stream. Each event is an Array of alternating names and values, and the id that the application
    /// gave it or nil. `limits` are:
    ///
    /// - the most entries that the stream keeps,
    /// - or the seconds for which it keeps them,
    /// - the factor by which entries that a group has not acknowledged may exceed that,
    /// - and whether entries beyond the limit go even if a group has not acknowledged them.
    ///
    /// Returns the ids of the entries, and what was trimmed.
    fn publish(
        ruby: &Ruby,
        rb_self: &Self,
        stream: String,
        events: RArray,
        limits: (Option<u64>, Option<f64>, Option<f64>, bool),
        remember: f64,
    ) -> Result<(RArray, Option<RArray>), Error> {
        let publisher = Arc::clone(rb_self.publisher(ruby)?);
        let events: Vec<NewEvent> = events.into_iter().map(event).collect::<Result<_, _>>()?;
        let options = PublishOptions { trim: trim(limits), remember: seconds(remember) };
        let publish = move || publisher.publish(&stream, &events, options);
        let published = rb_self.helpers.run(ruby, publish)?.map_err(|error| errors::raise(ruby, &error))?;
        let ids = ruby.ary_from_iter(published.ids.into_iter().map(|id| id.to_string()));
        Ok((ids, published.trimmed.map(|trimmed| row(ruby, trimmed)).transpose()?))
    }

    /// Deletes a consumer group, on all partitions if the stream has any.
    fn delete_group(
        ruby: &Ruby,
        rb_self: &Self,
        stream: String,
        group: String,
        partitions: Option<u16>,
    ) -> Result<(), Error> {
        let publisher = Arc::clone(rb_self.publisher(ruby)?);
        let delete = move || publisher.delete_group(&stream, &group, partitions);
        let deleted = rb_self.helpers.run(ruby, delete)?;
        deleted.map_err(|error| errors::raise(ruby, &error))
    }

    fn close(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        rb_self.publisher(ruby).map(|publisher| publisher.close())
    }

    fn inherited_sockets(&self) -> Vec<i32> {
        self.publisher.inherited().map(|publisher| publisher.inherited_sockets()).unwrap_or_default()
    }
}

/// Returns which of `partitions` partitions the events of a key go to.
fn partition(_: &Ruby, key: RString, partitions: u16) -> u64 {
    read_bytes(key, |key| u64::from(events::partition_of(key, partitions)))
}

fn event(event: Value) -> Result<NewEvent, Error> {
    let (words, id) = <(RArray, Option<String>)>::try_convert(event)?;
    let word = |word| RString::try_convert(word).map(|word| read_bytes(word, <[u8]>::to_vec));
    Ok(NewEvent { fields: words.into_iter().map(word).collect::<Result<_, _>>()?, id })
}

fn trim((maxlen, keep, bound, all): (Option<u64>, Option<f64>, Option<f64>, bool)) -> Trim {
    Trim::to(maxlen, keep.map(seconds), bound, all)
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn row(ruby: &Ruby, trimmed: Trimmed) -> Result<RArray, Error> {
    let row = ruby.ary_new_capa(4);
    row.push(trimmed.removed)?;
    row.push(trimmed.lost)?;
    row.push(trimmed.kept_by)?;
    row.push(trimmed.refused)?;
    Ok(row)
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("EventPublisher", ruby.class_object())?;
    class.define_singleton_method("start", function!(entry::function2(NativeEventPublisher::start), 2))?;
    class.define_singleton_method("partition", function!(entry::function2(partition), 2))?;
    class.undef_default_alloc_func();
    class.define_method("publish", method!(entry::method4(NativeEventPublisher::publish), 4))?;
    class.define_method("delete_group", method!(entry::method3(NativeEventPublisher::delete_group), 3))?;
    class.define_method("close", method!(entry::method0(NativeEventPublisher::close), 0))?;
    class.define_method(
        "inherited_sockets",
        method!(entry::getter(NativeEventPublisher::inherited_sockets), 0),
    )?;
    settle_class::<NativeEventPublisher>(ruby);
    Ok(())
}
