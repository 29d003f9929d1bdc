//! Decides what becomes of an entry that was taken from the inbox: it runs, or it is dropped, refused or buried,
//! and each of these is counted.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::request_reply::books::dead_letter;
use crate::request_reply::books::in_flight::Claim;
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::member::Member;
use crate::request_reply::membership::options::Delivery;
use crate::request_reply::membership::presence;
use crate::request_reply::protocol::entry::{Answer, Request};
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::command::Command;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const MAY_HAVE_RUN: &str = "the request was sent again after a broken connection and may have run already; \
                            this group runs a request at most once";

const OVERLOADED: &str =
    "the group is overloaded: the request waited until its time would not have sufficed, and was not started";

/// How often Redis's clock is read again because of requests that look old, or come from its future.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[expect(clippy::large_enum_variant, reason = "taken apart at once, never kept")]
enum Examined {
    /// It is to run.
    Admitted(Request),
    /// Nothing but an acknowledgement is left to do.
    Done(StreamId),
    /// It has been seen to.
    Answered,
}

/// The way from the inbox to the consumers.
pub struct Admission {
    member: Arc<Member>,
    queue: Arc<RequestQueue>,
    sender: Arc<Sender>,
}

impl Admission {
    /// Between `queue` and `sender`.
    pub fn new(member: Arc<Member>, queue: Arc<RequestQueue>, sender: Arc<Sender>) -> Self {
        Self { member, queue, sender }
    }

    /// Takes in entries and queues what is to run; `deliveries` says how often those were delivered that came before.
    pub fn receive(&self, entries: Vec<RawEntry>, deliveries: &HashMap<StreamId, u32>) {
        self.queue.push_all(self.admit(entries, deliveries));
    }

    /// The requests among `entries` that are to run; the others are dealt with.
    pub fn admit(&self, entries: Vec<RawEntry>, deliveries: &HashMap<StreamId, u32>) -> Vec<Request> {
        let mut admitted = Vec::with_capacity(entries.len());
        let group_is_known = OnceCell::new();
        let mut done = Vec::new();
        for entry in entries {
            if entry.id == StreamId::LAST {
                self.member.inbox_exhausted.store(true, Ordering::SeqCst);
            }
            if self.queue.held(entry.id).is_some() {
                continue;
            }
            let count = deliveries.get(&entry.id).copied().unwrap_or(1);
            match self.examine(entry, count, &group_is_known) {
                Examined::Admitted(request) => admitted.push(request),
                Examined::Done(id) => done.push(id),
                Examined::Answered => {}
            }
        }
        if !done.is_empty() {
            self.sender.send(Command::Acknowledge(done));
        }
        admitted
    }

    /// Whether it would not run: it was withdrawn, is malformed or has expired.
    pub fn would_end(&self, entry: &RawEntry) -> bool {
        let Some(fields) = &entry.fields else { return true };
        let limit = self.member.options.max_content_size;
        let request = Request::decode(entry.id, fields, &self.member.keys, limit);
        request.map_or(true, |request| self.aged(request).is_past())
    }

    fn examine(&self, entry: RawEntry, deliveries: u32, group_is_known: &OnceCell<bool>) -> Examined {
        let stats = &self.member.stats;
        stats.taken.increment();
        let Some(fields) = entry.fields else {
            stats.withdrawn.increment();
            return Examined::Done(entry.id);
        };
        if deliveries > 1 {
            stats.redelivered.increment();
        }
        if deliveries > self.member.options.consumer.max_deliveries {
            return self.bury_exhausted(entry.id, &fields, deliveries);
        }
        let limit = self.member.options.max_content_size;
        let outlived_group = entry.id <= *self.member.group_made.lock();
        let decoded = Request::decode(entry.id, &fields, &self.member.keys, limit);
        match decoded.map(|request| Request { deliveries, outlived_group, ..self.aged(request) }) {
            Err(error) => self.bury_malformed(entry.id, &fields, &error.to_string(), deliveries),
            Ok(request) if request.is_past() => {
                stats.expired.increment();
                Examined::Done(entry.id)
            }
            Ok(request)
                if request.resent && self.member.options.consumer.delivery == Delivery::AtMostOnce =>
            {
                self.reject(request, dead_letter::MAY_HAVE_RUN, MAY_HAVE_RUN);
                Examined::Answered
            }
            Ok(request) if self.is_hopeless(&request) && self.has_not_run(&request, group_is_known) => {
                stats.shed.increment();
                self.reject(request, dead_letter::OVERLOADED, OVERLOADED);
                Examined::Answered
            }
            Ok(request) => Examined::Admitted(request),
        }
    }

    /// Reckons when a request expires. If Redis's clock was set, every request looks old, or is ahead, until the clock
    /// is read again. So it is read again.
    fn aged(&self, request: Request) -> Request {
        let (clock, id) = (&self.member.clock, request.redis_id);
        let is_old = clock.now().saturating_sub(id.ms) >= request.ttl / 2;
        if (is_old || self.member.is_ahead(id)) && clock.is_due(LOOK_AGAIN) {
            // Out of reach, it says nothing new.
            let _ = presence::renew(&self.member);
        }
        let now = clock.now();
        let since =
            self.member.age_if_ahead(id).map_or(id.ms, |age| now.saturating_sub(age.as_millis() as u64));
        request.aged(since, now)
    }

    /// Whether a request should give way to fresher ones. Redis hands out the oldest first; under overload those are
    /// the ones about to expire, and a group that starts them finishes none in time. So while more wait, a request
    /// whose better half has passed in the queue is not started if what is left would hardly do for the usual handler.
    fn is_hopeless(&self, request: &Request) -> bool {
        self.queue.usual_run_under_pressure().is_some_and(|usual| {
            let needed = (usual * 2).min(Duration::from_millis(request.ttl) / 2);
            request.left() < needed
        })
    }

    /// Whether nobody can have run a request: the asker of one that is shed is told so. If others made the group again
    /// while this instance was not reading, they may have it from the earlier one. So it is looked, once for all that
    /// came together.
    fn has_not_run(&self, request: &Request, group_is_known: &OnceCell<bool>) -> bool {
        !request.may_have_run()
            && *group_is_known.get_or_init(|| key_expiry::look_at_group(&self.member).is_ok())
            && request.redis_id > *self.member.group_made.lock()
    }

    /// Each delivery ended with its instance: it is more likely the request that kills them than chance.
    fn bury_exhausted(&self, id: StreamId, fields: &Fields, deliveries: u32) -> Examined {
        let tried = deliveries - 1;
        let reason =
            format!("delivered {tried} times without an answer: each instance that took it died or hung");
        let asker = dead_letter::answerable(fields, &self.member, id);
        let error = self.member.error(ErrorKind::DeadLettered, reason.clone(), &self.member.group).entry(id);
        self.bury(id, fields, error, deliveries, asker, dead_letter::DEAD_LETTERED)
    }

    fn bury_malformed(&self, id: StreamId, fields: &Fields, why: &str, deliveries: u32) -> Examined {
        self.member.stats.malformed.increment();
        let asker = dead_letter::answerable(fields, &self.member, id);
        let reason = format!("the entry is not a request of this protocol: {why}");
        let error = self.member.error(ErrorKind::Malformed, reason, &self.member.group).entry(id);
        self.bury(id, fields, error, deliveries, asker, dead_letter::MALFORMED)
    }

    /// Gives up on requests that break each connection that reads them, with how often each was delivered. Whom to tell
    /// stands in them.
    pub fn bury_unreadable(&self, requests: &[(StreamId, u32)]) {
        for (id, deliveries) in requests {
            let reason = "the request cannot be read: it breaks each connection that reads it (client-output-buffer-limit \
                          of Redis, or the limits in security.md)";
            let error = self.member.error(ErrorKind::DeadLettered, reason, &self.member.group).entry(id);
            let examined =
                self.bury(*id, &Fields::default(), error, *deliveries, None, dead_letter::MALFORMED);
            if let Examined::Done(id) = examined {
                self.member.stats.taken.increment();
                self.sender.send(Command::Acknowledge(vec![id]));
            }
        }
    }

    fn bury(
        &self,
        id: StreamId,
        fields: &Fields,
        error: Error,
        deliveries: u32,
        asker: Option<Request>,
        class: &str,
    ) -> Examined {
        let dead = self.member.keys.dead(&self.member.group);
        let kept = self.member.connections.with(&dead, |connection| {
            dead_letter::keep(connection, &self.member, id, fields, &error.message, deliveries)
        });
        match kept {
            Ok(None) => {}
            Ok(Some(refusal)) => {
                let refusal = self.member.connections.connector().explain(&refusal, Fate::Unknown);
                self.member.reporter.failure(self.member.locate(refusal).entry(id));
            }
            Err(failure) => {
                // Left pending: it comes back after a lease, and is buried then.
                self.member.reporter.failure(self.member.locate(failure).entry(id));
                return Examined::Answered;
            }
        }
        self.member.stats.dead_lettered.increment();
        let reason = error.message.clone();
        self.member.reporter.failure(error);
        match asker {
            Some(request) => {
                self.reject(request, class, &reason);
                Examined::Answered
            }
            None => Examined::Done(id),
        }
    }

    /// Answers a request without running it.
    fn reject(&self, request: Request, class: &str, reason: &str) {
        let answer: Answer = dead_letter::rejection(&self.member, &request, class, reason);
        let claim = Arc::new(Claim::new(request));
        self.queue.adopt(Arc::clone(&claim));
        self.sender.send(Command::Answer(claim, answer));
    }
}
