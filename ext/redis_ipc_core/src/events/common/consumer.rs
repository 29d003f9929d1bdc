//! A consumer of events, with or without an order.

use crate::error::{Error, ErrorKind};
use crate::events::common::dead_event::DeadEvent;
use crate::events::common::forward_options::Naming;
use crate::events::common::in_flight::InFlight;
use crate::events::common::options::From;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pool::Pool;
use crate::foundation::runtime::reports::{Mailbox, Report};
use crate::foundation::runtime::waiting::Interrupt;
use std::sync::Arc;
use std::time::Duration;

/// How far a consumer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last id of the stream.
    pub last: StreamId,
    /// The id that was last delivered. With an order, everything up to this id is done.
    pub delivered: StreamId,
    /// How many entries were delivered and not acknowledged. With an order this is 0, because lanes have no deliveries.
    pub pending: u64,
    /// Nothing before it is delivered any more: the lowest pending id, or `delivered`.
    pub floor: StreamId,
}

/// One process's part in a consumer. It hands out events, and the workers report what became of them.
pub trait Consumer: Send + Sync {
    /// Waits for events, and takes at least one and at most `most`. It takes several only if handlers are quick. With
    /// an order they must be handled in the order of the list. If one of them is not done, those behind it must be
    /// given back. Returns `None` once the consumer is closed, and an empty list if the thread was interrupted.
    fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>>;

    /// Takes events like [`Consumer::take`], but at most one for each of `handlers` free handlers, even if handlers are
    /// slow. They may be handled at the same time.
    fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>>;

    /// Takes the next event if one may begin now, and does not wait for one.
    fn take_ready(&self) -> Option<Arc<InFlight>>;

    /// Takes events like [`Consumer::take`], but waits for `size` events, until `within` has passed since the first.
    fn take_batch(&self, size: usize, within: Duration, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>>;

    /// Gives back events that were taken and not started.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses. Then the events stay with this consumer until its leases run out.
    fn give_back(&self, events: &[Arc<InFlight>]) -> Result<(), Error>;

    /// Wakes the waiting workers, so that they notice an interrupt.
    fn wake(&self);

    /// Finishes events. Events that were finished before are left out.
    ///
    /// # Errors
    ///
    /// The consumer has been closed. The events will be handled again.
    fn done(&self, events: &[Arc<InFlight>]) -> Result<(), Error> {
        InFlight::longest(events).map_or(Ok(()), |longest| self.finish(events, longest))
    }

    /// Finishes events like [`Consumer::done`], of which the longest took `longest`.
    ///
    /// # Errors
    ///
    /// Those of [`Consumer::done`].
    fn finish(&self, events: &[Arc<InFlight>], longest: Duration) -> Result<(), Error>;

    /// Writes events of a log into the stream that the consumer forwards to, each named as `namings` say, and finishes
    /// them. Waits for Redis as long as it takes.
    ///
    /// # Errors
    ///
    /// The consumer has been closed, or does not forward.
    fn forward(&self, _events: &[Arc<InFlight>], _namings: &[Naming]) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Configuration, "only a consumer of PostgreSQL's log forwards"))
    }

    /// Records that an event failed. It is delivered here again after `wait`. Events that need not wait for it go on.
    /// Returns false if it was not running.
    ///
    /// # Errors
    ///
    /// The consumer has been closed. The event will be handled again.
    fn retry(&self, event: &Arc<InFlight>, wait: Duration) -> Result<bool, Error>;

    /// Gives up on an event, and keeps it as a dead letter. Does nothing if it was not running.
    ///
    /// # Errors
    ///
    /// The dead letter could not be written. The event is delivered here again, and that does not count as an attempt.
    fn bury(&self, event: &Arc<InFlight>, reason: &str) -> Result<(), Error>;

    /// Pauses the consumer, or ends its pause. While it pauses, it hands nothing out.
    fn pause(&self, is_paused: bool);

    /// Pauses the events of one key in this process, or ends that pause. Returns false if there is no order by key.
    fn pause_key(&self, key: &str, is_paused: bool) -> bool;

    /// Notes for the record where the handler of the event with this id is.
    fn note_frame(&self, _id: StreamId, _frame: Option<String>) {}

    /// Returns how far the consumer has come, in all processes.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn progress(&self) -> Result<Progress, Error>;

    /// Moves all processes of the consumer to another position of the stream. Returns that position. Events that were
    /// taken before may still run.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn seek(&self, to: From) -> Result<StreamId, Error>;

    /// Whether the consumer did not exist before this part of it started.
    fn has_made_group(&self) -> bool;

    /// Returns how many entries of the stream are still to be delivered. Returns `None` if Redis does not know.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn lag(&self) -> Result<Option<u64>, Error>;

    /// Returns [`Consumer::lag`] and [`Consumer::progress`] of the same moment.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn position(&self) -> Result<(Option<u64>, Progress), Error> {
        Ok((self.lag()?, self.progress()?))
    }

    /// Returns the last losses that were reported, and not handed to a worker, as the record shows them.
    fn losses(&self) -> Vec<serde_json::Value> {
        self.endpoint().map(|endpoint| endpoint.losses.rows()).unwrap_or_default()
    }

    /// Returns its Redis. `None` if its source is none.
    fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        None
    }

    /// Returns its pooled connections, if it has any.
    fn connections(&self) -> Option<&Arc<Pool>> {
        None
    }

    /// Returns its unguessable name in its group, if it has one.
    fn instance(&self) -> Option<String> {
        None
    }

    /// Returns by name the counters of events since the start, and what is held now.
    fn stats(&self) -> Vec<(&'static str, u64)>;

    /// Returns how long events waited and handlers took (`histograms`, by name), in the form of the record.
    fn details(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    /// Takes no more events, and gives back those that were not started. It may be called again.
    fn quiet(&self);

    /// Writes what is finished, gives back the rest, and closes. It may be called again.
    fn close(&self);

    /// Returns the reports for the user.
    fn reports(&self) -> &Mailbox<Report>;

    /// Returns its sockets, for a forked child to close.
    fn inherited_sockets(&self) -> Vec<std::os::fd::RawFd>;

    /// Whether it takes part: it is not stopped, and every connection is up.
    fn is_connected(&self) -> bool;

    /// Returns up to `count` dead letters after the id `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn dead_letters(&self, after: Option<StreamId>, count: usize) -> Result<Vec<DeadEvent>, Error>;

    /// Returns how many dead letters there are.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn count_dead_letters(&self) -> Result<u64, Error>;

    /// Lets the event of a dead letter be tried again, as if for the first time. Returns false if the letter no longer
    /// exists, or is already being tried again.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn retry_dead_letter(&self, id: StreamId) -> Result<bool, Error>;

    /// Deletes a dead letter. Returns false if it no longer exists.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    fn discard_dead_letter(&self, id: StreamId) -> Result<bool, Error>;
}
