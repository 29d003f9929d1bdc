//! The server's side: it hands requests to the consumers and sends their answers.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::payload::json;
use crate::foundation::redis::group_consumer::consumer::{Delivered, GroupConsumer};
use crate::foundation::redis::group_consumer::reader::GroupReader;
use crate::foundation::redis::resp::replies::refused;
use crate::foundation::runtime::handling::{Handling, Run};
use crate::foundation::runtime::stats::Stats;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::work_queue::Taken;
use crate::request_reply::membership::inbox::Inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::protocol::entry::{Answer, Status};
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::command::Command;
use crate::request_reply::serving::admission::Admission;
use crate::request_reply::tracking::in_flight::{Answered, InFlight, Stage};
use crate::request_reply::tracking::request_queue::RequestQueue;
use crate::request_reply::tracking::suspects::Suspects;
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::time::Instant;

/// Reads the requests of an inbox.
pub type InboxReader = GroupReader<Admission>;

/// The requests that an instance serves.
pub struct Service {
    pub(crate) instance: Arc<Instance>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) consumer: Arc<GroupConsumer>,
    /// The requests that are held.
    pub queue: Arc<RequestQueue>,
    /// The handlers that run.
    pub handling: Arc<Handling<InFlight>>,
    pub(crate) sender: Arc<Sender>,
    pub(crate) suspects: Arc<Suspects>,
    pub(crate) reader: Option<Arc<InboxReader>>,
}

impl Service {
    pub(super) fn stats(&self) -> &Stats {
        &self.instance.endpoint.stats
    }

    /// Takes the next request, if one is queued. It does not wait.
    pub fn try_take(&self) -> Option<Arc<InFlight>> {
        if self.instance.options.consumer.delivery == Guarantee::AtMostOnce {
            return None;
        }
        loop {
            let held = self.queue.try_take()?;
            if self.may_start(&held) {
                return Some(held);
            }
        }
    }

    /// Waits for the next request and takes it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::request_reply::{Engine, Options, Status};
    /// use redis_ipc_core::{Interrupt, Taken};
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// # let options = Options::parse(serde_json::json!({}), None, &[])?;
    /// let engine = Engine::start("house", "child", options, true)?;
    /// while let Taken::Request(held) = engine.service.take(&Interrupt::default()) {
    ///     let content = held.request.content.share().to_vec();
    ///     engine.service.answer(&held, Status::Fulfilled, content, None)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn take(&self, interrupt: &Interrupt) -> Taken<InFlight> {
        loop {
            let read = || self.reader.as_ref().and_then(|reader| reader.read_for_worker(interrupt));
            let held = self.queue.try_take().or_else(read);
            match held.map_or_else(|| self.queue.take(interrupt), Taken::Request) {
                Taken::Request(held) if !self.may_start(&held) || !self.is_ours(&held) => {}
                taken => return taken,
            }
        }
    }

    /// Whether a request may start. An expired one never starts.
    fn may_start(&self, held: &Arc<InFlight>) -> bool {
        let now = Instant::now();
        if let Some(waited) = held.request.waited(now) {
            held.start(&self.handling, waited, Run::new(now, self.instance.options.consumer.lease));
            return true;
        }
        self.stats().expired.increment();
        self.queue.finish(held.id());
        self.sender.send(Command::Acknowledge(vec![held.id()]));
        false
    }

    /// Whether this instance may run the request. With at-most-once delivery it acknowledges and deletes the request
    /// before it runs. If the request was gone already (withdrawn, or taken over), it does not run.
    fn is_ours(&self, held: &InFlight) -> bool {
        if self.instance.options.consumer.delivery == Guarantee::AtLeastOnce {
            return true;
        }
        let (names, id) = (&self.instance.names, held.id().to_string());
        let (mut delete, mut acknowledge) = (redis::cmd("XDEL"), redis::cmd("XACK"));
        delete.arg(&names.inbox).arg(&id);
        acknowledge.arg(&names.inbox).arg(&names.group).arg(&id);
        let done = [delete, acknowledge];
        let replies = self.instance.connections.with(&names.inbox, |connection| {
            connection.run_all(&done)?.into_iter().map(refused).collect::<RedisResult<Vec<_>>>()
        });
        match replies {
            Ok(replies) if replies == [Value::Int(1), Value::Int(1)] => true,
            Ok(_) => {
                self.stats().withdrawn.increment();
                self.queue.finish(held.id());
                held.vanish();
                false
            }
            Err(error) => {
                // It is not known whether the request is acknowledged, so it must not run.
                self.instance.endpoint.report(error.entry(held.id()));
                self.queue.finish(held.id());
                held.vanish();
                false
            }
        }
    }

    /// Answers a request. `content` is JSON. `error` is the class of the exception behind a rejection. Returns false
    /// if the request had expired, so that the answer was dropped.
    ///
    /// # Errors
    ///
    /// The content is larger than `max_content_size`, or the request has been answered before or is not held by this
    /// instance any more (an [`ErrorKind::AlreadyAnswered`] error).
    pub fn answer(
        &self,
        held: &Arc<InFlight>,
        status: Status,
        content: Vec<u8>,
        error: Option<String>,
    ) -> Result<bool, Error> {
        let request = &held.request;
        if content.len() > self.instance.options.max_content_size {
            return Err(self.instance.too_large(content.len(), &request.source_group).entry(held.id()));
        }
        let late = request.is_past();
        let is_held = self.queue.held(held.id()).is_some_and(|current| Arc::ptr_eq(&current, held));
        let sealed = self.queue.is_sealed();
        if (sealed || !is_held) && !late {
            return Err(match held.stage() {
                Stage::Answered => self.answered_already(held),
                _ if sealed => {
                    self.stats().answers_dropped.increment();
                    self.disconnected(held)
                }
                _ => self.lost(held, "the request is not held by this connection of the stream any more"),
            });
        }
        let Some(ran) = held.answer() else { return Err(self.answered_already(held)) };
        held.note(if late { Answered::TooLate } else { Answered::InTime(status) });
        self.queue.note_run(ran);
        if late {
            self.queue.finish(held.id());
            self.stats().answers_dropped.increment();
            if is_held {
                self.sender.send(Command::Acknowledge(vec![held.id()]));
            }
            return Ok(false);
        }
        let answer = Answer::to(request, &self.instance.names, status, content, error);
        // If the sender has closed meanwhile, it has counted and reported the lost answer.
        if self.sender.send(Command::Answer(Arc::clone(held), answer)) {
            Ok(true)
        } else {
            Err(self.disconnected(held))
        }
    }

    fn answered_already(&self, held: &InFlight) -> Error {
        self.lost(held, "the request has been answered already")
    }

    fn lost(&self, held: &InFlight, why: &str) -> Error {
        self.instance.endpoint.locate(Error::new(ErrorKind::AlreadyAnswered, why)).entry(held.id())
    }

    fn disconnected(&self, held: &InFlight) -> Error {
        let message = "the answer was dropped: the stream was disconnected before the request was answered";
        let kind = ErrorKind::Closed(Fate::NotSent);
        self.instance.endpoint.locate(Error::new(kind, message)).entry(held.id())
    }

    /// Rejects a request for a reason of the library's own. A reason that is too long is truncated.
    ///
    /// # Errors
    ///
    /// Those of [`Service::answer`].
    pub fn reject(&self, held: &Arc<InFlight>, reason: &str, error: Option<String>) -> Result<bool, Error> {
        let content = json::shortened(reason, self.instance.options.max_content_size);
        self.answer(held, Status::Rejected, content, error)
    }

    /// Removes held requests whose deadline has passed, and reports those whose handlers still run.
    pub(crate) fn drop_overdue(&self) {
        let overdue = self.queue.remove(|held| held.request.is_past());
        if overdue.is_empty() {
            return;
        }
        for held in &overdue {
            match held.stage() {
                Stage::Queued => self.stats().expired.increment(),
                Stage::Open => self.unanswered(held, "its deadline"),
                Stage::Running => {
                    self.stats().unanswered.increment();
                    self.suspects.overrun(held);
                    self.instance.endpoint.report_overrun(held.id().to_string());
                }
                Stage::Answered => self.stats().unanswered.increment(),
            }
        }
        self.sender.send(Command::Acknowledge(overdue.iter().map(|held| held.id()).collect()));
    }

    /// Counts and reports a request that its handler has left open and that was not answered until `end`.
    fn unanswered(&self, held: &InFlight, end: &str) {
        self.stats().unanswered.increment();
        let request = &held.request;
        let message = format!(
            "the request {:?} of the group {:?} was not answered before {end}: its handler returned without \
             fulfill_request or reject_request, and neither was called later",
            request.id, request.source_group
        );
        self.instance.endpoint.report(Error::new(ErrorKind::Unanswered, message).entry(held.id()));
    }

    /// Has somebody look where the handlers are that run for longer than a lease.
    pub(crate) fn look_at_slow(&self) {
        let is_slow = |held: &Arc<InFlight>| held.run(Run::is_to_look) == Some(true);
        let slow = self.handling.running().into_iter().filter(is_slow);
        slow.for_each(|held| self.instance.endpoint.report_slow(held.id()));
    }

    /// Gives back requests that have waited too long for a consumer, because another instance may be free.
    pub(crate) fn release_stuck(&self) -> Result<(), Error> {
        let stuck = self.queue.remove_stuck(self.instance.options.consumer.lease / 4);
        self.consumer.release(&delivered(&stuck))?;
        self.suspects.given_back(&stuck.iter().map(|held| held.id()).collect::<Vec<_>>());
        Ok(())
    }

    /// Accepts no more answers. Returns the unanswered requests whose handlers have returned.
    pub(crate) fn seal(&self) -> Vec<Arc<InFlight>> {
        let mut open = self.queue.seal();
        open.retain(|held| held.stage() == Stage::Open);
        open
    }

    /// Hands on requests whose handlers have returned without an answer. With at-most-once delivery they are gone
    /// from Redis, and their callers will time out.
    pub(crate) fn hand_on_open(&self, open: &[Arc<InFlight>]) -> Result<(), Error> {
        if self.instance.options.consumer.delivery == Guarantee::AtMostOnce {
            open.iter().for_each(|held| self.unanswered(held, "the stream was disconnected"));
            return Ok(());
        }
        self.hand_on(&delivered(open), true)
    }

    /// Hands on every request that is pending under this instance and that it does not hold. Call this once nothing
    /// more is read.
    pub(crate) fn hand_on_unstarted(&self) -> Result<(), Error> {
        self.hand_on_pending(false)
    }

    /// Hands on every pending request at the end. Redis may have delivered requests to the reader's connection before
    /// it noticed that the connection was closed. A request that was answered may still be pending too, if its answer
    /// could not be sent. So with at-least-once delivery all of them count as started.
    pub(crate) fn hand_on_rest(&self) -> Result<(), Error> {
        self.hand_on_pending(self.instance.options.consumer.delivery == Guarantee::AtLeastOnce)
    }

    fn hand_on_pending(&self, started: bool) -> Result<(), Error> {
        let consumer = &*self.consumer;
        let rest = consumer
            .connections
            .with(&consumer.stream, |connection| consumer.pending_but_held(connection, &self.queue))?;
        self.hand_on(&rest, started)
    }
}

fn delivered(requests: &[Arc<InFlight>]) -> Vec<Delivered> {
    let one = |held: &Arc<InFlight>| Delivered { id: held.id(), deliveries: held.request.deliveries };
    requests.iter().map(one).collect()
}
