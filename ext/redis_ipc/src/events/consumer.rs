//! `RedisIPC::Native::EventConsumer`: this process's part in a consumer of events, for Ruby.

use crate::codec::options::options_value;
use crate::events::event::{NativeStreamEvent, hash};
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gvl::{read_bytes, wait_for_thread, wait_without_gvl};
use crate::ruby::logins::{self, NativeLogins};
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::{NativeReport, counters};
use magnus::prelude::*;
use magnus::typed_data::Obj;
use magnus::{Error, RArray, RHash, RModule, RString, Ruby, Value, function, method};
use redis_ipc_core::events::{
    self, Consumer, ConsumerOptions, DeadEvent, From, InFlight, Naming, Progress, Said,
};
use redis_ipc_core::{Error as CoreError, ErrorKind, Interrupt, StreamId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A consumer of any source, bound to the process that started it.
#[magnus::wrap(class = "RedisIPC::Native::EventConsumer", free_immediately, size)]
pub struct NativeEventConsumer(ProcessBound<Arc<Arc<dyn Consumer>>>, Records);

/// Counts how exactly-once handling ended by the records in the application's database.
#[derive(Default)]
struct Records {
    /// Events that the database already recorded as done.
    skipped: AtomicU64,
    /// Events whose transactions the database refused, because another process owned their lanes by then.
    refused: AtomicU64,
}

impl NativeEventConsumer {
    fn start(
        ruby: &Ruby,
        stream: String,
        group: String,
        options: RHash,
        logins: Option<&NativeLogins>,
    ) -> Result<Self, Error> {
        let mut options = parse_options(ruby, options)?;
        logins::connect(ruby, logins, &mut options.redis)?;
        let start = move || events::start(&stream, &group, options);
        let bound = ProcessBound::start(ruby, start, |consumer| consumer.close())?;
        Ok(Self(bound, Records::default()))
    }

    fn consumer(&self, ruby: &Ruby) -> Result<&Arc<Arc<dyn Consumer>>, Error> {
        self.0.get_or(ruby, "the consumer was started before this process was forked; start it again here")
    }

    /// Runs `work` in a thread of its own, so that Ruby can interrupt the wait for it.
    fn inquire<T: Send + 'static>(
        &self,
        ruby: &Ruby,
        work: impl FnOnce(&dyn Consumer) -> Result<T, CoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let consumer = Arc::clone(self.consumer(ruby)?);
        wait_for_thread(ruby, move || work(&**consumer), drop)?.map_err(|error| errors::raise(ruby, &error))
    }

    /// Waits for events, and returns at most `most` of them. Returns nil once no more come.
    fn take(ruby: &Ruby, rb_self: &Self, most: usize) -> Result<Option<RArray>, Error> {
        take_by(ruby, &***rb_self.consumer(ruby)?, |consumer, interrupt| consumer.take(most, interrupt))
    }

    /// Waits for events, and returns at most one for each of `handlers` free handlers. Returns nil once no more come.
    fn take_for(ruby: &Ruby, rb_self: &Self, handlers: usize) -> Result<Option<RArray>, Error> {
        take_by(ruby, &***rb_self.consumer(ruby)?, |consumer, interrupt| {
            consumer.take_for(handlers, interrupt)
        })
    }

    /// Returns the next event if one may begin now. Does not wait.
    fn take_ready(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeStreamEvent>, Error> {
        let event = rb_self.consumer(ruby)?.take_ready();
        Ok(event.map(|event| NativeStreamEvent::new(ruby, event)))
    }

    /// Waits for a batch of `size` events, but at most `within` seconds after the first. Returns nil once no more come.
    fn take_batch(ruby: &Ruby, rb_self: &Self, size: usize, within: f64) -> Result<Option<RArray>, Error> {
        let within = seconds(within);
        take_by(ruby, &***rb_self.consumer(ruby)?, |consumer, interrupt| {
            consumer.take_batch(size, within, interrupt)
        })
    }

    /// Finishes events.
    fn done(ruby: &Ruby, rb_self: &Self, events: RArray) -> Result<(), Error> {
        let done = rb_self.consumer(ruby)?.done(&held(events)?);
        done.map_err(|error| errors::raise(ruby, &error))
    }

    /// Finishes one event. Most events are finished one at a time, so this builds no lists.
    fn done_one(ruby: &Ruby, rb_self: &Self, event: &NativeStreamEvent) -> Result<(), Error> {
        let done = rb_self.consumer(ruby)?.done(std::slice::from_ref(&event.held));
        done.map_err(|error| errors::raise(ruby, &error))
    }

    /// Finishes events that the database already recorded as done. Their handlers did not run.
    fn skip(ruby: &Ruby, rb_self: &Self, events: RArray) -> Result<(), Error> {
        rb_self.1.skipped.fetch_add(events.len() as u64, Ordering::Relaxed);
        Self::done(ruby, rb_self, events)
    }

    /// Gives back events whose transactions the database refused, because another process owns their lanes. Their
    /// handlers ran.
    fn refuse(ruby: &Ruby, rb_self: &Self, events: RArray) -> Result<(), Error> {
        rb_self.1.refused.fetch_add(events.len() as u64, Ordering::Relaxed);
        Self::give_back(ruby, rb_self, events)
    }

    /// Gives back events that were taken and not started.
    fn give_back(ruby: &Ruby, rb_self: &Self, events: RArray) -> Result<(), Error> {
        let events = held(events)?;
        rb_self.inquire(ruby, move |consumer| consumer.give_back(&events))
    }

    /// Writes these into the stream that the consumer forwards to, and finishes them. The keys and the types are lists
    /// of Strings and nil; without a list the options say them.
    fn forward(
        ruby: &Ruby,
        rb_self: &Self,
        events: RArray,
        keys: Option<RArray>,
        types: Option<RArray>,
    ) -> Result<(), Error> {
        let events = held(events)?;
        let (keys, types) = (said(keys, events.len())?, said(types, events.len())?);
        let namings: Vec<Naming> =
            keys.into_iter().zip(types).map(|(key, kind)| Naming { key, kind }).collect();
        rb_self.inquire(ruby, move |consumer| consumer.forward(&events, &namings))
    }

    /// Records that an event failed. It is delivered here again after `wait` seconds. Returns false if it was not
    /// running.
    fn retry(ruby: &Ruby, rb_self: &Self, event: &NativeStreamEvent, wait: f64) -> Result<bool, Error> {
        let retried = rb_self.consumer(ruby)?.retry(&event.held, seconds(wait));
        retried.map_err(|error| errors::raise(ruby, &error))
    }

    /// Gives up on an event, and keeps it as a dead letter.
    fn bury(ruby: &Ruby, rb_self: &Self, event: &NativeStreamEvent, reason: String) -> Result<(), Error> {
        let held = Arc::clone(&event.held);
        rb_self.inquire(ruby, move |consumer| consumer.bury(&held, &reason))
    }

    fn pause(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        rb_self.consumer(ruby).map(|consumer| consumer.pause(true))
    }

    fn resume(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        rb_self.consumer(ruby).map(|consumer| consumer.pause(false))
    }

    /// Pauses the events of a key, or resumes them. Returns false if the consumer has no order by key.
    fn pause_key(ruby: &Ruby, rb_self: &Self, key: String, is_paused: bool) -> Result<bool, Error> {
        rb_self.consumer(ruby).map(|consumer| consumer.pause_key(&key, is_paused))
    }

    /// Notes where the handler of the event with this id is, for the record.
    fn note_frame(ruby: &Ruby, rb_self: &Self, id: String, frame: Option<String>) -> Result<(), Error> {
        let id = parse(ruby, &id)?;
        rb_self.consumer(ruby).map(|consumer| consumer.note_frame(id, frame))
    }

    fn lag(ruby: &Ruby, rb_self: &Self) -> Result<Option<u64>, Error> {
        rb_self.inquire(ruby, |consumer| consumer.lag())
    }

    /// Returns how far the group has come: the last id of the stream, the last delivered id, how many entries are
    /// pending, and the floor. Nothing below the floor is delivered any more.
    fn progress(ruby: &Ruby, rb_self: &Self) -> Result<(String, String, u64, String), Error> {
        let Progress { last, delivered, pending, floor } =
            rb_self.inquire(ruby, |consumer| consumer.progress())?;
        Ok((last.to_string(), delivered.to_string(), pending, floor.to_string()))
    }

    /// Moves the group to "beginning", "new", an id, or a time in ms since 1970. Returns the new position.
    fn seek(ruby: &Ruby, rb_self: &Self, to: Value) -> Result<String, Error> {
        let to = position(ruby, to)?;
        rb_self.inquire(ruby, move |consumer| consumer.seek(to)).map(|position| position.to_string())
    }

    /// Whether this consumer has created the group.
    fn has_made_group(ruby: &Ruby, rb_self: &Self) -> Result<bool, Error> {
        rb_self.consumer(ruby).map(|consumer| consumer.has_made_group())
    }

    /// Takes no more events, and gives back those that were not started.
    fn quiet(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let consumer = Arc::clone(rb_self.consumer(ruby)?);
        wait_for_thread(ruby, move || consumer.quiet(), drop)
    }

    /// Writes what is finished, gives back the rest, and closes.
    fn close(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        let consumer = Arc::clone(rb_self.consumer(ruby)?);
        wait_for_thread(ruby, move || consumer.close(), drop)
    }

    /// Waits for the next report. Returns nil once no more come.
    fn next_report(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeReport>, Error> {
        NativeReport::fetch(ruby, rb_self.consumer(ruby)?.reports())
    }

    fn inherited_sockets(&self) -> Vec<i32> {
        self.0.inherited().map(|consumer| consumer.inherited_sockets()).unwrap_or_default()
    }

    fn is_connected(&self) -> bool {
        self.0.own().is_some_and(|consumer| consumer.is_connected())
    }

    fn stats(ruby: &Ruby, rb_self: &Self) -> Result<RHash, Error> {
        let Records { skipped, refused } = &rb_self.1;
        let mut stats = rb_self.consumer(ruby)?.stats();
        stats.extend(
            [("skipped", skipped), ("refused", refused)]
                .map(|(name, count)| (name, count.load(Ordering::Relaxed))),
        );
        counters(ruby, stats)
    }

    /// Returns how long events waited and handlers took, as JSON.
    fn details(ruby: &Ruby, rb_self: &Self) -> Result<String, Error> {
        Ok(rb_self.consumer(ruby)?.details().to_string())
    }

    /// Returns up to `count` dead letters after the id `after`, each as a Hash.
    fn dead_letters(
        ruby: &Ruby,
        rb_self: &Self,
        after: Option<String>,
        count: usize,
    ) -> Result<RArray, Error> {
        let after = after.map(|id| parse(ruby, &id)).transpose()?;
        let letters = rb_self.inquire(ruby, move |consumer| consumer.dead_letters(after, count))?;
        let list = ruby.ary_new_capa(letters.len());
        for letter in letters {
            list.push(row(ruby, letter)?)?;
        }
        Ok(list)
    }

    fn count_dead_letters(ruby: &Ruby, rb_self: &Self) -> Result<u64, Error> {
        rb_self.inquire(ruby, |consumer| consumer.count_dead_letters())
    }

    fn retry_dead_letter(ruby: &Ruby, rb_self: &Self, id: String) -> Result<bool, Error> {
        let id = parse(ruby, &id)?;
        rb_self.inquire(ruby, move |consumer| consumer.retry_dead_letter(id))
    }

    fn discard_dead_letter(ruby: &Ruby, rb_self: &Self, id: String) -> Result<bool, Error> {
        let id = parse(ruby, &id)?;
        rb_self.inquire(ruby, move |consumer| consumer.discard_dead_letter(id))
    }
}

fn take_by(
    ruby: &Ruby,
    consumer: &dyn Consumer,
    take: impl Fn(&dyn Consumer, &Interrupt) -> Option<Vec<Arc<InFlight>>>,
) -> Result<Option<RArray>, Error> {
    let interrupt = Interrupt::default();
    let wait = || match take(consumer, &interrupt) {
        Some(events) if events.is_empty() => None,
        taken => Some(taken),
    };
    let unblock = || {
        interrupt.set();
        consumer.wake();
    };
    let Some(events) = wait_without_gvl(ruby, wait, unblock)? else { return Ok(None) };
    let list = ruby.ary_new_capa(events.len());
    for event in events {
        list.push(NativeStreamEvent::new(ruby, event))?;
    }
    Ok(Some(list))
}

fn held(events: RArray) -> Result<Vec<Arc<InFlight>>, Error> {
    let one = |event| Obj::<NativeStreamEvent>::try_convert(event).map(|event| Arc::clone(&event.held));
    events.into_iter().map(one).collect()
}

/// What is said of so many events.
fn said(list: Option<RArray>, count: usize) -> Result<Vec<Said>, Error> {
    let Some(list) = list else { return Ok(vec![Said::Unsaid; count]) };
    let one = |text| {
        let text = Option::<RString>::try_convert(text)?;
        Ok(text.map_or(Said::Nothing, |text| Said::Text(read_bytes(text, <[u8]>::to_vec))))
    };
    list.into_iter().map(one).collect()
}

/// Converts seconds to a duration. The longest is a year. A negative number, zero and NaN give no time at all.
fn seconds(seconds: f64) -> Duration {
    const YEAR: f64 = 365.0 * 86_400.0;
    if seconds > 0.0 { Duration::from_secs_f64(seconds.min(YEAR)) } else { Duration::ZERO }
}

fn parse(ruby: &Ruby, id: &str) -> Result<StreamId, Error> {
    StreamId::parse(id.as_bytes()).ok_or_else(|| {
        errors::raise(ruby, &CoreError::new(ErrorKind::Argument, format!("{id:?} is not the id of an entry")))
    })
}

fn row(ruby: &Ruby, letter: DeadEvent) -> Result<RHash, Error> {
    let row = ruby.hash_new();
    row.aset(ruby.to_symbol("id"), letter.id.to_string())?;
    row.aset(ruby.to_symbol("stream"), letter.stream)?;
    row.aset(ruby.to_symbol("entry_id"), letter.entry_id)?;
    row.aset(ruby.to_symbol("reason"), letter.reason)?;
    row.aset(ruby.to_symbol("deliveries"), letter.deliveries)?;
    row.aset(ruby.to_symbol("died_ms"), letter.died_at_ms)?;
    row.aset(ruby.to_symbol("fields"), hash(ruby, letter.fields.iter())?)?;
    Ok(row)
}

/// Checks options without connecting. Returns the server that they name, without credentials.
fn check_options(ruby: &Ruby, options: RHash) -> Result<String, Error> {
    parse_options(ruby, options).map(|options| options.server())
}

/// Runs queries on the database whose log a consumer with these options reads. Returns the rows of each, as Arrays of
/// Strings and nil.
fn ask(ruby: &Ruby, options: RHash, queries: RArray) -> Result<RArray, Error> {
    let options = parse_options(ruby, options)?;
    let queries: Vec<String> = queries.to_vec()?;
    let answers = wait_for_thread(ruby, move || events::ask(&options, &queries), drop)?
        .map_err(|error| errors::raise(ruby, &error))?;
    let list = ruby.ary_new_capa(answers.len());
    for rows in answers {
        list.push(ruby.ary_from_iter(rows.into_iter().map(|row| ruby.ary_from_iter(row))))?;
    }
    Ok(list)
}

fn parse_options(ruby: &Ruby, options: RHash) -> Result<ConsumerOptions, Error> {
    let (value, environment) = options_value(ruby, options)?;
    ConsumerOptions::parse(value, environment.as_deref()).map_err(|error| errors::raise(ruby, &error))
}

/// Reads "beginning", "new", an id, or a time in ms since 1970.
///
/// # Errors
///
/// ArgumentError if it is none of these.
pub fn position(ruby: &Ruby, to: Value) -> Result<From, Error> {
    if let Ok(ms) = u64::try_convert(to) {
        return Ok(From::at(ms));
    }
    let text = String::try_convert(to)?;
    let refuse = || CoreError::new(ErrorKind::Argument, format!("{text:?} is no position"));
    From::named(&text).ok_or_else(|| errors::raise(ruby, &refuse()))
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("EventConsumer", ruby.class_object())?;
    class.define_singleton_method("start", function!(entry::function4(NativeEventConsumer::start), 4))?;
    class.define_singleton_method("check_options", function!(entry::function1(check_options), 1))?;
    class.define_singleton_method("ask", function!(entry::function2(ask), 2))?;
    class.undef_default_alloc_func();
    class.define_method("take", method!(entry::method1(NativeEventConsumer::take), 1))?;
    class.define_method("take_for", method!(entry::method1(NativeEventConsumer::take_for), 1))?;
    class.define_method("take_ready", method!(entry::method0(NativeEventConsumer::take_ready), 0))?;
    class.define_method("take_batch", method!(entry::method2(NativeEventConsumer::take_batch), 2))?;
    class.define_method("skip", method!(entry::method1(NativeEventConsumer::skip), 1))?;
    class.define_method("refuse", method!(entry::method1(NativeEventConsumer::refuse), 1))?;
    class.define_method("give_back", method!(entry::method1(NativeEventConsumer::give_back), 1))?;
    class.define_method("done_one", method!(entry::method1(NativeEventConsumer::done_one), 1))?;
    class.define_method("forward", method!(entry::method3(NativeEventConsumer::forward), 3))?;
    class.define_method("done", method!(entry::method1(NativeEventConsumer::done), 1))?;
    class.define_method("retry", method!(entry::method2(NativeEventConsumer::retry), 2))?;
    class.define_method("bury", method!(entry::method2(NativeEventConsumer::bury), 2))?;
    class.define_method("pause", method!(entry::method0(NativeEventConsumer::pause), 0))?;
    class.define_method("resume", method!(entry::method0(NativeEventConsumer::resume), 0))?;
    class.define_method("pause_key", method!(entry::method2(NativeEventConsumer::pause_key), 2))?;
    class.define_method("note_frame", method!(entry::method2(NativeEventConsumer::note_frame), 2))?;
    class.define_method("lag", method!(entry::method0(NativeEventConsumer::lag), 0))?;
    class.define_method("progress", method!(entry::method0(NativeEventConsumer::progress), 0))?;
    class.define_method("seek", method!(entry::method1(NativeEventConsumer::seek), 1))?;
    class.define_method("made_group?", method!(entry::method0(NativeEventConsumer::has_made_group), 0))?;
    class.define_method("quiet", method!(entry::method0(NativeEventConsumer::quiet), 0))?;
    class.define_method("close", method!(entry::method0(NativeEventConsumer::close), 0))?;
    class.define_method("next_report", method!(entry::method0(NativeEventConsumer::next_report), 0))?;
    class.define_method(
        "inherited_sockets",
        method!(entry::getter(NativeEventConsumer::inherited_sockets), 0),
    )?;
    class.define_method("connected?", method!(entry::getter(NativeEventConsumer::is_connected), 0))?;
    class.define_method("stats", method!(entry::method0(NativeEventConsumer::stats), 0))?;
    class.define_method("details", method!(entry::method0(NativeEventConsumer::details), 0))?;
    class.define_method("dead_letters", method!(entry::method2(NativeEventConsumer::dead_letters), 2))?;
    class.define_method(
        "count_dead_letters",
        method!(entry::method0(NativeEventConsumer::count_dead_letters), 0),
    )?;
    class.define_method(
        "retry_dead_letter",
        method!(entry::method1(NativeEventConsumer::retry_dead_letter), 1),
    )?;
    class.define_method(
        "discard_dead_letter",
        method!(entry::method1(NativeEventConsumer::discard_dead_letter), 1),
    )?;
    settle_class::<NativeEventConsumer>(ruby);
    Ok(())
}
