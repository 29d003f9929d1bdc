//! One end of a stream or a queue in this process. It knows how to reach Redis, and where to report.

use crate::error::{Error, ErrorKind, Fate, Place};
use crate::foundation::payload::loss::Loss;
use crate::foundation::redis::client_name::ClientNames;
use crate::foundation::redis::clock::Clock;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::redis_options::RedisOptions;
use crate::foundation::runtime::health::Health;
use crate::foundation::runtime::incidents::{Incident, Incidents};
use crate::foundation::runtime::losses::Losses;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stats::Stats;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::threads::Guard;
use redis::RedisError;
use std::sync::Arc;
use std::time::Duration;

/// One end of a stream or a queue in this process. All of its threads share it.
pub struct Endpoint {
    place: Place,
    /// Opens connections.
    pub connector: Arc<Connector>,
    /// Redis's time.
    pub clock: Clock,
    /// Counters. They are apart from the rest, which their writes would take from the caches of other threads.
    pub stats: Box<Stats>,
    /// Reports for the user.
    pub reports: Mailbox<Report>,
    /// Raised when the endpoint closes.
    pub stop: Stop,
    /// Whether the long-lived connections are up.
    pub health: Health,
    /// The last incidents, for the record.
    pub incidents: Incidents,
    /// The last losses, for the record.
    pub losses: Losses,
}

impl Endpoint {
    /// Creates an endpoint without a connection. `place` is the place of its errors, and names its connections.
    pub fn new(place: Place, redis: &RedisOptions) -> Self {
        let names = ClientNames::of(&place);
        Self::named(place, redis, names)
    }

    /// Creates an endpoint whose connections have names of their own.
    pub fn named(place: Place, redis: &RedisOptions, names: ClientNames) -> Self {
        Self {
            connector: Arc::new(Connector::new(redis, names)),
            place,
            clock: Clock::default(),
            stats: Box::default(),
            reports: Mailbox::default(),
            stop: Stop::default(),
            health: Health::default(),
            incidents: Incidents::default(),
            losses: Losses::default(),
        }
    }

    /// Adds the stream and the group to an error.
    pub fn locate(&self, mut error: Error) -> Error {
        error.place.stream.clone_from(&self.place.stream);
        error.place.group.clone_from(&self.place.group);
        error
    }

    /// Reports an error that no caller gets.
    pub fn report(&self, error: Error) {
        self.report_located(self.locate(error));
    }

    /// Reports an error that no caller gets, and that names its place. If too many reports wait, it is dropped and
    /// counted.
    pub fn report_located(&self, error: Error) {
        if matches!(error.kind, ErrorKind::Command(_)) {
            self.note(Incident::Refused, &error.message);
        }
        self.offer_failure(error);
    }

    /// Reports an error that no caller gets, and that names its place, and notes it as an incident of this kind.
    pub fn report_incident(&self, kind: Incident, error: Error) {
        self.note(kind, &error.message);
        self.offer_failure(error);
    }

    /// Notes an incident.
    pub fn note(&self, kind: Incident, text: &str) {
        self.incidents.note(self.clock.now(), kind, text);
    }

    fn offer_failure(&self, error: Error) {
        if !self.reports.offer(Report::Failure(error)) {
            self.stats.reports_dropped.increment();
        }
    }

    /// Reports that the server evicts keys, if it did when it was asked. `what` may be lost then. If its keys have no
    /// expiry, only some policies evict them.
    pub fn report_eviction(&self, what: &str, has_expiry: bool) {
        if let Some(eviction) = self.connector.eviction().filter(|by| has_expiry || by.takes_all()) {
            self.report(eviction.warning(what).address(self.connector.address()));
        }
    }

    /// Reports that the handler of an entry still runs after its deadline. It is dropped like an error.
    pub fn report_overrun(&self, id: String) {
        self.note(Incident::Overrun, &format!("the handler of {id} runs on after the deadline"));
        if !self.reports.offer(Report::Overrun(id)) {
            self.stats.reports_dropped.increment();
        }
    }

    /// Reports that the handler of an entry runs for long, so that somebody looks where it is. It is dropped like an
    /// error, and then it is asked for again.
    pub fn report_slow(&self, id: impl ToString) {
        if !self.reports.offer(Report::Slow(id.to_string())) {
            self.stats.reports_dropped.increment();
        }
    }

    /// Reports that events may be missing. A loss is never dropped: there are few.
    pub fn report_loss(&self, loss: Loss) {
        self.losses.note(&loss);
        self.note(Incident::Loss, &format!("events of {:?} may be missing: {}", loss.source, loss.cause));
        self.reports.send(Report::Loss(loss));
    }

    /// Reports the failure of a task that is repeated, unless it was just reported, or the links report it: Redis cannot
    /// be reached.
    pub fn report_news(&self, error: Error, news: &News) {
        if self.health.are_up() && !self.stop.is_stopped() && news.is_new(&error.message) {
            self.report(error);
        }
    }

    /// Reports an error of Redis that no caller gets.
    pub fn report_redis(&self, error: &RedisError) {
        self.report(self.connector.explain(error, Fate::Unknown));
    }

    /// Converts an error of Redis to one of the core.
    pub fn explain(&self, error: &RedisError, fate: Fate) -> Error {
        self.locate(self.connector.explain(error, fate))
    }

    /// Records that a long-lived connection broke.
    pub fn link_lost(&self, error: Error) {
        if self.health.lost() && !self.stop.is_stopped() {
            self.report(error);
        }
    }

    /// Records that a long-lived connection is lost and the server refuses another.
    pub fn link_refused(&self, error: Error) {
        if self.health.refused(&error.message) && !self.stop.is_stopped() {
            self.report(error);
        }
    }

    /// Records that a long-lived connection is up again.
    pub fn link_restored(&self) {
        self.stats.reconnections.increment();
        if let Some(outage) = self.health.restored() {
            self.note(Incident::Reconnected, &format!("after an outage of {:.3} s", outage.as_secs_f64()));
            self.reports.send(Report::Reconnected(outage));
        }
    }
}

impl Guard for Endpoint {
    fn panicked(&self, error: Error) {
        self.report(error);
    }

    fn pause(&self, time: Duration) -> bool {
        self.stop.pause(time)
    }
}

#[cfg(test)]
mod tests {
    use crate::error::{Error, ErrorKind};
    use crate::foundation::redis::fake_server::endpoint_of;

    #[test]
    fn reports_for_which_there_is_no_room_are_counted() {
        let endpoint = endpoint_of(serde_json::json!({}));
        (0..10_003).for_each(|_| endpoint.report(Error::new(ErrorKind::Internal, "x")));
        assert_eq!(endpoint.stats.reports_dropped.get(), 3);
    }
}
