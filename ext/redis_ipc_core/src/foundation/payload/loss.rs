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
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trimmed => "trimmed",
            Self::RolledBack => "rolled_back",
            Self::Flushed => "flushed",
        })
    }
}

/// Events that may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The stream.
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
