//! Keyspace notifications: what Redis publishes about its keys, and about the fields of hashes (subkey notifications).

use crate::events::common::live_options::LiveOptions;
use crate::events::live::text_list;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::subscription::counters::Count;
use crate::foundation::redis::subscription::topics::{TopicKind, Topics};
use redis::{ErrorKind, RedisError, RedisResult, Value};

/// Events after which a key no longer exists.
const GONE: [&str; 5] = ["del", "expired", "evicted", "rename_from", "move_from"];
/// The setting of Redis that says which notifications it publishes.
const SETTING: &str = "notify-keyspace-events";
/// The classes that `A` stands for.
const ALL: &str = "g$lshzxetd";

/// Returns the subscription to the notifications about the keys of `live` in a database.
pub fn topics(live: &LiveOptions, db: i64) -> Topics {
    let channels = if live.of_fields { "subkeyspace" } else { "keyspace" };
    let names = live.names.iter().map(|name| format!("__{channels}@{db}__:{name}")).collect();
    let count = |event: &String| match event.as_str() {
        "expired" => Some(Count::Expired),
        "evicted" => Some(Count::Evicted),
        _ => None,
    };
    let on = live.on.as_ref().filter(|_| !live.of_fields);
    let counts: Option<Vec<Count>> = on.and_then(|on| on.iter().map(count).collect());
    Topics { kind: TopicKind::Pattern, names, counts: counts.unwrap_or_default(), is_late: false }
}

/// Splits the name of a channel into the database and the key.
pub fn split(channel: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = channel.strip_prefix(b"__keyspace@").or_else(|| channel.strip_prefix(b"__subkeyspace@"))?;
    let end = rest.windows(3).position(|part| part == b"__:")?;
    Some((&rest[..end], &rest[end + 3..]))
}

/// Returns the event and the list of fields of a payload. `None` if it has another form.
pub fn split_fields(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = payload.iter().position(|byte| *byte == b'|')?;
    let fields = &payload[end + 1..];
    text_list::is_one(fields).then_some((&payload[..end], fields))
}

/// Whether a key is gone after this event.
pub fn is_gone(event: &[u8]) -> bool {
    GONE.iter().any(|gone| gone.as_bytes() == event)
}

/// Checks that the server publishes the notifications that `live` needs.
///
/// # Errors
///
/// A flag is missing. The error names it.
pub fn check_setting(connection: &mut Connection, live: &LiveOptions) -> RedisResult<()> {
    let set = match connection.run(redis::cmd("CONFIG").arg("GET").arg(SETTING)) {
        Ok(Value::Array(pair)) => match pair.as_slice() {
            [_, Value::BulkString(flags)] => String::from_utf8_lossy(flags).into_owned(),
            _ => return Ok(()),
        },
        // Nothing is checked if the user may not read the setting.
        Ok(_) => return Ok(()),
        Err(error) if connection.is_broken() => return Err(error),
        Err(_) => return Ok(()),
    };
    match missing(&set, live) {
        None => Ok(()),
        Some(why) => Err(RedisError::from((
            ErrorKind::InvalidClientConfig,
            "Redis does not tell what happens to keys",
            format!("{SETTING} is \"{set}\", and lacks {why}"),
        ))),
    }
}

/// Returns which flag is missing, and what needs it.
fn missing(set: &str, live: &LiveOptions) -> Option<String> {
    let has = |flag: char| set.contains(flag) || (set.contains('A') && ALL.contains(flag));
    if live.of_fields {
        // Redis tells of the fields of hashes only.
        let needed = [('S', "fields, which Redis 8.8 and later tell of"), ('h', "hashes")];
        let lacking = needed.iter().find(|(flag, _)| !has(*flag));
        return lacking.map(|(flag, why)| format!("{flag} ({why})"));
    }
    if !has('K') {
        return Some("K (keyspace events)".to_owned());
    }
    match live.on.as_deref() {
        None if ALL.chars().any(has) => None,
        None => Some("a class of events, such as A (all)".to_owned()),
        Some(on) => on.iter().find_map(|event| {
            let flag = class_of(event)?;
            (!has(flag)).then(|| format!("{flag} (for {event})"))
        }),
    }
}

/// Returns the class of an event. `None` if it is not known.
fn class_of(event: &str) -> Option<char> {
    Some(match event {
        "expired" => 'x',
        "evicted" => 'e',
        "new" => 'n',
        "keymiss" => 'm',
        "del" | "expire" | "persist" | "rename_from" | "rename_to" | "move_from" | "move_to" | "copy_to"
        | "restore" => 'g',
        "set" | "setrange" | "append" | "incrby" | "incrbyfloat" | "decrby" | "setex" | "psetex" => '$',
        "lpush" | "rpush" | "lpop" | "rpop" | "linsert" | "lset" | "lrem" | "ltrim" | "sortstore" => 'l',
        "sadd" | "srem" | "spop" | "sinterstore" | "sunionstore" | "sdiffstore" => 's',
        "hset" | "hdel" | "hincrby" | "hincrbyfloat" | "hexpire" | "hexpired" | "hpersist" => 'h',
        "zadd" | "zincr" | "zrem" | "zremrangebyrank" | "zremrangebyscore" | "zremrangebylex"
        | "zunionstore" | "zinterstore" | "zdiffstore" => 'z',
        "xadd"
        | "xtrim"
        | "xdel"
        | "xsetid"
        | "xgroup-create"
        | "xgroup-destroy"
        | "xgroup-setid"
        | "xgroup-createconsumer"
        | "xgroup-delconsumer" => 't',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_channel_has_a_database_and_a_key() {
        assert_eq!(split(b"__keyspace@0__:a:__:b"), Some((&b"0"[..], &b"a:__:b"[..])));
        assert_eq!(split(b"__keyspace@12__:"), Some((&b"12"[..], &b""[..])));
        assert_eq!(split(b"__keyevent@0__:del"), None);
        assert_eq!(split(b"prices"), None);
    }

    #[test]
    fn what_happened_to_fields_has_their_names() {
        assert_eq!(split(b"__subkeyspace@0__:a"), Some((&b"0"[..], &b"a"[..])));
        assert_eq!(split_fields(b"hset|1:a,"), None);
        assert_eq!(split_fields(b"hset|1:a,3:b,c"), Some((&b"hset"[..], &b"1:a,3:b,c"[..])));
        for bad in [&b"hset"[..], b"hset|", b"hset|a", b"hset|2:a"] {
            assert_eq!(split_fields(bad), None);
        }
    }

    fn options(options: serde_json::Value) -> LiveOptions {
        LiveOptions::parse(options).unwrap()
    }

    #[test]
    fn the_flag_that_is_missing_is_named() {
        let on = |events: &[&str]| Some(events.iter().map(|event| (*event).to_owned()).collect::<Vec<_>>());
        let missing = |set, on: Option<Vec<String>>| {
            let mut live = options(json!({ "kind": "keys", "names": ["*"] }));
            live.on = on;
            missing(set, &live)
        };
        let of_fields = options(json!({ "kind": "keys", "names": ["*"], "fields": true, "on": ["expired"] }));
        assert!(
            super::missing("KA", &of_fields).is_some_and(|why| why.starts_with("S (fields, which Redis 8.8"))
        );
        assert_eq!(super::missing("Sx", &of_fields), Some("h (hashes)".to_owned()));
        assert_eq!(super::missing("Sh", &of_fields), None);
        assert_eq!(topics(&of_fields, 3).names, ["__subkeyspace@3__:*"]);
        assert!(topics(&of_fields, 3).counts.is_empty());
        assert_eq!(missing("", None), Some("K (keyspace events)".to_owned()));
        assert_eq!(missing("K", None), Some("a class of events, such as A (all)".to_owned()));
        assert_eq!(missing("KA", on(&["del", "expired", "set"])), None);
        assert_eq!(missing("Kx", on(&["expired", "del"])), Some("g (for del)".to_owned()));
        assert_eq!(missing("KA", on(&["new"])), Some("n (for new)".to_owned()));
        assert_eq!(missing("Kg", on(&["del", "of_a_module"])), None);
    }
}
