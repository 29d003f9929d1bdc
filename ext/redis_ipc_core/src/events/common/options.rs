//! Every option of a consumer and of a publisher, with its default, its range and its errors.

use crate::error::Error;
use crate::events::common::forward_options::ForwardOptions;
use crate::events::common::live_options::LiveOptions;
use crate::events::common::wal_options::WalOptions;
use crate::foundation::payload::fields::{MAX_FIELDS, Room};
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::group_consumer::dead_letters::Limits;
use crate::foundation::redis::redis_options::RedisOptions;
use serde_json::Value;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// The most fields of an event. Other applications' entries may have more than ours.
const FIELDS: usize = 1_000;

/// The position at which a new group begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The first entry of the stream.
    Beginning,
    /// The end of the stream.
    New,
    /// The entry after this id.
    After(StreamId),
}

/// How events are ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    Source,
    /// One after the other for each key.
    Key {
        /// The field that holds the key, or its name in the JSON. `None` means the field `key`.
        by: Option<String>,
        /// The field that holds JSON.
        json: Option<String>,
    },
}

/// The most lanes.
const LANES: u16 = 1_024;
/// The most partitions. A process that is alone reads each of them by a thread and a connection.
pub const MOST_PARTITIONS: u16 = 256;

#[derive(Clone, Copy)]
enum OrderWord {
    None,
    Source,
    Key,
}

fn parse_order(reader: &mut OptionReader) -> Result<Option<Order>, Error> {
    let words = [("none", OrderWord::None), ("source", OrderWord::Source), ("key", OrderWord::Key)];
    let (by, json) = (reader.string("by")?, reader.string("json")?);
    Ok(match reader.word("order", &words)? {
        None | Some(OrderWord::None) => None,
        Some(OrderWord::Source) => Some(Order::Source),
        Some(OrderWord::Key) => Some(Order::Key { by, json }),
    })
}

fn parse_partitions(reader: &mut OptionReader, order: Option<&Order>) -> Result<Option<u16>, Error> {
    let partitions = reader.integer("partitions", 1..=u64::from(MOST_PARTITIONS))?;
    if partitions.is_some() && !matches!(order, Some(Order::Key { .. })) {
        return Err(reader.refuse("partitions", "with the order \"key\": a key decides about the partition"));
    }
    Ok(partitions.map(|partitions| partitions as u16))
}

impl From {
    /// Returns the position in the form that XGROUP CREATE takes.
    pub fn argument(self) -> String {
        match self {
            Self::Beginning => "0".to_owned(),
            Self::New => "$".to_owned(),
            Self::After(id) => id.to_string(),
        }
    }

    /// Reads `"beginning"`, `"new"` or the id before the first entry.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "beginning" => Some(Self::Beginning),
            "new" => Some(Self::New),
            id => StreamId::parse(id.as_bytes()).map(Self::After),
        }
    }

    /// Returns the position of the first entry that was added in this ms or later.
    pub fn at(ms: u64) -> Self {
        match ms.checked_sub(1) {
            Some(before) => Self::After(StreamId { ms: before, seq: u64::MAX }),
            None => Self::Beginning,
        }
    }

    fn parse(reader: &mut OptionReader) -> Result<Self, Error> {
        let found = match reader.value("from") {
            None | Some(Value::Null) => Some(Self::New),
            Some(Value::String(text)) => Self::named(text.as_str()),
            Some(Value::Number(ms)) => ms.as_u64().map(Self::at),
            Some(_) => None,
        };
        found.ok_or_else(|| {
            reader.refuse("from", "\"beginning\", \"new\", an id as \"1700000000000-0\", or ms since 1970")
        })
    }
}

/// The options of one consumer.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How to reach Redis.
    pub redis: RedisOptions,
    /// Where a new group begins.
    pub from: From,
    /// The number of workers.
    pub workers: usize,
    /// The most events that a worker takes at once, for handlers of batches. The same number is read ahead for each
    /// worker.
    pub batch_size: usize,
    /// How long an event stays with a process that no longer renews its lease.
    pub lease: Duration,
    /// The number of deliveries after which an event is given up on.
    pub attempts: u32,
    /// The most bytes of an event.
    pub max_event_size: usize,
    /// How many ids of events are remembered, by which a second copy is recognized.
    pub remember_ids: usize,
    /// Limits on the dead letters.
    pub dead_letters: Limits,
    /// The order of events. `None` means no order.
    pub order: Option<Order>,
    /// How many lanes an ordered consumer has.
    pub lanes: u16,
    /// How many partitions the events of an order by key are spread over. Then each partition is a stream and a lane.
    pub partitions: Option<u16>,
    /// Whether a dead letter stops the events of its key until an operator retries or discards it.
    pub holds_keys: bool,
    /// The most events that an ordered consumer, or one of a live source or a log, holds in memory.
    pub prefetch: usize,
    /// The most bytes of events that a consumer of a live source or a log holds in memory.
    pub prefetch_bytes: usize,
    /// The live source. `None` means a stream.
    pub live: Option<LiveOptions>,
    /// The write-ahead log. `None` means a stream or a live source.
    pub wal: Option<WalOptions>,
    /// The stream that the changes of the log are written to. `None` means that they are handed out.
    pub forward: Option<ForwardOptions>,
    /// Whether it writes a record.
    pub is_recorded: bool,
}

impl ConsumerOptions {
    /// Reads options as nested JSON. `environment_url` is the value of `REDIS_URL`.
    ///
    /// # Errors
    ///
    /// An option is unknown or has a wrong type or value (a [`crate::ErrorKind::Configuration`] error).
    pub fn parse(value: Value, environment_url: Option<&str>) -> Result<Self, Error> {
        let mut top = OptionReader::new("", Some(value))?;
        let order = parse_order(&mut top)?;
        let most_lanes = if order == Some(Order::Source) { 1 } else { LANES };
        let partitions = parse_partitions(&mut top, order.as_ref())?;
        let lanes = top.integer("lanes", 1..=u64::from(most_lanes))?.map(|lanes| lanes as u16);
        if partitions.is_some() && lanes.is_some() {
            return Err(top.refuse("partitions", "without lanes: each partition is a lane"));
        }
        let wal = top.value("wal").map(WalOptions::parse).transpose()?;
        // PostgreSQL keeps its log until it is read. What Redis publishes should be read before it is gone.
        let prefetch = if wal.is_some() { 1_000 } else { 10_000 };
        let options = Self {
            redis: RedisOptions::parse(top.section("redis_options")?, environment_url)?,
            from: From::parse(&mut top)?,
            order,
            lanes: partitions.or(lanes).unwrap_or(most_lanes.min(64)),
            partitions,
            holds_keys: top.boolean("holds_keys")?.unwrap_or(false),
            prefetch: top.integer("prefetch", 1..=1_000_000)?.unwrap_or(prefetch) as usize,
            prefetch_bytes: top.integer("prefetch_bytes", 1..=1 << 40)?.unwrap_or(64 << 20) as usize,
            workers: top.integer("threads", 1..=1_000)?.unwrap_or(5) as usize,
            batch_size: top.integer("batch_size", 1..=10_000)?.unwrap_or(1) as usize,
            lease: top.seconds("lease", DAY)?.unwrap_or(Duration::from_secs(30)),
            attempts: top.integer("attempts", 1..=1_000)?.unwrap_or(5) as u32,
            max_event_size: top.integer("max_event_size", 1..=512 << 20)?.unwrap_or(16 << 20) as usize,
            remember_ids: top.integer("remember_ids", 0..=1_000_000)?.unwrap_or(10_000) as usize,
            dead_letters: Limits::parse(top.section("dead_letters")?)?,
            live: top.value("live").map(LiveOptions::parse).transpose()?,
            wal,
            forward: top.value("forward").map(ForwardOptions::parse).transpose()?,
            is_recorded: top.boolean("record")?.unwrap_or(true),
        };
        if options.lease < Duration::from_millis(100) {
            return Err(top.refuse("lease", "at least 0.1 s"));
        }
        top.finish()?;
        Ok(options)
    }

    /// Returns the server that events come from, without credentials.
    pub fn server(&self) -> String {
        self.wal.as_ref().map_or_else(|| self.redis.redacted(), |wal| wal.connection.redacted())
    }

    /// Returns how much of an entry is kept when it is read.
    pub fn room(&self) -> Room {
        Room::for_content(self.max_event_size).and_fields(FIELDS - MAX_FIELDS)
    }
}

/// The options of one publisher.
#[derive(Debug, Clone)]
pub struct PublisherOptions {
    /// How to reach Redis.
    pub redis: RedisOptions,
    /// The most connections.
    pub pool_size: u32,
}

impl PublisherOptions {
    /// Reads options like [`ConsumerOptions::parse`].
    ///
    /// # Errors
    ///
    /// An option is unknown or has a wrong type or value (a [`crate::ErrorKind::Configuration`] error).
    pub fn parse(value: Value, environment_url: Option<&str>) -> Result<Self, Error> {
        let mut top = OptionReader::new("", Some(value))?;
        let options = Self {
            redis: RedisOptions::parse(top.section("redis_options")?, environment_url)?,
            pool_size: top.integer("pool_size", 1..=1_000)?.unwrap_or(10) as u32,
        };
        top.finish()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn from(value: Value) -> Result<From, String> {
        let parsed = ConsumerOptions::parse(json!({ "from": value }), None);
        parsed.map(|options| options.from).map_err(|error| error.message)
    }

    #[test]
    fn a_group_begins_where_it_is_told_to() {
        assert_eq!(from(Value::Null), Ok(From::New));
        assert_eq!(from(json!("beginning")).map(From::argument), Ok("0".to_owned()));
        assert_eq!(from(json!("new")).map(From::argument), Ok("$".to_owned()));
        assert_eq!(from(json!("7-1")).map(From::argument), Ok("7-1".to_owned()));
        assert_eq!(from(json!(7)).map(From::argument), Ok(format!("6-{}", u64::MAX)));
        assert_eq!(from(json!(0)), Ok(From::Beginning));
        for bad in [json!("soon"), json!(-1), json!(1.5), json!([])] {
            assert!(from(bad).is_err_and(|message| message.contains("from must be")));
        }
    }

    #[test]
    fn partitions_are_the_lanes_of_an_order_by_key() {
        let parse = |options| ConsumerOptions::parse(options, None).map_err(|error| error.message);
        let options = parse(json!({ "order": "key", "partitions": 16 })).unwrap();
        assert_eq!((options.lanes, options.partitions), (16, Some(16)));
        let plain = parse(json!({ "order": "key" })).unwrap();
        assert_eq!((plain.lanes, plain.partitions), (64, None));
        for bad in [
            json!({ "partitions": 16 }),
            json!({ "order": "source", "partitions": 16 }),
            json!({ "order": "key", "partitions": 16, "lanes": 16 }),
            json!({ "order": "key", "partitions": 257 }),
        ] {
            assert!(parse(bad).is_err_and(|message| message.contains("partitions must be")));
        }
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let options = ConsumerOptions::parse(json!({}), None).unwrap();
        assert_eq!((options.workers, options.batch_size, options.attempts), (5, 1, 5));
        assert_eq!((options.lease, options.max_event_size), (Duration::from_secs(30), 16 << 20));
    }
}
