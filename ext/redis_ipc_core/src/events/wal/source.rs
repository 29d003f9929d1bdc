//! The state that the threads of a consumer of a log share.

use crate::error::{Error, ErrorKind, Fate, Place};
use crate::foundation::net::attempt::Attempt;
use crate::foundation::net::dialer::Dialer;
use crate::foundation::postgres::connection::Connection;
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::settings::Settings;
use crate::foundation::runtime::health::Health;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::stats::Counter;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::threads::Guard;
use std::time::Duration;

/// The counters since the consumer started.
#[derive(Debug, Default)]
pub struct Counts {
    /// Events that were read.
    pub taken: Counter,
    /// How often the connection was made again.
    pub reconnections: Counter,
    /// Reports that were dropped because there was no room.
    pub reports_dropped: Counter,
    /// Losses that were reported.
    pub losses: Counter,
}

/// The state that the threads of a consumer of a log share.
pub struct Source {
    /// The name of the source in errors and losses.
    pub name: String,
    /// The server and the database, without credentials.
    pub address: String,
    /// Opens connections.
    pub dialer: Dialer,
    /// Counters.
    pub counts: Counts,
    /// Reports for the user.
    pub reports: Mailbox<Report>,
    /// Set when the consumer closes.
    pub stop: Stop,
    /// Whether the connection is up.
    pub health: Health,
}

impl Source {
    /// Creates the state of a source with this name.
    pub fn new(name: &str, address: String) -> Self {
        Self {
            name: name.to_owned(),
            address,
            dialer: Dialer::default(),
            counts: Counts::default(),
            reports: Mailbox::default(),
            stop: Stop::default(),
            health: Health::default(),
        }
    }

    /// Opens a connection, for as long as the settings let an attempt to connect take.
    ///
    /// # Errors
    ///
    /// No server can be reached, or lets it in.
    pub fn open(&self, settings: &Settings, limit: usize) -> Result<Connection, Failure> {
        let attempt = Attempt::new(settings.connect_timeout, &self.dialer.closing);
        Connection::open(settings, &self.dialer, limit, &attempt)
    }

    /// Adds the source to an error.
    pub fn locate(&self, mut error: Error) -> Error {
        *error.place = Place { stream: Some(self.name.clone()), ..Place::default() };
        error
    }

    /// Reports an error that no caller receives.
    pub fn report(&self, error: Error) {
        if !self.stop.is_stopped() && !self.reports.offer(Report::Failure(self.locate(error))) {
            self.counts.reports_dropped.increment();
        }
    }

    /// Converts a failure to an error that says what it means and what to do.
    pub fn explain(&self, failure: &Failure) -> Error {
        let address = &self.address;
        let (kind, what) = match failure {
            Failure::Io(_) => (ErrorKind::Connection(Fate::NotSent), "PostgreSQL cannot be reached"),
            Failure::Server(error) if error.code.starts_with("57") || error.code.starts_with("08") => {
                (ErrorKind::Connection(Fate::NotSent), "PostgreSQL cannot be reached")
            }
            _ => (ErrorKind::Command(Fate::NotSent), "PostgreSQL cannot be used"),
        };
        let hint = match failure.code() {
            // PostgreSQL gives this message to a user without the right to replicate: "... or replication role" before
            // 16, and "... the REPLICATION attribute" since.
            Some("42501" | "28000") if failure.to_string().to_ascii_lowercase().contains("replication") => {
                ". The user needs the right to replicate: run ALTER ROLE its_name REPLICATION as a superuser"
            }
            Some("53300" | "53400") if failure.to_string().contains("slot") => {
                ". Drop a slot that nothing uses, or raise max_replication_slots and max_wal_senders"
            }
            _ => "",
        };
        let why = match failure {
            Failure::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                "no answer in time".to_owned()
            }
            Failure::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                "the connection was closed".to_owned()
            }
            other => other.to_string(),
        };
        self.locate(Error::new(kind, format!("{what}: {why} ({address}){hint}")))
    }
}

impl Guard for Source {
    fn panicked(&self, error: Error) {
        self.report(error);
    }

    fn pause(&self, time: Duration) -> bool {
        self.stop.pause(time)
    }
}
