//! What the running parts of the features have alike: an engine of streams, and a server and a client of JSON-RPC. The
//! border offers these methods of each of them in the same way.

use crate::foundation::redis::endpoint::Endpoint;
use serde_json::{Value, json};
use std::os::fd::RawFd;

/// A part with connections and threads of its own, from its start until it is closed.
pub trait Running: Send + Sync + 'static {
    /// Returns its Redis.
    fn endpoint(&self) -> &Endpoint;

    /// Returns the counters, and how much is open or held now.
    fn stats(&self) -> Vec<(&'static str, u64)>;

    /// Returns how long things took (`histograms`, by name), and how calls ended (`outcomes`, by destination), in the
    /// form of the record.
    fn details(&self) -> Value {
        json!({})
    }

    /// Whether it was stopped, so that it takes no more work.
    fn has_stopped(&self) -> bool;

    /// Takes no more work, and gives back what was not started. It may be called again.
    fn quiet(&self) {}

    /// Ends what is open, and closes. It may be called again.
    fn close(&self);

    /// Returns its sockets, for a forked child to close. The child must touch nothing else of its parent's.
    fn inherited_sockets(&self) -> Vec<RawFd> {
        self.endpoint().connector.sockets().inherited()
    }

    /// Whether it takes part: it is not stopped, and every connection is up.
    fn is_connected(&self) -> bool {
        !self.has_stopped() && self.endpoint().health.are_up()
    }
}
