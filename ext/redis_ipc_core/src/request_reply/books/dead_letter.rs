//! Requests that are given up on: kept in `S:dead:G` with the reason, and the asker is told.

use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::json;
use crate::foundation::payload::limits::{MAX_KEY, MAX_NAME};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::payload::text::Text;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::resp::replies::refused;
use crate::request_reply::membership::member::Member;
use crate::request_reply::protocol::entry::{Answer, Context, Request, Status};
use bytes::Bytes;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Value};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The most dead letters a group keeps; the oldest go first. Without a bound a stranger could fill Redis.
const KEPT: usize = 10_000;

/// Redis is asked how much memory the letters take when they have grown by this share of what they may take: it looks
/// at each of them, which takes 0.5 ms for 10,000 of 12 kB.
const SHARE: u64 = 128;
/// What a letter takes beside its fields, in bytes.
const OVERHEAD: usize = 256;

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

/// How many fields a dead letter has beside those of its entry.
pub const ADDED: usize = 4;

/// Keeps an entry in `S:dead:G`: as much of it as was read, and before that `dead_id`, `dead_reason`, `dead_deliveries`
/// and `dead_at`. Then removes the oldest letters while there are too many, they take too much memory, or they are too
/// old. Fails if the entry was not kept; returns the refusal if it was, but Redis refused the rest.
pub fn keep(
    connection: &mut Connection,
    member: &Member,
    id: StreamId,
    fields: &Fields,
    reason: &str,
    deliveries: u32,
) -> RedisResult<Option<RedisError>> {
    let key = member.keys.dead(&member.group);
    let options = &member.options.dead_letters;
    let mut add = redis::cmd("XADD");
    add.arg(&key).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
    add.arg("dead_id").arg(id.to_string());
    add.arg("dead_reason").arg(reason);
    add.arg("dead_deliveries").arg(deliveries);
    add.arg("dead_at").arg(member.clock.now());
    for (name, value) in fields.iter() {
        add.arg(name).arg(value);
    }
    let keep = options.keep.as_millis() as u64;
    let mut trim = redis::cmd("XTRIM");
    trim.arg(&key).arg("MINID").arg(member.clock.now().saturating_sub(keep));
    let mut expire = redis::cmd("PEXPIRE");
    expire.arg(&key).arg(keep);
    let mut commands = vec![add, trim, expire];
    let is_measured = is_to_measure(member, fields);
    if is_measured {
        commands.push(memory(&key));
    }
    let mut replies = connection.run_all(&commands)?.into_iter().map(refused);
    replies.next().transpose()?;
    let rest = replies.collect::<RedisResult<Vec<_>>>().and_then(|rest| {
        let used = rest.last().filter(|_| is_measured).map_or(0, number);
        // As much as comes until they are measured again stays free.
        shrink(connection, &key, used, options.max_size - options.max_size / SHARE)
    });
    match rest {
        Err(error) if !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => Err(error),
        rest => Ok(rest.err()),
    }
}

/// Whether to ask how much memory the letters take, now that one with these fields is added.
fn is_to_measure(member: &Member, fields: &Fields) -> bool {
    let size = OVERHEAD + fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    let unmeasured = member.letters_unmeasured.fetch_add(size as u64, Ordering::Relaxed) + size as u64;
    let is_due = unmeasured >= member.options.dead_letters.max_size / SHARE;
    if is_due {
        member.letters_unmeasured.store(0, Ordering::Relaxed);
    }
    is_due
}

/// Removes the oldest letters until the key takes at most `most` bytes; the newest stays.
fn shrink(connection: &mut Connection, key: &str, mut used: u64, most: u64) -> RedisResult<()> {
    while used > most {
        let letters = number(&connection.run(redis::cmd("XLEN").arg(key))?);
        if letters <= 1 {
            break;
        }
        let share = (u128::from(letters) * u128::from(most) / u128::from(used)) as u64;
        connection.run(redis::cmd("XTRIM").arg(key).arg("MAXLEN").arg(share.clamp(1, letters - 1)))?;
        used = number(&connection.run(&memory(key))?);
    }
    Ok(())
}

fn memory(key: &str) -> Cmd {
    let mut memory = redis::cmd("MEMORY");
    memory.arg("USAGE").arg(key).arg("SAMPLES").arg(0);
    memory
}

fn number(reply: &Value) -> u64 {
    match reply {
        Value::Int(number) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    }
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
    let source_group = text("source_group")?;
    let reply_to =
        short("reply_to", MAX_KEY).filter(|key| member.keys.is_replies_of(&source_group, key.as_bytes()))?;
    Some(Request {
        id: text("id")?,
        redis_id,
        instance_id: text("instance_id").unwrap_or_default(),
        content: Bytes::from_static(b"null").into(),
        source_group,
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
