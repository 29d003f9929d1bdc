//! Decides what happens to an entry that was taken from the inbox. It runs, or it is dropped, refused, or moved to
//! the dead letters; each of these is counted.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::group_consumer::admission::{self, Earlier};
use crate::foundation::redis::group_consumer::consumer::{Delivered, GroupConsumer};
use crate::foundation::redis::group_consumer::dead_letters::Letter;
use crate::foundation::runtime::stats::Stats;
use crate::request_reply::membership::inbox::Inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::protocol::entry::Request;
use crate::request_reply::sending::Sender;
use crate::request_reply::sending::acceptance::Acceptance;
use crate::request_reply::sending::command::Command;
use crate::request_reply::serving::suspect_marks::{SuspectMarks, TakenOver};
use crate::request_reply::tracking::in_flight::InFlight;
use crate::request_reply::tracking::rejection::{self, Cause};
use crate::request_reply::tracking::request_queue::RequestQueue;
use redis::RedisResult;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

const MAY_HAVE_RUN: &str = "the request was sent again after a broken connection and may have run already; \
                            this group runs a request at most once";

const OVERLOADED: &str =
    "the group is overloaded: the request waited until too little time was left, and was not started";

/// How often Redis's clock is read again because of requests that look old, or come from its future.
const READ_CLOCK_AGAIN: Duration = Duration::from_millis(500);

#[expect(clippy::large_enum_variant, reason = "taken apart at once, never kept")]
enum Examined {
    /// It is to run.
    Admitted(Request),
    /// It only needs an acknowledgement.
    Done(StreamId),
    /// It is finished.
    Answered,
}

/// An entry that is given up on.
struct Burial<'a> {
    taken: Delivered,
    fields: &'a Fields,
    error: Error,
    /// What its caller is told.
    cause: Cause,
}

/// The way of a request from the inbox to the consumers.
pub struct Admission {
    instance: Arc<Instance>,
    inbox: Arc<Inbox>,
    consumer: Arc<GroupConsumer>,
    queue: Arc<RequestQueue>,
    sender: Arc<Sender>,
    acceptance: Arc<Acceptance>,
    marks: Arc<SuspectMarks>,
}

impl admission::Admission for Admission {
    type Held = InFlight;

    fn prepare(&self, connection: &mut Connection) -> RedisResult<()> {
        self.inbox.join(connection)
    }

    /// While Redis refuses answers, a request that is taken would only be lost with this process. An operator may have
    /// told the group to take nothing, too.
    fn pause(&self) -> Option<Duration> {
        self.instance.control.pause().or_else(|| self.acceptance.pause())
    }

    fn admit(&self, entries: Vec<RawEntry>, earlier: &HashMap<StreamId, Earlier>) -> Vec<Arc<InFlight>> {
        let mut admitted = Vec::with_capacity(entries.len());
        let group_is_known = OnceCell::new();
        let (mut done, mut taken_over) = (Vec::new(), Vec::new());
        for entry in entries {
            self.inbox.note_taken(entry.id);
            if self.queue.held(entry.id).is_some() {
                continue;
            }
            let before = earlier.get(&entry.id).filter(|earlier| self.may_crash(earlier.deliveries));
            let fields = before.and_then(|_| entry.fields.clone());
            let deliveries = earlier.get(&entry.id).map_or(1, |earlier| earlier.deliveries);
            match self.examine(entry, deliveries, &group_is_known) {
                Examined::Admitted(request) => match before.zip(fields) {
                    Some((Earlier { holder, .. }, fields)) => {
                        taken_over.push(TakenOver { request, fields, holder: holder.clone() });
                    }
                    None => admitted.push(Arc::new(InFlight::new(request))),
                },
                Examined::Done(id) => done.push(id),
                Examined::Answered => {}
            }
        }
        if !done.is_empty() {
            self.sender.send(Command::Acknowledge(done));
        }
        let marked = self.marks.mark(taken_over).into_iter();
        admitted.extend(marked.map(|request| Arc::new(InFlight::new(request))));
        admitted
    }

    /// Whether the entry would not run: it was withdrawn, is malformed or has expired.
    fn would_end(&self, entry: &RawEntry) -> bool {
        let Some(fields) = &entry.fields else { return true };
        let request = self.decode(entry.id, fields);
        request.map_or(true, |request| self.aged(request).is_past())
    }

    /// The caller cannot be told, because only the unread content names it.
    fn give_up_unreadable(&self, entries: &[Delivered]) {
        for entry in entries {
            let reason = "the request cannot be read: it breaks each connection that reads it (client-output-buffer-limit \
                          of Redis, or the limits in security.md)";
            let error = Error::new(ErrorKind::DeadLettered, reason);
            let burial = Burial { taken: *entry, fields: &Fields::default(), error, cause: Cause::Malformed };
            let examined = self.dead_letter(burial, None);
            if let Examined::Done(id) = examined {
                self.stats().taken.increment();
                self.sender.send(Command::Acknowledge(vec![id]));
            }
        }
    }
}

impl Admission {
    /// Creates the admission of the requests of `inbox`. `queue` holds those that run. `sender` answers and
    /// acknowledges the others. `marks` are those among the dead letters.
    pub fn new(
        instance: Arc<Instance>,
        inbox: Arc<Inbox>,
        consumer: Arc<GroupConsumer>,
        queue: Arc<RequestQueue>,
        sender: Arc<Sender>,
        acceptance: Arc<Acceptance>,
        marks: Arc<SuspectMarks>,
    ) -> Self {
        Self { instance, inbox, consumer, queue, sender, acceptance, marks }
    }

    /// Whether a request with this many deliveries may crash this process. With at-most-once delivery no request is
    /// started twice.
    fn may_crash(&self, deliveries: u32) -> bool {
        deliveries > 1 && self.instance.options.consumer.delivery == Guarantee::AtLeastOnce
    }

    fn stats(&self) -> &Stats {
        &self.instance.endpoint.stats
    }

    fn decode(&self, id: StreamId, fields: &Fields) -> Result<Request, impl std::fmt::Display> {
        Request::decode(id, fields, &self.instance.names.keys, self.instance.options.max_content_size)
    }

    fn examine(&self, entry: RawEntry, deliveries: u32, group_is_known: &OnceCell<bool>) -> Examined {
        let (stats, options) = (self.stats(), &self.instance.options.consumer);
        stats.taken.increment();
        let Some(fields) = entry.fields else {
            stats.withdrawn.increment();
            return Examined::Done(entry.id);
        };
        let taken = Delivered { id: entry.id, deliveries };
        if deliveries > 1 {
            stats.redelivered.increment();
        }
        if deliveries > options.max_deliveries {
            return self.dead_letter_exhausted(taken, &fields);
        }
        let outlived_group = self.inbox.outlived_group(entry.id);
        let decoded = self.decode(entry.id, &fields);
        match decoded.map(|request| Request { deliveries, outlived_group, ..self.aged(request) }) {
            Err(error) => self.dead_letter_malformed(taken, &fields, &error.to_string()),
            Ok(request) if request.is_past() => {
                stats.expired.increment();
                Examined::Done(entry.id)
            }
            Ok(request) if request.resent && options.delivery == Guarantee::AtMostOnce => {
                self.reject(request, Cause::MayHaveRun, MAY_HAVE_RUN);
                Examined::Answered
            }
            Ok(request) if self.is_hopeless(&request) && self.has_not_run(&request, group_is_known) => {
                stats.shed.increment();
                self.reject(request, Cause::Overloaded, OVERLOADED);
                Examined::Answered
            }
            Ok(request) => Examined::Admitted(request),
        }
    }

    /// Computes when a request expires. If Redis's clock was set, every request looks old, or ahead of the clock,
    /// until the clock is read again. So it is read again.
    fn aged(&self, request: Request) -> Request {
        let (clock, id) = (&self.instance.endpoint.clock, request.redis_id);
        let is_old = clock.now().saturating_sub(id.ms) >= request.ttl / 2;
        if (is_old || self.inbox.is_ahead(id)) && clock.is_due(READ_CLOCK_AGAIN) {
            // If Redis cannot be reached, other parts report it.
            let _ = self.consumer.read_clock();
        }
        let now = clock.now();
        let since =
            self.inbox.age_if_ahead(id).map_or(id.ms, |age| now.saturating_sub(age.as_millis() as u64));
        request.aged(since, now)
    }

    /// Whether a request should give way to fresher ones. Redis delivers the oldest requests first. Under overload
    /// those are about to expire, and a group that starts them finishes none in time. So while more requests wait, a
    /// request that has spent more than half of its time in the queue is not started if the rest would hardly do for
    /// the usual handler.
    fn is_hopeless(&self, request: &Request) -> bool {
        self.queue.usual_run_under_pressure().is_some_and(|usual| {
            let needed = (usual * 2).min(Duration::from_millis(request.ttl) / 2);
            request.left() < needed
        })
    }

    /// Whether no consumer can have run a request, which the caller of a rejected one is told. If other instances
    /// created the group again while this one was not reading, they may have the request from the earlier group. So
    /// the group is checked, once for all requests that came together.
    fn has_not_run(&self, request: &Request, group_is_known: &OnceCell<bool>) -> bool {
        !request.may_have_run()
            && *group_is_known.get_or_init(|| self.inbox.check_group().is_ok())
            && !self.inbox.outlived_group(request.redis_id)
    }

    /// Moves a request to the dead letters. Each of its deliveries ended with its instance, so the request probably
    /// crashes them.
    fn dead_letter_exhausted(&self, taken: Delivered, fields: &Fields) -> Examined {
        let tried = taken.deliveries - 1;
        let reason =
            format!("delivered {tried} times without an answer: each instance that took it died or hung");
        let asker = rejection::answerable(fields, &self.instance.names, taken.id);
        let error = Error::new(ErrorKind::DeadLettered, reason);
        self.dead_letter(Burial { taken, fields, error, cause: Cause::DeadLettered }, asker)
    }

    fn dead_letter_malformed(&self, taken: Delivered, fields: &Fields, why: &str) -> Examined {
        self.stats().malformed.increment();
        let asker = rejection::answerable(fields, &self.instance.names, taken.id);
        let reason = format!("the entry is not a request of this protocol: {why}");
        let error = Error::new(ErrorKind::Malformed, reason);
        self.dead_letter(Burial { taken, fields, error, cause: Cause::Malformed }, asker)
    }

    /// Moves an entry to the dead letters, and tells the user, and the caller if that is known.
    fn dead_letter(&self, burial: Burial<'_>, asker: Option<Request>) -> Examined {
        let Burial { taken, fields, error, cause } = burial;
        let (endpoint, limits) = (&self.instance.endpoint, &self.instance.options.dead_letters);
        // The first holder may have marked nothing.
        let is_marked = taken.deliveries > 2;
        let (holders, marks) =
            if is_marked { self.marks.history(taken.id) } else { ("[]".to_owned(), Vec::new()) };
        let letter = Letter { holders: Some(&holders), ..Letter::new(taken, fields, &error.message) };
        if self.marks.letters.keep(endpoint, letter, &marks, limits).is_err() {
            // The entry is left pending. It comes back after a lease, and is moved then.
            return Examined::Answered;
        }
        let reason = error.message.clone();
        endpoint.report(error.entry(taken.id));
        match asker {
            Some(request) => {
                self.reject(request, cause, &reason);
                Examined::Answered
            }
            None => Examined::Done(taken.id),
        }
    }

    /// Answers a request without running it.
    fn reject(&self, request: Request, cause: Cause, reason: &str) {
        let answer = rejection::of(&request, cause, reason, &self.instance);
        let held = Arc::new(InFlight::new(request));
        self.queue.adopt(Arc::clone(&held));
        self.sender.send(Command::Answer(held, answer));
    }
}
