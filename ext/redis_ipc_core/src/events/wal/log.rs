//! Which log is read. Positions in it mean nothing in another one.

use crate::foundation::postgres::connection::{Row, cell};
use std::fmt;

/// Which log it is: positions mean nothing in another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogName {
    /// The server's identity.
    pub system: String,
    /// The time line, which a failover or a recovery begins.
    pub timeline: u32,
}

impl LogName {
    /// Reads the answer to IDENTIFY_SYSTEM.
    pub fn of(rows: &[Row]) -> Self {
        let timeline = cell(rows, 1).and_then(|timeline| timeline.parse().ok());
        Self { system: cell(rows, 0).unwrap_or_default().to_owned(), timeline: timeline.unwrap_or(0) }
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (system, timeline) = text.split_once(' ')?;
        Some(Self { system: system.to_owned(), timeline: timeline.parse().ok()? })
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.system, self.timeline)
    }
}

/// Which log is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Its name.
    pub name: LogName,
    /// The number of the first transaction that was read from it. Those before it are of another log.
    pub first: u64,
    /// How many logs were read before it, by this consumer.
    pub number: u64,
}

impl Log {
    /// Returns the log that follows this one.
    pub fn next(&self, name: &LogName, first: u64) -> Self {
        Self { name: name.clone(), first, number: self.number + 1 }
    }
}
