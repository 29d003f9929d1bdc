//! The map of a Redis Cluster: which node serves which key.
//!
//! The map comes from `CLUSTER SLOTS`. A `MOVED` changes one slot of it at once, and an `ASK` changes one key. The
//! whole map becomes stale, and is requested again, only if a node cannot be reached or cannot serve.

use crate::foundation::net::address::Address;
use crate::foundation::redis::redis_options::ClusterOptions;
use crate::foundation::redis::slots::{SLOTS, slot};
use crate::foundation::runtime::backoff::Backoff;
use crate::foundation::runtime::sync::Mutex;
use redis::{RedisError, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two requests for the map.
const REFRESH: Duration = Duration::from_millis(100);
/// How long a key is refreshed up at the node that an `ASK` named. If its slot is still moving then, another `ASK` will
/// follow.
const ASKED: Duration = Duration::from_secs(10);
/// The number of such keys above which expired ones are removed.
const MANY: usize = 1_000;
/// If a slot has not moved for this long, its next move is followed at once.
const SETTLED: Duration = Duration::from_secs(1);

/// The server that serves a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Route {
    /// The only server, or the master that the sentinels name.
    Server,
    /// A node of a cluster.
    Node(Arc<Address>),
    /// The node that a slot is moving to. Each command needs `ASKING` before it.
    Asking(Arc<Address>),
}

impl Route {
    /// Returns the node, if this is one of a cluster.
    pub fn node(&self) -> Option<&Arc<Address>> {
        match self {
            Route::Server => None,
            Route::Node(node) | Route::Asking(node) => Some(node),
        }
    }
}

/// Which nodes serve which slots, as one node sees it.
#[derive(Debug, Clone, Default)]
pub struct SlotView(Vec<(std::ops::RangeInclusive<usize>, Address)>);

impl SlotView {
    /// Returns the node that serves a slot.
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        let slot = usize::from(slot);
        self.0.iter().find(|(slots, _)| slots.contains(&slot)).map(|(_, node)| node)
    }
}

/// A cluster and its map.
#[derive(Debug)]
pub struct Cluster {
    fixed_host: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The owner of each slot. It is empty until the first map arrives.
    owners: Vec<Option<Arc<Address>>>,
    /// Every known node, replicas included; before the first map these are the seeds. The first one is asked first.
    nodes: Vec<Arc<Address>>,
    seeds: Vec<Arc<Address>>,
    /// Nodes that are asked last.
    unreachable: HashSet<Arc<Address>>,
    asked: HashMap<String, (Arc<Address>, Instant)>,
    moves: HashMap<u16, Moves>,
    is_stale: bool,
    refreshed: Option<Instant>,
    /// When the map was asked for.
    as_of: Option<Instant>,
}

/// The nodes that serve slots.
#[derive(Debug, Default)]
pub struct Primaries {
    /// Each of them once.
    pub nodes: Vec<Arc<Address>>,
    /// When the cluster was asked for them. `None` if it was not.
    pub as_of: Option<Instant>,
}

/// The recent moves of a slot.
#[derive(Debug)]
struct Moves {
    last: Instant,
    until: Instant,
    backoff: Backoff,
}

impl Cluster {
    /// Creates a cluster of which only `seeds` are known.
    pub fn new(options: &ClusterOptions) -> Self {
        let seeds: Vec<Arc<Address>> = options.seeds.iter().cloned().map(Arc::new).collect();
        let state = State {
            owners: Vec::new(),
            nodes: seeds.clone(),
            seeds,
            unreachable: HashSet::new(),
            asked: HashMap::new(),
            moves: HashMap::new(),
            is_stale: true,
            refreshed: None,
            as_of: None,
        };
        Self { fixed_host: options.fixed_host.clone(), state: Mutex::new(state) }
    }

    /// Returns the known route of `key`. A wrong node will redirect.
    pub fn route(&self, key: &str) -> Route {
        let state = self.state.lock();
        if let Some((node, since)) = state.asked.get(key)
            && since.elapsed() < ASKED
        {
            return Route::Asking(Arc::clone(node));
        }
        state.owner(key)
    }

    /// Returns the known node that the slot of `key` belongs to, wherever an `ASK` sent the key.
    pub fn owner(&self, key: &str) -> Route {
        self.state.lock().owner(key)
    }

    /// Returns the route to a node, another one each turn. One that could be reached comes first.
    pub fn any_node(&self, turn: usize) -> Route {
        let state = self.state.lock();
        let mut nodes: Vec<&Arc<Address>> = state.nodes.iter().collect();
        // Whoever asks again gets the same order.
        nodes.sort_by_key(|node| (state.unreachable.contains(*node), node.to_string()));
        Route::Node(Arc::clone(nodes[turn % nodes.len()]))
    }

    /// Returns the nodes that serve slots.
    pub fn primaries(&self) -> Primaries {
        let state = self.state.lock();
        let mut nodes: Vec<Arc<Address>> = Vec::new();
        for owner in state.owners.iter().flatten() {
            if nodes.last() != Some(owner) && !nodes.contains(owner) {
                nodes.push(Arc::clone(owner));
            }
        }
        Primaries { nodes, as_of: state.as_of }
    }

    /// Marks the map as stale: there may be nodes that are not known.
    pub fn look_again(&self) {
        self.state.lock().is_stale = true;
    }

    /// Whether the map is known.
    pub fn is_known(&self) -> bool {
        !self.state.lock().owners.is_empty()
    }

    /// Returns the nodes to ask for the map, in this order. It is empty if the map is not stale, or was just
    /// requested.
    pub fn to_ask(&self) -> Vec<Arc<Address>> {
        let mut state = self.state.lock();
        let early = !state.owners.is_empty()
            && state.refreshed.is_some_and(|refreshed| refreshed.elapsed() < REFRESH);
        if !state.is_stale || early {
            return Vec::new();
        }
        state.refreshed = Some(Instant::now());
        // The next request goes to another node first, because this one may know less than others.
        state.nodes.rotate_left(1);
        let mut nodes = state.nodes.clone();
        nodes.extend(state.seeds.iter().filter(|seed| !state.nodes.contains(seed)).cloned());
        nodes.sort_by_key(|node| state.unreachable.contains(node));
        nodes
    }

    /// Reads the reply of the node at `asked` to `CLUSTER SLOTS`, and does not use it.
    pub fn view(&self, reply: &Value, asked: &Address) -> Option<SlotView> {
        let Value::Array(ranges) = reply else { return None };
        let range = |range| {
            let (slots, servers) = self.range(range, asked)?;
            Some((slots, servers.into_iter().next()?))
        };
        ranges.iter().map(range).collect::<Option<Vec<_>>>().map(SlotView)
    }

    /// Uses the reply of the node at `asked` to `CLUSTER SLOTS`, which was sent at `as_of`. Returns false if the node
    /// knows of no slots.
    pub fn learn(&self, reply: &Value, asked: &Address, as_of: Instant) -> bool {
        let mut owners = vec![None; usize::from(SLOTS)];
        let mut nodes: Vec<Arc<Address>> = Vec::new();
        let Value::Array(ranges) = reply else { return false };
        for range in ranges {
            let Some((slots, servers)) = self.range(range, asked) else { return false };
            for server in servers {
                let known = nodes.iter().find(|node| ***node == server).cloned();
                let node = known.unwrap_or_else(|| {
                    nodes.push(Arc::new(server));
                    Arc::clone(&nodes[nodes.len() - 1])
                });
                // The master comes first, and its replicas follow.
                owners[slots.clone()].iter_mut().filter(|owner| owner.is_none()).for_each(|owner| {
                    *owner = Some(Arc::clone(&node));
                });
            }
        }
        if nodes.is_empty() {
            return false;
        }
        // The reply has them in the order of their slots, whoever was asked.
        if let Some(place) = nodes.iter().position(|node| **node == *asked) {
            nodes.rotate_left(place);
        }
        let mut state = self.state.lock();
        state.unreachable.retain(|node| nodes.contains(node));
        (state.owners, state.nodes, state.as_of) = (owners, nodes, Some(as_of));
        (state.is_stale, state.refreshed) = (false, Some(Instant::now()));
        true
    }

    fn range(
        &self,
        range: &Value,
        asked: &Address,
    ) -> Option<(std::ops::RangeInclusive<usize>, Vec<Address>)> {
        let Value::Array(columns) = range else { return None };
        let [Value::Int(first), Value::Int(last), servers @ ..] = columns.as_slice() else { return None };
        let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
        if first > last || last >= usize::from(SLOTS) {
            return None;
        }
        let servers = servers.iter().map(|server| self.server(server, asked)).collect::<Option<Vec<_>>>()?;
        Some((first..=last, servers))
    }

    fn server(&self, server: &Value, asked: &Address) -> Option<Address> {
        let Value::Array(columns) = server else { return None };
        let [host, Value::Int(port), ..] = columns.as_slice() else { return None };
        let host = match host {
            Value::BulkString(host) => std::str::from_utf8(host).ok()?,
            _ => "",
        };
        Some(self.address(host, u16::try_from(*port).ok()?, asked))
    }

    /// Returns the address of a node. A node that does not know its own address leaves it out; then it is the one
    /// that was `asked`.
    fn address(&self, host: &str, port: u16, asked: &Address) -> Address {
        let host = match (&self.fixed_host, host, asked) {
            (Some(fixed), _, _) => fixed,
            (None, "" | "?", Address::Tcp(asked, _)) => asked,
            (None, "" | "?", Address::Unix(_)) => "127.0.0.1",
            (None, host, _) => host,
        };
        Address::Tcp(host.to_owned(), port)
    }

    /// Follows a redirection of `key`. Returns how long to wait before the next attempt. `None` if `error` is not a
    /// redirection.
    pub fn redirected(&self, key: &str, error: &RedisError) -> Option<Duration> {
        let (target, slot) = error.redirect_node()?;
        let (host, port) = target.rsplit_once(':')?;
        let mut state = self.state.lock();
        let asked = state.owners.get(usize::from(slot)).and_then(Option::as_ref).unwrap_or(&state.nodes[0]);
        let node = Arc::new(self.address(host, port.parse().ok()?, asked));
        let is_new = if error.code() == Some("ASK") {
            state.ask(key, node)
        } else {
            state.asked.remove(key);
            state.move_to(slot, node)
        };
        Some(state.pause(slot, is_new))
    }

    /// Marks the map as stale: the node at `route` cannot be reached or cannot serve.
    pub fn mark_stale(&self, route: &Route) {
        let mut state = self.state.lock();
        state.is_stale = true;
        state.unreachable.extend(route.node().cloned());
    }

    /// Records that the node can be reached.
    pub fn reached(&self, node: &Arc<Address>) {
        self.state.lock().unreachable.remove(node);
    }
}

impl State {
    fn owner(&self, key: &str) -> Route {
        let owner = self.owners.get(usize::from(slot(key.as_bytes()))).and_then(Option::as_ref);
        // No node serves the slot. Any node reports that.
        Route::Node(owner.map_or_else(|| Arc::clone(&self.nodes[0]), Arc::clone))
    }

    fn move_to(&mut self, slot: u16, node: Arc<Address>) -> bool {
        if !self.nodes.contains(&node) {
            self.nodes.push(Arc::clone(&node));
        }
        let Some(owner) = self.owners.get_mut(usize::from(slot)) else { return true };
        let is_new = owner.as_ref() != Some(&node);
        *owner = Some(node);
        is_new
    }

    fn ask(&mut self, key: &str, node: Arc<Address>) -> bool {
        if self.asked.len() >= MANY {
            self.asked.retain(|_, (_, since)| since.elapsed() < ASKED);
        }
        let before = self.asked.insert(key.to_owned(), (Arc::clone(&node), Instant::now()));
        before.is_none_or(|(before, _)| before != node)
    }

    /// Returns the pause before a redirection is followed. It keeps two nodes that redirect a key to each other from
    /// making this client spin.
    fn pause(&mut self, slot: u16, is_new: bool) -> Duration {
        let now = Instant::now();
        let Some(moves) = self.moves.get_mut(&slot) else {
            self.moves.insert(slot, Moves { last: now, until: now, backoff: Backoff::default() });
            return Duration::ZERO;
        };
        if is_new {
            if now.duration_since(moves.last) >= SETTLED {
                moves.backoff.reset();
            } else {
                moves.until = now + moves.backoff.pause();
            }
            moves.last = now;
        }
        moves.until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::parse_redis_value;

    fn node(port: u16) -> Route {
        Route::Node(Arc::new(Address::Tcp("h".into(), port)))
    }

    fn asking(port: u16) -> Route {
        Route::Asking(Arc::new(Address::Tcp("h".into(), port)))
    }

    fn cluster() -> Cluster {
        let seeds = vec![Address::Tcp("h".into(), 1), Address::Tcp("h".into(), 2)];
        Cluster::new(&ClusterOptions { seeds, fixed_host: None })
    }

    fn slots(reply: &str) -> Value {
        parse_redis_value(reply.replace(' ', "\r\n").as_bytes()).unwrap()
    }

    /// Returns a map of two masters, of which the first does not tell its host, and a replica of the second.
    fn two_masters() -> Value {
        slots("*2 *3 :0 :8191 *3 $0  :1 $1 a *4 :8192 :16383 *3 $1 h :2 $1 b *3 $1 h :3 $1 c ")
    }

    fn refusal(text: &str) -> RedisError {
        parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap().extract_error().unwrap_err()
    }

    #[test]
    fn keys_are_found_by_the_map_and_any_node_is_asked_before_there_is_one() {
        let cluster = cluster();
        assert!(!cluster.is_known());
        assert_eq!(cluster.route("foo"), node(1));
        assert_eq!(cluster.to_ask().len(), 2);
        assert!(!cluster.learn(&Value::Array(vec![]), &Address::Tcp("h".into(), 1), Instant::now()));
        assert!(cluster.learn(&two_masters(), &Address::Tcp("h".into(), 1), Instant::now()));
        assert_eq!(cluster.route("house:inbox:child"), node(1));
        assert_eq!(cluster.route("foo"), node(2));
        assert!(cluster.to_ask().is_empty(), "the map is not stale");
    }

    #[test]
    fn a_moved_slot_is_followed_at_once_and_one_that_goes_to_and_fro_with_pauses() {
        let cluster = cluster();
        cluster.learn(&two_masters(), &Address::Tcp("h".into(), 1), Instant::now());
        assert_eq!(cluster.redirected("foo", &refusal("MOVED 12182 h:9")), Some(Duration::ZERO));
        assert_eq!(cluster.route("foo"), node(9));
        assert_eq!(cluster.redirected("foo", &refusal("MOVED 12182 h:9")), Some(Duration::ZERO));
        assert!(cluster.redirected("foo", &refusal("MOVED 12182 h:2")) > Some(Duration::ZERO));
        assert!(cluster.redirected("foo", &refusal("MOVED 12182 h:2")) > Some(Duration::ZERO));
        assert_eq!(cluster.redirected("foo", &refusal("ERR no")), None);
    }

    #[test]
    fn a_key_that_was_sent_elsewhere_is_asked_for_there_until_its_slot_has_moved() {
        let cluster = cluster();
        cluster.learn(&two_masters(), &Address::Tcp("h".into(), 1), Instant::now());
        cluster.redirected("foo", &refusal("ASK 12182 h:1"));
        assert_eq!(cluster.route("foo"), asking(1));
        assert_eq!(cluster.route("x{foo}"), node(2));
        cluster.redirected("foo", &refusal("MOVED 12182 h:1"));
        assert_eq!(cluster.route("foo"), node(1));
    }

    #[test]
    fn a_node_out_of_reach_makes_the_map_stale_and_is_asked_last() {
        let cluster = cluster();
        cluster.learn(&two_masters(), &Address::Tcp("h".into(), 1), Instant::now());
        cluster.mark_stale(&node(2));
        assert!(cluster.to_ask().is_empty(), "not again so soon");
        std::thread::sleep(REFRESH);
        let nodes = cluster.to_ask();
        assert_eq!((nodes.len(), nodes.last().unwrap().as_ref()), (3, &Address::Tcp("h".into(), 2)));
    }

    #[test]
    fn each_look_is_at_another_node() {
        let cluster = cluster();
        let mut asked = vec![Arc::new(Address::Tcp("h".into(), 1))];
        for look in 0..3 {
            cluster.learn(&two_masters(), &asked[look], Instant::now());
            cluster.look_again();
            std::thread::sleep(REFRESH);
            asked.push(Arc::clone(&cluster.to_ask()[0]));
        }
        let ports: Vec<Address> = asked.iter().map(|node| (**node).clone()).collect();
        assert_eq!(ports, [1, 2, 3, 1].map(|port| Address::Tcp("h".into(), port)));
    }

    #[test]
    fn a_fixed_host_takes_the_place_of_every_other() {
        let seeds = vec![Address::Tcp("proxy".into(), 1)];
        let cluster = Cluster::new(&ClusterOptions { seeds, fixed_host: Some("proxy".into()) });
        cluster.learn(&two_masters(), &Address::Tcp("proxy".into(), 1), Instant::now());
        assert_eq!(cluster.route("foo"), Route::Node(Arc::new(Address::Tcp("proxy".into(), 2))));
    }
}
