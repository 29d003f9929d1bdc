//! Request and reply over Redis lists: what JSON-RPC 2.0 goes over (docs/json_rpc.md).
//!
//! A [`Server`] takes texts from a list and answers on lists the requests name; a [`Client`] puts texts
//! there and reads the answers from a list of its own. What the texts say is the caller's business: here only the ids
//! of answers are read.

mod client;
mod clock_look;
mod envelope_scan;
mod housekeeper;
mod in_flight;
mod instance;
mod intake;
mod names;
mod options;
mod outgoing_answer;
mod outgoing_request;
mod pending;
mod pulse;
mod reader;
mod request_queue;
mod server;
mod watch;

pub use client::Client;
pub use envelope_scan::{ScannedEnvelope, scan_envelopes};
pub use in_flight::Job;
pub use options::{ClientOptions, Guarantee, ServerOptions};
pub use pending::{Outcome, Pending};
pub use server::Server;
