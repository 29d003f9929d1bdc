//! The observer: reads what Redis knows of streams, queues and consumers of events, for those who operate them. It is
//! the core of `RedisIPC::Admin`.
//!
//! It is a member of nothing: it leaves no key, no consumer and no sign of life. [`Observer::read`] sends many
//! [`Query`]s in one round trip to each node. The methods that change something are named for what they do.

mod acts;
mod answer;
#[allow(clippy::module_inception)]
mod observer;
mod options;
mod query;

pub use answer::{Answer, Known, Reply};
pub use observer::{NodeClock, Observer};
pub use options::ObserverOptions;
pub use query::Query;
