//! The records of requests under way: the open calls, the held requests, and the rejections of the library itself.

pub mod in_flight;
pub mod ledger;
pub mod rejection;
pub mod request_queue;
