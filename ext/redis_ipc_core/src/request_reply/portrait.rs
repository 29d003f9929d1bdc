//! What an instance of a stream says of itself in its record.

use crate::foundation::redis::record::subject::{RunningHandler, Subject};
use crate::foundation::runtime::histogram::Histogram;
use crate::foundation::runtime::series::Totals;
use crate::request_reply::serving::service::Service;
use crate::request_reply::tracking::in_flight::InFlight;
use crate::request_reply::tracking::ledger::Ledger;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// An instance of a stream, as its record shows it.
pub struct Portrait {
    /// The requests that it serves.
    pub service: Arc<Service>,
    /// Its calls.
    pub ledger: Arc<Ledger>,
    /// Whether it takes requests.
    pub serves: bool,
}

impl Portrait {
    /// Whether it is told to take no more requests.
    pub fn is_paused(&self) -> bool {
        self.service.instance.control.is_paused()
    }
}

impl Subject for Portrait {
    fn kind(&self) -> &'static str {
        "request_reply"
    }

    fn settings(&self) -> Map<String, Value> {
        let options = &self.service.instance.options;
        // Whoever asks trims what is older.
        let mut settings = json!({ "longest_ttl": options.longest_ttl().as_millis() as u64 });
        if self.serves {
            settings["lease"] = json!(options.consumer.lease.as_millis() as u64);
            settings["max_deliveries"] = json!(options.consumer.max_deliveries);
            settings["delivery"] = json!(options.consumer.delivery.name());
        }
        if let Value::Object(settings) = settings { settings } else { Map::new() }
    }

    fn handlers(&self) -> usize {
        if self.serves { self.service.instance.options.consumer.pool_size } else { 0 }
    }

    fn running(&self) -> Vec<RunningHandler> {
        let row = |held: Arc<InFlight>| {
            let (since, frame, event) = held.run(|run| (run.since, run.frame.clone(), run.event.clone()))?;
            let request = &held.request;
            Some(RunningHandler {
                id: request.id.to_string(),
                from: request.source_group.to_string(),
                event,
                delivery: request.deliveries,
                since,
                frame,
            })
        };
        self.service.handling.running().into_iter().filter_map(row).collect()
    }

    fn longest(&self) -> Option<Duration> {
        let ran = |held: Arc<InFlight>| held.run(|run| run.since.elapsed());
        self.service.handling.running().into_iter().filter_map(ran).max()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.service.instance.endpoint.stats.snapshot()
    }

    fn totals(&self) -> Totals {
        let stats = &self.service.instance.endpoint.stats;
        let failed = [
            &stats.timed_out,
            &stats.failed,
            &stats.overloaded,
            &stats.answers_dropped,
            &stats.unanswered,
            &stats.dead_lettered,
        ];
        Totals {
            asked: stats.requests.get(),
            answered: stats.answers_sent.get(),
            failed: failed.iter().map(|counter| counter.get()).sum(),
            run_ms: self.service.handling.run.sum_ms(),
        }
    }

    fn histograms(&self) -> Vec<(&'static str, &Histogram)> {
        let handling = &self.service.handling;
        vec![("call", &*self.ledger.outcomes.call), ("wait", &handling.wait), ("run", &handling.run)]
    }

    fn outcomes(&self) -> Map<String, Value> {
        self.ledger.outcomes.to_json()
    }
}
