//! What a server of a queue says of itself in its record.

use crate::foundation::redis::record::subject::{RunningHandler, Subject};
use crate::foundation::runtime::handling::Handling;
use crate::foundation::runtime::histogram::Histogram;
use crate::foundation::runtime::series::Totals;
use crate::json_rpc::in_flight::InFlight;
use crate::json_rpc::instance::Instance;
use crate::json_rpc::options::ServerOptions;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The counters that a server reports.
pub const COUNTED: [&str; 9] = [
    "taken",
    "redelivered",
    "expired",
    "answers_sent",
    "answers_dropped",
    "released",
    "dead_lettered",
    "reconnections",
    "reports_dropped",
];
/// The most bytes of a request that is read for its method and its id.
const READ: usize = 64 << 10;
/// The most characters of a method or an id in the record.
const SHOWN: usize = 100;

/// A server of a queue, as its record shows it.
pub struct Portrait {
    /// The server.
    pub instance: Arc<Instance>,
    /// Its options.
    pub options: ServerOptions,
    /// The methods that run.
    pub handling: Arc<Handling<InFlight>>,
}

impl Subject for Portrait {
    fn kind(&self) -> &'static str {
        "json_rpc"
    }

    fn settings(&self) -> Map<String, Value> {
        let settings = json!({
            "lease": self.options.lease.as_millis() as u64,
            "max_deliveries": self.options.max_deliveries,
            "delivery": self.options.guarantee.name(),
        });
        if let Value::Object(settings) = settings { settings } else { Map::new() }
    }

    fn handlers(&self) -> usize {
        self.options.threads
    }

    fn running(&self) -> Vec<RunningHandler> {
        let row = |held: Arc<InFlight>| {
            let (since, frame) = held.run(|run| (run.since, run.frame.clone()))?;
            let (id, event) = named(&held.text);
            Some(RunningHandler { id, from: String::new(), event, delivery: 1, since, frame })
        };
        self.handling.running().into_iter().filter_map(row).collect()
    }

    fn longest(&self) -> Option<Duration> {
        let ran = |held: Arc<InFlight>| held.run(|run| run.since.elapsed());
        self.handling.running().into_iter().filter_map(ran).max()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let mut counters = self.instance.endpoint.stats.snapshot();
        counters.retain(|(name, _)| COUNTED.contains(name));
        counters
    }

    fn totals(&self) -> Totals {
        let stats = &self.instance.endpoint.stats;
        Totals {
            asked: 0,
            answered: stats.answers_sent.get(),
            failed: stats.answers_dropped.get() + stats.dead_lettered.get(),
            run_ms: self.handling.run.sum_ms(),
        }
    }

    fn histograms(&self) -> Vec<(&'static str, &Histogram)> {
        vec![("wait", &self.handling.wait), ("run", &self.handling.run)]
    }
}

/// Returns the id and the method of a request, as far as they can be read.
fn named(text: &[u8]) -> (String, Option<String>) {
    let request = text.get(..READ.min(text.len())).filter(|read| read.len() == text.len());
    let request: Value = request.and_then(|text| serde_json::from_slice(text).ok()).unwrap_or_default();
    if let Value::Array(batch) = &request {
        return (String::new(), Some(format!("a batch of {}", batch.len())));
    }
    let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
    let id = match request.get("id") {
        Some(Value::String(id)) => shown(id),
        Some(Value::Number(id)) => shown(&id.to_string()),
        _ => String::new(),
    };
    (id, request.get("method").and_then(Value::as_str).map(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_by_its_id_and_its_method() {
        for (text, id, method) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"add","params":[1]}"#, "7", Some("add")),
            (r#"{"id":"x","method":1}"#, "x", None),
            (r#"[{"id":1,"method":"add"},{}]"#, "", Some("a batch of 2")),
            ("{", "", None),
            ("7", "", None),
        ] {
            assert_eq!(named(text.as_bytes()), (id.to_owned(), method.map(str::to_owned)), "{text}");
        }
        let (long, large) = ("\u{e4}".repeat(200), " ".repeat(READ));
        assert_eq!(named(format!(r#"{{"method":"{long}"}}"#).as_bytes()).1.unwrap().chars().count(), SHOWN);
        assert_eq!(named(format!(r#"{{"method":"add"}}{large}"#).as_bytes()), (String::new(), None));
    }
}
