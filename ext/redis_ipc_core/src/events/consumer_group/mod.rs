//! A consumer without an order: a consumer group of Redis, whose entries are events. It uses the group consumer of the
//! foundation for reading, leases, take-over and dead letters, as request/reply does.

mod acknowledgement;
mod admission;
pub mod event_consumer;
mod finished;
mod group;
mod lag;
mod loss_watch;
mod timer;
