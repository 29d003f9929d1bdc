//! How the calls of an instance ended, by the group that was asked, and how long answers took.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::runtime::histogram::Histogram;
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::protocol::entry::{Answer, Status};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many groups are counted apart.
const APART: usize = 16;
/// The name under which the other groups are counted. No group is called like this by accident: it is a wildcard in the
/// rules of Redis.
const OTHERS: &str = "*";

/// How the calls to one group ended.
#[derive(Debug)]
pub struct Ends {
    call: Arc<Histogram>,
    fulfilled: Counter,
    rejected: Counter,
    unclaimed: Counter,
    unknown: Counter,
    not_sent: Counter,
}

impl Ends {
    fn new(call: Arc<Histogram>) -> Self {
        let counter = Counter::default;
        Self {
            call,
            fulfilled: counter(),
            rejected: counter(),
            unclaimed: counter(),
            unknown: counter(),
            not_sent: counter(),
        }
    }

    /// Counts the end of a call after this time.
    pub fn count(&self, outcome: &Result<Arc<Answer>, Error>, took: Duration) {
        let counter = match outcome {
            Ok(answer) => {
                self.call.record(took);
                if answer.status == Status::Fulfilled { &self.fulfilled } else { &self.rejected }
            }
            Err(error) => match fate(error.kind) {
                Fate::NotSent => &self.not_sent,
                Fate::Unclaimed => &self.unclaimed,
                Fate::Unknown => &self.unknown,
            },
        };
        counter.increment();
    }
}

/// How all calls ended.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// How long it took from a call to its answer.
    pub call: Arc<Histogram>,
    groups: Mutex<BTreeMap<String, Arc<Ends>>>,
}

impl Outcomes {
    /// Returns where the calls to `group` are counted.
    pub fn of(&self, group: &str) -> Arc<Ends> {
        let mut groups = self.groups.lock();
        if let Some(known) = groups.get(group) {
            return Arc::clone(known);
        }
        let name = if groups.len() < APART { group } else { OTHERS };
        Arc::clone(
            groups.entry(name.to_owned()).or_insert_with(|| Arc::new(Ends::new(Arc::clone(&self.call)))),
        )
    }

    /// Returns the counts as JSON, by group.
    pub fn to_json(&self) -> Map<String, Value> {
        let groups = self.groups.lock();
        let row = |(name, ends): (&String, &Arc<Ends>)| {
            let counts = json!({
                "fulfilled": ends.fulfilled.get(),
                "rejected": ends.rejected.get(),
                "unclaimed": ends.unclaimed.get(),
                "unknown": ends.unknown.get(),
                "not_sent": ends.not_sent.get(),
            });
            (name.clone(), counts)
        };
        groups.iter().map(row).collect()
    }
}

/// Returns what is known of the request of a call that failed so.
fn fate(kind: ErrorKind) -> Fate {
    match kind {
        ErrorKind::Connection(fate)
        | ErrorKind::Command(fate)
        | ErrorKind::Timeout(fate)
        | ErrorKind::Closed(fate)
        | ErrorKind::ThreadLimit(fate) => fate,
        _ => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_groups_are_counted_apart() {
        let outcomes = Outcomes::default();
        let end = |kind| Err(Error::new(kind, "x"));
        for number in 0..20 {
            let ends = outcomes.of(&format!("group {number:02}"));
            ends.count(&end(ErrorKind::Timeout(Fate::Unclaimed)), Duration::ZERO);
            ends.count(&end(ErrorKind::Malformed), Duration::ZERO);
        }
        let found = outcomes.to_json();
        assert_eq!(found.len(), APART + 1);
        assert_eq!(found["group 15"]["unclaimed"], 1);
        assert_eq!((&found[OTHERS]["unclaimed"], &found[OTHERS]["unknown"]), (&json!(4), &json!(4)));
        assert_eq!(outcomes.call.to_json()["count"], 0, "only answers have taken a time");
    }
}
