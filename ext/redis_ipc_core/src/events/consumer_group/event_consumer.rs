//! One process's part in a consumer group. It starts its parts, hands out events, and stops the parts in order.

use crate::error::{Error, Fate, Place};
use crate::events::common::consumer::{Consumer, Progress};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::in_flight::InFlight;
use crate::events::common::one_order;
use crate::events::common::options::{ConsumerOptions, From};
use crate::events::common::pause::Pause;
use crate::events::common::recent_ids::RecentIds;
use crate::events::common::retries::Retries;
use crate::events::common::stream_facts;
use crate::events::common::streams::Streams;
use crate::events::consumer_group::acknowledgement::{Acknowledge, AcknowledgementContext, Writer};
use crate::events::consumer_group::admission::Admission;
use crate::events::consumer_group::finished::Finished;
use crate::events::consumer_group::group::Group;
use crate::events::consumer_group::lag;
use crate::events::consumer_group::loss_watch::LossWatch;
use crate::events::consumer_group::operating;
use crate::events::consumer_group::timer::Timer;
use crate::foundation::payload::key_part;
use crate::foundation::payload::limits::check_name;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::admission::Admission as _;
use crate::foundation::redis::group_consumer::consumer::{Delivered, GroupConsumer};
use crate::foundation::redis::group_consumer::dead_letters::DeadLetters;
use crate::foundation::redis::group_consumer::reader::GroupReader;
use crate::foundation::redis::group_consumer::session;
use crate::foundation::redis::group_consumer::take_over::TakeOver;
use crate::foundation::redis::master_watch::MasterWatch;
use crate::foundation::redis::pipeline::carried::Context as _;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::resp::replies::{self, unexpected};
use crate::foundation::redis::server_check::open_checked;
use crate::foundation::runtime::id_source::IdSource;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::Waker;
use crate::foundation::runtime::work_queue::{Held, Taken, WorkQueue};
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The number of pooled connections, for everything but the blocking read and the acknowledgements.
const POOL: u32 = 5;
/// After this time an event is delivered again if its dead letter could not be written.
const LATER: Duration = Duration::from_secs(1);

/// A connected consumer of a group.
pub struct EventConsumer {
    consumer: Arc<GroupConsumer>,
    admission: Arc<Admission>,
    reader: Arc<GroupReader<Admission>>,
    batch_size: usize,
    reader_thread: Mutex<Option<JoinHandle<()>>>,
    timer_thread: Mutex<Option<JoinHandle<()>>>,
    quiet: AtomicBool,
    closed: AtomicBool,
}

impl EventConsumer {
    /// Joins `group` on `stream`, and begins to read. Returns when the consumer is ready.
    ///
    /// # Errors
    ///
    /// A name is blank or too long, Redis cannot be reached or refuses, or no thread could be started.
    pub fn start(stream: &str, group: &str, options: ConsumerOptions) -> Result<Self, Error> {
        check_name("stream", stream)?;
        check_name("group", group)?;
        let place =
            Place { stream: Some(stream.to_owned()), group: Some(group.to_owned()), ..Place::default() };
        let endpoint = Arc::new(Endpoint::new(place, &options.redis));
        let connections = Arc::new(Pool::new(Arc::clone(&endpoint.connector), POOL));
        let name = IdSource::default().next()?.to_string();
        let consumer = Arc::new(GroupConsumer::new(
            endpoint,
            connections,
            stream.to_owned(),
            group.into(),
            name.as_str().into(),
            options.room(),
        ));
        Self::connect(Arc::clone(&consumer), options)
            .map_err(|error| consumer.endpoint.locate(error.of_connecting()))
    }

    fn connect(consumer: Arc<GroupConsumer>, options: ConsumerOptions) -> Result<Self, Error> {
        let (endpoint, stream) = (Arc::clone(&consumer.endpoint), &consumer.stream);
        let explain = |error| endpoint.connector.explain(&error, Fate::NotSent);
        let first = open_checked(&endpoint.connector, Purpose::Work, stream).map_err(explain)?;
        endpoint.report_eviction(stream_facts::EVICTED, false);
        one_order::check(&consumer.connections, &Streams::new(stream, None), &consumer.group, false)?;
        let ahead = if options.batch_size > 1 { options.batch_size * options.workers } else { 0 };
        let queue = Arc::new(WorkQueue::in_steps(options.workers, ahead));
        let context = AcknowledgementContext { consumer: Arc::clone(&consumer), queue: Arc::clone(&queue) };
        let writer = Arc::new(Writer::new(context, (!endpoint.connector.is_cluster()).then_some(first)));
        let dead = format!("{stream}:dead:{}", key_part::encode(&consumer.group));
        let admission = Arc::new(Admission {
            endpoint: Arc::clone(&endpoint),
            group: Group::new(Arc::clone(&consumer), options.from),
            losses: LossWatch::new(Arc::clone(&consumer)),
            queue: Arc::clone(&queue),
            writer,
            pause: Pause::default(),
            retries: Retries::new(),
            finished: Finished::default(),
            recent_ids: Mutex::new(RecentIds::new(options.remember_ids)),
            suppressed: Counter::default(),
            dead_letters: DeadLetters::new(Arc::clone(&consumer.connections), dead),
            limits: options.dead_letters.clone(),
            attempts: options.attempts,
        });
        consumer.connections.with(stream, |connection| {
            endpoint.clock.read(connection)?;
            admission.prepare(connection)
        })?;
        let reading = endpoint
            .connector
            .opener(Purpose::Reader)
            .open_blocking(stream, session::BLOCK, &endpoint.stop)
            .map_err(explain)?;
        let waker = Waker::new(endpoint.connector.sockets()).map_err(|error| explain(error.into()))?;
        let (reads, decides) = (Arc::clone(&consumer), Arc::clone(&admission));
        let reader = Arc::new(GroupReader::new(reads, Arc::clone(&queue), decides, waker, true));
        let (claims, decides) = (Arc::clone(&consumer), Arc::clone(&admission));
        let take_over = TakeOver::new(claims, queue, decides, options.lease, Some(options.attempts));
        let timer = Timer {
            consumer: Arc::clone(&consumer),
            admission: Arc::clone(&admission),
            take_over,
            lease: options.lease,
            reading: Arc::clone(&reader.read_cancel),
            master_watch: MasterWatch::default(),
            news: News::default(),
        };
        let started = Self {
            consumer,
            admission,
            reader,
            batch_size: options.batch_size,
            reader_thread: Mutex::default(),
            timer_thread: Mutex::default(),
            quiet: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        started.start_threads(timer, reading).inspect_err(|_| started.close())?;
        Ok(started)
    }

    fn start_threads(&self, timer: Timer, reading: Connection) -> Result<(), Error> {
        self.admission.writer.start()?;
        let (reader, first) = (Arc::clone(&self.reader), Mutex::new(Some(reading)));
        let endpoint = &self.consumer.endpoint;
        *self.reader_thread.lock() =
            Some(spawn("event-reader", endpoint, move || reader.run(first.lock().take()))?);
        *self.timer_thread.lock() = Some(spawn("event-timer", endpoint, move || timer.run())?);
        Ok(())
    }

    /// Takes events that are queued behind `first`, until there are `most` in all.
    fn with_more(&self, first: Arc<InFlight>, most: usize) -> Vec<Arc<InFlight>> {
        let mut events = vec![first];
        events.extend(self.admission.queue.take_queued(most.saturating_sub(1)));
        let now = Instant::now();
        events.iter().enumerate().for_each(|(place, event)| event.start_after(place, now));
        events
    }

    /// Waits for the next event and takes it. While it waits, there is room for `count` events.
    fn first(&self, count: usize, interrupt: &Interrupt) -> Taken<InFlight> {
        let (queue, pause) = (&self.admission.queue, &self.admission.pause);
        loop {
            if !pause.wait(interrupt) {
                return Taken::Interrupted;
            }
            let taken = queue.try_take().or_else(|| self.reader.read_for_worker(interrupt));
            let taken = taken.map_or_else(|| queue.take_for(count, interrupt), Taken::Request);
            if let Taken::Request(event) = &taken {
                // The consumer was paused while this worker waited, so the event goes back.
                if pause.is_set() && queue.push_first(event) {
                    continue;
                }
                event.start();
            }
            return taken;
        }
    }

    fn stopped(&self) -> Error {
        self.consumer.endpoint.locate(self.admission.writer.context().closed())
    }

    fn rest(&self, event: &Arc<InFlight>, due: Instant) {
        self.admission.retries.add(Arc::clone(event), due);
        if self.admission.queue.is_closed() {
            self.admission.retries.hasten();
        }
    }

    /// Gives back the entries that are pending under this consumer but not held. They were delivered to a connection
    /// that has since been closed.
    fn give_back_rest(&self) -> Result<(), Error> {
        let consumer = &self.consumer;
        let rest = consumer.connections.with(&consumer.stream, |connection| {
            consumer.pending_but_held(connection, &self.admission.queue)
        })?;
        consumer.release(&rest)
    }

    /// Gives back the held events, which were started here, and all other entries that are pending under this consumer.
    fn leave(&self) -> Result<(), Error> {
        let held = self.admission.queue.seal();
        let started: Vec<Delivered> =
            held.iter().filter(|event| !event.is_answered()).map(|event| event.given_back(true)).collect();
        self.consumer.release(&started)?;
        self.give_back_rest()?;
        self.admission.group.leave()
    }

    fn ask(&self, command: &redis::Cmd) -> Result<Value, Error> {
        let GroupConsumer { stream, connections, endpoint, .. } = &*self.consumer;
        connections.run(stream, command).map_err(|error| endpoint.locate(error))
    }
}

impl Consumer for EventConsumer {
    fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        match self.first(1, interrupt) {
            Taken::Request(first) => Some(self.with_more(first, self.admission.queue.at_once(most))),
            Taken::Closed => None,
            Taken::Interrupted => Some(Vec::new()),
        }
    }

    fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        match self.first(handlers, interrupt) {
            Taken::Request(first) => Some(self.with_more(first, handlers)),
            Taken::Closed => None,
            Taken::Interrupted => Some(Vec::new()),
        }
    }

    fn take_ready(&self) -> Option<Arc<InFlight>> {
        if self.admission.pause.is_set() {
            return None;
        }
        self.admission.queue.try_take().inspect(|event| event.start())
    }

    fn take_batch(&self, size: usize, within: Duration, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        let first = match self.first(1, interrupt) {
            Taken::Request(first) => first,
            Taken::Closed => return None,
            Taken::Interrupted => return Some(Vec::new()),
        };
        let (size, until) = (size.min(self.batch_size), Instant::now() + within);
        let mut events = self.with_more(first, size);
        while events.len() < size
            && let Some(Taken::Request(next)) = self.admission.queue.take_until(interrupt, Some(until))
        {
            events.extend(self.with_more(next, size - events.len()));
        }
        Some(events)
    }

    fn give_back(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        let queue = &self.admission.queue;
        // Each event goes to the front, so the last one goes first.
        let taken = events.iter().rev().filter(|event| event.back());
        let rest: Vec<Delivered> = taken
            .filter(|event| !queue.push_first(event))
            .map(|event| {
                queue.finish(event.id);
                event.given_back(false)
            })
            .collect();
        self.consumer.release(&rest).map_err(|error| self.consumer.endpoint.locate(error))
    }

    fn wake(&self) {
        self.admission.pause.wake();
        self.admission.queue.wake();
    }

    fn finish(&self, events: &[Arc<InFlight>], longest: Duration) -> Result<(), Error> {
        let done: Vec<StreamId> =
            events.iter().filter(|event| event.finish()).map(|event| event.id).collect();
        self.admission.queue.note_run(longest);
        // After `close` this returns false, because the events were given back.
        let Admission { finished, writer, retries, .. } = &*self.admission;
        if finished.add(done, writer, || retries.wake()) { Ok(()) } else { Err(self.stopped()) }
    }

    fn retry(&self, event: &Arc<InFlight>, wait: Duration) -> Result<bool, Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(self.stopped());
        }
        let due = Instant::now() + wait;
        let is_running = event.fail();
        if is_running {
            self.admission.queue.note_run(event.ran(Instant::now()));
            self.rest(event, due);
        }
        Ok(is_running)
    }

    fn bury(&self, event: &Arc<InFlight>, reason: &str) -> Result<(), Error> {
        if !event.begin_to_settle() {
            return Ok(());
        }
        let admission = &self.admission;
        admission.queue.note_run(event.ran(Instant::now()));
        let taken = Delivered { id: event.id, deliveries: event.deliveries };
        let kept = admission.bury(taken, &event.fields, reason);
        event.settle(kept.is_ok());
        if let Err(error) = kept {
            self.rest(event, Instant::now() + LATER);
            return Err(error);
        }
        // Acknowledges at once: someone who retries the dead letter must find its event acknowledged.
        if self.consumer.acknowledge(event.id).is_err() {
            admission.writer.send(Acknowledge(vec![event.id]));
        } else {
            admission.queue.finish(event.id);
        }
        Ok(())
    }

    fn pause(&self, is_paused: bool) {
        self.admission.pause.set(is_paused);
    }

    /// Returns false, because there are no keys without an order.
    fn pause_key(&self, _key: &str, _is_paused: bool) -> bool {
        false
    }

    fn lag(&self) -> Result<Option<u64>, Error> {
        self.ask(&lag::command(&self.consumer.stream, &self.consumer.group)).map(|reply| lag::read(&reply))
    }

    fn progress(&self) -> Result<Progress, Error> {
        let reply = self.ask(&lag::progress(&self.consumer.stream, &self.consumer.group))?;
        let read = match &reply {
            Value::Array(facts) => match facts.as_slice() {
                [last, delivered, Value::Int(pending), lowest] => {
                    let ids = replies::id(last).zip(replies::id(delivered)).zip(replies::id(lowest));
                    ids.map(|((last, delivered), lowest)| Progress {
                        last,
                        delivered,
                        pending: u64::try_from(*pending).unwrap_or(0),
                        // After `seek` the group may be at a position before the pending entries.
                        floor: lowest.min(delivered),
                    })
                }
                _ => None,
            },
            _ => None,
        };
        let explain = |error| self.consumer.endpoint.connector.explain(&error, Fate::Unknown);
        read.ok_or_else(|| self.consumer.endpoint.locate(explain(unexpected())))
    }

    /// If all has been delivered, that is the lag, too, and Redis is not asked for it.
    fn position(&self) -> Result<(Option<u64>, Progress), Error> {
        let progress = self.progress()?;
        let is_empty = progress.last == StreamId::default();
        let lag = if is_empty || progress.delivered < progress.last { self.lag()? } else { Some(0) };
        Ok((lag, progress))
    }

    fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        Some(&self.consumer.endpoint)
    }

    fn connections(&self) -> Option<&Arc<Pool>> {
        Some(&self.consumer.connections)
    }

    fn instance(&self) -> Option<String> {
        Some(self.consumer.name.to_string())
    }

    fn seek(&self, to: From) -> Result<StreamId, Error> {
        let endpoint = &self.consumer.endpoint;
        let reached = operating::seek(&self.consumer, to).map_err(|error| endpoint.locate(error))?;
        self.admission.group.move_to(reached);
        self.reader.renew();
        Ok(reached)
    }

    fn has_made_group(&self) -> bool {
        self.admission.group.is_made_here()
    }

    fn quiet(&self) {
        if self.quiet.swap(true, Ordering::SeqCst) {
            return;
        }
        let unstarted = self.admission.queue.close();
        self.admission.pause.set(false);
        self.reader.stop();
        join(self.reader_thread.lock().take());
        self.admission.retries.hasten();
        let closing = self.consumer.endpoint.connector.closing();
        let back: Vec<Delivered> = unstarted.iter().map(|event| event.given_back(false)).collect();
        let given_back = closing.with_short_limit(|| {
            self.consumer.release(&back)?;
            self.give_back_rest()
        });
        if let Err(error) = given_back {
            self.consumer.endpoint.report(error);
        }
    }

    fn close(&self) {
        self.quiet();
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        let endpoint = &self.consumer.endpoint;
        endpoint.connector.closing().begin();
        self.admission.finished.close(&self.admission.writer);
        self.admission.writer.close();
        endpoint.stop.stop();
        join(self.timer_thread.lock().take());
        if let Err(error) = self.leave() {
            endpoint.report(error);
        }
        self.consumer.connections.close();
        self.consumer.endpoint.reports.close();
    }

    fn reports(&self) -> &Mailbox<Report> {
        &self.consumer.endpoint.reports
    }

    fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.consumer.endpoint.connector.sockets().inherited()
    }

    fn is_connected(&self) -> bool {
        !self.quiet.load(Ordering::SeqCst) && self.consumer.endpoint.health.are_up()
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let stats = &self.consumer.endpoint.stats;
        vec![
            ("taken", stats.taken.get()),
            ("redelivered", stats.redelivered.get()),
            ("acknowledged", stats.answers_sent.get()),
            ("unacknowledged", stats.answers_dropped.get()),
            ("deleted", stats.withdrawn.get()),
            ("suppressed", self.admission.suppressed.get()),
            ("released", stats.released.get()),
            ("dead_lettered", stats.dead_lettered.get()),
            ("losses", self.admission.losses.told.get()),
            ("reconnections", stats.reconnections.get()),
            ("reports_dropped", stats.reports_dropped.get()),
            ("held", self.admission.queue.len() as u64),
            ("resting", self.admission.retries.len() as u64),
        ]
    }

    fn dead_letters(&self, after: Option<StreamId>, count: usize) -> Result<Vec<DeadEvent>, Error> {
        let found = self.admission.dead_letters.page(after, count, self.consumer.room);
        let found = found.map_err(|error| self.consumer.endpoint.locate(error))?;
        Ok(found.into_iter().filter_map(DeadEvent::read).collect())
    }

    fn count_dead_letters(&self) -> Result<u64, Error> {
        self.admission.dead_letters.count().map_err(|error| self.consumer.endpoint.locate(error))
    }

    fn retry_dead_letter(&self, id: StreamId) -> Result<bool, Error> {
        operating::deliver_again(&self.consumer, &self.admission.dead_letters, id)
            .map_err(|error| self.consumer.endpoint.locate(error))
    }

    fn discard_dead_letter(&self, id: StreamId) -> Result<bool, Error> {
        self.admission.dead_letters.discard(id).map_err(|error| self.consumer.endpoint.locate(error))
    }
}

impl Drop for EventConsumer {
    /// Stops the threads of a consumer that was not closed, and does not wait for them.
    fn drop(&mut self) {
        self.admission.queue.close();
        self.reader.stop();
        self.admission.writer.stop();
        self.consumer.endpoint.stop.stop();
        self.consumer.endpoint.reports.close();
    }
}
