//! The dead letters of a group, as those see them who look after it: page by page, each to be tried again or discarded.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::resp::replies::{self, unexpected};
use crate::request_reply::books::dead_letter::ADDED;
use crate::request_reply::membership::key_expiry::keep_inbox;
use crate::request_reply::membership::member::Member;
use crate::request_reply::protocol::entry::Request;
use redis::{Cmd, Value};
use std::time::Duration;

/// Fields of a dead letter that a second try does not take along: what the burial added, and what it sets anew.
const LEFT_BEHIND: [&[u8]; 7] =
    [b"dead_id", b"dead_reason", b"dead_deliveries", b"dead_at", b"ttl", b"resent", b"retried"];

/// Up to `count` dead letters of `group` after the one with the id `after`, the oldest first.
pub fn page(
    member: &Member,
    group: &str,
    after: Option<StreamId>,
    count: usize,
) -> Result<Vec<RawEntry>, Error> {
    let dead = member.keys.dead(group);
    let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
    let mut range = redis::cmd("XRANGE");
    range.arg(&dead).arg(start).arg("+").arg("COUNT").arg(count);
    entries(member, group, &dead, &range)
}

/// How many dead letters `group` has.
pub fn count(member: &Member, group: &str) -> Result<u64, Error> {
    let dead = member.keys.dead(group);
    run(member, group, &dead, redis::cmd("XLEN").arg(&dead), |reply| match reply {
        Value::Int(count) => u64::try_from(count).ok(),
        _ => None,
    })
}

/// Deletes a dead letter; false if it was gone already.
pub fn discard(member: &Member, group: &str, id: StreamId) -> Result<bool, Error> {
    let dead = member.keys.dead(group);
    run(member, group, &dead, &delete(&dead, id), is_one)
}

/// Puts a dead letter into the inbox of its group again, good for `ttl` (the longest timeout unless given); false if it
/// is gone. Nobody waits for the answer any more. Of two who do this at the same time, one gets false, and its copy is
/// taken back.
pub fn retry(member: &Member, group: &str, id: StreamId, ttl: Option<Duration>) -> Result<bool, Error> {
    let ttl = member.options.ledger.check_timeout(ttl.unwrap_or(member.options.ledger.max_timeout))?;
    let (dead, inbox) = (member.keys.dead(group), member.keys.inbox(group));
    let mut find = redis::cmd("XRANGE");
    find.arg(&dead).arg(id.to_string()).arg(id.to_string());
    let found = entries(member, group, &dead, &find)?;
    let Some(fields) = found.into_iter().next().and_then(|entry| entry.fields) else { return Ok(false) };
    check(member, group, id, &fields)?;
    let added = run(member, group, &inbox, &add(member, &inbox, &fields, ttl), |reply| replies::id(&reply))?;
    for expire in keep_inbox(&inbox, member) {
        run(member, group, &inbox, &expire, Some)?;
    }
    if discard(member, group, id)? {
        return Ok(true);
    }
    run(member, group, &inbox, &delete(&inbox, added), is_one)?;
    Ok(false)
}

/// What was no request will not become one.
fn check(member: &Member, group: &str, id: StreamId, fields: &Fields) -> Result<(), Error> {
    let limit = member.options.max_content_size;
    match Request::decode(id, fields, &member.keys, limit) {
        Ok(_) => Ok(()),
        Err(why) => {
            let message =
                format!("the dead letter is not a request of this protocol: {why}; it can only be discarded");
            Err(member.error(ErrorKind::Malformed, message, group).entry(id))
        }
    }
}

fn add(member: &Member, inbox: &str, fields: &Fields, ttl: Duration) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(inbox).arg("MINID").arg("~").arg(member.oldest_alive().ms).arg("*");
    for (name, value) in fields.iter().filter(|(name, _)| !LEFT_BEHIND.contains(name)) {
        add.arg(name).arg(value);
    }
    add.arg("ttl").arg(ttl.as_millis().max(1) as u64).arg("retried").arg(1);
    add
}

fn delete(key: &str, id: StreamId) -> Cmd {
    let mut delete = redis::cmd("XDEL");
    delete.arg(key).arg(id.to_string());
    delete
}

fn is_one(reply: Value) -> Option<bool> {
    matches!(reply, Value::Int(_)).then_some(reply == Value::Int(1))
}

fn entries(member: &Member, group: &str, dead: &str, range: &Cmd) -> Result<Vec<RawEntry>, Error> {
    let room = member.options.room().and_fields(ADDED);
    let found = member.connections.with(dead, |connection| connection.run_for_entries(range, room));
    found.map_err(|error| error.at(member.keys.stream(), group))
}

fn run<T>(
    member: &Member,
    group: &str,
    key: &str,
    command: &Cmd,
    read: impl FnOnce(Value) -> Option<T>,
) -> Result<T, Error> {
    let answered = member.connections.with(key, |connection| connection.run(command));
    answered
        .and_then(|reply| {
            read(reply).ok_or_else(|| Error::new(ErrorKind::Internal, unexpected().to_string()))
        })
        .map_err(|error| error.at(member.keys.stream(), group))
}
