//! PostgreSQL's write-ahead log as a source of events.
//!
//! A [`reader`] has the one connection. The [`assembly`] makes events of what it reads, which wait for workers in the
//! backlog. [`progress`] knows up to where all is done, and the reader confirms that to the server.

mod assembly;
mod preparation;
mod progress;
mod reader;
mod source;
mod table;
pub mod wal_consumer;
