//! The answering side: hands requests to the consumers and sends their answers.

use crate::claim::{Claim, Stage};
use crate::command::Command;
use crate::consumer_queue::{ConsumerQueue, Taken};
use crate::entry::{Answer, Status, StreamId};
use crate::error::{Error, ErrorKind};
use crate::intake::Intake;
use crate::lease;
use crate::member::Member;
use crate::options::Delivery;
use crate::sender::Sender;
use crate::stream_reply::refused;
use crate::waiting::Interrupt;
use redis::{RedisResult, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// The requests served here.
pub struct Service {
    member: Arc<Member>,
    queue: Arc<ConsumerQueue>,
    sender: Arc<Sender>,
    intake: Option<Arc<Intake>>,
}

impl Service {
    /// Serves from `queue`, which `intake` fills, answers by `sender`.
    pub fn new(
        member: Arc<Member>,
        queue: Arc<ConsumerQueue>,
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
    pub fn take(&self, interrupt: &Interrupt) -> Taken {
        loop {
            let read = || self.intake.as_ref().and_then(|intake| intake.take_reading(interrupt));
            let claim = self.queue.try_take().or_else(read);
            match claim.map_or_else(|| self.queue.take(interrupt), Taken::Claim) {
                Taken::Claim(claim) if !self.may_start(&claim) || !self.is_ours(&claim) => {}
                taken => return taken,
            }
        }
    }

    /// An expired request is never started.
    fn may_start(&self, claim: &Claim) -> bool {
        if self.member.clock.until(claim.request.deadline()).is_some() {
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
        let late = self.member.clock.until(request.deadline()).is_none();
        let held = self.queue.held(claim.id()).is_some_and(|held| Arc::ptr_eq(&held, claim));
        if !held && !late {
            let message = match claim.stage() {
                Stage::Answered => "the request has been answered already",
                _ => "the request is not held by this connection of the stream any more",
            };
            return Err(self
                .member
                .error(ErrorKind::AlreadyAnswered, message, &self.member.group)
                .entry(claim.id()));
        }
        let Some(ran) = claim.answer() else {
            let message = "the request has been answered already";
            return Err(self
                .member
                .error(ErrorKind::AlreadyAnswered, message, &self.member.group)
                .entry(claim.id()));
        };
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
        self.sender.send(Command::Answer(Arc::clone(claim), answer));
        Ok(true)
    }

    /// Whether the time of a request has run out.
    pub fn is_expired(&self, claim: &Claim) -> bool {
        self.member.clock.until(claim.request.deadline()).is_none()
    }

    /// Lets go of requests whose deadline passed while they were held.
    pub fn drop_overdue(&self) {
        let now = self.member.clock.now();
        let overdue = self.queue.remove(|claim| claim.request.deadline() <= now);
        if overdue.is_empty() {
            return;
        }
        for claim in &overdue {
            let counter = match claim.stage() {
                Stage::Queued => &self.member.stats.expired,
                _ => &self.member.stats.unanswered,
            };
            counter.increment();
        }
        self.sender.send(Command::Acknowledge(overdue.iter().map(|claim| claim.id()).collect()));
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

    /// Gives back everything that is pending under this instance and that it does not hold. To be called when
    /// nothing more is read.
    pub fn release_unstarted(&self) -> Result<(), Error> {
        let held: HashSet<StreamId> = self.queue.older_than(Duration::ZERO).into_iter().collect();
        let inbox = &self.member.inbox;
        let mut unstarted =
            self.member.connections.with(inbox, |connection| lease::pending(connection, &self.member))?;
        unstarted.retain(|(id, _)| !held.contains(id));
        lease::release(&self.member, &unstarted)
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
