//! What a node of a cluster had counted while a slot was certainly not its own.
//!
//! When a slot moves, messages can be published at its new node before anybody is subscribed there. How many is what
//! that node has counted since a moment at which it had not got the slot yet. When it got the slot is not told by
//! anything. But a node that names the old owner of a slot has not got it. So every few seconds the counters of each
//! node are read, and then which nodes serve which slots by its own view.

use crate::foundation::net::address::Address;
use crate::foundation::redis::cluster::SlotView;
use crate::foundation::redis::subscription::counters::{Count, Counters};
use crate::foundation::runtime::sync::Mutex;
use std::collections::VecDeque;

/// How many samples are kept: the last one can have been taken after a slot has moved.
const KEPT: usize = 2;

/// A node's counters, and the slots that it knew to be of others after they had been read.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The counters.
    pub counters: Counters,
    /// How many messages it had got from its replicas, which the counters leave out.
    pub relayed: u64,
    /// When they were read, in ms since 1970 on Redis's clock.
    pub at_ms: u64,
    /// What the node knew then.
    pub view: SlotView,
}

/// What one node had counted.
#[derive(Debug, Default)]
pub struct Bases(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Each with how many messages had certainly been received from the node by then.
    samples: VecDeque<(Sample, u64)>,
    received: u64,
    has_subscription: bool,
}

impl Bases {
    /// Records that a subscription at the node begins, or has ended. Only the subscription knows what has been received
    /// when its samples were taken.
    pub fn set_subscription(&self, has_subscription: bool) {
        self.0.lock().has_subscription = has_subscription;
    }

    /// Records that a message was received from the node.
    pub fn note_received(&self) {
        self.0.lock().received += 1;
    }

    /// Returns how many messages were received from the node.
    pub fn received(&self) -> u64 {
        self.0.lock().received
    }

    /// Keeps a sample, if it is that of the subscription, or there is none.
    pub fn keep(&self, sample: Sample, is_of_subscription: bool) {
        let mut state = self.0.lock();
        if state.has_subscription != is_of_subscription {
            return;
        }
        if state.samples.len() == KEPT {
            state.samples.pop_front();
        }
        let received = state.received;
        state.samples.push_back((sample, received));
    }

    /// Returns the most messages that the node can have sent, and this process has not received, since these slots were
    /// certainly of `owner`; and since when that is. `read` reads the counters, and what came by replicas. `None` if
    /// that is not known.
    pub fn missing_since(
        &self,
        slots: &[u16],
        owner: &Address,
        read: impl FnOnce() -> Option<(Counters, u64)>,
    ) -> Option<(u64, u64)> {
        let (sample, received) = {
            let state = self.0.lock();
            let was_of_owner =
                |sample: &Sample| slots.iter().all(|slot| sample.view.owner(*slot) == Some(owner));
            let found = state.samples.iter().rev().find(|(sample, _)| was_of_owner(sample));
            let (sample, before) = found?;
            (sample.clone(), state.received - before)
        };
        let (counters, relayed) = read()?;
        let published = sample.counters.growth_until(&counters, &[Count::ShardPublish])?;
        // What was received after that is counted, too.
        let growth = published + relayed.checked_sub(sample.relayed)?;
        Some((growth.checked_sub(received)?, sample.at_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::redis::cluster::Cluster;
    use crate::foundation::redis::redis_options::ClusterOptions;
    use redis::Value;

    fn node(port: u16) -> Address {
        Address::Tcp("h".into(), port)
    }

    fn counters(run: &str, published: u64) -> Counters {
        let text = format!("run_id:{run}\r\ncmdstat_spublish:calls={published}\r\n");
        Counters::read(&Value::BulkString(text.into_bytes())).unwrap()
    }

    /// Slots below 100 are of the node at one port, the others of that at another.
    fn sample(at_ms: u64, published: u64, ports: [u16; 2]) -> Sample {
        let cluster = Cluster::new(&ClusterOptions { seeds: vec![node(1)], fixed_host: None });
        let reply =
            format!("*2 *3 :0 :99 *3 $1 h :{} $1 a *3 :100 :16383 *3 $1 h :{} $1 b ", ports[0], ports[1]);
        let reply = redis::parse_redis_value(reply.replace(' ', "\r\n").as_bytes()).unwrap();
        let view = cluster.view(&reply, &node(1)).unwrap();
        Sample { counters: counters("a", published), relayed: 2, at_ms, view }
    }

    #[test]
    fn what_can_be_missing_is_counted_from_before_the_slot_had_moved() {
        let bases = Bases::default();
        let missing =
            |slots: &[u16], now| bases.missing_since(slots, &node(1), || Some((counters("a", now), 2)));
        assert_eq!(missing(&[5], 10), None);
        bases.keep(sample(1_000, 3, [1, 2]), false);
        bases.keep(sample(2_000, 6, [2, 2]), false);
        assert_eq!(missing(&[5], 10), Some((7, 1_000)), "by then it had the slot, at the second sample");
        assert_eq!(missing(&[5, 200], 10), None, "it was not of that node");
        assert_eq!(
            bases.missing_since(&[5], &node(1), || Some((counters("b", 10), 2))),
            None,
            "started again"
        );
        assert_eq!(bases.missing_since(&[5], &node(1), || None), None);
        let relayed = bases.missing_since(&[5], &node(1), || Some((counters("a", 10), 4)));
        assert_eq!(relayed, Some((9, 1_000)), "two came by replicas");
        bases.keep(sample(3_000, 6, [2, 2]), false);
        assert_eq!(missing(&[5], 10), None, "it is too long ago");
    }

    #[test]
    fn what_a_subscription_has_received_is_not_missing() {
        let bases = Bases::default();
        bases.set_subscription(true);
        bases.note_received();
        bases.keep(sample(1_000, 3, [1, 2]), true);
        bases.keep(sample(2_000, 3, [1, 2]), false);
        bases.note_received();
        bases.note_received();
        let missing = |now| bases.missing_since(&[5], &node(1), || Some((counters("a", now), 2)));
        assert_eq!(missing(7), Some((2, 1_000)));
        assert_eq!(missing(4), None, "more than was counted");
    }
}
