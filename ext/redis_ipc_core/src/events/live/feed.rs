//! Reads one subscription, and puts what it reads into the backlog.

use crate::events::backlog::queue::Backlog;
use crate::events::common::live_options::{LiveKind, LiveOptions};
use crate::events::live::keyspace;
use crate::events::live::reading::Reading;
use crate::events::live::shards::Shards;
use crate::events::live::tracking;
use crate::foundation::net::address::Address;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::resp::push::PushKind;
use crate::foundation::redis::subscription::displaced::Displaced;
use crate::foundation::redis::subscription::subscriber::{Read, Subscriber};
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

    /// Tells what can be missing of channels that have another subscription now, if anything can.
    pub fn tell_joined(&self, subscriber: &mut Subscriber, shards: Option<&Shards>, displaced: &Displaced) {
        if let Some(window) = subscriber.window_of(displaced) {
            self.tell(&window, shards, &displaced.names, &displaced.names.join(", "));
        }
    }

    /// Tells what can be missing of these channels, if anything can.
    fn tell(&self, window: &Window, shards: Option<&Shards>, names: &[String], source: &str) {
        let has_moved = window.has_moved || window.address != window.before.address;
        let (at_most, since_ms) = match shards.filter(|_| has_moved) {
            Some(shards) => shards.missing(names, &window.before).unzip(),
            None => (window.at_most(), None),
        };
        if at_most == Some(0) {
            return;
        }
        let before_ms = window.before.since_ms;
        self.backlog.push_loss(Loss {
            source: source.to_owned(),
            node: window.address.to_string(),
            cause: window.cause(),
            since_ms: Some(since_ms.map_or(before_ms, |since_ms: u64| since_ms.min(before_ms))),
            until_ms: window.until_ms,
            at_most,
            is_exact: false,
        });
    }
}

/// Reads the messages of one subscription into the backlog.
pub struct Feed {
    /// The state that the subscriptions share.
    pub shared: Arc<Shared>,
    /// Set when this subscription is to end.
    pub stop: Stop,
    /// Where its channels come from and go to, if they are of shards of a cluster.
    pub shards: Option<Arc<Shards>>,
}

impl Feed {
    /// Runs the reading thread until [`Feed::stop`] is set, or no channels are left. `subscriber` is connected, unless
    /// the thread starts again after a panic.
    pub fn run(&self, subscriber: &mut Subscriber) {
        let endpoint = &self.shared.endpoint;
        let mut link = Link::new(endpoint, "", subscriber.is_connected());
        while !self.stop.is_stopped() {
            let read = self.read(subscriber, &mut link);
            subscriber.disconnect();
            if let Err(error) = read
                && !self.stop.is_stopped()
            {
                endpoint.connector.mark_stale(subscriber.route());
                link.lost(&error);
            }
            if let Some(shards) = &self.shards
                && !shards.settle(subscriber)
            {
                return;
            }
        }
    }

    /// Reads until the connection breaks, or until the subscription belongs to another node.
    fn read(&self, subscriber: &mut Subscriber, link: &mut Link<'_>) -> RedisResult<()> {
        let Shared { endpoint, backlog, reading, room, numbers, .. } = &*self.shared;
        if !subscriber.is_connected() {
            let window = self.shared.connect(subscriber, &self.stop)?;
            link.up();
            if let Some(window) = window {
                let names = &subscriber.topics().names;
                self.shared.tell(&window, self.shards.as_deref(), names, &self.shared.source);
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
            let read = subscriber.next(&mut || push(&mut ready));
            if !matches!(read, Ok(Read::Message)) {
                // These messages came before that.
                push(&mut ready);
            }
            match read? {
                Read::Message => {}
                Read::Ended => {
                    endpoint.connector.mark_stale(&route);
                    return Ok(());
                }
                Read::Left(displaced) => {
                    endpoint.connector.mark_stale(&route);
                    self.displace(vec![displaced]);
                    if subscriber.topics().names.is_empty() {
                        return Ok(());
                    }
                    continue;
                }
                Read::Joined(displaced) => {
                    self.shared.tell_joined(subscriber, self.shards.as_deref(), &displaced);
                    endpoint.stats.reconnections.increment();
                    continue;
                }
                Read::Refused(displaced, error) => {
                    if endpoint.connector.redirected("", &error).is_none()
                        && let Some(shards) = &self.shards
                    {
                        shards.note_refusal(endpoint, &error);
                    }
                    self.displace(vec![displaced]);
                    continue;
                }
            }
            let read = subscriber.last();
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

    /// Has channels subscribed to elsewhere.
    fn displace(&self, displaced: Vec<Displaced>) {
        if let Some(shards) = &self.shards {
            shards.displace(displaced);
        }
    }
}
