//! PostgreSQL's write-ahead log as a source of events.
//!
//! A [`reader`] owns the only connection. The [`assembly`] makes events of what it reads. They wait for workers in the
//! backlog. [`progress`] knows the position up to which everything is done, and the reader confirms that to the server.
//! Before that, a [`snapshot`] reads the rows that exist.

mod assembly;
pub mod inspection;
pub mod log;
mod preparation;
mod progress;
mod published;
mod reader;
mod snapshot;
mod snapshot_records;
pub mod source;
mod table;
pub mod wal_consumer;

pub use assembly::now_ms;
