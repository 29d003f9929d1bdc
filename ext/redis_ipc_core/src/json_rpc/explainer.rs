//! Why a call timed out: which server has the request, or what the servers of the queue do.

use crate::error::Fate;
use crate::foundation::redis::pipeline::encoder::Encoder;
use crate::json_rpc::instance::Instance;
use redis::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// A server counts as alive for this long after its last sign of life.
const ALIVE: Duration = Duration::from_secs(70);
/// How long a server is in `Q:stats` after it was added there last, which it is once a minute.
const RECORD_KEPT: u64 = 660_000;
/// The most servers that are looked at. Any client that may serve can add any number.
const MOST: usize = 16;
/// The most bytes that are sent to find out which server has a request: each is sent its text.
const MOST_SENT: usize = 1 << 20;

/// What is known of a request when its time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It was never sent.
    NotSent,
    /// It was withdrawn, and no server ever had it. These servers are alive, if that is known.
    Unclaimed(Option<Vec<String>>),
    /// This server has it.
    Held(String),
    /// Whether a server has it is not known.
    Unknown,
}

impl Why {
    /// Returns what the caller may conclude.
    pub fn fate(&self) -> Fate {
        match self {
            Self::NotSent => Fate::NotSent,
            Self::Unclaimed(_) => Fate::Unclaimed,
            Self::Held(_) | Self::Unknown => Fate::Unknown,
        }
    }

    /// Describes it for the caller.
    pub fn describe(&self) -> String {
        const WITHDRAWN: &str =
            "no server took the request and it was withdrawn, so it did not and will not run";
        match self {
            Self::NotSent => "the request never reached Redis, so it did not run".to_owned(),
            Self::Unknown => "a server may have taken the request: whether it ran is not known".to_owned(),
            Self::Held(server) => {
                format!("{server} took the request and has not answered: whether it ran is not known")
            }
            Self::Unclaimed(None) => format!("{WITHDRAWN}; is one connected?"),
            Self::Unclaimed(Some(servers)) => match servers.len() {
                0 => format!("{WITHDRAWN}; no server of this queue shows that it is alive"),
                1 => format!(
                    "{WITHDRAWN}; 1 server of this queue is alive, and did not get to it: it is busy, or hangs"
                ),
                many => format!(
                    "{WITHDRAWN}; {many} servers of this queue are alive, and did not get to it: they are busy, or hang"
                ),
            },
        }
    }
}

/// Writes the commands whose replies [`alive`] reads.
pub fn ask_who_is_alive(encoder: &mut Encoder<'_>, instance: &Instance) {
    let since = instance.endpoint.clock.now().saturating_sub(ALIVE.as_millis() as u64);
    for (key, since) in [(instance.names.servers(), since), (instance.names.stats(), since + RECORD_KEPT)] {
        let mut range = encoder.command(8);
        range.word("ZRANGE").word(&key).number(since).word("+inf").word("BYSCORE");
        range.word("LIMIT").word("0").number(MOST as u64);
    }
}

/// Returns the servers in the replies about those that hold requests, and about those that have a record.
pub fn alive(holding: &Value, recorded: &Value) -> Option<Vec<String>> {
    let (Value::Array(holding), recorded) = (holding, texts(recorded)) else { return None };
    let named = texts(&Value::Array(holding.clone())).into_iter();
    // The member of a queue itself has no server.
    let recorded = recorded.into_iter().filter_map(|member| member.strip_prefix(':').map(str::to_owned));
    let all: BTreeSet<String> = named.chain(recorded).filter(|server| !server.is_empty()).collect();
    Some(all.into_iter().take(MOST).collect())
}

/// Returns those of `servers` that are asked whether they have a request of this size: at least one.
pub fn asked(mut servers: Vec<String>, size: usize) -> Vec<String> {
    servers.truncate((MOST_SENT / size.max(1)).max(1));
    servers
}

/// Writes the commands whose replies [`holder`] reads.
pub fn ask_who_holds(encoder: &mut Encoder<'_>, servers: &[String], text: &[u8], instance: &Instance) {
    for server in servers {
        encoder.command(3).word("LPOS").word(instance.names.processing(server)).word(text);
        encoder.command(2).word("GET").word(instance.names.record(server));
    }
}

/// Returns the server among `servers` that has the request, as a caller is told of it.
pub fn holder(servers: &[String], replies: &[Value]) -> Option<String> {
    let found =
        servers.iter().zip(replies.chunks(2)).find(|(_, replies)| matches!(replies[0], Value::Int(_)));
    found.map(|(server, replies)| {
        replies.get(1).and_then(process).unwrap_or_else(|| format!("the server {server:?}"))
    })
}

/// Names the process of a server by its record.
fn process(record: &Value) -> Option<String> {
    let Value::BulkString(text) = record else { return None };
    let record: serde_json::Value = serde_json::from_slice(text).ok()?;
    let (pid, host) = (record.get("pid")?.as_u64()?, record.get("host")?.as_str()?);
    Some(format!("the process {pid} on {host:?}"))
}

fn texts(reply: &Value) -> Vec<String> {
    let Value::Array(items) = reply else { return Vec::new() };
    let text = |item: &Value| match item {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn the_servers_that_are_alive_have_shown_themselves_or_have_a_record() {
        let (holding, recorded) =
            (vec![bulk("b"), bulk("a")], vec![bulk(":c"), bulk(":a"), bulk(""), bulk(":")]);
        let expected = Some(["a", "b", "c"].map(str::to_owned).to_vec());
        assert_eq!(alive(&Value::Array(holding), &Value::Array(recorded)), expected);
        assert_eq!(alive(&Value::Array(Vec::new()), &Value::Nil), Some(Vec::new()));
        assert_eq!(alive(&Value::Nil, &Value::Array(vec![bulk(":c")])), None, "servers may be missing");
    }

    #[test]
    fn the_server_that_has_a_request_is_named_as_far_as_it_is_known() {
        let servers = ["a", "b"].map(str::to_owned);
        let held = |record: Value| holder(&servers, &[Value::Nil, Value::Nil, Value::Int(0), record]);
        assert_eq!(held(bulk(r#"{"pid":7,"host":"web-7"}"#)).unwrap(), r#"the process 7 on "web-7""#);
        for record in [bulk("{"), bulk("{}"), Value::Nil] {
            assert_eq!(held(record).unwrap(), r#"the server "b""#);
        }
        assert_eq!(holder(&servers, &[Value::Nil, Value::Nil, Value::Nil, Value::Nil]), None);
        assert_eq!(holder(&servers, &[]), None);
    }

    #[test]
    fn a_large_request_is_looked_for_at_few_servers() {
        let servers = || (0..16).map(|number| number.to_string()).collect::<Vec<_>>();
        let count = |size| asked(servers(), size).len();
        assert_eq!([count(0), count(100), count(256 << 10), count(64 << 20)], [16, 16, 4, 1]);
        assert!(asked(Vec::new(), 1).is_empty());
    }

    #[test]
    fn a_caller_is_told_what_it_may_conclude() {
        let servers = |count| Why::Unclaimed(Some(vec!["a".to_owned(); count]));
        for (why, fate, end) in [
            (Why::NotSent, Fate::NotSent, "so it did not run"),
            (servers(0), Fate::Unclaimed, "no server of this queue shows that it is alive"),
            (servers(1), Fate::Unclaimed, "it is busy, or hangs"),
            (servers(2), Fate::Unclaimed, "they are busy, or hang"),
            (Why::Held("it".to_owned()), Fate::Unknown, "whether it ran is not known"),
        ] {
            assert_eq!(why.fate(), fate);
            assert!(why.describe().ends_with(end), "{}", why.describe());
        }
    }
}
