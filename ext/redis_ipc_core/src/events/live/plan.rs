//! Which subscriptions a live source needs.

use crate::events::common::live_options::{LiveKind, LiveOptions};
use crate::events::live::keyspace;
use crate::events::live::tracking;
use crate::foundation::net::address::Address;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::subscription::counters::Count;
use crate::foundation::redis::subscription::spot::Spot;
use crate::foundation::redis::subscription::topics::{TopicKind, Topics};
use redis::RedisResult;
use std::sync::Arc;

/// Returns the subscriptions that `live` needs, each with its server. In a cluster those to sharded channels are not
/// planned here, because these channels move between nodes.
///
/// # Errors
///
/// The nodes of the cluster cannot be asked.
pub fn of(live: &LiveOptions, connector: &Connector, db: i64) -> RedisResult<Vec<(Spot, Topics)>> {
    Ok(match live.kind {
        LiveKind::Channel => vec![(Spot::Any, messages(TopicKind::Channel, live, connector.is_cluster()))],
        LiveKind::Pattern => vec![(Spot::Any, messages(TopicKind::Pattern, live, connector.is_cluster()))],
        LiveKind::ShardChannel => vec![(Spot::Any, of_shards(live.names.clone()))],
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

/// Returns the subscription to channels of shards.
pub fn of_shards(names: Vec<String>) -> Topics {
    Topics { kind: TopicKind::Shard, names, counts: vec![Count::ShardPublish], is_late: false }
}
