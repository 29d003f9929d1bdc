//! PostgreSQL's write-ahead log as a source of events.
//!
//! A [`reader`] owns the only connection. The [`assembly`] makes events of what it reads. They wait for workers in the
//! backlog. [`progress`] knows the position up to which everything is done, and the reader confirms that to the server.

mod assembly;
mod preparation;
mod progress;
mod reader;
mod source;
mod table;
pub mod wal_consumer;
