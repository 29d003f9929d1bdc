//! What a feature says of its instance, for the record.

use crate::foundation::runtime::histogram::Histogram;
use crate::foundation::runtime::series::Totals;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// A handler that runs now.
#[derive(Debug)]
pub struct RunningHandler {
    /// The id of its request or event.
    pub id: String,
    /// The group that asks, or where the event is from.
    pub from: String,
    /// The name of what it runs, if it has one.
    pub event: Option<String>,
    /// How often its request or event has been delivered, this time included.
    pub delivery: u32,
    /// When it began.
    pub since: Instant,
    /// The line of the application where it was when it was last looked at.
    pub frame: Option<String>,
}

/// An instance, as the record shows it.
pub trait Subject: Send + Sync {
    /// Returns the kind of the instance.
    fn kind(&self) -> &'static str;

    /// Returns the settings that all instances of a group must agree on.
    fn settings(&self) -> Map<String, Value>;

    /// Returns how many handlers can run at the same time.
    fn handlers(&self) -> usize;

    /// Returns the handlers that run now.
    fn running(&self) -> Vec<RunningHandler>;

    /// Returns how long the handler has run that has run for longest. This is asked more often than what runs.
    fn longest(&self) -> Option<Duration> {
        self.running().iter().map(|handler| handler.since.elapsed()).max()
    }

    /// Returns the counters since the instance was connected.
    fn counters(&self) -> Vec<(&'static str, u64)>;

    /// Returns the totals of which the record shows the course.
    fn totals(&self) -> Totals;

    /// Returns the histograms, by their names.
    fn histograms(&self) -> Vec<(&'static str, &Histogram)>;

    /// Returns how calls ended, by their destination.
    fn outcomes(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Returns what is known of the source of events. `None` for who handles none.
    fn events(&self) -> Option<Value> {
        None
    }
}
