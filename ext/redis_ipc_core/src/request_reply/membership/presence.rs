//! The entries of `S:instances`, by which instances show that they are alive.

use crate::foundation::payload::key_part;
use crate::request_reply::protocol::keys::Keys;
use crate::request_reply::protocol::names::Names;
use redis::Value;
use std::collections::HashMap;
use std::time::Duration;

/// The longest lease of an instance in ms. With a longer one a single entry could keep all instances from taking
/// over.
const LONGEST_LEASE: u64 = 86_400_000;

/// How often an instance renews its reply stream and reads Redis's clock: a third of the reply stream's expiry.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// After this long without a heartbeat an instance counts as dead, unless leases are shorter or longer than usual.
pub const DEAD_AFTER: Duration = Duration::from_secs(60);

/// One living instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Its group.
    pub group: String,
    /// Its name.
    pub instance: String,
    /// Its host's name.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// Its last heartbeat, in ms on Redis's clock.
    pub seen: u64,
    /// Whether it takes requests.
    pub serves: bool,
    /// Its lease in ms, if it takes requests.
    pub lease: Option<u64>,
}

impl Presence {
    /// Returns after how long without a heartbeat it counts as dead.
    pub fn dead_after(&self) -> Duration {
        self.lease.map_or(DEAD_AFTER, |lease| dead_after(Duration::from_millis(lease)))
    }
}

/// How often an instance sends a heartbeat whose lease is `lease`.
pub fn heartbeat_interval(lease: Duration) -> Duration {
    lease.min(RENEWAL)
}

/// After how long without a heartbeat an instance counts as dead in a group whose lease is `lease`.
pub fn dead_after(lease: Duration) -> Duration {
    (heartbeat_interval(lease) * 30).clamp(Duration::from_secs(3), DEAD_AFTER)
}

/// Reads the instances in a reply of ZRANGE with scores. An entry that is not of this protocol is `None`.
pub fn rows(reply: &Value) -> Option<Vec<Option<Presence>>> {
    let Value::Array(flat) = reply else { return None };
    let leases: HashMap<&[u8], u64> = flat.chunks(2).filter_map(lease_row).collect();
    let row = |pair: &[Value]| match pair {
        [Value::BulkString(name), Value::BulkString(score)] => {
            let score: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
            // The conversion saturates, because a score may be any double.
            let found = parse_name(std::str::from_utf8(name).ok()?, score as u64)?;
            let lease = leases.get(name.as_slice()).copied();
            Some(Presence { serves: lease.is_some(), lease, ..found })
        }
        _ => None,
    };
    Some(flat.chunks(2).filter(|pair| lease_row(pair).is_none()).map(row).collect())
}

/// Reads the instances in a reply of ZRANGE with scores, and skips every entry that is not of this protocol.
pub fn read_all(reply: &Value) -> Vec<Presence> {
    rows(reply).unwrap_or_default().into_iter().flatten().collect()
}

/// Returns the name of the instance of which the second name in this row tells the lease, and that lease.
fn lease_row(pair: &[Value]) -> Option<(&[u8], u64)> {
    let [Value::BulkString(name), _] = pair else { return None };
    let (_, lease) = parse_lease(name)?;
    Some((name.rsplitn(2, |byte| *byte == b':').nth(1)?, lease))
}

/// Returns the names of an instance in S:instances. The second name, of an instance that takes requests, tells its
/// `lease`. It does not stand for another instance.
pub fn names_of(names: &Names, lease: Option<Duration>) -> Vec<String> {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let name = Keys::member(&names.group, &names.instance_id, &host, std::process::id());
    let lease = lease.map(|lease| format!("{name}:{}", lease.as_millis()));
    [name].into_iter().chain(lease).collect()
}

/// Returns the lease in ms that a name in S:instances tells, if it belongs to an instance of `group`.
pub fn lease_of(name: &[u8], group: &str) -> Option<u64> {
    let (of, lease) = parse_lease(name)?;
    (key_part::decode(of) == group).then_some(lease)
}

/// Reads the encoded group and the lease in ms from a name in S:instances.
fn parse_lease(name: &[u8]) -> Option<(&str, u64)> {
    let parts: Vec<&str> = std::str::from_utf8(name).ok()?.split(':').collect();
    let [of, _, _, _, lease] = parts.as_slice() else { return None };
    lease.parse().ok().filter(|lease| *lease <= LONGEST_LEASE).map(|lease| (*of, lease))
}

fn parse_name(name: &str, seen: u64) -> Option<Presence> {
    let parts: Vec<&str> = name.split(':').collect();
    let [group, instance, host, pid] = parts.as_slice() else { return None };
    Some(Presence {
        group: key_part::decode(group),
        instance: key_part::decode(instance),
        host: key_part::decode(host),
        pid: pid.parse().ok()?,
        seen,
        serves: false,
        lease: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_instances_read_back() {
        let name = Keys::member("a:b", "7f", "host%1", 42);
        let found = parse_name(&name, 9).unwrap();
        assert_eq!(
            (found.group.as_str(), found.host.as_str(), found.pid, found.seen),
            ("a:b", "host%1", 42, 9)
        );
        assert_eq!(parse_name("a:b", 9), None);
        assert_eq!(parse_name("a:b:c:d:1", 9), None);
        assert_eq!(parse_name("a:b:c:d", 9), None);
    }

    #[test]
    fn a_lease_is_told_beside_an_instance() {
        let name = format!("{}:3000", Keys::member("a:b", "7f", "host%1", 42));
        assert_eq!(lease_of(name.as_bytes(), "a:b"), Some(3_000));
        assert_eq!(parse_name(&name, 9), None);
        for other in [&Keys::member("a:b", "7f", "host", 42), &format!("{name}0000000"), &name[1..]] {
            assert_eq!(lease_of(other.as_bytes(), "a:b"), None, "{other}");
        }
        assert_eq!(lease_of(b"\xff:i:h:1:2000", "\u{fffd}"), None);
    }

    #[test]
    fn what_is_no_instance_is_skipped_and_any_score_is_read() {
        let row = |name: &[u8], score: &str| {
            [Value::BulkString(name.to_vec()), Value::BulkString(score.as_bytes().to_vec())]
        };
        let flat = [
            row(b"g:i:h:1", "1700000000000.25"),
            row(b"g:i:h:1", "inf"),
            row(b"g:i:h:1", "-1e300"),
            row(b"\xff:i:h:1", "5"),
            row(b"", "5"),
            row(b"g:i:h:1", "x"),
            row(b"g:i:h:1:2000", "5"),
        ]
        .concat();
        let seen = |row: &Option<Presence>| row.as_ref().map(|presence| presence.seen);
        let found: Vec<_> = rows(&Value::Array(flat)).unwrap().iter().map(seen).collect();
        assert_eq!(found, [Some(1_700_000_000_000), Some(u64::MAX), Some(0), None, None, None]);
        assert_eq!(rows(&Value::Nil), None);
        let serving = [row(b"g:i:h:1:2000", "5"), row(b"g:i:h:1", "5"), row(b"g:j:h:1", "5")].concat();
        let lease = |row: &Option<Presence>| row.as_ref().and_then(|presence| presence.lease);
        let found: Vec<_> = rows(&Value::Array(serving)).unwrap().iter().map(lease).collect();
        assert_eq!(found, [Some(2_000), None]);
        assert_eq!(rows(&Value::Array(vec![Value::Int(1)])), Some(vec![None]));
    }
}
