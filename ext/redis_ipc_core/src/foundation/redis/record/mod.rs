//! The record: what an instance says of itself in Redis, for whoever operates it, and the control key by which it is told
//! to pause (docs/protocol.md, "The record").
//!
//! A feature says what its instance does with the trait [`subject::Subject`]. Its timer thread calls the
//! [`writer::RecordWriter`], which needs neither Ruby nor a free handler: so the record is written while handlers hang.

pub mod access;
pub mod agreement;
pub mod control;
pub mod keys;
pub mod subject;
pub mod writer;
