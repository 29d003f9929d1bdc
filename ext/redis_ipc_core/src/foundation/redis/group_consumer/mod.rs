//! The one reader of a consumer group. It takes entries, renews the leases on held ones, takes over entries whose
//! leases ran out (entries that may have crashed their consumers one at a time), gives back those that were not
//! started, and keeps those that were given up on as dead letters.
//!
//! [`consumer::GroupConsumer`] has the commands on pending entries. [`reader::GroupReader`] reads new entries in a
//! [`session::GroupSession`], in a thread of its own or in that of a waiting worker. The feature's timer runs
//! [`take_over::TakeOver`]. The feature decides with the trait [`admission::Admission`] what an entry is and whether
//! it is to run.

pub mod admission;
pub mod consumer;
pub mod dead_letters;
pub mod reader;
pub mod session;
pub mod take_over;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
