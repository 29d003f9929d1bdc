//! Makes connections: finds the server of a key, and logs in.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::net::address::Address;
use crate::foundation::net::attempt::{Attempt, Closing};
use crate::foundation::net::dialer::Dialer;
use crate::foundation::net::socket::Closer;
use crate::foundation::redis::client_name::{ClientNames, Purpose};
use crate::foundation::redis::cluster::{Cluster, Primaries, Route, SlotView};
use crate::foundation::redis::connection::{Connection, Session};
use crate::foundation::redis::error_codes::is_passing;
use crate::foundation::redis::eviction::Eviction;
use crate::foundation::redis::opener::Opener;
use crate::foundation::redis::redis_options::{ClusterOptions, Login, RedisOptions, SentinelOptions};
use crate::foundation::redis::resp::replies::unexpected;
use crate::foundation::redis::sentinels::{self, Named, Sentinels};
use crate::foundation::runtime::open_sockets::OpenSockets;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::NoThread;
use crossbeam_channel::unbounded;
use redis::{RedisError, RedisResult};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The pause before a command on several keys of a moving slot is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// How long one sentinel may take before the next is asked as well.
const HEAD_START: Duration = Duration::from_millis(200);
/// How many sentinels are asked at the same time.
const MOST_ASKED: usize = 5;
/// An attempt to connect ends long before this.
const FOREVER: Duration = Duration::from_secs(86_400);

/// Opens connections to the server, or the servers, that `redis_options` describe.
pub struct Connector {
    options: RedisOptions,
    names: ClientNames,
    eviction: Mutex<Option<Eviction>>,
    redacted: String,
    dialer: Dialer,
    sentinels: Option<Sentinels>,
    cluster: OnceLock<Cluster>,
    /// The connections to nodes of a cluster whose reads block, by key. One without a closer was redirected.
    blocking: Mutex<HashMap<String, (Route, Option<Closer>)>>,
}

impl Connector {
    /// Creates a connector for `options`, whose connections have these names.
    pub fn new(options: &RedisOptions, names: ClientNames) -> Self {
        let connector = Self {
            names,
            eviction: Mutex::default(),
            redacted: options.redacted(),
            options: options.clone(),
            dialer: Dialer::default(),
            sentinels: options.sentinel.clone().map(Sentinels::new),
            cluster: OnceLock::new(),
            blocking: Mutex::default(),
        };
        if let Some(options) = &options.cluster {
            connector.join_cluster(options);
        }
        connector
    }

    fn join_cluster(&self, options: &ClusterOptions) {
        self.cluster.get_or_init(|| Cluster::new(options));
    }

    /// Records that the server is a node of a cluster. From now on it is asked for the other nodes.
    pub fn is_node_of_cluster(&self) {
        self.join_cluster(&ClusterOptions { seeds: vec![self.options.address.clone()], fixed_host: None });
    }

    /// Whether keys are served by the nodes of a cluster.
    pub fn is_cluster(&self) -> bool {
        self.cluster.get().is_some()
    }

    /// Returns the known route of `key`, without asking a server.
    pub fn known_route(&self, key: &str) -> Route {
        self.cluster.get().map_or(Route::Server, |cluster| cluster.route(key))
    }

    /// Returns the route of `key`. If the cluster map is stale it asks for the map first.
    pub fn route(&self, key: &str) -> RedisResult<Route> {
        self.refresh_cluster()?;
        Ok(self.known_route(key))
    }

    /// Returns the route to a node of the cluster, another one each turn; without a cluster to the server.
    pub fn any_node(&self, turn: usize) -> RedisResult<Route> {
        self.refresh_cluster()?;
        Ok(self.cluster.get().map_or(Route::Server, |cluster| cluster.any_node(turn)))
    }

    /// Returns the nodes of the cluster that serve slots. It is empty without a cluster.
    pub fn primaries(&self) -> RedisResult<Primaries> {
        self.refresh_cluster()?;
        Ok(self.cluster.get().map_or_else(Primaries::default, Cluster::primaries))
    }

    /// Asks the node at the other end of `connection` which nodes serve which slots.
    pub fn slot_view(&self, connection: &mut Connection) -> RedisResult<SlotView> {
        let reply = connection.run(redis::cmd("CLUSTER").arg("SLOTS"))?;
        let view = self.cluster.get().and_then(|cluster| cluster.view(&reply, connection.address()));
        view.ok_or_else(unexpected)
    }

    /// Has the cluster asked for its map again.
    pub fn look_again(&self) {
        if let Some(cluster) = self.cluster.get() {
            cluster.look_again();
        }
    }

    /// Asks the cluster for its map, if that is stale. It fails only if no map is known.
    pub fn refresh_cluster(&self) -> RedisResult<()> {
        let Some(cluster) = self.cluster.get() else { return Ok(()) };
        let (mut last, started) = (None, Instant::now());
        for node in cluster.to_ask() {
            if cluster.is_known() && started.elapsed() >= self.patience() {
                // The other nodes come first the next time.
                break;
            }
            let reply = self.open(&Route::Node(Arc::clone(&node))).and_then(|mut connection| {
                let as_of = Instant::now();
                let reply = connection.run(redis::cmd("CLUSTER").arg("SLOTS"))?;
                Ok(cluster.learn(&reply, &node, as_of))
            });
            match reply {
                Ok(true) => {
                    self.close_misplaced();
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) => last = Some(error),
            }
        }
        if cluster.is_known() {
            return Ok(());
        }
        Err(last
            .unwrap_or_else(|| RedisError::from((redis::ErrorKind::Client, "no node knows of any slots"))))
    }

    /// Returns what opens connections for `purpose`.
    pub fn opener(&self, purpose: Purpose) -> Opener<'_> {
        Opener::new(self, purpose)
    }

    /// Returns the route to the server that the slot of `key` belongs to, wherever an `ASK` sent the key.
    pub(super) fn owner(&self, key: &str) -> RedisResult<Route> {
        self.refresh_cluster()?;
        Ok(self.cluster.get().map_or(Route::Server, |cluster| cluster.owner(key)))
    }

    /// Prepares a connection for reads about `key` that may block for `block` before Redis answers.
    pub(super) fn reads_block(
        &self,
        connection: &Connection,
        key: &str,
        route: Route,
        block: Duration,
    ) -> RedisResult<()> {
        // The timeout is well above the block time: a read that times out first would swallow the next message.
        connection.set_timeouts(block + self.options.read_timeout, self.options.write_timeout)?;
        if self.is_cluster() {
            self.blocking.lock().insert(key.to_owned(), (route, Some(connection.closer())));
        }
        Ok(())
    }

    /// Ends the reads that wait on a node that no longer serves their key. A node that hangs will not redirect them.
    fn close_misplaced(&self) {
        for (key, (route, closer)) in self.blocking.lock().iter_mut() {
            if self.known_route(key).node() != route.node() {
                closer.take().inspect(Closer::close);
            }
        }
    }

    /// Whether the read for `key` was ended because another node serves it. It returns true once.
    pub fn was_sent_away(&self, key: &str) -> bool {
        let mut blocking = self.blocking.lock();
        let away = blocking.get(key).is_some_and(|(_, closer)| closer.is_none());
        if away {
            blocking.remove(key);
        }
        away
    }

    /// Returns the limit on connecting, while and once the engine is being closed.
    pub fn closing(&self) -> &Closing {
        &self.dialer.closing
    }

    /// Ends all reads for good.
    pub fn close(&self) {
        self.blocking.lock().clear();
    }

    /// Opens a connection to the server at `route` for short commands.
    pub fn open(&self, route: &Route) -> RedisResult<Connection> {
        self.opener(Purpose::Work).open(route)
    }

    /// Opens a connection to the server at `route`, within `time`.
    pub fn open_quickly(&self, route: &Route, time: Duration) -> RedisResult<Connection> {
        let attempt = Attempt::new(time.min(self.options.connect_timeout), &self.dialer.closing);
        self.open_within(route, Purpose::Work, &attempt)
    }

    /// Returns an attempt to connect that begins now.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt::new(self.options.connect_timeout, &self.dialer.closing)
    }

    /// Opens a connection to the server at `route`, within the time of `attempt`.
    pub(super) fn open_within(
        &self,
        route: &Route,
        purpose: Purpose,
        attempt: &Attempt,
    ) -> RedisResult<Connection> {
        let Some(node) = route.node() else { return self.open_server(purpose, attempt) };
        let opened = self.open_address(node, purpose, attempt);
        if let Some(cluster) = self.cluster.get() {
            match &opened {
                Ok(_) => cluster.reached(node),
                Err(_) => cluster.mark_stale(route),
            }
        }
        let mut connection = opened?;
        connection.ask_first(matches!(route, Route::Asking(_)));
        Ok(connection)
    }

    fn open_server(&self, purpose: Purpose, attempt: &Attempt) -> RedisResult<Connection> {
        match &self.sentinels {
            Some(sentinels) => self.open_master(sentinels, purpose, attempt),
            None => self.open_address(&self.options.address, purpose, attempt),
        }
    }

    fn dial(&self, address: &Address, purpose: Purpose, attempt: &Attempt) -> RedisResult<Connection> {
        let RedisOptions { login, db, .. } = &self.options;
        self.dial_as(&Session { login, db: *db, name: &self.names.name(purpose) }, address, attempt)
    }

    fn dial_sentinel(&self, login: &Login, address: &Address, attempt: &Attempt) -> RedisResult<Connection> {
        self.dial_as(&Session { login, db: 0, name: &self.names.name(Purpose::Sentinel) }, address, attempt)
    }

    fn dial_as(
        &self,
        session: &Session<'_>,
        address: &Address,
        attempt: &Attempt,
    ) -> RedisResult<Connection> {
        Connection::dial(address, session, &self.options, &self.dialer, attempt)
    }

    fn open_address(
        &self,
        address: &Address,
        purpose: Purpose,
        attempt: &Attempt,
    ) -> RedisResult<Connection> {
        let mut connection = self.dial(address, purpose, attempt)?;
        connection.is_ready(&self.options)?;
        Ok(connection)
    }

    /// Opens a connection to the master (Redis's guidelines for Sentinel clients). The sentinel that was right last
    /// is asked first, and each has a head start over the next. The first one that leads to a master counts.
    fn open_master(
        &self,
        sentinels: &Sentinels,
        purpose: Purpose,
        attempt: &Attempt,
    ) -> RedisResult<Connection> {
        let found = Stop::default();
        let attempt = attempt.clone().unless(&found);
        let head_start = HEAD_START.min(self.patience() / 4);
        let (sender, results) = unbounded();
        std::thread::scope(|scope| {
            let (mut running, mut failure) = (0, None);
            let mut unasked = sentinels.order().into_iter();
            loop {
                if let Some(sentinel) = unasked.next() {
                    let (sender, attempt) = (sender.clone(), &attempt);
                    let ask = move || {
                        let result = self.follow(sentinels, &sentinel, purpose, attempt);
                        // The other end lives as long as this thread.
                        let _ = sender.send((sentinel, result));
                    };
                    let thread = std::thread::Builder::new().name("ipc-sentinel".to_owned());
                    thread.spawn_scoped(scope, ask).map_err(NoThread::io)?;
                    running += 1;
                }
                let more = unasked.len() > 0 && running < MOST_ASKED;
                match results.recv_timeout(if more { head_start } else { FOREVER }) {
                    Ok((_, Ok(connection))) => {
                        found.stop();
                        return Ok(connection);
                    }
                    Ok((sentinel, Err(error))) => {
                        sentinels.was_wrong(&sentinel);
                        running -= 1;
                        // A refusal by a server says more than that another server could not be reached.
                        if failure.as_ref().and_then(RedisError::code).is_none() {
                            failure = Some(error);
                        }
                    }
                    Err(_) => {}
                }
                // A sentinel that is asked after the time is over would only appear to be wrong.
                if running == 0 && (unasked.len() == 0 || attempt.slice(None).is_err()) {
                    return Err(failure.unwrap_or_else(|| {
                        RedisError::from((redis::ErrorKind::Client, "there is no sentinel"))
                    }));
                }
            }
        })
    }

    /// Opens a connection to the master that the sentinel at `address` names, if it is one.
    fn follow(
        &self,
        sentinels: &Sentinels,
        address: &Address,
        purpose: Purpose,
        attempt: &Attempt,
    ) -> RedisResult<Connection> {
        let mut sentinel = self.dial_sentinel(&sentinels.options.login, address, attempt)?;
        let named = ask(&sentinels.options, &mut sentinel)?;
        sentinels.hear(address, &named)?;
        let mut master = self.dial(&named.master, purpose, attempt)?;
        let is_master = sentinels::is_master(master.run(&redis::cmd("ROLE")))?;
        if is_master == Some(false) {
            return Err(io::Error::other("that server is a replica").into());
        }
        master.is_ready(&self.options)?;
        sentinels.was_right(address, &named.master);
        if is_master.is_none() {
            // The answer could not be checked. Another sentinel is asked the next time.
            sentinels.was_wrong(address);
        }
        Ok(master)
    }

    /// Opens a connection to one of the sentinels, chosen by `turn`.
    pub fn open_sentinel(&self, turn: usize) -> RedisResult<(Address, Connection)> {
        let none = || RedisError::from((redis::ErrorKind::Client, "there is no sentinel"));
        let SentinelOptions { addresses, login, .. } = &self.sentinels.as_ref().ok_or_else(none)?.options;
        let address = addresses.get(turn % addresses.len()).ok_or_else(none)?;
        let mut sentinel = self.dial_sentinel(login, address, &self.attempt())?;
        sentinel.is_ready(&self.options)?;
        Ok((address.clone(), sentinel))
    }

    /// Returns the master that `sentinel` at `address` names, and whether it is a master other than that of the
    /// latest connection. Returns `None` if the sentinel is not believed.
    pub fn named_master(
        &self,
        address: &Address,
        sentinel: &mut Connection,
    ) -> RedisResult<Option<(Address, bool)>> {
        let Some(sentinels) = &self.sentinels else { return Ok(None) };
        let named = ask(&sentinels.options, sentinel)?;
        if sentinels.hear(address, &named).is_err() {
            return Ok(None);
        }
        if !sentinels.is_news(&named.master) {
            return Ok(Some((named.master, false)));
        }
        let mut master = self.dial(&named.master, Purpose::Work, &self.attempt())?;
        if sentinels::is_master(master.run(&redis::cmd("ROLE")))? == Some(false) {
            return Ok(None);
        }
        sentinels.was_right(address, &named.master);
        Ok(Some((named.master, true)))
    }

    /// Returns how many sentinels there are.
    pub fn sentinel_count(&self) -> usize {
        self.sentinels.as_ref().map_or(0, |sentinels| sentinels.options.addresses.len())
    }

    /// Whether sentinels name the server.
    pub fn has_sentinels(&self) -> bool {
        self.sentinels.is_some()
    }

    /// Follows a redirection that a node of the cluster sent instead of serving `key`. Returns how long to wait
    /// before the next attempt. `None` if `error` is not a redirection.
    pub fn redirected(&self, key: &str, error: &RedisError) -> Option<Duration> {
        let cluster = self.cluster.get()?;
        // When a key moves to another node, Redis unblocks the clients that wait for it.
        let unblocked = || match error.code() {
            Some("UNBLOCKED") => Some(Duration::ZERO),
            // The command names several keys of a moving slot.
            Some("TRYAGAIN") => Some(TRY_AGAIN),
            _ => None,
        };
        let pause = cluster.redirected(key, error).or_else(unblocked);
        if pause.is_some() {
            self.close_misplaced();
        }
        pause
    }

    /// Asks the server at the other end whether it evicts keys.
    pub fn note_eviction(&self, connection: &mut Connection) {
        let eviction = Eviction::read(connection);
        *self.eviction.lock() = eviction;
    }

    /// Returns whether the server evicted keys when it was asked last.
    pub fn eviction(&self) -> Option<Eviction> {
        self.eviction.lock().clone()
    }

    /// Marks the route as stale: its server broke the connection, or cannot serve now.
    pub fn mark_stale(&self, route: &Route) {
        if let Some(cluster) = self.cluster.get() {
            cluster.mark_stale(route);
        }
    }

    /// Returns how long connecting may take, and how long a call waits for Redis to be reachable.
    pub fn patience(&self) -> Duration {
        self.options.connect_timeout
    }

    /// Returns how long a reply of Redis may take.
    pub fn read_timeout(&self) -> Duration {
        self.options.read_timeout
    }

    /// Returns the sockets opened here.
    pub fn sockets(&self) -> &OpenSockets {
        &self.dialer.sockets
    }

    /// Returns the address without credentials.
    pub fn address(&self) -> &str {
        &self.redacted
    }

    /// Converts `error` to the error that a caller gets.
    pub fn explain(&self, error: &RedisError, fate: Fate) -> Error {
        if let Some(no_thread) = NoThread::behind(error) {
            return no_thread.explain(fate).address(&self.redacted);
        }
        let (kind, what) = match error.code() {
            Some("MOVED" | "ASK") if self.is_cluster() => (
                ErrorKind::Connection(fate),
                "the nodes of the cluster do not agree on which of them serves this key",
            ),
            Some("MOVED" | "ASK") => (
                ErrorKind::Command(fate),
                "this is a node of a Redis Cluster, use redis_options: {cluster: [...]}",
            ),
            Some(code) if !is_passing(code) => (ErrorKind::Command(fate), "Redis refused the command"),
            _ => (ErrorKind::Connection(fate), "Redis cannot be reached"),
        };
        let mut why = match error.detail() {
            _ if error.is_timeout() => "no answer in time".to_owned(),
            Some(detail) if error.kind() == redis::ErrorKind::AuthenticationFailed => detail.to_owned(),
            _ => error.to_string(),
        };
        if let Some(answer) = self.sentinels.as_ref().and_then(Sentinels::last_answer) {
            why = format!("{why} ({answer})");
        }
        let evicted = self.eviction().filter(|_| is_of_lost_key(error));
        let advice = evicted.map_or_else(|| advice(error).to_owned(), |by| format!(". {}", by.cause()));
        Error::new(kind, format!("{what}: {why}{advice}")).address(&self.redacted).because(error.clone())
    }
}

/// Whether a blocked read ended because its key was gone.
fn is_of_lost_key(error: &RedisError) -> bool {
    error.code() == Some("UNBLOCKED") && error.detail().is_some_and(|why| why.contains("no longer exists"))
}

/// Returns what to do about a refusal that somebody has to end.
fn advice(error: &RedisError) -> &'static str {
    match error.code() {
        Some("NOPERM") => ". RedisIPC::ACL.rules has the rules that the user needs",
        Some("WRONGTYPE") => ". Something else has the key: TYPE says what",
        _ => "",
    }
}

/// Asks a sentinel for the master, and for the epoch of that answer.
fn ask(options: &SentinelOptions, sentinel: &mut Connection) -> RedisResult<Named> {
    let question = |what: &str| redis::cmd("SENTINEL").arg(what).arg(&options.name).clone();
    Named::read(sentinel.run_all(&[question("get-master-addr-by-name"), question("master")])?)
}
