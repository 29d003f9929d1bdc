//! What all consumers share: their interface for workers, held events, retries, the pause, options.

pub mod consumer;
pub mod dead_event;
pub mod events_key;
pub mod forward_options;
pub mod in_flight;
pub mod key_hash;
pub mod live_options;
pub mod one_order;
pub mod options;
pub mod pause;
pub mod recent_ids;
pub mod retries;
pub mod stream_facts;
pub mod streams;
pub mod trimming;
pub mod wal_options;
