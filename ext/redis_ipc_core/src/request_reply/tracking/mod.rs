//! What is kept of requests while they are under way: the calls that are open, the requests that are held, and the
//! requests that were given up on.

pub mod in_flight;
pub mod ledger;
pub mod rejection;
pub mod request_queue;
