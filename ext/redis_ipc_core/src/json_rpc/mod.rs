//! Request and reply over Redis lists: what JSON-RPC 2.0 goes over (docs/json_rpc.md).
//!
//! A [`server::Server`] takes texts from a list and answers on lists the requests name; a [`client::Client`] puts texts
//! there and reads the answers from a list of its own. What the texts say is the caller's business: here only the ids
//! of answers are read.

pub mod client;
pub mod context;
pub mod envelope_scan;
pub mod housekeeper;
pub mod in_flight;
pub mod intake;
pub mod names;
pub mod options;
pub mod outbox;
pub mod outgoing_answer;
pub mod outgoing_request;
pub mod pending;
pub mod pulse;
pub mod reader;
pub mod request_queue;
pub mod server;
pub mod watch;
