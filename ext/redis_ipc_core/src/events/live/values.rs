//! Reads what is under keys after something has happened to them.

use crate::events::common::in_flight::InFlight;
use crate::events::common::live_options::KEY;
use crate::events::live::keyspace;
use crate::events::live::reading::EVENT;
use crate::events::live::text_list;
use crate::foundation::payload::fields::Fields;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

const VALUE: &str = "value";
const STATE: &str = "value_state";
const TYPE: &str = "value_type";

/// How long a round of reading may take. No messages are read meanwhile.
const TIME: Duration = Duration::from_millis(500);
/// The most elements of a value that is read. Redis does nothing else while it collects them.
const ELEMENTS: i64 = 1_000;

/// What was found under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// A String.
    Text(Vec<u8>),
    /// A value of another type: its elements. Of a hash and a sorted set they come in pairs.
    Elements(Collection, Vec<u8>),
    /// Nothing.
    Gone,
    /// It has a type that is not read, is too large, or could not be read.
    Unknown,
}

/// The types of values that have elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Collection {
    Hash,
    List,
    Set,
    SortedSet,
}

impl Collection {
    /// Reads the reply to TYPE.
    fn of(reply: &Value) -> Option<Self> {
        let Value::SimpleString(name) = reply else { return None };
        [Self::Hash, Self::List, Self::Set, Self::SortedSet].into_iter().find(|one| one.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
        }
    }

    /// Returns the command that counts the elements.
    fn count(self, key: &[u8]) -> Cmd {
        command(
            match self {
                Self::Hash => "HLEN",
                Self::List => "LLEN",
                Self::Set => "SCARD",
                Self::SortedSet => "ZCARD",
            },
            key,
            &[],
        )
    }

    /// Returns the command that reads the elements.
    fn read(self, key: &[u8]) -> Cmd {
        match self {
            Self::Hash => command("HGETALL", key, &[]),
            Self::List => command("LRANGE", key, &["0", "-1"]),
            Self::Set => command("SMEMBERS", key, &[]),
            Self::SortedSet => command("ZRANGE", key, &["0", "-1", "WITHSCORES"]),
        }
    }
}

fn command(name: &str, key: &[u8], rest: &[&str]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key).arg(rest);
    command
}

impl Found {
    fn state(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Elements(..) => "present",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the fields that tell of it.
    fn fields(&self) -> Vec<(&[u8], &[u8])> {
        let mut fields = vec![(STATE.as_bytes(), self.state().as_bytes())];
        if let Self::Elements(collection, _) = self {
            fields.push((TYPE.as_bytes(), collection.name().as_bytes()));
        }
        if let Self::Text(value) | Self::Elements(_, value) = self {
            fields.push((VALUE.as_bytes(), value));
        }
        fields
    }

    /// Reads the elements of a value in the reply to [`Collection::read`]. More bytes than `most` are not kept.
    fn elements(collection: Collection, reply: Value, most: usize) -> Self {
        let Value::Array(elements) = reply else { return Self::Unknown };
        let texts: Option<Vec<&[u8]>> = elements
            .iter()
            .map(|element| match element {
                Value::BulkString(text) => Some(text.as_slice()),
                _ => None,
            })
            .collect();
        match texts {
            Some(texts) if texts.is_empty() => Self::Gone,
            Some(texts) if texts.iter().map(|text| text.len()).sum::<usize>() <= most => {
                Self::Elements(collection, text_list::write(texts))
            }
            _ => Self::Unknown,
        }
    }
}

/// Reads the values of keys on its own connection.
#[derive(Default)]
pub struct Values {
    connection: Option<Connection>,
}

impl Values {
    /// Adds to events the current values of their keys. An unreadable value counts as unknown.
    pub fn add(&mut self, events: &mut [Arc<InFlight>], connector: &Connector, route: &Route, most: usize) {
        let keys: Vec<&[u8]> = events.iter().filter_map(|event| key_to_read(event)).collect();
        let mut found = self.read(&keys, connector, route, most).unwrap_or_default().into_iter();
        for event in events {
            let found = match key_to_read(event) {
                Some(_) => found.next().unwrap_or(Found::Unknown),
                None => Found::Gone,
            };
            // Nobody else holds the event yet.
            if let Some(event) = Arc::get_mut(event) {
                let parts: Vec<(&[u8], &[u8])> = event.fields.iter().chain(found.fields()).collect();
                event.fields = Fields::exactly(&parts);
            }
        }
    }

    fn read(
        &mut self,
        keys: &[&[u8]],
        connector: &Connector,
        route: &Route,
        most: usize,
    ) -> RedisResult<Vec<Found>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // The connection may have been closed in the meantime.
        let old = self.connection.take().filter(|connection| connection.is_at(route));
        if let Some(mut connection) = old
            && let Ok(found) = find(&mut connection, keys, most)
        {
            self.connection = Some(connection);
            return Ok(found);
        }
        let mut connection = connector.open_quickly(route, TIME)?;
        connection.set_timeouts(TIME, TIME)?;
        let found = find(&mut connection, keys, most)?;
        self.connection = Some(connection);
        Ok(found)
    }
}

/// Reads the values of keys: first as Strings; of those that are none the type, then the size, and then the elements.
fn find(connection: &mut Connection, keys: &[&[u8]], most: usize) -> RedisResult<Vec<Found>> {
    let gets: Vec<Cmd> = keys.iter().map(|key| command("GET", key, &[])).collect();
    let (mut found, mut others) = (Vec::with_capacity(keys.len()), Vec::new());
    for (index, reply) in connection.run_all(&gets)?.into_iter().enumerate() {
        found.push(match reply {
            Value::BulkString(value) if value.len() <= most => Found::Text(value),
            Value::Nil => Found::Gone,
            Value::ServerError(error) if error.code() == "WRONGTYPE" => {
                others.push(index);
                Found::Unknown
            }
            _ => Found::Unknown,
        });
    }
    let collections = small_collections(connection, keys, &others, most)?;
    let reads: Vec<Cmd> = collections.iter().map(|(index, one)| one.read(keys[*index])).collect();
    for ((index, one), reply) in collections.iter().zip(run_all(connection, &reads)?) {
        found[*index] = Found::elements(*one, reply, most);
    }
    Ok(found)
}

/// Returns which of these keys have elements, and few and small enough ones.
fn small_collections(
    connection: &mut Connection,
    keys: &[&[u8]],
    others: &[usize],
    most: usize,
) -> RedisResult<Vec<(usize, Collection)>> {
    let types: Vec<Cmd> = others.iter().map(|index| command("TYPE", keys[*index], &[])).collect();
    let replies = run_all(connection, &types)?;
    let known: Vec<(usize, Collection)> = others
        .iter()
        .zip(&replies)
        .filter_map(|(index, reply)| Some((*index, Collection::of(reply)?)))
        .collect();
    let sizes: Vec<Cmd> = known
        .iter()
        .flat_map(|(index, one)| {
            let mut usage = redis::cmd("MEMORY");
            usage.arg("USAGE").arg(keys[*index]);
            [one.count(keys[*index]), usage]
        })
        .collect();
    let replies = run_all(connection, &sizes)?;
    let fits = |sizes: &[Value]| match sizes {
        [Value::Int(count), Value::Int(bytes)] => {
            *count <= ELEMENTS && usize::try_from(*bytes).is_ok_and(|bytes| bytes <= most)
        }
        _ => false,
    };
    Ok(known
        .into_iter()
        .zip(replies.chunks(2))
        .filter(|(_, sizes)| fits(sizes))
        .map(|(one, _)| one)
        .collect())
}

fn run_all(connection: &mut Connection, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
    if commands.is_empty() { Ok(Vec::new()) } else { connection.run_all(commands) }
}

fn key_to_read(event: &InFlight) -> Option<&[u8]> {
    let is_gone = event.fields.get(EVENT).is_none_or(keyspace::is_gone);
    event.fields.get(KEY).filter(|_| !is_gone)
}
