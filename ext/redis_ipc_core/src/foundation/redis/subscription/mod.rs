//! Subscriptions to what Redis publishes, and what can have been missed of it.
//!
//! A [`subscriber::Subscriber`] keeps one subscription at one server: its thread reads, and once a second sends a PING
//! and has a [`sampler::Sampler`] read the [`counters::Counters`] of that server on another connection. When the
//! connection has broken and the next one has subscribed, a [`window::Window`] says what can have been missed in between.
//!
//! Channels of shards move from node to node of a cluster ([`displaced::Displaced`]). A subscription gives them up when
//! its node says so, and takes on others ([`joins::Joins`]) while it reads. [`bases::Bases`] tell what can have been
//! missed of them.

pub mod bases;
pub mod counters;
pub mod displaced;
pub mod joins;
pub mod sampler;
pub mod spot;
pub mod subscriber;
pub mod topics;
pub mod window;
