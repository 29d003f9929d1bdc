//! The dead letters of a group, for administration: they are listed page by page, and each can be tried again or
//! discarded.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::group_consumer::dead_letters::DeadLetters;
use crate::request_reply::membership::inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::protocol::entry::Request;
use redis::Cmd;
use std::sync::Arc;
use std::time::Duration;

/// The fields of a dead letter that a second try leaves out: those that were added, and those that it sets anew.
const LEFT_BEHIND: [&[u8]; 7] =
    [b"dead_id", b"dead_reason", b"dead_deliveries", b"dead_at", b"ttl", b"resent", b"retried"];

fn of(instance: &Instance, group: &str) -> DeadLetters {
    DeadLetters::new(Arc::clone(&instance.connections), instance.names.keys.dead(group))
}

/// Adds the stream and `group` to an error.
fn locate(instance: &Instance, group: &str) -> impl Fn(Error) -> Error {
    move |error| error.at(instance.names.keys.stream(), group)
}

/// Returns up to `count` dead letters of `group` after the id `after`, the oldest first.
pub fn page(
    instance: &Instance,
    group: &str,
    after: Option<StreamId>,
    count: usize,
) -> Result<Vec<RawEntry>, Error> {
    of(instance, group).page(after, count, instance.options.room()).map_err(locate(instance, group))
}

/// Returns how many dead letters `group` has.
pub fn count(instance: &Instance, group: &str) -> Result<u64, Error> {
    of(instance, group).count().map_err(locate(instance, group))
}

/// Deletes a dead letter. Returns false if it does not exist any more.
pub fn discard(instance: &Instance, group: &str, id: StreamId) -> Result<bool, Error> {
    of(instance, group).discard(id).map_err(locate(instance, group))
}

/// Puts a dead letter into the inbox of its group again, valid for `ttl` (the longest timeout unless given). Returns
/// false if it does not exist any more. No call waits for the answer. Of concurrent retries of one dead letter,
/// exactly one succeeds; the others take their copy back and return false.
pub fn retry(instance: &Instance, group: &str, id: StreamId, ttl: Option<Duration>) -> Result<bool, Error> {
    let limits = &instance.options.ledger;
    let ttl = limits.check_timeout(ttl.unwrap_or(limits.max_timeout))?;
    let letters = of(instance, group);
    let letter = letters.find(id, instance.options.room()).map_err(locate(instance, group))?;
    let Some(fields) = letter.and_then(|letter| letter.fields) else { return Ok(false) };
    check(instance, group, id, &fields)?;
    let inbox = instance.names.keys.inbox(group);
    let add = add(instance, &inbox, &fields, ttl);
    letters
        .move_to(&inbox, id, &add, &inbox::keep(&inbox, &instance.options))
        .map_err(locate(instance, group))
}

/// Refuses a dead letter that is not a request, because it will not become one.
fn check(instance: &Instance, group: &str, id: StreamId, fields: &Fields) -> Result<(), Error> {
    let limit = instance.options.max_content_size;
    match Request::decode(id, fields, &instance.names.keys, limit) {
        Ok(_) => Ok(()),
        Err(why) => {
            let message =
                format!("the dead letter is not a request of this protocol: {why}; it can only be discarded");
            Err(instance.error(ErrorKind::Malformed, message, group).entry(id))
        }
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
