//! What consumers of every order have: what they are to a worker, an event that is held, retries, the pause, options.

pub mod consumer;
pub mod dead_event;
pub mod events_key;
pub mod in_flight;
pub mod live_options;
pub mod one_order;
pub mod options;
pub mod pause;
pub mod recent_ids;
pub mod retries;
pub mod stream_facts;
pub mod streams;
pub mod wal_options;
