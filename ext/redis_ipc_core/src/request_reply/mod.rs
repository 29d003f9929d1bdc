//! Request and reply over Redis streams: what `RedisIPC::Stream` and `RedisIPC::Channel` stand on.
//!
//! [`engine::Engine`] is one connected stream. The folders below import only what stands before them in this list:
//! [`protocol`], [`membership`], [`books`], [`sending`], then [`asking`] and [`serving`] side by side.

pub mod asking;
pub mod books;
pub mod engine;
pub mod housekeeper;
pub mod membership;
pub mod protocol;
pub mod sending;
pub mod serving;

#[cfg(test)]
mod recovery_tests;
