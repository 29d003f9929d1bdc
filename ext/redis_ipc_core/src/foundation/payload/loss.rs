//! What a source could not deliver.

use std::fmt;

/// Why events may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The stream was trimmed before they were read.
    Trimmed,
    /// The server came back with an older state of the stream: a failover or a restart lost its end.
    RolledBack,
    /// The stream was deleted, perhaps with all others, and perhaps made again.
    Flushed,
    /// The connection of a subscription broke.
    Disconnected,
    /// What the consumer could not take in time was dropped, here or by the server.
    SlowConsumer,
    /// The server of a subscription was started again.
    Restarted,
    /// The subscription is at another server now.
    Failover,
    /// The channels, or the keys, are at another node of the cluster now.
    SlotMoved,
    /// The replication slot that kept them is lost.
    SlotLost,
    /// They were larger than what is read of an event.
    TooLarge,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trimmed => "trimmed",
            Self::RolledBack => "rolled_back",
            Self::Flushed => "flushed",
            Self::Disconnected => "disconnected",
            Self::SlowConsumer => "slow_consumer",
            Self::Restarted => "restarted",
            Self::Failover => "failover",
            Self::SlotMoved => "slot_moved",
            Self::SlotLost => "slot_lost",
            Self::TooLarge => "too_large",
        })
    }
}

/// Events that may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The stream, or the channel.
    pub source: String,
    /// The address of the server, without credentials.
    pub node: String,
    /// Why they may be missing.
    pub cause: Cause,
    /// They came after this, in ms since 1970. `None` if that is not known.
    pub since_ms: Option<u64>,
    /// They came before this, in ms since 1970.
    pub until_ms: u64,
    /// The most events that can be missing. `None` if no bound is known.
    pub at_most: Option<u64>,
    /// Whether it is exactly that many.
    pub is_exact: bool,
}
