//! Compares the settings of the instances of a group by their records. Where they must be the same and are not, both
//! instances tell it.

use crate::error::{Error, ErrorKind};
use crate::foundation::redis::record::keys::RecordKeys;
use crate::foundation::runtime::sync::Mutex;
use redis::{Cmd, Value};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;

/// The most members of the index that are read, because any client that writes records can add any number.
const MOST: usize = 1_000;
/// The most records that are read at a time. The others follow the next time.
const AT_ONCE: usize = 16;
/// The most differences that are told, because any client that writes records can make up any number.
const MOST_TOLD: usize = 100;
/// The settings that are times in ms.
const TIMES: [&str; 2] = ["lease", "longest_ttl"];

/// What one instance has found out about the others.
#[derive(Debug, Default)]
pub struct Agreement {
    compared: Mutex<BTreeSet<String>>,
    told: Mutex<BTreeSet<String>>,
}

/// Returns the command that lists the instances that are in the index until `until` (ms on Redis's clock) at least.
pub fn look(keys: &RecordKeys, until: u64) -> Cmd {
    let mut range = redis::cmd("ZRANGE");
    range.arg(&keys.index).arg(until).arg("+inf").arg("BYSCORE").arg("LIMIT").arg(0).arg(MOST);
    range
}

impl Agreement {
    /// Returns the keys of the records to compare with, given the reply to [`look`].
    pub fn to_compare(&self, keys: &RecordKeys, reply: &Value) -> Vec<String> {
        let Value::Array(members) = reply else { return Vec::new() };
        let members = members.iter().filter_map(|member| match member {
            Value::BulkString(name) => std::str::from_utf8(name).ok(),
            _ => None,
        });
        let group = format!("{}:", keys.group_member);
        let others: BTreeSet<String> = members
            .filter(|member| member.starts_with(&group) && *member != keys.member)
            .map(str::to_owned)
            .collect();
        let mut compared = self.compared.lock();
        compared.retain(|member| others.contains(member));
        let new: Vec<String> = others.difference(&compared).take(AT_ONCE).cloned().collect();
        compared.extend(new.iter().cloned());
        new.iter().map(|member| format!("{}:{member}", keys.index)).collect()
    }

    /// Returns what is to be told of a record, if its instance differs in a way that was not told before.
    pub fn compare(&self, kind: &str, own: &Map<String, Json>, record: &Value) -> Option<Error> {
        let Value::BulkString(text) = record else { return None };
        let other: Json = serde_json::from_slice(text).ok()?;
        if other.get("v")?.as_u64() != Some(1) || other.get("kind")?.as_str() != Some(kind) {
            return None;
        }
        let differences = differences(own, other.get("settings")?.as_object()?);
        if differences.is_empty() || !self.is_news(&differences) {
            return None;
        }
        let (pid, host) = (other.get("pid")?.as_u64()?, other.get("host")?.as_str()?);
        let message = format!(
            "this process, {} on {:?}, and the process {pid} on {host:?} serve one group with different settings: \
             {differences}; all must have the same",
            std::process::id(),
            gethostname::gethostname().to_string_lossy(),
        );
        Some(Error::new(ErrorKind::Configuration, message))
    }

    fn is_news(&self, differences: &str) -> bool {
        let mut told = self.told.lock();
        told.len() < MOST_TOLD && told.insert(differences.to_owned())
    }
}

/// Describes the settings in which two instances differ, as far as both have them.
fn differences(own: &Map<String, Json>, other: &Map<String, Json>) -> String {
    let differing = own.iter().filter_map(|(name, value)| {
        let theirs = other.get(name).filter(|theirs| *theirs != value)?;
        Some(format!("{name} {} and {}", shown(name, value), shown(name, theirs)))
    });
    differing.collect::<Vec<_>>().join(", ")
}

fn shown(name: &str, value: &Json) -> String {
    match value.as_f64().filter(|_| TIMES.contains(&name)) {
        Some(ms) => format!("{} s", ms / 1_000.0),
        None => value.to_string().chars().take(100).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn each_other_instance_of_the_group_is_compared_once() {
        let (agreement, keys) = (Agreement::default(), RecordKeys::new("s", "g", "me"));
        let members = |names: &[&str]| Value::Array(names.iter().map(|name| bulk(name)).collect());
        let alive = members(&["g", "g:me", "g:a", "h:b", "g:c"]);
        assert_eq!(agreement.to_compare(&keys, &alive), ["s:stats:g:a", "s:stats:g:c"]);
        assert!(agreement.to_compare(&keys, &alive).is_empty());
        assert!(agreement.to_compare(&keys, &Value::Nil).is_empty());
        assert!(agreement.to_compare(&keys, &members(&["g:c"])).is_empty());
        assert_eq!(agreement.to_compare(&keys, &alive), ["s:stats:g:a"], "it was gone");
        let queue = RecordKeys::new("q", "", "me");
        assert_eq!(agreement.to_compare(&queue, &members(&[":me", ":a", "", "g:c"])), ["q:stats::a"]);
    }

    #[test]
    fn a_difference_is_told_once_and_names_both_processes() {
        let agreement = Agreement::default();
        let Json::Object(own) = json!({ "lease": 2_000, "max_deliveries": 5, "delivery": "at_least_once" })
        else {
            panic!()
        };
        let record = |settings: Json| {
            let record = json!({ "v": 1, "kind": "k", "pid": 7, "host": "web-8", "settings": settings });
            bulk(&record.to_string())
        };
        assert_eq!(agreement.compare("k", &own, &record(json!({ "lease": 2_000, "more": 1 }))), None);
        let differing = record(json!({ "lease": 500, "max_deliveries": 3, "delivery": "at_least_once" }));
        assert_eq!(agreement.compare("other", &own, &differing), None);
        let told = agreement.compare("k", &own, &differing).unwrap();
        assert_eq!(told.kind, ErrorKind::Configuration);
        let pid = std::process::id();
        assert!(
            told.message.contains(&format!("{pid} on"))
                && told.message.contains("the process 7 on \"web-8\"")
        );
        assert!(told.message.contains("lease 2 s and 0.5 s, max_deliveries 5 and 3; all must"), "{told}");
        assert_eq!(agreement.compare("k", &own, &differing), None);
        for other in [Value::Nil, bulk("{"), bulk("{}"), record(Json::Null)] {
            assert_eq!(agreement.compare("k", &own, &other), None);
        }
        let many =
            (0..1_000).filter_map(|lease| agreement.compare("k", &own, &record(json!({ "lease": lease }))));
        assert_eq!(many.count(), MOST_TOLD - 1, "a client makes them up");
    }
}
