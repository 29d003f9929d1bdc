//! What a server has counted, from which it can be told how much was published in between.

use redis::{Cmd, Value};
use std::collections::HashMap;

/// What a server counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Calls of PUBLISH.
    Publish,
    /// Calls of SPUBLISH.
    ShardPublish,
    /// Keys that have expired.
    Expired,
    /// Keys that were evicted.
    Evicted,
}

/// What tells how often the counters were reset.
const RESET: &str = "cmdstat_config|resetstat";

/// A server's counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// The server, from its start to its end.
    run_id: String,
    /// The counters, in the order of [`Count`].
    counts: [u64; 4],
    /// Subscribers that it cut off, because their output buffers were full. `None` before Redis 7.2.
    cut_off: Option<u64>,
    /// How often and how long CONFIG RESETSTAT ran, as it tells it. A reset changes it.
    reset: String,
    /// Counters that only grow: what was done in all, and how often each command. A reset makes some of them smaller,
    /// until as much of everything was done again.
    growing: HashMap<String, u64>,
}

/// Returns the command that asks for [`relayed`].
pub fn relayed_command() -> Cmd {
    let mut info = redis::cmd("CLUSTER");
    info.arg("INFO");
    info
}

/// Returns how many messages of shards a node of a cluster has got from the other nodes of its shard, which it does not
/// count as SPUBLISH: a replica was told to publish them. `None` if the reply to [`relayed_command`] does not tell.
pub fn relayed(reply: &Value) -> Option<u64> {
    let Value::BulkString(bytes) = reply else { return None };
    let text = String::from_utf8_lossy(bytes);
    let mut facts = text.lines().filter_map(|line| line.split_once(':'));
    match facts.find(|(name, _)| *name == "cluster_stats_messages_publishshard_received") {
        Some((_, count)) => count.parse().ok(),
        // What was never received is not listed.
        None => text.contains("cluster_stats_messages_received:").then_some(0),
    }
}

/// Returns the command that asks for [`Counters`].
pub fn command() -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg("server").arg("stats").arg("commandstats");
    info
}

impl Counters {
    /// Reads the reply to [`command`]. `None` if it is none, or the server does not say which one it is.
    pub fn read(reply: &Value) -> Option<Self> {
        let Value::BulkString(bytes) = reply else { return None };
        let text = String::from_utf8_lossy(bytes);
        let facts: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
        let number = |name: &str| facts.get(name).and_then(|value| value.parse::<u64>().ok());
        let called = |name: &str| facts.get(name).map_or(Some(0), |stats| calls(stats));
        let totals = ["total_commands_processed", "total_connections_received", "total_net_input_bytes"];
        let totals = totals.iter().filter_map(|name| Some(((*name).to_owned(), number(name)?)));
        let commands = facts.iter().filter(|(name, _)| name.starts_with("cmdstat_"));
        let commands = commands.filter_map(|(name, stats)| Some(((*name).to_owned(), calls(stats)?)));
        let growing = totals.chain(commands.filter(|(name, _)| name != RESET)).collect();
        Some(Self {
            run_id: facts.get("run_id").filter(|id| !id.is_empty())?.to_string(),
            counts: [
                called("cmdstat_publish")?,
                called("cmdstat_spublish")?,
                number("expired_keys").unwrap_or(0),
                number("evicted_keys").unwrap_or(0),
            ],
            cut_off: number("client_output_buffer_limit_disconnections"),
            reset: facts.get(RESET).copied().unwrap_or_default().to_owned(),
            growing,
        })
    }

    /// Whether both are of the same server, and it was not started again in between.
    pub fn is_same_run(&self, later: &Self) -> bool {
        self.run_id == later.run_id
    }

    /// Returns by how much these counters have grown since then, together. `None` if that is not known: the server was
    /// started again, or its counters were reset.
    pub fn growth_until(&self, later: &Self, counts: &[Count]) -> Option<u64> {
        let has_grown = |(name, before)| later.growing.get(name).is_some_and(|after| before <= after);
        let grew = self.growing.iter().all(has_grown);
        if !self.is_same_run(later) || self.reset != later.reset || !grew {
            return None;
        }
        let growth = |count: &Count| later.counts[*count as usize].checked_sub(self.counts[*count as usize]);
        counts.iter().map(growth).sum()
    }

    /// Whether the server has cut off subscribers since then that were too slow.
    pub fn has_cut_off_until(&self, later: &Self) -> bool {
        self.is_same_run(later) && self.cut_off < later.cut_off
    }
}

/// Reads `calls=7,usec=...`.
fn calls(stats: &str) -> Option<u64> {
    stats.split(',').find_map(|part| part.strip_prefix("calls=")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(run: &str, published: u64, commands: u64, more: &str) -> Counters {
        let text = format!(
            "# Server\r\nrun_id:{run}\r\n# Stats\r\ntotal_commands_processed:{commands}\r\n{more}\r\n\
             cmdstat_publish:calls={published},usec=3,usec_per_call=1.0\r\n"
        );
        Counters::read(&Value::BulkString(text.into_bytes())).unwrap()
    }

    #[test]
    fn what_was_published_in_between_is_the_difference() {
        let before = counters("a", 7, 100, "");
        assert_eq!(before.growth_until(&counters("a", 9, 110, ""), &[Count::Publish]), Some(2));
        assert_eq!(before.growth_until(&counters("b", 9, 110, ""), &[Count::Publish]), None, "started again");
        assert_eq!(before.growth_until(&counters("a", 3, 110, ""), &[Count::Publish]), None, "reset");
        assert_eq!(
            before.growth_until(&counters("a", 9, 90, ""), &[Count::Publish]),
            None,
            "reset, and published much since"
        );
        let reset = "cmdstat_config|resetstat:calls=1,usec=5";
        assert_eq!(
            before.growth_until(&counters("a", 900, 1_000, reset), &[Count::Publish]),
            None,
            "reset, and did much since"
        );
    }

    #[test]
    fn a_reset_is_noticed_though_it_took_as_long_as_the_one_before_and_much_was_done_since() {
        let since_reset = |commands: u64, pings: u64| {
            let more =
                format!("cmdstat_config|resetstat:calls=1,usec=5\r\ncmdstat_ping:calls={pings},usec=9");
            counters("a", commands / 2, commands, &more)
        };
        let before = since_reset(2_000, 3);
        assert_eq!(before.growth_until(&since_reset(2_100, 3), &[Count::Publish]), Some(50));
        assert_eq!(before.growth_until(&since_reset(4_000, 1), &[Count::Publish]), None);
        assert_eq!(before.growth_until(&counters("a", 2_000, 4_000, ""), &[Count::Publish]), None);
    }

    #[test]
    fn what_a_node_has_got_from_others_is_read() {
        let info = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let all = "cluster_state:ok\r\ncluster_stats_messages_received:9\r\n";
        assert_eq!(relayed(&info(all)), Some(0));
        let some = format!("cluster_stats_messages_publishshard_received:7\r\n{all}");
        assert_eq!(relayed(&info(&some)), Some(7));
        assert_eq!(relayed(&info("cluster_state:ok\r\n")), None);
        assert_eq!(relayed(&Value::Nil), None);
    }

    #[test]
    fn a_subscriber_that_was_cut_off_is_told_by_a_server_that_counts_them() {
        let cut =
            |count: u64| counters("a", 1, 1, &format!("client_output_buffer_limit_disconnections:{count}"));
        assert!(cut(1).has_cut_off_until(&cut(2)));
        assert!(!cut(1).has_cut_off_until(&cut(1)));
        let silent = counters("a", 1, 1, "");
        assert!(!silent.has_cut_off_until(&silent.clone()));
    }

    #[test]
    fn a_server_that_does_not_say_which_one_it_is_tells_nothing() {
        assert_eq!(Counters::read(&Value::Nil), None);
        assert_eq!(
            Counters::read(&Value::BulkString(b"run_id:\r\ncmdstat_publish:calls=1\r\n".to_vec())),
            None
        );
        let bare = Counters::read(&Value::BulkString(b"run_id:a\r\n".to_vec())).unwrap();
        assert_eq!(
            bare.growth_until(&bare.clone(), &[Count::Publish, Count::Expired]),
            Some(0),
            "never published"
        );
    }
}
