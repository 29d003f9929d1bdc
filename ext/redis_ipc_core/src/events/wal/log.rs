//! Which log is read. Positions in it mean nothing in another one.

/// Which log is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// The server's identity.
    pub system: String,
    /// The time line, which a failover or a recovery begins.
    pub timeline: u32,
    /// The number of the first transaction that was read from it. Those before it are of another log.
    pub first: u64,
    /// How many logs were read before it, by this consumer.
    pub number: u64,
}

impl Log {
    /// Returns the log that follows this one.
    pub fn next(&self, (system, timeline): &(String, String), first: u64) -> Self {
        let timeline = timeline.parse().unwrap_or(0);
        Self { system: system.clone(), timeline, first, number: self.number + 1 }
    }
}
