//! Marks requests that may crash this process, before it runs them. A request that was taken over has had a process
//! that did not answer it. If it crashes this one too, its caller may give up before it has been delivered often enough
//! to be given up on, and nothing would show what happened. So the dead letter is written first, with the processes
//! that had the request. It is removed once the request is finished.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::group_consumer::consumer::{Delivered, GroupConsumer};
use crate::foundation::redis::group_consumer::dead_letters::{DeadLetters, Letter, Suspect};
use crate::foundation::redis::resp::replies;
use crate::foundation::runtime::news::News;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::registry::Registry;
use crate::request_reply::protocol::entry::Request;
use crate::request_reply::serving::holders::{Holder, Holders};
use crate::request_reply::tracking::suspects::{Stale, Suspects};
use redis::{Cmd, Value};
use std::sync::Arc;

/// A request that was taken over, and who had it.
pub struct TakenOver {
    /// The request.
    pub request: Request,
    /// Its fields.
    pub fields: Fields,
    /// The instance that had it before. It is empty if that is not known.
    pub holder: String,
}

/// Writes and removes the marks.
pub struct SuspectMarks {
    instance: Arc<Instance>,
    consumer: Arc<GroupConsumer>,
    registry: Arc<Registry>,
    /// The dead letters of the group.
    pub letters: DeadLetters,
    suspects: Arc<Suspects>,
    refusals: News,
}

impl SuspectMarks {
    /// Creates the marks of `instance`, among the dead letters of its group.
    pub fn new(
        instance: Arc<Instance>,
        consumer: Arc<GroupConsumer>,
        registry: Arc<Registry>,
        suspects: Arc<Suspects>,
    ) -> Self {
        let key = instance.names.keys.dead(&instance.names.group);
        let letters = DeadLetters::new(Arc::clone(&instance.connections), key);
        Self { instance, consumer, registry, letters, suspects, refusals: News::default() }
    }

    /// Marks requests, and returns those that are still this instance's. Without a mark they run all the same.
    pub fn mark(&self, mut taken: Vec<TakenOver>) -> Vec<Request> {
        if taken.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.write(&mut taken) {
            let message = format!("requests that may crash their process run unmarked: {}", error.message);
            self.instance.endpoint.report_news(Error { message, ..error }, &self.refusals);
        }
        taken.into_iter().map(|one| one.request).collect()
    }

    /// Writes the marks, and drops requests that another instance has finished or taken meanwhile. If that happens
    /// later, the other instance finds the mark. Older marks are removed last: until an instance knows that it still
    /// has the request, they may be those of the one that has it.
    fn write(&self, taken: &mut Vec<TakenOver>) -> Result<(), Error> {
        let ids: Vec<StreamId> = taken.iter().map(|one| one.request.redis_id).collect();
        let before = self.letters.suspects(&ids)?;
        let holders = self.holders(taken, &before);
        let texts: Vec<(String, String)> =
            holders.iter().map(|holders| (holders.to_json(), holders.reason())).collect();
        let letters: Vec<Letter<'_>> =
            taken.iter().zip(&texts).map(|(one, text)| letter(one, text)).collect();
        let (endpoint, limits) = (&self.instance.endpoint, &self.instance.options.dead_letters);
        let added = self.letters.add(&letters, &[], &endpoint.clock, limits)?;
        for (request, mark) in ids.iter().zip(&added.ids) {
            self.suspects.marked(*request, *mark);
        }
        let lost = self.lost(&ids)?;
        taken.retain(|one| !lost.contains(&one.request.redis_id));
        self.suspects.given_back(&lost);
        let outdated = before.iter().filter(|suspect| !lost.contains(&suspect.entry));
        self.letters.discard_all(&outdated.map(|suspect| suspect.letter).collect::<Vec<_>>()).map(drop)
    }

    fn holders(&self, taken: &[TakenOver], before: &[Suspect]) -> Vec<Holders> {
        // Without the list the holders are named by their ids. Others report why there is none.
        let living = self.registry.recent().unwrap_or_default();
        let holders = |one: &TakenOver| {
            let id = one.request.redis_id;
            let last = before.iter().rfind(|suspect| suspect.entry == id);
            let mut holders = last.map(|suspect| Holders::parse(&suspect.holders)).unwrap_or_default();
            let deliveries = one.request.deliveries;
            holders.add(Holder::of(&one.holder, deliveries.saturating_sub(1), &living));
            holders.add(Holder::of(&self.instance.names.instance_id, deliveries, &living));
            holders
        };
        taken.iter().map(holders).collect()
    }

    /// Returns those of the requests that are not pending under this instance any more.
    fn lost(&self, requests: &[StreamId]) -> Result<Vec<StreamId>, Error> {
        let consumer = &*self.consumer;
        let look = |id: &StreamId| {
            let mut pending = redis::cmd("XPENDING");
            pending.arg(&consumer.stream).arg(&consumer.group).arg(id.to_string()).arg(id.to_string());
            pending.arg(1).arg(&consumer.name);
            pending
        };
        let looks: Vec<Cmd> = requests.iter().map(look).collect();
        let found = consumer.connections.with(&consumer.stream, |connection| connection.run_all(&looks))?;
        let is_lost = |reply: &Value| matches!(reply, Value::Array(_)) && replies::pending(reply).is_empty();
        let lost = requests.iter().zip(&found).filter(|(_, reply)| is_lost(reply));
        Ok(lost.map(|(id, _)| *id).collect())
    }

    /// Returns who had a request that is given up on, and its marks, which the dead letter replaces.
    pub fn history(&self, request: StreamId) -> (String, Vec<StreamId>) {
        // What cannot be read is missing in the letter, which is more important.
        let before = self.letters.suspects(&[request]).unwrap_or_default();
        let holders = before.last().map(|suspect| Holders::parse(&suspect.holders)).unwrap_or_default();
        (holders.to_json(), before.iter().map(|suspect| suspect.letter).collect())
    }

    /// Removes stale marks.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached, and they are removed later; or it refuses.
    pub fn clear(&self) -> Result<(), Error> {
        let stale = self.suspects.take_stale();
        if stale.is_empty() {
            return Ok(());
        }
        self.remove(&stale).inspect_err(|error| {
            if !matches!(error.kind, ErrorKind::Command(_)) {
                self.suspects.put_back(stale);
            }
        })
    }

    fn remove(&self, stale: &[Stale]) -> Result<(), Error> {
        let own: Vec<StreamId> = stale.iter().filter_map(|stale| stale.mark).collect();
        let all_existed = self.letters.discard_all(&own)?;
        // A mark that was gone has been replaced by one of an instance that took the request over.
        let is_sought = |stale: &&Stale| stale.is_finished && (stale.may_have_others || !all_existed);
        let sought: Vec<StreamId> = stale.iter().filter(is_sought).map(|stale| stale.request).collect();
        let others = self.letters.suspects(&sought)?;
        let others: Vec<StreamId> = others.iter().map(|suspect| suspect.letter).collect();
        self.letters.discard_all(&others).map(drop)
    }
}

fn letter<'a>(one: &'a TakenOver, (holders, reason): &'a (String, String)) -> Letter<'a> {
    let entry = Delivered { id: one.request.redis_id, deliveries: one.request.deliveries };
    Letter { holders: Some(holders), is_suspect: true, ..Letter::new(entry, &one.fields, reason) }
}
