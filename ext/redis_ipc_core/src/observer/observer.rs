//! The access of an observer to Redis.

use crate::error::{Error, ErrorKind, Fate, Place as ErrorPlace};
use crate::foundation::payload::fields::{MAX_FIELDS, Room};
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::client_name::ClientNames;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::resp::replies::unexpected;
use crate::foundation::redis::server_check::check_server;
use crate::observer::answer::{Answer, Reply, Shape};
use crate::observer::options::ObserverOptions;
use crate::observer::query::{Form, Place, Query};
use redis::{RedisError, RedisResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most connections. More than one to a node are open only while several threads read.
const MOST_CONNECTIONS: u32 = 64;
/// How often Redis's clock is read.
const CLOCK: Duration = Duration::from_secs(10);
/// How much of the content of an entry is kept when it is read.
const MOST_CONTENT: usize = 16 << 20;
/// How many fields a dead letter may have beside those of its entry.
const ADDED_FIELDS: usize = 5;
/// The most fields of an event.
const EVENT_FIELDS: usize = 1_000;

/// What Redis told to a query, by its place in a list.
type Told = Result<Answer, Error>;

/// An observer of one Redis: a server, the servers of some sentinels, or a cluster.
pub struct Observer {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) connections: Arc<Pool>,
    pub(super) options: ObserverOptions,
    is_checked: AtomicBool,
}

/// What a node says about the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeClock {
    /// The address of the connection.
    pub address: String,
    /// The node's clock, in ms since 1970.
    pub now: u64,
    /// How long the node took to answer.
    pub took: Duration,
}

impl Observer {
    /// Creates an observer without a connection. The first query opens one.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::observer::{Answer, Observer, ObserverOptions, Query};
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// let options = ObserverOptions::parse(serde_json::json!({}), Some("redis://localhost:6379"))?;
    /// let observer = Observer::new(options);
    /// for answer in observer.read(&[Query::instances("house")?]) {
    ///     if let Answer::Instances(instances) = answer? {
    ///         println!("{} instances are alive", instances.len());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(options: ObserverOptions) -> Self {
        let names = ClientNames::new("observer", &options.name);
        let endpoint = Endpoint::named(ErrorPlace::default(), &options.redis, names);
        let connections = Pool::new(Arc::clone(&endpoint.connector), MOST_CONNECTIONS);
        Self {
            endpoint: Arc::new(endpoint),
            connections: Arc::new(connections),
            options,
            is_checked: AtomicBool::new(false),
        }
    }

    /// Returns the address of Redis, without credentials.
    pub fn address(&self) -> &str {
        self.endpoint.connector.address()
    }

    /// Returns what Redis answers to each query, in their order. The queries go to each node in one round trip. If a
    /// node cannot be reached, only the queries about its keys fail.
    pub fn read(&self, queries: &[Query]) -> Vec<Told> {
        if let Err(error) = self.check() {
            return queries.iter().map(|_| Err(error.clone())).collect();
        }
        if self.endpoint.connector.is_cluster() {
            self.read_apart(queries)
        } else {
            self.read_together(queries)
        }
    }

    /// Asks for each value alone, because the keys may be on several nodes.
    fn read_apart(&self, queries: &[Query]) -> Vec<Told> {
        let parts: Vec<Option<Vec<Query>>> = queries.iter().map(Query::apart).collect();
        let each = |(query, parts): (&Query, &Option<Vec<Query>>)| {
            parts.clone().unwrap_or_else(|| vec![query.clone()])
        };
        let mut told =
            self.read_together(&queries.iter().zip(&parts).flat_map(each).collect::<Vec<_>>()).into_iter();
        parts
            .into_iter()
            .map(|parts| match parts {
                None => told.next().unwrap_or_else(|| Err(self.explain(&unexpected()))),
                Some(parts) => together(told.by_ref().take(parts.len())),
            })
            .collect()
    }

    fn read_together(&self, queries: &[Query]) -> Vec<Told> {
        let mut told: Vec<Option<Told>> = queries.iter().map(|_| None).collect();
        let mut parts: Vec<(Route, Vec<usize>)> = Vec::new();
        for (index, query) in queries.iter().enumerate() {
            match self.route(&query.place) {
                Err(error) => told[index] = Some(Err(error)),
                Ok(route) => match parts.iter_mut().find(|(known, _)| *known == route) {
                    Some((_, indices)) => indices.push(index),
                    None => parts.push((route, vec![index])),
                },
            }
        }
        for (route, indices) in parts {
            let asked: Vec<&Query> = indices.iter().map(|index| &queries[*index]).collect();
            match self.connections.at(route, |connection| ask(connection, &asked)) {
                Err(error) => indices.iter().for_each(|index| told[*index] = Some(Err(error.clone()))),
                Ok(answers) => {
                    for (index, answer) in indices.into_iter().zip(answers) {
                        told[index] = Some(answer.or_else(|refusal| self.follow(&queries[index], &refusal)));
                    }
                }
            }
        }
        told.into_iter().map(|one| one.unwrap_or_else(|| Err(self.explain(&unexpected())))).collect()
    }

    /// Asks again where the key of a query is now, if it has moved.
    fn follow(&self, query: &Query, refusal: &RedisError) -> Told {
        match &query.place {
            Place::Key(key) if self.endpoint.connector.redirected(key, refusal).is_some() => {
                self.connections.with(key, |connection| {
                    ask(connection, &[query])?.pop().unwrap_or_else(|| Err(unexpected()))
                })
            }
            _ => Err(self.explain(refusal)),
        }
    }

    /// Returns the nodes that serve keys: their addresses, in the order of their slots. Without a cluster there is one.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached.
    pub fn nodes(&self) -> Result<Vec<String>, Error> {
        self.check()?;
        if !self.endpoint.connector.is_cluster() {
            return Ok(vec![self.address().to_owned()]);
        }
        let primaries = self.endpoint.connector.primaries().map_err(|error| self.explain(&error))?;
        Ok(primaries.nodes.iter().map(ToString::to_string).collect())
    }

    /// Asks one of [`Observer::nodes`] for the time.
    ///
    /// # Errors
    ///
    /// The node cannot be reached, or refuses.
    pub fn clock_of(&self, node: &str) -> Result<NodeClock, Error> {
        let route = self.route(&Place::Node(node.to_owned()))?;
        self.connections.at(route, |connection| {
            let asked = Instant::now();
            let reply = connection.run(&redis::cmd("TIME"))?;
            let took = asked.elapsed();
            let (seconds, micros): (u64, u64) = redis::from_redis_value_ref(&reply)?;
            let address = connection.address().to_string();
            Ok(NodeClock { address, now: seconds * 1_000 + micros / 1_000, took })
        })
    }

    /// Returns Redis's time in ms since 1970. In a cluster it is that of one node.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached.
    pub fn now(&self) -> Result<u64, Error> {
        self.check()?;
        let clock = &self.endpoint.clock;
        if clock.is_due(CLOCK) {
            let route = self.endpoint.connector.any_node(0).map_err(|error| self.explain(&error))?;
            self.connections.at(route, |connection| clock.read(connection))?;
        }
        Ok(clock.now())
    }

    /// Waits for requests that are added to the inbox of a group after the id `after`, from now on unless given. Returns
    /// them, and the id to go on from. A request that was taken and answered at once may be missing.
    ///
    /// # Errors
    ///
    /// A name is not valid, Redis cannot be reached, or refuses.
    pub fn tap(
        &self,
        stream: &str,
        group: &str,
        after: Option<StreamId>,
        wait: Duration,
    ) -> Result<(Vec<RawEntry>, StreamId), Error> {
        self.check()?;
        let timeout = self.endpoint.connector.read_timeout();
        let after = match after {
            Some(after) => after,
            // Ids are times on the clock of the node that has the inbox.
            None => {
                let (key, _) = Query::tap(stream, group, StreamId::default(), wait)?;
                let now = self.connections.with(&key, |connection| {
                    self.endpoint.clock.read(connection)?;
                    Ok(self.endpoint.clock.now())
                })?;
                StreamId { ms: now, seq: 0 }.previous()
            }
        };
        let (key, read) = Query::tap(stream, group, after, wait)?;
        let found = self.connections.with(&key, |connection| {
            connection.shorten_reads(wait + timeout)?;
            connection.write_all(std::slice::from_ref(&read))?;
            let found = connection.receive_entries(None, room());
            connection.shorten_reads(timeout)?;
            found
        })?;
        let last = found.iter().map(|entry| entry.id).max().unwrap_or(after);
        Ok((found, last))
    }

    /// Learns with the first connection whether the server is a node of a cluster.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let connector = &self.endpoint.connector;
        let route = connector.any_node(0).map_err(|error| self.explain(&error))?;
        if self.connections.at(route, check_server)? {
            connector.is_node_of_cluster();
        }
        self.is_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn route(&self, place: &Place) -> Result<Route, Error> {
        let connector = &self.endpoint.connector;
        match place {
            Place::Key(key) => connector.route(key).map_err(|error| self.explain(&error)),
            Place::Node(_) if !connector.is_cluster() => Ok(Route::Server),
            Place::Node(name) => {
                let nodes = connector.primaries().map_err(|error| self.explain(&error))?.nodes;
                let found = nodes.into_iter().find(|node| node.to_string() == *name);
                found.map(Route::Node).ok_or_else(|| {
                    Error::new(ErrorKind::Argument, format!("{name:?} is not a node of the cluster"))
                })
            }
        }
    }

    fn explain(&self, error: &RedisError) -> Error {
        self.endpoint.explain(error, Fate::NotSent)
    }

    /// Returns its sockets, for a forked child to close.
    pub fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd> {
        self.endpoint.connector.sockets().inherited()
    }

    /// Closes its connections. Later queries fail.
    pub fn close(&self) {
        self.connections.close();
    }
}

/// Makes one answer of the values of several keys. A value that was refused is missing.
///
/// # Errors
///
/// All were refused.
fn together(told: impl Iterator<Item = Told>) -> Told {
    let told: Vec<Told> = told.collect();
    if let Some(Err(refusal)) = told.first()
        && told.iter().all(Result::is_err)
    {
        return Err(refusal.clone());
    }
    let value = |one: Told| match one {
        Ok(Answer::Reply(reply)) => reply,
        _ => Reply::Nil,
    };
    Ok(Answer::Reply(Reply::List(told.into_iter().map(value).collect())))
}

/// Returns how much of an entry is kept when it is read.
pub fn room() -> Room {
    Room::for_content(MOST_CONTENT).and_fields(EVENT_FIELDS + ADDED_FIELDS - MAX_FIELDS)
}

/// Sends queries in one round trip. A refusal is an error in the place of the answer.
fn ask(connection: &mut Connection, queries: &[&Query]) -> RedisResult<Vec<RedisResult<Answer>>> {
    let commands: Vec<redis::Cmd> = queries.iter().map(|query| query.command.clone()).collect();
    connection.write_all(&commands)?;
    let mut answers = Vec::with_capacity(queries.len());
    for query in queries {
        let read = |shape: Shape, reply| shape.read(&reply);
        let answer = match query.form {
            Form::Reply(shape) => connection.receive_reply(&query.command).map(|reply| read(shape, reply)),
            Form::Values(_) => {
                connection.receive_reply(&query.command).map(|reply| read(Shape::Plain, reply))
            }
            Form::Entries => connection.receive_list(&query.command, room()).map(Answer::Entries),
        };
        if connection.is_broken() {
            return Err(answer.err().unwrap_or_else(unexpected));
        }
        answers.push(answer);
    }
    Ok(answers)
}
