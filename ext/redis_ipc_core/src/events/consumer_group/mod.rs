//! Consumers without an order. Each is a consumer group of Redis whose entries are events. Like request/reply, it uses
//! the group consumer of the foundation for reading, leases, take-over and dead letters.

mod acknowledgement;
mod admission;
pub mod event_consumer;
mod finished;
mod group;
pub mod lag;
mod loss_watch;
pub mod operating;
mod timer;
