//! Reads one subscription, and puts what it reads into the backlog.

use crate::events::backlog::queue::Backlog;
use crate::events::common::live_options::{LiveKind, LiveOptions};
use crate::events::live::keyspace;
use crate::events::live::reading::Reading;
use crate::events::live::tracking;
use crate::foundation::net::address::Address;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::resp::push::PushKind;
use crate::foundation::redis::subscription::subscriber::Subscriber;
use crate::foundation::redis::subscription::window::Window;
use crate::foundation::runtime::stop::Stop;
use redis::RedisResult;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all subscriptions of a consumer share.
pub struct Shared {
    /// Its Redis.
    pub endpoint: Arc<Endpoint>,
    /// The backlog that gets the events.
    pub backlog: Arc<Backlog>,
    /// The options of the source.
    pub live: LiveOptions,
    /// Makes events of messages.
    pub reading: Reading,
    /// The name by which a loss of this subscription is reported.
    pub source: String,
    /// The most bytes of a payload or a value.
    pub room: usize,
    /// A number for each message that was read.
    pub numbers: AtomicU64,
    /// Set when nothing more is to be read.
    pub quiet: Stop,
}

impl Shared {
    /// Subscribes on a new connection. Returns the time in which messages can have been missed.
    pub fn connect(&self, subscriber: &mut Subscriber, stop: &Stop) -> RedisResult<Option<Window>> {
        let prepare = |connection: &mut Connection| match self.live.kind {
            LiveKind::Keys => keyspace::check_setting(connection, &self.live),
            LiveKind::Tracking => tracking::ask(connection, &self.live),
            LiveKind::Channel | LiveKind::Pattern | LiveKind::ShardChannel => Ok(()),
        };
        subscriber.connect(stop, &prepare)
    }
}

/// Reads the messages of one subscription into the backlog.
pub struct Feed {
    /// The state that the subscriptions share.
    pub shared: Arc<Shared>,
    /// Set when this subscription is to end.
    pub stop: Stop,
}

impl Feed {
    /// Runs the reading thread until [`Feed::stop`] is set. `subscriber` is connected, unless the thread starts again
    /// after a panic.
    pub fn run(&self, subscriber: &mut Subscriber) {
        let endpoint = &self.shared.endpoint;
        let key = subscriber.spot().key().to_owned();
        let mut link = Link::new(endpoint, &key, subscriber.is_connected());
        while !self.stop.is_stopped() {
            let read = self.read(subscriber, &mut link);
            subscriber.disconnect();
            if let Err(error) = read
                && !self.stop.is_stopped()
            {
                endpoint.connector.mark_stale(subscriber.route());
                link.lost(&error);
            }
        }
    }

    /// Reads until the connection breaks, or until the subscription belongs to another node.
    fn read(&self, subscriber: &mut Subscriber, link: &mut Link<'_>) -> RedisResult<()> {
        let Shared { endpoint, backlog, reading, room, numbers, .. } = &*self.shared;
        if !subscriber.is_connected() {
            let window = self.shared.connect(subscriber, &self.stop)?;
            link.up();
            if let Some(loss) = window.and_then(|window| self.loss(&window)) {
                backlog.push_loss(loss);
            }
        }
        let node: Arc<str> = subscriber.address().map_or_else(String::new, Address::to_string).into();
        let route = subscriber.route().clone();
        let (mut ready, mut values) = (Vec::new(), reading.values());
        let mut push = |ready: &mut Vec<_>| {
            if ready.is_empty() {
                return false;
            }
            if let Some(values) = &mut values {
                values.add(ready, &endpoint.connector, &route, *room);
            }
            backlog.push(ready)
        };
        loop {
            if let Err(error) = subscriber.next(&mut || push(&mut ready)) {
                // These messages came before the connection broke.
                push(&mut ready);
                return Err(error);
            }
            let read = subscriber.last();
            if let PushKind::Unsubscribed = read.kind {
                // The connection is closed: on it, this could not be told from the answer to an UNSUBSCRIBE.
                push(&mut ready);
                endpoint.connector.mark_stale(&route);
                return Ok(());
            }
            if let PushKind::Flushed = read.kind {
                push(&mut ready);
                backlog.push_loss(self.flushed(&node));
            }
            let id = StreamId { ms: endpoint.clock.now(), seq: numbers.fetch_add(1, Ordering::Relaxed) };
            let Some(event) = reading.event(read, id, &node) else { continue };
            endpoint.stats.taken.increment();
            if read.is_cut() {
                push(&mut ready);
                endpoint.stats.malformed.increment();
                backlog.push_missing(&event, Cause::TooLarge);
            } else {
                ready.push(Arc::new(event));
            }
        }
    }

    /// Returns the loss of everything that a client may have cached.
    fn flushed(&self, node: &str) -> Loss {
        Loss {
            source: self.shared.source.clone(),
            node: node.to_owned(),
            cause: Cause::Flushed,
            since_ms: None,
            until_ms: self.shared.endpoint.clock.now(),
            at_most: None,
            is_exact: false,
        }
    }

    /// Returns what may be missing. Returns `None` if nothing is.
    fn loss(&self, window: &Window) -> Option<Loss> {
        let at_most = window.at_most();
        if at_most == Some(0) {
            return None;
        }
        Some(Loss {
            source: self.shared.source.clone(),
            node: window.address.to_string(),
            cause: window.cause(),
            since_ms: Some(window.before.since_ms),
            until_ms: window.until_ms,
            at_most,
            is_exact: false,
        })
    }
}
