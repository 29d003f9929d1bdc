//! Request and reply over Redis lists. JSON-RPC 2.0 uses this (docs/json_rpc.md).
//!
//! A [`Server`] takes texts from a list and puts answers on the lists that the requests name. A [`Client`] puts texts
//! on the server's list and reads the answers from a list of its own. The caller defines what the texts mean: this
//! module reads only the ids of answers.

mod client;
mod clock_check;
mod envelope_scan;
mod explainer;
mod heartbeat;
mod housekeeper;
mod in_flight;
mod instance;
mod missing_rights;
mod names;
mod operating;
mod options;
mod outgoing_answer;
mod outgoing_request;
mod pending;
mod portrait;
mod queue_reader;
mod reply_reader;
mod request_queue;
mod server;
mod watch;

/// The exports for [`crate::observer`].
pub(crate) mod observing {
    pub use super::names::Names;
    pub use super::operating::{discard, retry};
}

pub use client::Client;
pub use envelope_scan::{ScannedEnvelope, scan_envelopes};
pub use in_flight::InFlight;
pub use options::{ClientOptions, ServerOptions};
pub use pending::{Outcome, Pending};
pub use server::Server;
