//! Determines the key of an event, and the lane of a key.

use crate::events::common::key_hash::hash;
use crate::events::common::options::Order;
use crate::events::common::streams::lane;
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use serde_json::Value;
use std::borrow::Cow;

/// The field with the key in events of this gem.
const KEY: &str = "key";
/// The field with the JSON in events of this gem.
const DATA: &str = "data";

/// The place of an event in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The lane.
    pub lane: u16,
    /// A hash of the key. Events of the same hash run one after the other.
    pub key: u64,
}

impl Order {
    /// Returns the place of an event. An event without a key gets a key of its own, so that it has no order with any
    /// other.
    pub fn spot(&self, id: StreamId, fields: &Fields, lanes: u16) -> Spot {
        match self {
            Self::Source => Spot { lane: 0, key: 0 },
            Self::Key { by, json } => match key(fields, by.as_deref(), json.as_deref()) {
                Some(key) => Spot { lane: lane(&key, lanes), key: hash(&*key) },
                None => {
                    let name = id.to_string();
                    Spot { lane: lane(name.as_bytes(), lanes), key: hash(&id) }
                }
            },
        }
    }

    /// Returns the place of an event of a partition: that partition, whatever the key. Also returns whether the key
    /// belongs there.
    pub fn spot_in(&self, partition: u16, id: StreamId, fields: &Fields, partitions: u16) -> (Spot, bool) {
        let Self::Key { by, json } = self else { return (Spot { lane: partition, key: 0 }, true) };
        match key(fields, by.as_deref(), json.as_deref()) {
            Some(key) => (Spot { lane: partition, key: hash(&*key) }, lane(&key, partitions) == partition),
            // Hashes the partition with the id, because two partitions may have the same id.
            None => (Spot { lane: partition, key: hash(&(partition, id)) }, true),
        }
    }
}

fn key<'a>(fields: &'a Fields, by: Option<&str>, json: Option<&str>) -> Option<Cow<'a, [u8]>> {
    let Some(by) = by else { return fields.get(KEY).map(Cow::Borrowed) };
    if let Some(value) = fields.get(by) {
        return Some(Cow::Borrowed(value));
    }
    let Ok(Value::Object(data)) = serde_json::from_slice(fields.get(json.unwrap_or(DATA))?) else {
        return None;
    };
    match data.get(by)? {
        Value::String(text) => Some(Cow::Owned(text.clone().into_bytes())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
        number_or_bool => Some(Cow::Owned(number_or_bool.to_string().into_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs.iter().copied().collect()
    }

    fn found(by: Option<&str>, json: Option<&str>, pairs: &[(&str, &str)]) -> Option<String> {
        let fields = fields(pairs);
        key(&fields, by, json).map(|key| String::from_utf8_lossy(&key).into_owned())
    }

    #[test]
    fn the_key_is_a_field_or_in_the_json() {
        let own =
            [("type", "t"), ("key", "7"), ("data", r#"{"order_id":8,"name":"x","paid":true,"no":null}"#)];
        assert_eq!(found(None, None, &own).as_deref(), Some("7"));
        assert_eq!(found(Some("order_id"), None, &own).as_deref(), Some("8"));
        assert_eq!(found(Some("name"), None, &own).as_deref(), Some("x"));
        assert_eq!(found(Some("paid"), None, &own).as_deref(), Some("true"));
        assert_eq!(found(Some("no"), None, &own), None);
        assert_eq!(found(Some("other"), None, &own), None);
        let foreign = [("room", "4"), ("payload", r#"{"room":5,"floor":2}"#)];
        assert_eq!(found(Some("room"), Some("payload"), &foreign).as_deref(), Some("4"));
        assert_eq!(found(Some("floor"), Some("payload"), &foreign).as_deref(), Some("2"));
        assert_eq!(found(Some("floor"), None, &foreign), None);
        assert_eq!(found(None, None, &foreign), None);
        assert_eq!(found(Some("x"), Some("payload"), &[("payload", "no json")]), None);
    }

    #[test]
    fn an_event_of_a_partition_belongs_there() {
        let order = Order::Key { by: None, json: None };
        let id = StreamId { ms: 1, seq: 0 };
        let (keyed, none) = (fields(&[("key", "7")]), fields(&[("x", "7")]));
        let home = lane(b"7", 16);
        let spot = |partition, fields: &Fields| order.spot_in(partition, id, fields, 16);
        assert_eq!(spot(home, &keyed), (order.spot(id, &keyed, 16), true));
        assert_eq!((spot(home + 1, &keyed).0.lane, spot(home + 1, &keyed).1), (home + 1, false));
        assert_ne!(spot(1, &none).0.key, spot(2, &none).0.key, "events without a key are in no order");
        assert!(spot(1, &none).1);
    }

    #[test]
    fn the_lane_of_a_key_is_the_documented_one() {
        // These are the values of Python's `binascii.crc_hqx(b"7", 0) % 64`.
        assert_eq!(lane(b"123456789", 64), 0x31C3 % 64);
        assert_eq!([b"7".as_slice(), b"order 8", b""].map(|key| lane(key, 16)), [4, 7, 0]);
        let order = Order::Key { by: None, json: None };
        let spots = [1, 2].map(|ms| order.spot(StreamId { ms, seq: 0 }, &fields(&[("key", "a")]), 64));
        assert_eq!(spots[0], spots[1]);
        let none = [1, 2].map(|ms| order.spot(StreamId { ms, seq: 0 }, &fields(&[("x", "a")]), 64));
        assert_ne!(none[0].key, none[1].key, "events without a key are in no order");
        assert_eq!(Order::Source.spot(StreamId::default(), &fields(&[]), 1), Spot { lane: 0, key: 0 });
    }
}
