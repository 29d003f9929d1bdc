//! Which node of a cluster has the subscription to which channels of shards.
//!
//! Each node that serves channels of the consumer has one subscription, for all of these. When a slot moves, its
//! channels are taken on by the subscription of the other node. If there is none, they get one.

use crate::error::Fate;
use crate::foundation::net::address::Address;
use crate::foundation::redis::cluster::{Primaries, Route};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::slots::slot;
use crate::foundation::redis::subscription::bases::Bases;
use crate::foundation::redis::subscription::counters::{Count, Counters};
use crate::foundation::redis::subscription::displaced::Displaced;
use crate::foundation::redis::subscription::joins::Joins;
use crate::foundation::redis::subscription::sampler::{self, Sampler};
use crate::foundation::redis::subscription::spot::Spot;
use crate::foundation::redis::subscription::subscriber::Subscriber;
use crate::foundation::redis::subscription::window::Known;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::sync::Mutex;
use crossbeam_channel::{Receiver, Sender, bounded};
use redis::{RedisError, RedisResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the counters of a node may take to be read, after a slot has moved. No messages are read meanwhile.
const TIME: Duration = Duration::from_millis(500);

/// Which node has the subscription to which channels.
pub struct Shards {
    connector: Arc<Connector>,
    state: Mutex<State>,
    news: News,
    wake: (Sender<()>, Receiver<()>),
}

#[derive(Default)]
struct State {
    seats: Vec<Seat>,
    /// What each node had counted.
    bases: HashMap<Address, Arc<Bases>>,
    /// Channels without a subscription.
    homeless: Vec<Displaced>,
}

/// The place of a subscription at a node.
struct Seat {
    node: Arc<Address>,
    joins: Arc<Joins>,
}

impl State {
    fn bases(&mut self, node: &Address) -> Arc<Bases> {
        Arc::clone(self.bases.entry(node.clone()).or_default())
    }

    /// Forgets what nodes had counted that have neither slots nor a subscription.
    fn forget_others(&mut self, nodes: &[Arc<Address>]) {
        let seats = &self.seats;
        self.bases.retain(|node, _| {
            nodes.iter().any(|one| **one == *node) || seats.iter().any(|seat| *seat.node == *node)
        });
    }
}

impl Shards {
    /// Creates it without subscriptions.
    pub fn new(connector: &Arc<Connector>) -> Self {
        Self {
            connector: Arc::clone(connector),
            state: Mutex::default(),
            news: News::default(),
            wake: bounded(1),
        }
    }

    /// Returns the node that serves a channel, as far as is known.
    ///
    /// # Errors
    ///
    /// No node can be asked.
    pub fn node_of(&self, name: &str) -> RedisResult<Option<Arc<Address>>> {
        Ok(self.connector.route(name)?.node().cloned())
    }

    /// Lets a subscription at a node, which has not connected yet, take on channels, and give them up.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn seat(&self, subscriber: &mut Subscriber, node: Arc<Address>) -> RedisResult<Arc<Joins>> {
        let joins = Arc::new(Joins::new(self.connector.sockets())?);
        let mut state = self.state.lock();
        let bases = state.bases(&node);
        bases.set_subscription(true);
        subscriber.follow_slots(Arc::clone(&joins), bases);
        state.seats.push(Seat { node, joins: Arc::clone(&joins) });
        Ok(joins)
    }

    /// Removes a subscription, which is offered channels there.
    pub fn vacate(&self, joins: &Arc<Joins>) {
        let left = {
            let mut state = self.state.lock();
            let Some(at) = state.seats.iter().position(|seat| Arc::ptr_eq(&seat.joins, joins)) else {
                return;
            };
            let seat = state.seats.swap_remove(at);
            state.bases(&seat.node).set_subscription(false);
            seat.joins.close()
        };
        self.displace(left);
    }

    /// Reports that a node refuses to subscribe to channels, and does not say that they are elsewhere.
    pub fn note_refusal(&self, endpoint: &Endpoint, error: &RedisError) {
        endpoint.report_news(self.connector.explain(error, Fate::NotSent), &self.news);
    }

    /// Has channels subscribed to elsewhere.
    pub fn displace(&self, displaced: Vec<Displaced>) {
        if displaced.is_empty() {
            return;
        }
        self.state.lock().homeless.extend(displaced);
        // If it is full, the thread is woken already.
        let _ = self.wake.0.try_send(());
    }

    /// Returns what wakes the thread that subscribes to channels that need it.
    pub fn woken(&self) -> &Receiver<()> {
        &self.wake.1
    }

    /// Decides which channels a subscription keeps whose connection has ended: those of its node. If it has none, it
    /// goes to the node of the others, unless that has a subscription. Returns false if it keeps none, and is to end.
    pub fn settle(&self, subscriber: &mut Subscriber) -> bool {
        self.displace(subscriber.give_back());
        let names = subscriber.topics().names.clone();
        let owners: RedisResult<Vec<(String, Option<Arc<Address>>)>> =
            names.into_iter().map(|name| Ok((name.clone(), self.node_of(&name)?))).collect();
        // Without a map it stays where it is.
        let Ok(owners) = owners else { return true };
        let owners: HashMap<String, Arc<Address>> =
            owners.into_iter().filter_map(|(name, node)| Some((name, node?))).collect();
        let Spot::Node(own) = subscriber.spot().clone() else { return true };
        let is_left = !owners.is_empty() && !owners.values().any(|node| *node == own);
        let node = if is_left { self.go_on(subscriber, &own, owners.values()).unwrap_or(own) } else { own };
        self.displace(subscriber.give_up(|name| owners.get(name).is_none_or(|owner| *owner == node)));
        let is_over = subscriber.topics().names.is_empty();
        if let Some(joins) = subscriber.joins().filter(|_| is_over) {
            self.vacate(joins);
        }
        !is_over
    }

    /// Takes a subscription to the first of these nodes that has none.
    fn go_on<'a>(
        &self,
        subscriber: &mut Subscriber,
        own: &Arc<Address>,
        nodes: impl Iterator<Item = &'a Arc<Address>>,
    ) -> Option<Arc<Address>> {
        let mut state = self.state.lock();
        let mut nodes = nodes.filter(|node| state.seats.iter().all(|seat| seat.node != **node));
        let node = Arc::clone(nodes.next()?);
        drop(nodes);
        let joins = subscriber.joins()?;
        let seat = state.seats.iter_mut().find(|seat| Arc::ptr_eq(&seat.joins, joins))?;
        seat.node = Arc::clone(&node);
        state.bases(own).set_subscription(false);
        let bases = state.bases(&node);
        bases.set_subscription(true);
        subscriber.go_to(Spot::Node(Arc::clone(&node)), bases);
        Some(node)
    }

    /// Hands channels without a subscription to the subscriptions of their nodes. Returns the others, by their nodes.
    ///
    /// # Errors
    ///
    /// No node can be asked which of them serves what. Then all stay without one.
    pub fn place(&self) -> RedisResult<HashMap<Arc<Address>, Vec<Displaced>>> {
        let homeless = std::mem::take(&mut self.state.lock().homeless);
        let mut others: HashMap<Arc<Address>, Vec<Displaced>> = HashMap::new();
        let mut homeless = homeless.into_iter();
        while let Some(displaced) = homeless.next() {
            match self.node_of(&displaced.names[0]) {
                Ok(Some(node)) => {
                    if let Some(displaced) = self.offer(&node, displaced) {
                        others.entry(node).or_default().push(displaced);
                    }
                }
                Ok(None) => self.state.lock().homeless.push(displaced),
                Err(error) => {
                    let rest = others.into_values().flatten();
                    self.state.lock().homeless.extend(std::iter::once(displaced).chain(homeless).chain(rest));
                    return Err(error);
                }
            }
        }
        Ok(others)
    }

    /// Hands channels to a subscription of a node. Returns them if there is none.
    fn offer(&self, node: &Arc<Address>, displaced: Displaced) -> Option<Displaced> {
        let joins: Vec<Arc<Joins>> = {
            let state = self.state.lock();
            state.seats.iter().filter(|seat| seat.node == *node).map(|seat| Arc::clone(&seat.joins)).collect()
        };
        joins.iter().try_fold(displaced, |displaced, joins| joins.offer(displaced))
    }

    /// Whether there are channels without a subscription.
    pub fn has_homeless(&self) -> bool {
        !self.state.lock().homeless.is_empty()
    }

    /// Reads the counters of the nodes without a subscription, and which slots they have.
    pub fn sample_others(&self, samplers: &mut HashMap<Arc<Address>, Sampler>, now_ms: impl Fn() -> u64) {
        let Ok(Primaries { nodes, .. }) = self.connector.primaries() else { return };
        samplers.retain(|node, _| nodes.contains(node));
        self.state.lock().forget_others(&nodes);
        for node in nodes {
            if self.has_seat(&node) {
                samplers.remove(&node);
                continue;
            }
            let sampler = samplers
                .entry(Arc::clone(&node))
                .or_insert_with(|| Sampler::new(Arc::clone(&self.connector)));
            let Ok(Some(counters)) = sampler.sample(&Route::Node(Arc::clone(&node))) else { continue };
            let at_ms = now_ms();
            if let Some(sample) = sampler.complete(&counters, at_ms) {
                let bases = self.state.lock().bases(&node);
                bases.keep(sample, false);
            }
        }
    }

    fn has_seat(&self, node: &Address) -> bool {
        self.state.lock().seats.iter().any(|seat| *seat.node == *node)
    }

    /// Returns the most messages of these channels that can be missing since they had their last subscription, and
    /// since when: what that node has sent since then, and what each other node has sent since the slots were certainly
    /// of that node. `None` if one of these is not known.
    pub fn missing(&self, names: &[String], before: &Known) -> Option<(u64, u64)> {
        let slots: Vec<u16> = names.iter().map(|name| slot(name.as_bytes())).collect();
        let read = |node: &Address| {
            let route = Route::Node(Arc::new(node.clone()));
            let mut connection: Connection = self.connector.open_quickly(&route, TIME).ok()?;
            connection.set_timeouts(TIME, TIME).ok()?;
            sampler::read(&mut connection).ok().zip(sampler::relayed(&mut connection).ok())
        };
        let old = self.old(before, &read)?;
        let others =
            self.connector.primaries().ok()?.nodes.into_iter().filter(|node| **node != before.address);
        others
            .map(|node| {
                let bases = self.state.lock().bases(&node);
                bases.missing_since(&slots, &before.address, || read(&node))
            })
            .try_fold((old, before.since_ms), |(all, first), missing| {
                missing.map(|(count, since)| (all + count, first.min(since)))
            })
    }

    /// Returns the most messages that the old node can have sent since then.
    fn old(&self, before: &Known, read: &impl Fn(&Address) -> Option<(Counters, u64)>) -> Option<u64> {
        // What has come for its other channels meanwhile is counted, too.
        let others = match before.left_at {
            Some(left_at) => self.state.lock().bases(&before.address).received().checked_sub(left_at)?,
            None => 0,
        };
        let (now, relayed) = read(&before.address)?;
        // What came by its replicas was received or not: that is not known.
        before.relayed.filter(|known| *known == relayed)?;
        let counters = before.counters.as_ref()?;
        counters.growth_until(&now, &[Count::ShardPublish])?.checked_sub(before.received + others)
    }
}
