//! A consumer that writes a record of what it does, and obeys its control key.

use crate::error::{Error, Place};
use crate::events::common::consumer::{Consumer, Progress};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::forward_options::Naming;
use crate::events::common::in_flight::InFlight;
use crate::events::common::options::{ConsumerOptions, From};
use crate::events::recorded::book::Book;
use crate::events::recorded::pausing::Pausing;
use crate::events::recorded::source::Source;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::client_name::ClientNames;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::record::control::Control;
use crate::foundation::redis::record::writer::{EVERY, RecordWriter, SOONEST};
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often Redis's clock is read, if only the record needs it.
const READ_CLOCK: Duration = Duration::from_secs(60);

/// A consumer of any kind, and its record.
pub struct RecordedConsumer {
    inner: Arc<dyn Consumer>,
    clerk: Arc<Clerk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Writes the record, in a thread of its own: it does not wait for workers, nor for Ruby.
struct Clerk {
    inner: Arc<dyn Consumer>,
    book: Book,
    endpoint: Arc<Endpoint>,
    /// Whether `endpoint` is only for the record, because the source is no Redis.
    is_apart: bool,
    connections: Arc<Pool>,
    writer: RecordWriter,
    control: Arc<Control>,
    /// Whether Redis's clock is read for the record alone.
    reads_clock: bool,
    pausing: Pausing,
    every: Duration,
    look_every: u32,
    stop: Stop,
}

impl RecordedConsumer {
    /// Begins the record of a consumer that was started with these options.
    ///
    /// # Errors
    ///
    /// The system has no random numbers or no thread.
    pub fn start(
        inner: Arc<dyn Consumer>,
        stream: &str,
        group: &str,
        options: &ConsumerOptions,
    ) -> Result<Self, Error> {
        let source = Source::new(stream, group, options);
        let of_inner = inner.endpoint().cloned();
        let is_apart = of_inner.is_none();
        let place = Place { stream: Some(source.stream.clone()), ..Place::default() };
        let names = ClientNames::new(&source.stream, &source.group);
        let endpoint = of_inner.unwrap_or_else(|| Arc::new(Endpoint::named(place, &options.redis, names)));
        let own_pool = || Arc::new(Pool::new(Arc::clone(&endpoint.connector), 1));
        let connections = inner.connections().cloned().unwrap_or_else(own_pool);
        let instance = inner.instance().map_or_else(|| Ok(IdSource::default().next()?.to_string()), Ok);
        let control = Arc::new(Control::default());
        let (keys, lease) = (source.keys(&instance.map_err(|error: Error| error)?), source.lease);
        let clerk = Arc::new(Clerk {
            writer: RecordWriter::new(Arc::clone(&endpoint), keys, Arc::clone(&control), lease),
            every: lease.clamp(SOONEST, EVERY),
            look_every: source.look_every,
            reads_clock: !source.has_position,
            book: Book::new(Arc::clone(&inner), source),
            inner: Arc::clone(&inner),
            endpoint,
            is_apart,
            connections,
            control,
            pausing: Pausing::default(),
            stop: Stop::default(),
        });
        if !is_apart {
            // Before the first event is taken: the group may be paused.
            clerk.write();
        }
        let (body, guard) = (Arc::clone(&clerk), Arc::clone(&clerk.endpoint));
        let thread = spawn("event-record", &guard, move || body.run()).inspect_err(|_| clerk.leave())?;
        Ok(Self { inner, clerk, thread: Mutex::new(Some(thread)) })
    }

    fn taken(&self, events: Option<Vec<Arc<InFlight>>>) -> Option<Vec<Arc<InFlight>>> {
        if let Some(events) = &events {
            self.clerk.book.take(events, self.clerk.endpoint.clock.now());
        }
        events
    }
}

impl Clerk {
    fn run(&self) {
        let (mut due, mut periods) = (Instant::now() + EVERY, 0_u32);
        if self.is_apart {
            self.write();
        }
        loop {
            let pause = due.saturating_duration_since(Instant::now()).min(self.every);
            if self.stop.pause(pause) {
                return;
            }
            if Instant::now() >= due {
                due = Instant::now() + EVERY;
                periods += 1;
                if periods.is_multiple_of(self.look_every) {
                    self.book.look();
                }
                self.writer.end_period(&self.book);
                self.write();
            } else {
                self.look_at_slow();
                self.writer.write_in_trouble(&self.book, &mut self.access());
                self.obey();
            }
        }
    }

    fn write(&self) {
        if self.reads_clock && self.endpoint.clock.is_due(READ_CLOCK) {
            // If Redis cannot be reached, the record is not written either.
            let read = |connection: &mut Connection| self.endpoint.clock.read(connection);
            let _ = self.connections.with(self.writer.key(), read);
        }
        self.writer.write(&self.book, &mut self.access());
        self.obey();
    }

    /// Has somebody look where the handlers are that run for long.
    fn look_at_slow(&self) {
        for id in self.book.slow() {
            self.inner.reports().offer(Report::Slow(id.to_string()));
        }
    }

    fn access(&self) -> Arc<Pool> {
        Arc::clone(&self.connections)
    }

    /// Pauses, or goes on, as the application and the control key say. Passes on what the record has to report.
    fn obey(&self) {
        self.pausing.apply(&self.control, |is_paused| self.inner.pause(is_paused));
        if self.is_apart {
            self.endpoint.reports.drain().into_iter().for_each(|report| self.inner.reports().send(report));
        }
    }

    /// Removes the record, because the consumer leaves in order.
    fn leave(&self) {
        let closing = self.endpoint.connector.closing();
        // Nothing depends on it: records end by themselves.
        let _ = closing.with_short_limit(|| self.writer.remove(&mut self.access()));
        if self.is_apart || self.inner.connections().is_none() {
            self.connections.close();
        }
    }
}

impl Consumer for RecordedConsumer {
    fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.taken(self.inner.take(most, interrupt))
    }

    fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.taken(self.inner.take_for(handlers, interrupt))
    }

    fn take_ready(&self) -> Option<Arc<InFlight>> {
        let event = self.inner.take_ready();
        event.inspect(|event| {
            let now = self.clerk.endpoint.clock.now();
            self.clerk.book.take(std::slice::from_ref(event), now);
        })
    }

    fn take_batch(&self, size: usize, within: Duration, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.taken(self.inner.take_batch(size, within, interrupt))
    }

    fn give_back(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        self.inner.give_back(events)
    }

    fn wake(&self) {
        self.inner.wake();
    }

    fn finish(&self, events: &[Arc<InFlight>], longest: Duration) -> Result<(), Error> {
        self.inner.finish(events, longest)?;
        self.clerk.book.done(events, Some(longest));
        Ok(())
    }

    fn forward(&self, events: &[Arc<InFlight>], namings: &[Naming]) -> Result<(), Error> {
        let longest = InFlight::longest(events);
        self.inner.forward(events, namings)?;
        self.clerk.book.done(events, longest);
        Ok(())
    }

    fn retry(&self, event: &Arc<InFlight>, wait: Duration) -> Result<bool, Error> {
        let ran = event.ran(Instant::now());
        let is_retried = self.inner.retry(event, wait)?;
        if is_retried {
            self.clerk.book.fail(ran);
        }
        Ok(is_retried)
    }

    fn bury(&self, event: &Arc<InFlight>, reason: &str) -> Result<(), Error> {
        self.clerk.book.fail(event.ran(Instant::now()));
        self.inner.bury(event, reason)
    }

    fn pause(&self, is_paused: bool) {
        self.clerk.pausing.set(is_paused);
        self.clerk.obey();
    }

    fn pause_key(&self, key: &str, is_paused: bool) -> bool {
        self.inner.pause_key(key, is_paused)
    }

    fn note_frame(&self, id: StreamId, frame: Option<String>) {
        self.clerk.book.note_frame(id, frame);
    }

    fn progress(&self) -> Result<Progress, Error> {
        self.inner.progress()
    }

    fn seek(&self, to: From) -> Result<StreamId, Error> {
        self.inner.seek(to)
    }

    fn has_made_group(&self) -> bool {
        self.inner.has_made_group()
    }

    fn lag(&self) -> Result<Option<u64>, Error> {
        self.inner.lag()
    }

    fn details(&self) -> serde_json::Value {
        self.clerk.book.details()
    }

    /// `paused` is 1 while the control key says so.
    fn stats(&self) -> Vec<(&'static str, u64)> {
        let mut stats = self.inner.stats();
        stats.push(("paused", u64::from(self.clerk.control.is_paused())));
        stats
    }

    fn quiet(&self) {
        self.clerk.pausing.end();
        self.inner.quiet();
    }

    fn close(&self) {
        self.clerk.pausing.end();
        self.clerk.stop.stop();
        let thread = self.thread.lock().take();
        let was_open = thread.is_some();
        if was_open {
            // It may be waiting for a connection.
            self.clerk.endpoint.connector.closing().with_short_limit(|| join(thread));
            self.clerk.leave();
        }
        self.inner.close();
    }

    fn reports(&self) -> &Mailbox<Report> {
        self.inner.reports()
    }

    fn inherited_sockets(&self) -> Vec<RawFd> {
        let mut sockets = self.inner.inherited_sockets();
        if self.clerk.is_apart {
            sockets.extend(self.clerk.endpoint.connector.sockets().inherited());
        }
        sockets
    }

    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    fn dead_letters(&self, after: Option<StreamId>, count: usize) -> Result<Vec<DeadEvent>, Error> {
        self.inner.dead_letters(after, count)
    }

    fn count_dead_letters(&self) -> Result<u64, Error> {
        self.inner.count_dead_letters()
    }

    fn retry_dead_letter(&self, id: StreamId) -> Result<bool, Error> {
        self.inner.retry_dead_letter(id)
    }

    fn discard_dead_letter(&self, id: StreamId) -> Result<bool, Error> {
        self.inner.discard_dead_letter(id)
    }
}

impl Drop for RecordedConsumer {
    /// A consumer that was not closed lets its thread end by itself.
    fn drop(&mut self) {
        self.clerk.stop.stop();
    }
}
