//! The one reader of a consumer group. It takes entries, renews the leases on what is held, takes over what nobody
//! renews (what may have crashed its consumers one at a time), gives back what was not started, and keeps what is given
//! up on.
//!
//! [`consumer::GroupConsumer`] has the commands about what is pending. [`reader::GroupReader`] reads new entries in a
//! [`session::GroupSession`], in a thread of its own or in that of a worker that waits. [`take_over::TakeOver`] is run
//! by the feature's timer. What an entry is, and whether it is to run, is said by the feature that uses them, with the
//! trait [`admission::Admission`].

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
