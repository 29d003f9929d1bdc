//! The answering side: hands requests to the consumers and sends their answers.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::json;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::resp::replies::refused;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::work_queue::Taken;
use crate::request_reply::books::in_flight::{Answered, Claim, Stage};
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::member::Member;
use crate::request_reply::membership::options::Delivery;
use crate::request_reply::protocol::entry::{Answer, Status};
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::command::Command;
use crate::request_reply::serving::intake::Intake;
use crate::request_reply::serving::lease;
use redis::{RedisResult, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The requests served here.
pub struct Service {
    member: Arc<Member>,
    queue: Arc<RequestQueue>,
    sender: Arc<Sender>,
    intake: Option<Arc<Intake>>,
}

impl Service {
    /// Serves from `queue`, which `intake` fills, answers by `sender`.
    pub fn new(
        member: Arc<Member>,
        queue: Arc<RequestQueue>,
        sender: Arc<Sender>,
        intake: Option<Arc<Intake>>,
    ) -> Self {
        Self { member, queue, sender, intake }
    }

    /// The next request if one is at hand, without waiting for anything.
    pub fn try_take(&self) -> Option<Arc<Claim>> {
        if self.member.options.consumer.delivery == Delivery::AtMostOnce {
            return None;
        }
        loop {
            let claim = self.queue.try_take()?;
            if self.may_start(&claim) {
                return Some(claim);
            }
        }
    }

    /// The next request; waits for it.
    pub fn take(&self, interrupt: &Interrupt) -> Taken<Claim> {
        loop {
            let read = || self.intake.as_ref().and_then(|intake| intake.take_reading(interrupt));
            let claim = self.queue.try_take().or_else(read);
            match claim.map_or_else(|| self.queue.take(interrupt), Taken::Request) {
                Taken::Request(claim) if !self.may_start(&claim) || !self.is_ours(&claim) => {}
                taken => return taken,
            }
        }
    }

    /// An expired request is never started.
    fn may_start(&self, claim: &Claim) -> bool {
        if !claim.request.is_past() {
            claim.start();
            return true;
        }
        self.member.stats.expired.increment();
        self.queue.finish(claim.id());
        self.sender.send(Command::Acknowledge(vec![claim.id()]));
        false
    }

    /// With at-most-once delivery a request is acknowledged and deleted before it runs; if it was gone already
    /// (withdrawn, or taken over), it does not run.
    fn is_ours(&self, claim: &Claim) -> bool {
        if self.member.options.consumer.delivery == Delivery::AtLeastOnce {
            return true;
        }
        let (inbox, id) = (&self.member.inbox, claim.id().to_string());
        let (mut delete, mut acknowledge) = (redis::cmd("XDEL"), redis::cmd("XACK"));
        delete.arg(inbox).arg(&id);
        acknowledge.arg(inbox).arg(&self.member.group).arg(&id);
        let done = [delete, acknowledge];
        let replies = self.member.connections.with(inbox, |connection| {
            connection.run_all(&done)?.into_iter().map(refused).collect::<RedisResult<Vec<_>>>()
        });
        match replies {
            Ok(replies) if replies == [Value::Int(1), Value::Int(1)] => true,
            Ok(_) => {
                self.member.stats.withdrawn.increment();
                self.queue.finish(claim.id());
                false
            }
            Err(error) => {
                // Whether it is acknowledged is not known, so it must not run.
                self.member.reporter.failure(self.member.locate(error).entry(claim.id()));
                self.queue.finish(claim.id());
                false
            }
        }
    }

    /// Answers a request. `content` is JSON; `error` is the class of the exception behind a rejection.
    /// False if the request's time had run out and the answer was dropped. Fails if it has been answered before,
    /// or is not (any more) held by this instance.
    pub fn answer(
        &self,
        claim: &Arc<Claim>,
        status: Status,
        content: Vec<u8>,
        error: Option<String>,
    ) -> Result<bool, Error> {
        let request = &claim.request;
        if content.len() > self.member.options.max_content_size {
            return Err(self.member.too_large(content.len(), &request.source_group).entry(claim.id()));
        }
        let late = request.is_past();
        let held = self.queue.held(claim.id()).is_some_and(|held| Arc::ptr_eq(&held, claim));
        let sealed = self.queue.is_sealed();
        if (sealed || !held) && !late {
            return Err(match claim.stage() {
                Stage::Answered => self.answered_already(claim),
                _ if sealed => {
                    self.member.stats.answers_dropped.increment();
                    self.disconnected(claim)
                }
                _ => self.lost(claim, "the request is not held by this connection of the stream any more"),
            });
        }
        let Some(ran) = claim.answer() else { return Err(self.answered_already(claim)) };
        claim.note(if late { Answered::TooLate } else { Answered::InTime(status) });
        self.queue.note_run(ran);
        if late {
            self.queue.finish(claim.id());
            self.member.stats.answers_dropped.increment();
            if held {
                self.sender.send(Command::Acknowledge(vec![claim.id()]));
            }
            return Ok(false);
        }
        let answer = Answer {
            id: request.id.clone(),
            instance_id: self.member.instance.clone(),
            status,
            content: content.into(),
            error,
            source_group: self.member.group.clone(),
            destination_group: request.source_group.clone(),
            redis_id: StreamId::default(),
        };
        // If the sender has ended meanwhile, it has counted and reported that the answer is lost.
        if self.sender.send(Command::Answer(Arc::clone(claim), answer)) {
            Ok(true)
        } else {
            Err(self.disconnected(claim))
        }
    }

    fn answered_already(&self, claim: &Claim) -> Error {
        self.lost(claim, "the request has been answered already")
    }

    fn lost(&self, claim: &Claim, why: &str) -> Error {
        self.member.error(ErrorKind::AlreadyAnswered, why, &self.member.group).entry(claim.id())
    }

    fn disconnected(&self, claim: &Claim) -> Error {
        let message = "the answer was dropped: the stream was disconnected before the request was answered";
        let kind = ErrorKind::Closed(Fate::NotSent);
        self.member.error(kind, message, &self.member.group).entry(claim.id())
    }

    /// Rejects a request for a reason of the library's own. A reason that would be too long is cut.
    pub fn reject(&self, claim: &Arc<Claim>, reason: &str, error: Option<String>) -> Result<bool, Error> {
        let content = json::shortened(reason, self.member.options.max_content_size);
        self.answer(claim, Status::Rejected, content, error)
    }

    /// Whether the time of a request has run out.
    pub fn is_expired(&self, claim: &Claim) -> bool {
        claim.request.is_past()
    }

    /// Lets go of requests whose deadline passed while they were held.
    pub fn drop_overdue(&self) {
        let overdue = self.queue.remove(|claim| claim.request.is_past());
        if overdue.is_empty() {
            return;
        }
        for claim in &overdue {
            match claim.stage() {
                Stage::Queued => self.member.stats.expired.increment(),
                Stage::Open => self.unanswered(claim, "its deadline"),
                Stage::Running | Stage::Answered => self.member.stats.unanswered.increment(),
            }
        }
        self.sender.send(Command::Acknowledge(overdue.iter().map(|claim| claim.id()).collect()));
    }

    /// Counts and reports a request that its handler has left open and nobody has answered until `end`.
    fn unanswered(&self, claim: &Claim, end: &str) {
        self.member.stats.unanswered.increment();
        let request = &claim.request;
        let message = format!(
            "the request {:?} of the group {:?} was not answered before {end}: its handler returned without \
             fulfill_request or reject_request, and neither was called later",
            request.id, request.source_group
        );
        let error = self.member.error(ErrorKind::Unanswered, message, &self.member.group);
        self.member.reporter.failure(error.entry(claim.id()));
    }

    /// Gives back what has waited too long for a consumer: another instance may be free.
    pub fn release_stuck(&self) -> Result<(), Error> {
        let stuck = self.queue.remove_stuck(self.member.options.consumer.lease / 4);
        let requests: Vec<(StreamId, u32)> =
            stuck.iter().map(|claim| (claim.id(), claim.request.deliveries)).collect();
        lease::release(&self.member, &requests)
    }

    /// Hands out nothing more: waiting consumers are told that no more will come.
    pub fn stop(&self) {
        self.queue.close();
    }

    /// Waits until everything that was taken has been answered, at most for `time`.
    pub fn wait_for_answers(&self, time: Duration) {
        self.queue.wait_for_answers(time);
    }

    /// Nothing is answered from now on. Returns what was not answered though its handler has returned.
    pub fn seal(&self) -> Vec<Arc<Claim>> {
        let mut open = self.queue.seal();
        open.retain(|claim| claim.stage() == Stage::Open);
        open
    }

    /// Hands on requests whose handlers have returned without an answer. With at-most-once delivery they are gone from
    /// Redis, and their askers will time out.
    pub fn hand_on_open(&self, open: &[Arc<Claim>]) -> Result<(), Error> {
        if self.member.options.consumer.delivery == Delivery::AtMostOnce {
            open.iter().for_each(|claim| self.unanswered(claim, "the stream was disconnected"));
            return Ok(());
        }
        let requests: Vec<(StreamId, u32)> =
            open.iter().map(|claim| (claim.id(), claim.request.deliveries)).collect();
        lease::hand_on(&self.member, &requests, true)
    }

    /// Hands on everything that is pending under this instance and that it does not hold. To be called when
    /// nothing more is read.
    pub fn hand_on_unstarted(&self) -> Result<(), Error> {
        self.hand_on_pending(false)
    }

    /// The same at the end. Redis may have delivered requests to the reader's connection before it noticed that this
    /// was closed. What was answered may also be pending still, if its answer could not be sent: so with at-least-once
    /// delivery all of it is said to have been started.
    pub fn hand_on_rest(&self) -> Result<(), Error> {
        self.hand_on_pending(self.member.options.consumer.delivery == Delivery::AtLeastOnce)
    }

    fn hand_on_pending(&self, started: bool) -> Result<(), Error> {
        let held: HashSet<StreamId> = self.queue.older_than(Duration::ZERO).into_iter().collect();
        let inbox = &self.member.inbox;
        let mut unstarted =
            self.member.connections.with(inbox, |connection| lease::pending(connection, &self.member))?;
        unstarted.retain(|(id, _)| !held.contains(id));
        lease::hand_on(&self.member, &unstarted, started)
    }

    /// How many requests are held.
    pub fn held(&self) -> usize {
        self.queue.len()
    }

    /// Wakes the waiting consumers, so that they notice an interrupt.
    pub fn wake(&self) {
        self.queue.wake();
    }
}
