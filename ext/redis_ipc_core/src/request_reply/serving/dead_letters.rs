//! The dead letters of a group, for administration: they are listed page by page, and each can be tried again or
//! discarded.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::group_consumer::dead_letters::{DeadLetters, HOLDERS, SUSPECT};
use crate::request_reply::membership::inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::protocol::entry::Request;
use redis::Cmd;
use std::sync::Arc;
use std::time::Duration;

/// The fields of a dead letter that a second try leaves out: those that were added, and those that it sets anew.
const LEFT_BEHIND: [&[u8]; 9] = [
    b"dead_id",
    b"dead_reason",
    b"dead_deliveries",
    b"dead_at",
    HOLDERS.as_bytes(),
    SUSPECT.as_bytes(),
    b"ttl",
    b"resent",
    b"retried",
];

/// The dead letters of one group.
pub struct GroupLetters<'a> {
    instance: &'a Instance,
    group: &'a str,
    letters: DeadLetters,
}

impl<'a> GroupLetters<'a> {
    /// Those of `group`.
    pub fn new(instance: &'a Instance, group: &'a str) -> Self {
        let letters = DeadLetters::new(Arc::clone(&instance.connections), instance.names.keys.dead(group));
        Self { instance, group, letters }
    }

    /// Adds the stream and the group to an error.
    fn locate(&self, error: Error) -> Error {
        error.at(self.instance.names.keys.stream(), self.group)
    }

    /// Returns up to `count` of them after the id `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked, or refuses.
    pub fn page(&self, after: Option<StreamId>, count: usize) -> Result<Vec<RawEntry>, Error> {
        self.letters.page(after, count, self.instance.options.room()).map_err(|error| self.locate(error))
    }

    /// Returns how many there are.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked, or refuses.
    pub fn count(&self) -> Result<u64, Error> {
        self.letters.count().map_err(|error| self.locate(error))
    }

    /// Deletes one. Returns false if it does not exist any more.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked, or refuses.
    pub fn discard(&self, id: StreamId) -> Result<bool, Error> {
        self.letters.discard(id).map_err(|error| self.locate(error))
    }

    /// Puts one into the inbox of its group again, valid for `ttl` (the longest timeout unless given). Returns false if
    /// it does not exist any more. No call waits for the answer. Of concurrent retries of one dead letter, exactly one
    /// succeeds; the others take their copy back and return false.
    ///
    /// # Errors
    ///
    /// `ttl` is not valid, the entry is not a request, Redis cannot be asked, or Redis refuses.
    pub fn retry(&self, id: StreamId, ttl: Option<Duration>) -> Result<bool, Error> {
        let limits = &self.instance.options.ledger;
        let ttl = limits.check_timeout(ttl.unwrap_or(limits.max_timeout))?;
        let letter = self.letters.find(id, self.instance.options.room());
        let letter = letter.map_err(|error| self.locate(error))?;
        let Some(fields) = letter.and_then(|letter| letter.fields) else { return Ok(false) };
        self.check(id, &fields)?;
        let inbox = self.instance.names.keys.inbox(self.group);
        let add = add(self.instance, &inbox, &fields, ttl);
        self.letters
            .move_to(&inbox, id, &add, &inbox::keep(&inbox, &self.instance.options))
            .map_err(|error| self.locate(error))
    }

    /// Refuses a dead letter that is not a request, because it will not become one.
    fn check(&self, id: StreamId, fields: &Fields) -> Result<(), Error> {
        let limit = self.instance.options.max_content_size;
        Request::decode(id, fields, &self.instance.names.keys, limit).map(drop).map_err(|why| {
            let message =
                format!("the dead letter is not a request of this protocol: {why}; it can only be discarded");
            self.instance.error(ErrorKind::Malformed, message, self.group).entry(id)
        })
    }
}

fn add(instance: &Instance, inbox: &str, fields: &Fields, ttl: Duration) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(inbox).arg("MINID").arg("~").arg(instance.oldest_alive().ms).arg("*");
    for (name, value) in fields.iter().filter(|(name, _)| !LEFT_BEHIND.contains(name)) {
        add.arg(name).arg(value);
    }
    add.arg("ttl").arg(ttl.as_millis().max(1) as u64).arg("retried").arg(1);
    add
}
