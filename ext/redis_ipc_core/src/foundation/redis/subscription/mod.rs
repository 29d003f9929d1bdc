//! Subscriptions to what Redis publishes, and what can have been missed of it.
//!
//! A [`subscriber::Subscriber`] keeps one subscription at one server: its thread reads, and once a second sends a PING
//! and has a [`sampler::Sampler`] read the [`counters::Counters`] of that server on another connection. When the
//! connection has broken and the next one has subscribed, a [`window::Window`] says what can have been missed in between.

pub mod counters;
pub mod sampler;
pub mod spot;
pub mod subscriber;
pub mod topics;
pub mod window;
