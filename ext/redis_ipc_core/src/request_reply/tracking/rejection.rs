//! Rejections that the library itself writes in place of an answer.

use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::json;
use crate::foundation::payload::limits::{MAX_KEY, MAX_NAME};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::payload::text::Text;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::protocol::entry::{Answer, Context, Request, Status};
use crate::request_reply::protocol::names::Names;
use bytes::Bytes;
use std::time::Instant;

/// The reason why the library rejects a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The request was moved to the dead letters.
    DeadLettered,
    /// The request may have run already and must not run twice.
    MayHaveRun,
    /// The group is overloaded, and the request was not started.
    Overloaded,
    /// Redis does not accept the answer.
    Command,
    /// The request is malformed.
    Malformed,
}

impl Cause {
    /// Returns the value of the field `error` (docs/protocol.md, "Answers").
    fn field(self) -> &'static str {
        match self {
            Self::DeadLettered => "RedisIPC::DeadLetteredError",
            Self::MayHaveRun => "RedisIPC::MayHaveRunError",
            Self::Overloaded => "RedisIPC::OverloadedError",
            Self::Command => "RedisIPC::CommandError",
            Self::Malformed => "RedisIPC::MalformedEntryError",
        }
    }
}

/// Creates the rejection of `request` by `instance`. A `reason` that is too long is truncated.
pub fn of(request: &Request, cause: Cause, reason: &str, instance: &Instance) -> Answer {
    let content = json::shortened(reason, instance.options.max_content_size);
    Answer::to(request, &instance.names, Status::Rejected, content, Some(cause.field().to_owned()))
}

/// Reads from a malformed entry as much of a request as is needed to answer it. Returns `None` if that is missing
/// too.
pub fn answerable(fields: &Fields, names: &Names, redis_id: StreamId) -> Option<Request> {
    let short = |name: &str, limit: usize| {
        let value = fields.share(name).filter(|value| !value.is_empty() && value.len() <= limit)?;
        Text::new(value)
    };
    let text = |name: &str| short(name, MAX_NAME);
    let source_group = text("source_group")?;
    let reply_to =
        short("reply_to", MAX_KEY).filter(|key| names.keys.is_replies_of(&source_group, key.as_bytes()))?;
    Some(Request {
        id: text("id")?,
        redis_id,
        instance_id: text("instance_id").unwrap_or_default(),
        content: Bytes::from_static(b"null").into(),
        source_group,
        destination_group: names.group.clone(),
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
