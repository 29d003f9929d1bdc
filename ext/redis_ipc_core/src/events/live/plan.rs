//! Which subscriptions a live source needs.

use crate::events::common::live_options::{LiveKind, LiveOptions};
use crate::events::live::keyspace;
use crate::events::live::tracking;
use crate::foundation::net::address::Address;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::slots::slot;
use crate::foundation::redis::subscription::counters::Count;
use crate::foundation::redis::subscription::spot::Spot;
use crate::foundation::redis::subscription::topics::{TopicKind, Topics};
use redis::RedisResult;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Returns the subscriptions that `live` needs, each with its server.
///
/// # Errors
///
/// The nodes of the cluster cannot be asked.
pub fn of(live: &LiveOptions, connector: &Connector, db: i64) -> RedisResult<Vec<(Spot, Topics)>> {
    Ok(match live.kind {
        LiveKind::Channel => vec![(Spot::Any, messages(TopicKind::Channel, live, connector.is_cluster()))],
        LiveKind::Pattern => vec![(Spot::Any, messages(TopicKind::Pattern, live, connector.is_cluster()))],
        LiveKind::ShardChannel => of_shards(live, connector.is_cluster()),
        LiveKind::Keys | LiveKind::Tracking if connector.is_cluster() => {
            connector.primaries()?.nodes.into_iter().map(|node| of_node(live, node)).collect()
        }
        LiveKind::Keys | LiveKind::Tracking => vec![(Spot::Any, of_keys(live, db))],
    })
}

/// Returns the subscription to the keys of one node of a cluster.
pub fn of_node(live: &LiveOptions, node: Arc<Address>) -> (Spot, Topics) {
    (Spot::Node(node), of_keys(live, 0))
}

fn of_keys(live: &LiveOptions, db: i64) -> Topics {
    if live.kind == LiveKind::Tracking { tracking::topics() } else { keyspace::topics(live, db) }
}

fn messages(kind: TopicKind, live: &LiveOptions, is_cluster: bool) -> Topics {
    let mut topics = Topics { kind, names: live.names.clone(), counts: Vec::new(), is_late: false };
    // In a cluster the number of messages that one node published says nothing: any node may have published a message,
    // which may still be on its way.
    if !is_cluster && !topics.may_be_of_server() {
        topics.counts.push(Count::Publish);
    }
    topics
}

/// Returns one subscription for each slot, because the channels of a slot move together.
fn of_shards(live: &LiveOptions, is_cluster: bool) -> Vec<(Spot, Topics)> {
    let mut slots: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for name in &live.names {
        let slot = if is_cluster { slot(name.as_bytes()) } else { 0 };
        slots.entry(slot).or_default().push(name.clone());
    }
    let topics =
        |names| Topics { kind: TopicKind::Shard, names, counts: vec![Count::ShardPublish], is_late: false };
    slots.into_values().map(|names| (Spot::Key(names[0].clone()), topics(names))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn channels_of_one_slot_share_a_subscription() {
        let options = json!({ "kind": "shard_channel", "names": ["a{x}", "b", "c{x}"] });
        let live = LiveOptions::parse(options).unwrap();
        let names = |is_cluster| {
            let mut found: Vec<String> =
                of_shards(&live, is_cluster).iter().map(|(_, topics)| topics.names.join(" ")).collect();
            found.sort();
            found
        };
        assert_eq!(names(true), ["a{x} c{x}", "b"]);
        assert_eq!(names(false), ["a{x} b c{x}"]);
    }
}
