//! Requests that are given up on: kept in `S:dead:G` with the reason, and the asker is told.

use crate::entry::{Answer, Context, Request, Status, StreamId};
use crate::fields::Fields;
use crate::json;
use crate::keys::{MAX_KEY, MAX_NAME};
use crate::member::Member;
use crate::text::Text;
use bytes::Bytes;
use redis::Cmd;
use std::time::Instant;

/// The most dead letters a group keeps; the oldest go first. Without a bound a stranger could fill Redis.
const KEPT: usize = 10_000;

/// The error class an asker sees when its request was given up on.
pub const DEAD_LETTERED: &str = "RedisIPC::DeadLetteredError";
/// The error class an asker sees when its request may have run already and must not run twice.
pub const MAY_HAVE_RUN: &str = "RedisIPC::MayHaveRunError";
/// The error class an asker sees when its request was not started because the group is overloaded.
pub const OVERLOADED: &str = "RedisIPC::OverloadedError";
/// The error class an asker sees when Redis does not take the answer.
pub const COMMAND: &str = "RedisIPC::CommandError";
/// The error class an asker sees when its request could not be understood.
pub const MALFORMED: &str = "RedisIPC::MalformedEntryError";

/// The command that keeps an entry, with its own fields (each cut at max_content_size) and `dead_id`, `dead_reason`,
/// `dead_deliveries`, `dead_at`.
pub fn keep(member: &Member, id: StreamId, fields: &Fields, reason: &str, deliveries: u32) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(member.keys.dead(&member.group)).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
    let most = member.options.max_content_size;
    for (name, value) in fields.iter() {
        add.arg(name).arg(&value[..value.len().min(most)]);
    }
    add.arg("dead_id").arg(id.to_string());
    add.arg("dead_reason").arg(reason);
    add.arg("dead_deliveries").arg(deliveries);
    add.arg("dead_at").arg(member.clock.now());
    add
}

/// The rejection of `request` because of `reason`.
pub fn rejection(member: &Member, request: &Request, error: &str, reason: &str) -> Answer {
    Answer {
        id: request.id.clone(),
        instance_id: member.instance.clone(),
        status: Status::Rejected,
        content: json::shortened(reason, member.options.max_content_size).into(),
        error: Some(error.to_owned()),
        source_group: member.group.clone(),
        destination_group: request.source_group.clone(),
        redis_id: StreamId::default(),
    }
}

/// As much of a request as a malformed entry still tells: enough to answer it.
pub fn answerable(fields: &Fields, member: &Member, redis_id: StreamId) -> Option<Request> {
    let short = |name: &str, limit: usize| {
        let value = fields.share(name).filter(|value| !value.is_empty() && value.len() <= limit)?;
        Text::new(value)
    };
    let text = |name: &str| short(name, MAX_NAME);
    let reply_to = short("reply_to", MAX_KEY).filter(|key| member.keys.is_replies(key.as_bytes()))?;
    Some(Request {
        id: text("id")?,
        redis_id,
        instance_id: text("instance_id").unwrap_or_default(),
        content: Bytes::from_static(b"null").into(),
        source_group: text("source_group").unwrap_or_else(|| "unknown".into()),
        destination_group: member.group.clone(),
        reply_to,
        ttl: 1,
        since: redis_id.ms,
        due: Instant::now(),
        deliveries: 1,
        resent: false,
        retried: false,
        outlived_group: false,
        context: Context::default(),
    })
}
