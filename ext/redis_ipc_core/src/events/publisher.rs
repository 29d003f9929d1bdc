//! Adds events to streams.

use crate::error::{Error, ErrorKind, Fate, Place};
use crate::events::common::events_key;
use crate::events::common::options::PublisherOptions;
use crate::events::common::streams::Streams;
use crate::events::common::trimming::{self, Trim, Trimmed, Trimmings};
use crate::events::sending::{Form, NewEvent, Producers, Sending};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::client_name::{ClientNames, Purpose};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::runtime::id_source::IdSource;
use redis::{Cmd, RedisResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often Redis's clock is read. The age of old entries is measured by it.
const CLOCK: Duration = Duration::from_secs(10);
/// The first pause before events are sent again. Each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(320);
/// How many characters of a new random id make the publisher's name.
const NAME: usize = 16;

/// How events are added.
#[derive(Debug, Clone, Copy)]
pub struct PublishOptions {
    /// What is removed from the stream when the events are added.
    pub trim: Trim,
    /// How long the ids that the application gives are remembered.
    pub remember: Duration,
}

/// Events that are in the stream.
#[derive(Debug)]
pub struct Published {
    /// Their ids.
    pub ids: Vec<StreamId>,
    /// What was removed, if the stream was trimmed by [`Trim::Acknowledged`] just now.
    pub trimmed: Option<Trimmed>,
}

/// Adds events to streams, from any number of threads.
pub struct Publisher {
    endpoint: Endpoint,
    connections: Pool,
    producers: Producers,
    trimmings: Trimmings,
    /// The server does not support IDMP: it is older than Redis 8.6, or not a Redis.
    lacks_producers: AtomicBool,
    /// The server is known to support IDMP.
    has_producers: AtomicBool,
}

impl Publisher {
    /// Creates a publisher without a connection. The first event opens one.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers to give.
    pub fn new(options: &PublisherOptions) -> Result<Self, Error> {
        // It publishes to any stream.
        let names = ClientNames::new("events", "publisher");
        let endpoint = Endpoint::named(Place::default(), &options.redis, names);
        let connections = Pool::of(Arc::clone(&endpoint.connector), Purpose::Sender, options.pool_size);
        let name = IdSource::default().next()?.to_string().chars().take(NAME).collect();
        Ok(Self {
            endpoint,
            connections,
            producers: Producers::new(name),
            trimmings: Trimmings::default(),
            lacks_producers: AtomicBool::new(false),
            has_producers: AtomicBool::new(false),
        })
    }

    /// Adds events in one round trip. Returns their ids. If the connection breaks, they are sent again until
    /// `connect_timeout` has passed, and those that are in the stream already are not added again.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached, or refuses one of them. After a refusal the events before it are in the stream. If
    /// the connection broke, it is not known which ones are.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::events::{Limit, NewEvent, Publisher, PublisherOptions, PublishOptions, Trim};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// let options = PublisherOptions::parse(serde_json::json!({}), Some("redis://localhost:6379"))?;
    /// let publisher = Publisher::new(&options)?;
    /// let event = NewEvent { fields: vec![b"type".to_vec(), b"order.paid".to_vec()], id: None };
    /// let trim = Trim::Acknowledged(Limit::Entries(10_000), None);
    /// let options = PublishOptions { trim, remember: Duration::from_secs(600) };
    /// println!("{}", publisher.publish("orders", &[event], options)?.ids[0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(
        &self,
        stream: &str,
        events: &[NewEvent],
        options: PublishOptions,
    ) -> Result<Published, Error> {
        let mut sending = Sending::new(stream, events, options.remember, self.producers.lend(events.len()));
        let trimming = match options.trim {
            Trim::Acknowledged(limit, bound) if self.trimmings.are_due(stream, events.len()) => {
                Some(trimming::command(stream, limit, bound))
            }
            _ => None,
        };
        let published = self.send_until_answered(stream, &mut sending, options.trim, trimming.as_ref());
        published.map_err(|mut error| {
            error.place.stream = Some(stream.to_owned());
            error
        })
    }

    /// Sends the events again while it is not known whether Redis has them.
    fn send_until_answered(
        &self,
        stream: &str,
        sending: &mut Sending<'_>,
        trim: Trim,
        trimming: Option<&Cmd>,
    ) -> Result<Published, Error> {
        let (mut until, mut pause) = (None, PAUSE);
        loop {
            let error = match self.send(stream, sending, trim, trimming) {
                Ok(published) => return Ok(published),
                Err(error) => error,
            };
            let is_unknown = error.kind == ErrorKind::Connection(Fate::Unknown);
            let is_broken = matches!(error.kind, ErrorKind::Connection(_));
            let Some(end) = until.or(is_unknown.then(|| Instant::now() + self.endpoint.connector.patience()))
            else {
                return Err(error);
            };
            until = Some(end);
            if !is_broken || Instant::now() + pause >= end {
                return Err(Error { kind: error.kind.of_call(Fate::Unknown), ..error });
            }
            std::thread::sleep(pause);
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Sends the events once. If the server does not know the form, sends them again in the other form.
    fn send(
        &self,
        stream: &str,
        sending: &mut Sending<'_>,
        trim: Trim,
        trimming: Option<&Cmd>,
    ) -> Result<Published, Error> {
        self.connections.with(stream, |connection| {
            if trim.needs_clock() && self.endpoint.clock.is_due(CLOCK) {
                self.endpoint.clock.read(connection)?;
            }
            if sending.has_ids() || self.lacks_producers.load(Ordering::Relaxed) {
                return self.send_as(Form::Id, connection, sending, trim, trimming);
            }
            // A server without IDMP refuses the events, but would still run the command behind them that trims, and its
            // reply would be lost. So that command waits until the server is known to support IDMP.
            let is_known = self.has_producers.load(Ordering::Relaxed);
            let with_it = trimming.filter(|_| is_known);
            let mut sent = self.send_as(Form::Producer, connection, sending, trim, with_it);
            if sent.as_ref().is_err_and(|error| error.code() == Some("ERR")) {
                // This error is what a server without IDMP answers, because it takes the word for an id. If the cause
                // was something else, the other form is refused, too.
                sending.undo();
                let sent = self.send_as(Form::Id, connection, sending, trim, trimming);
                self.lacks_producers.store(sent.is_ok(), Ordering::Relaxed);
                return sent;
            }
            if let (Ok(published), Some(trimming), false) = (&mut sent, trimming, is_known) {
                self.has_producers.store(true, Ordering::Relaxed);
                let replies = connection.run_all(std::slice::from_ref(trimming))?;
                published.trimmed = replies.first().map(Trimmed::read);
            }
            sent
        })
    }

    fn send_as(
        &self,
        form: Form,
        connection: &mut Connection,
        sending: &mut Sending<'_>,
        trim: Trim,
        trimming: Option<&Cmd>,
    ) -> RedisResult<Published> {
        let mut commands = sending.commands(form, &|add| self.limit(trim, add));
        commands.extend(trimming.cloned());
        let mut replies = connection.run_all(&commands)?;
        let trimmed = trimming.and_then(|_| replies.pop()).map(|reply| Trimmed::read(&reply));
        Ok(Published { ids: Sending::ids(replies)?, trimmed })
    }

    fn limit(&self, trim: Trim, add: &mut Cmd) {
        if let Trim::All(limit) = trim {
            let (word, least) = limit.words(self.endpoint.clock.now());
            add.arg(word).arg("~").arg(least);
        }
    }

    /// Deletes a group, with or without an order, on all partitions if there are any, and forgets the events that it
    /// has not handled.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn delete_group(&self, stream: &str, group: &str, partitions: Option<u16>) -> Result<(), Error> {
        let key = events_key::of(stream, group);
        self.connections.run(&key, redis::cmd("DEL").arg(&key))?;
        for stream in Streams::new(stream, partitions).iter() {
            for name in [events_key::marker(group), group.to_owned()] {
                let mut destroy = redis::cmd("XGROUP");
                destroy.arg("DESTROY").arg(stream).arg(name);
                self.connections.run(stream, &destroy)?;
            }
        }
        Ok(())
    }

    /// Returns its sockets, for a forked child to close.
    pub fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.endpoint.connector.sockets().inherited()
    }

    /// Closes its connections. Later events fail.
    pub fn close(&self) {
        self.connections.close();
    }
}
