//! The core of the redis_ipc gem: request/reply between processes over Redis streams.
//!
//! There is no Ruby in it. [`engine::Engine`] is one connected stream; docs/protocol.md describes what it says to
//! Redis, docs/internals.md which thread owns what.

pub mod backlog;
pub mod backoff;
pub mod batch;
pub mod calls;
pub mod claim;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod connection;
pub mod connections;
pub mod connector;
pub mod consumer_queue;
pub mod dead_letter;
pub mod dead_letters;
pub mod dispatcher;
mod drill;
pub mod engine;
pub mod entry;
pub mod error;
pub mod housekeeper;
pub mod identity;
pub mod intake;
pub mod json;
pub mod keys;
pub mod lane;
pub mod lease;
pub mod ledger;
pub mod link;
pub mod links;
pub mod master_watch;
pub mod member;
pub mod memory;
pub mod open_sockets;
pub mod options;
pub mod presence;
pub mod reading;
pub mod reception;
pub mod redis_options;
pub mod refusal;
pub mod reports;
pub mod resp;
pub mod scene;
pub mod section;
pub mod sender;
pub mod service;
pub mod slots;
pub mod stats;
pub mod stop;
pub mod stream_reply;
pub mod sync;
pub mod threads;
pub mod tls;
pub mod upkeep;
