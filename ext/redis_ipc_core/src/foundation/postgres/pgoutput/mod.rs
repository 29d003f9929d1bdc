//! What the plugin pgoutput writes, in version 1 of its protocol: transactions, one after the other.

mod cursor;
pub mod lsn;
pub mod message;
pub mod relation;
pub mod tuple;
