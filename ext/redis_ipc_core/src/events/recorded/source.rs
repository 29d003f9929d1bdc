//! What the record of a consumer says of its source, and under which name it is written.

use crate::events::common::events_key;
use crate::events::common::live_options::LiveKind;
use crate::events::common::options::{ConsumerOptions, Order};
use crate::foundation::redis::record::keys::RecordKeys;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// After this long a handler of a consumer without a stream counts as slow. It has no lease.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many streams are looked at in one period of the record.
const STREAMS: u32 = 4;

/// The source of a consumer, as its record shows it.
pub struct Source {
    /// The kind of the source.
    pub name: &'static str,
    /// The stream, or what stands in its place.
    pub stream: String,
    /// The group, or the name of the consumer.
    pub group: String,
    /// The settings that all processes of the consumer must agree on.
    pub settings: Map<String, Value>,
    /// The number of workers.
    pub workers: usize,
    /// After this long a handler counts as slow.
    pub lease: Duration,
    /// The number of lanes. `None` without an order.
    pub lanes: Option<u16>,
    /// Whether the positions of the consumer are in Redis.
    pub has_position: bool,
    /// How often the position is looked at, in periods of the record.
    pub look_every: u32,
}

impl Source {
    /// Describes the source of a consumer with these options. `stream` and `group` are those of the consumer.
    pub fn new(stream: &str, group: &str, options: &ConsumerOptions) -> Self {
        let name = match (&options.live, &options.wal) {
            (Some(live), _) => match live.kind {
                LiveKind::Channel => "channel",
                LiveKind::Pattern => "pattern",
                LiveKind::ShardChannel => "shard_channel",
                LiveKind::Keys => "keys",
                LiveKind::Tracking => "tracking",
            },
            (None, Some(_)) => "wal",
            (None, None) => "stream",
        };
        let is_stream = name == "stream";
        let without = match &options.wal {
            Some(wal) => &wal.slot,
            None if group.is_empty() => stream,
            None => group,
        };
        Self {
            name,
            stream: if is_stream { stream } else { events_key::WITHOUT_STREAM }.to_owned(),
            group: if is_stream { group } else { without }.to_owned(),
            settings: if is_stream { settings(options) } else { Map::new() },
            workers: options.workers,
            lease: if is_stream { options.lease } else { PATIENCE },
            lanes: options.order.as_ref().filter(|_| is_stream).map(|_| options.lanes),
            has_position: is_stream,
            look_every: 1 + u32::from(options.partitions.unwrap_or(1)) / STREAMS,
        }
    }

    /// Returns the keys of the record of `instance`.
    pub fn keys(&self, instance: &str) -> RecordKeys {
        RecordKeys::new(&self.stream, &self.group, instance)
    }
}

fn settings(options: &ConsumerOptions) -> Map<String, Value> {
    let order = match &options.order {
        None => "none",
        Some(Order::Source) => "source",
        Some(Order::Key { .. }) => "key",
    };
    let settings = json!({
        "lease": options.lease.as_millis() as u64,
        "attempts": options.attempts,
        "order": order,
        "lanes": options.order.as_ref().map(|_| options.lanes),
        "partitions": options.partitions,
    });
    if let Value::Object(settings) = settings { settings } else { Map::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(options: Value) -> Source {
        Source::new("orders", "mailer", &ConsumerOptions::parse(options, None).unwrap())
    }

    #[test]
    fn a_stream_has_its_own_records_and_other_sources_share_a_name() {
        let stream = source(json!({"order": "key", "partitions": 16}));
        let (of_stream, of_live) =
            (stream.keys("7f"), source(json!({"live": {"kind": "channel", "names": ["a"]}})));
        assert_eq!(of_stream.record, "orders:stats:mailer:7f");
        assert_eq!(
            (stream.settings["order"].as_str(), stream.lanes, stream.look_every),
            (Some("key"), Some(16), 5)
        );
        assert_eq!(
            (of_live.name, of_live.keys("7f").record.as_str()),
            ("channel", "redis_ipc:events:stats:mailer:7f")
        );
        assert!(of_live.settings.is_empty() && of_live.lanes.is_none());
    }
}
