//! The records of requests under way: the open calls, the held requests, the rejections of the library itself, and
//! where the requests of calls that ended are.

pub mod in_flight;
pub mod ledger;
pub mod outcomes;
pub mod rejection;
pub mod request_queue;
pub mod suspects;
pub mod whereabouts;
