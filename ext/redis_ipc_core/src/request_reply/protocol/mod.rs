//! The wire protocol of docs/protocol.md: the names of the keys, and the entries in them.

pub mod content;
pub mod entry;
pub mod keys;
pub mod names;
