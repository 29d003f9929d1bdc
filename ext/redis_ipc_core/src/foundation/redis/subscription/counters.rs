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
    /// Counters that grow with everything that is done. A reset makes them smaller.
    growing: Vec<u64>,
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
        let calls = |name: &str| facts.get(name).map_or(Some(0), |stats| calls(stats));
        let growing = ["total_commands_processed", "total_connections_received", "total_net_input_bytes"];
        Some(Self {
            run_id: facts.get("run_id").filter(|id| !id.is_empty())?.to_string(),
            counts: [
                calls("cmdstat_publish")?,
                calls("cmdstat_spublish")?,
                number("expired_keys").unwrap_or(0),
                number("evicted_keys").unwrap_or(0),
            ],
            cut_off: number("client_output_buffer_limit_disconnections"),
            reset: facts.get("cmdstat_config|resetstat").copied().unwrap_or_default().to_owned(),
            growing: growing.iter().filter_map(|name| number(name)).collect(),
        })
    }

    /// Whether both are of the same server, and it was not started again in between.
    pub fn is_same_run(&self, later: &Self) -> bool {
        self.run_id == later.run_id
    }

    /// Returns by how much these counters have grown since then, together. `None` if that is not known: the server was
    /// started again, or its counters were reset.
    pub fn growth_until(&self, later: &Self, counts: &[Count]) -> Option<u64> {
        let grew = self.growing.len() == later.growing.len()
            && self.growing.iter().zip(&later.growing).all(|(before, after)| before <= after);
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
