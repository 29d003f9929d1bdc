//! Starts the kind of consumer that the options ask for.

use crate::error::Error;
use crate::events::common::consumer::Consumer;
use crate::events::common::options::ConsumerOptions;
use crate::events::consumer_group::event_consumer::EventConsumer;
use crate::events::forward::forward_consumer::ForwardConsumer;
use crate::events::lanes::lane_consumer::LaneConsumer;
use crate::events::live::live_consumer::LiveConsumer;
use crate::events::recorded::recorded_consumer::RecordedConsumer;
use crate::events::wal::wal_consumer::WalConsumer;
use std::sync::Arc;

/// Starts the part of this process in the consumer `group` of `stream`. Returns when it is ready. A live source or a
/// log has no stream and no group: then `stream` is the name by which losses are reported.
///
/// # Errors
///
/// A name is blank or too long, Redis cannot be reached or refuses, the consumer has another number of lanes or another
/// order in Redis, or no thread could be started.
///
/// # Examples
///
/// ```no_run
/// use redis_ipc_core::Interrupt;
/// use redis_ipc_core::events::{self, ConsumerOptions};
///
/// # fn main() -> Result<(), redis_ipc_core::Error> {
/// let options = serde_json::json!({ "order": "key", "from": "beginning" });
/// let options = ConsumerOptions::parse(options, Some("redis://localhost:6379"))?;
/// let consumer = events::start("orders", "mailer", options)?;
/// while let Some(events) = consumer.take(16, &Interrupt::default()) {
///     events.iter().for_each(|event| println!("{}: {} fields", event.id, event.fields.len()));
///     consumer.done(&events)?;
/// }
/// # Ok(())
/// # }
/// ```
pub fn start(stream: &str, group: &str, options: ConsumerOptions) -> Result<Arc<dyn Consumer>, Error> {
    let consumer = begin(stream, group, options.clone())?;
    if !options.is_recorded {
        return Ok(consumer);
    }
    let recorded = RecordedConsumer::start(Arc::clone(&consumer), stream, group, &options);
    Ok(Arc::new(recorded.inspect_err(|_| consumer.close())?))
}

fn begin(stream: &str, group: &str, mut options: ConsumerOptions) -> Result<Arc<dyn Consumer>, Error> {
    if let Some(live) = options.live.take() {
        return Ok(Arc::new(LiveConsumer::start(stream, &options, live)?));
    }
    if let Some(wal) = options.wal.take() {
        if let Some(forward) = options.forward.take() {
            return Ok(Arc::new(ForwardConsumer::start(stream, options, wal, forward)?));
        }
        return Ok(Arc::new(WalConsumer::start(stream, options, wal)?));
    }
    if options.order.is_some() {
        Ok(Arc::new(LaneConsumer::start(stream, group, options)?))
    } else {
        Ok(Arc::new(EventConsumer::start(stream, group, options)?))
    }
}
