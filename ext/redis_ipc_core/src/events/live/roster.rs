//! The subscriptions of a consumer: a single one, or one at each node that serves its keys or its sharded channels.

use crate::error::{Error, ErrorKind, Fate};
use crate::events::common::live_options::LiveKind;
use crate::events::live::feed::{Feed, Shared};
use crate::events::live::plan;
use crate::events::live::shards::Shards;
use crate::foundation::net::address::Address;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::redis::cluster::{Primaries, Route};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::subscription::displaced::Displaced;
use crate::foundation::redis::subscription::spot::Spot;
use crate::foundation::redis::subscription::subscriber::Subscriber;
use crate::foundation::redis::subscription::topics::Topics;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use redis::{RedisError, RedisResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After a node broke its connection: how soon the thread looks for the node that replaces it.
const SOON: Duration = Duration::from_millis(100);
/// How often a first subscription is tried.
const TRIES: usize = 5;
/// How often the cluster is asked for new nodes.
const LOOK: Duration = Duration::from_secs(5);
/// The same for that long after a node could not be reached: another one may take its place.
const OFTEN: Duration = Duration::from_millis(250);

/// The subscriptions of a consumer.
pub struct Roster {
    shared: Arc<Shared>,
    /// Where channels of shards are, in a cluster.
    shards: Option<Arc<Shards>>,
    members: Mutex<Vec<Member>>,
    /// The nodes that are gone, as long as no other one has their keys.
    gone: Mutex<Option<Gone>>,
}

/// A subscription and its thread.
struct Member {
    spot: Spot,
    stop: Stop,
    read_cancel: Arc<ReadCancel>,
    proved: Arc<AtomicU64>,
    served: Served,
    thread: Option<JoinHandle<()>>,
}

/// Up to when a node has certainly served keys, in ms since 1970. One that no longer does answers its PINGs all the
/// same. A node that was asked may not have heard of that yet, but then the next one has.
#[derive(Clone, Copy)]
struct Served {
    /// When two nodes in a row have said so, of which this is the first.
    certain_ms: u64,
    /// When the last one has said so.
    said_ms: u64,
}

impl Served {
    fn new(said_ms: u64) -> Self {
        Self { certain_ms: said_ms, said_ms }
    }

    fn said(self, said_ms: u64) -> Self {
        Self { certain_ms: self.said_ms, said_ms }
    }
}

/// Nodes that no longer serve keys.
struct Gone {
    /// Up to when all that happened to their keys has certainly arrived, in ms since 1970.
    since_ms: u64,
    /// The address of the last one.
    node: String,
}

/// When to ask the cluster which nodes there are.
struct Looks {
    looked: Instant,
    /// When a node could not be reached, or could be again.
    troubled: Option<Instant>,
    reconnections: u64,
}

impl Looks {
    fn new(reconnections: u64) -> Self {
        Self { looked: Instant::now(), troubled: None, reconnections }
    }

    /// Whether to look now.
    fn are_due(&mut self, is_up: bool, reconnections: u64) -> bool {
        let now = Instant::now();
        if !is_up || reconnections != self.reconnections {
            (self.troubled, self.reconnections) = (Some(now), reconnections);
        }
        let is_troubled = self.troubled.is_some_and(|time| now.saturating_duration_since(time) < LOOK);
        let is_due = now.saturating_duration_since(self.looked) >= if is_troubled { OFTEN } else { LOOK };
        if is_due {
            self.looked = now;
        }
        is_due
    }
}

impl Roster {
    /// Creates a roster without subscriptions.
    pub fn new(shared: Arc<Shared>) -> Self {
        let connector = &shared.endpoint.connector;
        let is_of_shards = shared.live.kind == LiveKind::ShardChannel && connector.is_cluster();
        let shards = is_of_shards.then(|| Arc::new(Shards::new(connector)));
        Self { shared, shards, members: Mutex::default(), gone: Mutex::default() }
    }

    /// Starts all subscriptions, each with its thread.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses one of them, or no thread could be started.
    pub fn start(&self, db: i64) -> Result<(), Error> {
        if let Some(shards) = &self.shards {
            return self.start_shards(shards);
        }
        let Endpoint { connector, clock, .. } = &*self.shared.endpoint;
        let explain = |error: RedisError| connector.explain(&error, Fate::NotSent);
        let served = Served::new(clock.now());
        for (spot, topics) in plan::of(&self.shared.live, connector, db).map_err(explain)? {
            let mut subscriber = self.subscriber(spot, topics);
            self.connect_first(&mut subscriber).map_err(|error| self.refusal(subscriber.topics(), &error))?;
            self.add(subscriber, served)?;
        }
        Ok(())
    }

    /// Subscribes at each node that serves channels. Where a node sends some of them elsewhere, it begins again with
    /// these and those that are left.
    fn start_shards(&self, shards: &Arc<Shards>) -> Result<(), Error> {
        let connector = &self.shared.endpoint.connector;
        let explain = |error: RedisError| connector.explain(&error, Fate::NotSent);
        let (mut left, mut tries) = (self.shared.live.names.clone(), 0);
        while let Some(first) = left.first() {
            let Some(node) = shards.node_of(first).map_err(explain)? else { break };
            let (here, rest) = left
                .iter()
                .cloned()
                .partition(|name| shards.node_of(name).is_ok_and(|other| other.as_ref() == Some(&node)));
            let mut subscriber = self.subscriber(Spot::Node(Arc::clone(&node)), plan::of_shards(here));
            let joins = shards.seat(&mut subscriber, node).map_err(explain)?;
            match self.shared.connect(&mut subscriber, &self.shared.quiet) {
                Ok(_) => {
                    self.add(subscriber, Served::new(0))?;
                    left = rest;
                }
                Err(error) => {
                    shards.vacate(&joins);
                    tries += 1;
                    let pause = connector.redirected("", &error).filter(|_| tries < TRIES);
                    let pause = pause.ok_or_else(|| self.refusal(subscriber.topics(), &error))?;
                    connector.look_again();
                    self.shared.quiet.pause(pause);
                }
            }
        }
        Ok(())
    }

    /// Connects, and follows redirections, which a cluster sends if the map of slots is stale.
    fn connect_first(&self, subscriber: &mut Subscriber) -> redis::RedisResult<()> {
        let (connector, quiet) = (&self.shared.endpoint.connector, &self.shared.quiet);
        let mut tries = 0;
        loop {
            match self.shared.connect(subscriber, quiet) {
                Ok(_) => return Ok(()),
                Err(error) => {
                    tries += 1;
                    let pause = connector.redirected("", &error);
                    let is_elsewhere = *subscriber.spot() == Spot::Any && connector.is_cluster();
                    let again = pause.or_else(|| is_elsewhere.then_some(Duration::ZERO));
                    match again.filter(|_| tries < TRIES) {
                        Some(pause) => quiet.pause(pause),
                        None => return Err(error),
                    };
                }
            }
        }
    }

    fn subscriber(&self, spot: Spot, topics: Topics) -> Subscriber {
        Subscriber::new(&self.shared.endpoint, topics, spot, self.shared.room)
    }

    /// Starts the thread of a subscription.
    fn add(&self, subscriber: Subscriber, served: Served) -> Result<(), Error> {
        let stop = Stop::default();
        let (spot, proved) = (subscriber.spot().clone(), subscriber.proved());
        let read_cancel = Arc::clone(&subscriber.read_cancel);
        let feed = Feed { shared: Arc::clone(&self.shared), stop: stop.clone(), shards: self.shards.clone() };
        // The mutex is only for the case that the thread starts again after a panic.
        let subscriber = Mutex::new(subscriber);
        let read = move || feed.run(&mut subscriber.lock());
        let thread = Some(spawn("event-subscriber", &self.shared.endpoint, read)?);
        self.members.lock().push(Member { spot, stop, read_cancel, proved, served, thread });
        Ok(())
    }

    /// Adds to an error the rights that the user needs, if Redis does not allow the subscription.
    fn refusal(&self, topics: &Topics, error: &RedisError) -> Error {
        let mut explained = self.shared.endpoint.connector.explain(error, Fate::NotSent);
        if error.kind() == redis::ErrorKind::InvalidClientConfig
            && self.shared.live.kind == LiveKind::Keys
            && let Some(why) = error.detail()
        {
            explained = Error::new(ErrorKind::Configuration, format!("Redis does not tell of keys: {why}"));
        }
        if error.code() == Some("NOPERM") {
            let rules: Vec<String> = topics.names.iter().map(|name| format!("&{name}")).collect();
            let word = topics.word().to_lowercase();
            let tracking =
                if self.shared.live.kind == LiveKind::Tracking { "+client|id +client|tracking " } else { "" };
            explained.message =
                format!("{}. The user needs {tracking}+{word} and {}", explained.message, rules.join(" "));
        }
        explained
    }

    /// Whether nodes may come and go.
    pub fn follows_nodes(&self) -> bool {
        let is_of_keys = matches!(self.shared.live.kind, LiveKind::Keys | LiveKind::Tracking);
        is_of_keys && self.shared.endpoint.connector.is_cluster()
    }

    /// Whether channels may move from node to node.
    pub fn follows_slots(&self) -> bool {
        self.shards.is_some()
    }

    /// Runs the thread that subscribes to channels of shards that lost their subscription, and that knows what nodes
    /// without one have counted.
    pub fn follow_slots(&self) {
        let Some(shards) = &self.shards else { return };
        let endpoint = &self.shared.endpoint;
        let mut link = Link::new(endpoint, "", true);
        let (mut samplers, mut looked, mut placed) = (HashMap::new(), None::<Instant>, None::<Instant>);
        loop {
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                looked = Some(Instant::now());
                shards.sample_others(&mut samplers, || endpoint.clock.now());
                self.forget_ended();
            }
            if shards.has_homeless() {
                // Nodes that send channels to each other are not asked as fast as they answer.
                if placed.is_some_and(|placed| placed.elapsed() < SOON / 2)
                    && self.shared.quiet.pause(SOON / 2)
                {
                    return;
                }
                placed = Some(Instant::now());
                match shards.place().and_then(|others| self.seat_all(shards, others)) {
                    Ok(()) => link.up(),
                    Err(error) => link.lost(&error),
                }
            }
            let pause = if shards.has_homeless() { SOON } else { LOOK };
            if self.shared.quiet.pause_or(pause, shards.woken()) {
                return;
            }
        }
    }

    /// Subscribes at nodes without a subscription.
    fn seat_all(
        &self,
        shards: &Arc<Shards>,
        others: HashMap<Arc<Address>, Vec<Displaced>>,
    ) -> RedisResult<()> {
        let mut first = Ok(());
        for (node, displaced) in others {
            if let Err(error) = self.seat_at(shards, &node, &displaced) {
                shards.displace(displaced);
                self.shared.endpoint.connector.mark_stale(&Route::Node(node));
                first = first.and(Err(error));
            }
        }
        first
    }

    fn seat_at(&self, shards: &Arc<Shards>, node: &Arc<Address>, displaced: &[Displaced]) -> RedisResult<()> {
        let names = displaced.iter().flat_map(|one| one.names.clone()).collect();
        let mut subscriber = self.subscriber(Spot::Node(Arc::clone(node)), plan::of_shards(names));
        let joins = shards.seat(&mut subscriber, Arc::clone(node))?;
        if let Err(error) = self.shared.connect(&mut subscriber, &self.shared.quiet) {
            shards.vacate(&joins);
            return Err(error);
        }
        for one in displaced {
            self.shared.tell_joined(&mut subscriber, Some(shards), one);
        }
        self.shared.endpoint.stats.reconnections.increment();
        self.add(subscriber, Served::new(0)).map_err(|error| {
            shards.vacate(&joins);
            let why = error.message.clone();
            self.shared.endpoint.report(error);
            RedisError::from((redis::ErrorKind::Client, "no thread could be started", why))
        })
    }

    /// Forgets subscriptions whose threads have ended.
    fn forget_ended(&self) {
        let is_over = |member: &Member| member.thread.as_ref().is_some_and(JoinHandle::is_finished);
        let (over, going): (Vec<Member>, Vec<Member>) =
            std::mem::take(&mut *self.members.lock()).into_iter().partition(is_over);
        self.members.lock().extend(going);
        over.into_iter().for_each(|mut member| member.end());
    }

    /// Runs the thread that subscribes at new nodes that serve keys, and leaves nodes that no longer do.
    pub fn follow_nodes(&self) {
        let Endpoint { connector, stats, health, clock, .. } = &*self.shared.endpoint;
        let mut looks = Looks::new(stats.reconnections.get());
        let mut known = None;
        while !self.shared.quiet.pause(SOON) {
            if looks.are_due(health.are_up(), stats.reconnections.get()) {
                connector.look_again();
            }
            let Ok(Primaries { nodes, as_of: Some(as_of) }) = connector.primaries() else { continue };
            self.leave_others(&nodes);
            let age_ms = u64::try_from(as_of.elapsed().as_millis()).unwrap_or(u64::MAX);
            let said_ms = clock.now().saturating_sub(age_ms);
            if known.replace(as_of) != Some(as_of) {
                self.members.lock().iter_mut().for_each(|member| member.served = member.served.said(said_ms));
            }
            if self.join_new(nodes, Served::new(said_ms)) {
                self.tell_gone();
            }
        }
    }

    fn leave_others(&self, nodes: &[Arc<Address>]) {
        let serves = |spot: &Spot| matches!(spot, Spot::Node(node) if nodes.contains(node));
        let (staying, leaving): (Vec<Member>, Vec<Member>) =
            std::mem::take(&mut *self.members.lock()).into_iter().partition(|member| serves(&member.spot));
        self.members.lock().extend(staying);
        for mut member in leaving {
            let proved = member.proved.load(Ordering::SeqCst).min(member.served.certain_ms);
            member.end();
            let Spot::Node(node) = &member.spot else { continue };
            let mut gone = self.gone.lock();
            let since_ms = gone.as_ref().map_or(proved, |before| before.since_ms.min(proved));
            *gone = Some(Gone { since_ms, node: node.to_string() });
        }
    }

    /// Returns whether all of them could be joined.
    fn join_new(&self, nodes: Vec<Arc<Address>>, served: Served) -> bool {
        let mut have_all = true;
        for node in nodes {
            let spot = Spot::Node(Arc::clone(&node));
            if self.members.lock().iter().any(|member| member.spot == spot) {
                continue;
            }
            let (spot, topics) = plan::of_node(&self.shared.live, node);
            let mut subscriber = self.subscriber(spot, topics);
            // A node that cannot be reached is tried again in the next round.
            let is_connected = self.shared.connect(&mut subscriber, &self.shared.quiet).is_ok();
            have_all &= is_connected;
            if is_connected {
                let address = subscriber.address().map_or_else(String::new, Address::to_string);
                let since_ms = self.gone.lock().take().map(|gone| gone.since_ms);
                self.tell(since_ms, address);
                if let Err(error) = self.add(subscriber, served) {
                    self.shared.endpoint.report(error);
                }
            }
        }
        have_all
    }

    /// Tells what can be missing of nodes that are gone, if others serve their keys that were known before.
    fn tell_gone(&self) {
        let gone = self.gone.lock().take();
        if let Some(Gone { since_ms, node }) = gone {
            self.tell(Some(since_ms), node);
        }
    }

    /// Tells what can be missing: of nodes that are gone, or before one was subscribed to.
    fn tell(&self, since_ms: Option<u64>, node: String) {
        let until_ms = self.shared.endpoint.clock.now();
        self.shared.backlog.push_loss(Loss {
            source: self.shared.source.clone(),
            node,
            cause: if since_ms.is_some() { Cause::Failover } else { Cause::SlotMoved },
            since_ms,
            until_ms,
            at_most: None,
            is_exact: false,
        });
    }

    /// Ends the subscriptions at all servers but this one.
    pub fn leave_unless_at(&self, master: &Address) {
        self.members.lock().iter().for_each(|member| member.read_cancel.end_unless_at(master));
    }

    /// Ends all subscriptions.
    pub fn stop(&self) {
        let mut members = std::mem::take(&mut *self.members.lock());
        members.iter().for_each(Member::stop);
        members.iter_mut().for_each(Member::end);
    }

    /// Ends all subscriptions, and does not wait for their threads.
    pub fn abandon(&self) {
        self.members.lock().iter().for_each(Member::stop);
    }
}

impl Member {
    fn stop(&self) {
        self.stop.stop();
        self.read_cancel.end();
    }

    fn end(&mut self) {
        self.stop();
        join(self.thread.take());
    }
}
