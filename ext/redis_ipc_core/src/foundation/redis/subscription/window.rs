//! The time in which messages can have been missed.

use crate::foundation::net::address::Address;
use crate::foundation::payload::loss::Cause;
use crate::foundation::redis::subscription::counters::{Count, Counters};

/// Up to where it is certain that everything was received.
#[derive(Debug, Clone)]
pub struct Known {
    /// Redis's time, in ms since 1970.
    pub since_ms: u64,
    /// The server.
    pub address: Address,
    /// Its counters, read before that. `None` if they could not be read.
    pub counters: Option<Counters>,
    /// How many messages have certainly been received since then, each of which was counted.
    pub received: u64,
    /// If channels have left a node whose other channels go on: how many messages of that node were received by then.
    pub left_at: Option<u64>,
    /// How many messages the server had got from other nodes when its subscription began. `None` if that is not known.
    pub relayed: Option<u64>,
}

impl Known {
    /// Begins to know, at the server of `address`, which had these counters.
    pub fn new(since_ms: u64, address: Address, counters: Option<Counters>) -> Self {
        Self { since_ms, address, counters, received: 0, left_at: None, relayed: None }
    }

    /// Returns what is known now that all before `self` has arrived. If its counters could not be read, those of
    /// `before` are still good: what was received since then is counted, too.
    pub fn after(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if self.counters.is_none() => Self { since_ms: self.since_ms, ..before },
            _ => self,
        }
    }
}

/// The time between two subscriptions.
#[derive(Debug)]
pub struct Window {
    /// What was known before it.
    pub before: Known,
    /// When the next subscription was confirmed, in ms since 1970 on Redis's clock.
    pub until_ms: u64,
    /// The server of the next subscription.
    pub address: Address,
    /// Its counters, read after that.
    pub counters: Option<Counters>,
    /// Whether the process had stopped reading, because it had no room.
    pub was_full: bool,
    /// Whether the server has said that it is no longer the one for these channels.
    pub has_moved: bool,
    /// Whether messages may have come by other nodes, which the server does not count.
    pub is_relayed: bool,
    /// What the server counts of all that is sent there.
    pub counts: Vec<Count>,
}

impl Window {
    /// Returns how many messages can have been missed, at most. `None` if that is not known.
    pub fn at_most(&self) -> Option<u64> {
        let Known { counters, received, .. } = &self.before;
        // What was published at another node is not counted here.
        if self.counts.is_empty() || self.has_moved || self.is_relayed {
            return None;
        }
        // If more was received than was published, something is published there that the server does not count.
        counters.as_ref()?.growth_until(self.counters.as_ref()?, &self.counts)?.checked_sub(*received)
    }

    /// Returns why.
    pub fn cause(&self) -> Cause {
        let counters = self.before.counters.as_ref().zip(self.counters.as_ref());
        match counters {
            _ if self.has_moved => Cause::SlotMoved,
            _ if self.address != self.before.address => Cause::Failover,
            Some((before, after)) if !before.is_same_run(after) => Cause::Restarted,
            _ if self.was_full => Cause::SlowConsumer,
            Some((before, after)) if before.has_cut_off_until(after) => Cause::SlowConsumer,
            _ => Cause::Disconnected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;

    fn counters(run: &str, published: u64) -> Option<Counters> {
        let text = format!("run_id:{run}\r\ncmdstat_publish:calls={published}\r\n");
        Counters::read(&Value::BulkString(text.into_bytes()))
    }

    fn window(before: Option<Counters>, received: u64, after: Option<Counters>) -> Window {
        let address = Address::Tcp("h".into(), 1);
        let before = Known { received, ..Known::new(1, address.clone(), before) };
        Window {
            before,
            until_ms: 2,
            address,
            counters: after,
            was_full: false,
            has_moved: false,
            is_relayed: false,
            counts: vec![Count::Publish],
        }
    }

    #[test]
    fn what_was_received_since_the_counters_were_read_was_not_missed() {
        assert_eq!(window(counters("a", 5), 3, counters("a", 10)).at_most(), Some(2));
        assert_eq!(window(counters("a", 5), 0, counters("a", 5)).at_most(), Some(0));
        assert_eq!(window(counters("a", 5), 6, counters("a", 10)).at_most(), None, "not all is counted");
        assert_eq!(window(None, 0, counters("a", 10)).at_most(), None);
        assert_eq!(window(counters("a", 5), 0, None).at_most(), None);
        let other = Window { counts: Vec::new(), ..window(counters("a", 5), 0, counters("a", 5)) };
        assert_eq!(other.at_most(), None);
        let relayed = Window { is_relayed: true, ..window(counters("a", 5), 0, counters("a", 5)) };
        assert_eq!(relayed.at_most(), None);
    }

    #[test]
    fn counters_that_could_not_be_read_leave_those_before_them() {
        let known = |since_ms, counters, received| {
            let address = Address::Tcp("h".into(), 1);
            Known { received, ..Known::new(since_ms, address, counters) }
        };
        let now = known(9, None, 0).after(Some(known(1, counters("a", 5), 3)));
        assert_eq!((now.since_ms, now.received, now.counters), (9, 3, counters("a", 5)));
        let now = known(9, counters("a", 8), 0).after(Some(known(1, counters("a", 5), 3)));
        assert_eq!((now.received, now.counters), (0, counters("a", 8)));
        assert_eq!(known(9, None, 0).after(None).counters, None);
    }

    #[test]
    fn a_server_that_had_to_give_the_channels_up_does_not_tell_what_others_published() {
        let moved = Window { has_moved: true, ..window(counters("a", 5), 0, counters("a", 5)) };
        assert_eq!((moved.at_most(), moved.cause()), (None, Cause::SlotMoved));
    }

    #[test]
    fn the_cause_is_what_the_servers_tell() {
        assert_eq!(window(counters("a", 5), 0, counters("a", 5)).cause(), Cause::Disconnected);
        assert_eq!(window(counters("a", 5), 0, counters("b", 5)).cause(), Cause::Restarted);
        let other =
            Window { address: Address::Tcp("h".into(), 2), ..window(counters("a", 5), 0, counters("b", 5)) };
        assert_eq!(other.cause(), Cause::Failover);
        let full = Window { was_full: true, ..window(None, 0, None) };
        assert_eq!(full.cause(), Cause::SlowConsumer);
    }
}
