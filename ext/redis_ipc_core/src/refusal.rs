//! An instance without a handler: rejects what its group is asked, unless another instance of the group serves.

use crate::connection::{Closer, Connection};
use crate::entry::{Request, StreamId};
use crate::intake::read;
use crate::lease;
use crate::link::Link;
use crate::member::{Member, WITHOUT_HANDLER};
use crate::presence;
use crate::reception::Reception;
use crate::stop::Stop;
use crate::stream_reply::unexpected;
use crate::sync::Mutex;
use crate::upkeep::join_group;
use redis::{FromRedisValue, RedisResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How much later than its third heartbeat an instance may be heard of and still count as serving.
const SLACK: Duration = Duration::from_secs(1);
/// How often it looks whether those who serve are still there.
const LOOK: Duration = Duration::from_secs(2);
/// How many requests it refuses at once.
const COUNT: usize = 16;

/// The reader of the inbox of a group whose instance here has no handler.
pub struct Refusal {
    member: Arc<Member>,
    reception: Arc<Reception>,
    closer: Mutex<Option<Closer>>,
    quiet: Stop,
}

impl Refusal {
    /// A reader that answers by way of `reception`.
    pub fn new(member: Arc<Member>, reception: Arc<Reception>) -> Self {
        Self { member, reception, closer: Mutex::new(None), quiet: Stop::new() }
    }

    /// Its thread: refuses until [`Refusal::stop`].
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.member);
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link)
                && !self.quiet.is_stopped()
            {
                link.lost(&error);
            }
        }
    }

    /// Refuses nothing more.
    pub fn stop(&self) {
        self.quiet.stop();
        if let Some(closer) = self.closer.lock().take() {
            closer.close();
        }
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_>) -> RedisResult<()> {
        let again = first.is_none();
        let mut connection = match first {
            Some(connection) => connection,
            None => self.member.connections.connector().open_blocking(crate::intake::BLOCK)?,
        };
        *self.closer.lock() = Some(connection.closer()?);
        join_group(&mut connection, &self.member)?;
        link.up();
        if again {
            // After an outage those who serve are to show themselves first.
            self.quiet.pause(silence(&self.member));
        }
        while !self.quiet.is_stopped() {
            if is_served(&mut connection, &self.member)? {
                self.quiet.pause(LOOK);
                continue;
            }
            self.refuse(self.abandoned()?);
            let entries = read(&mut connection, &self.member, COUNT)?;
            // Somebody may have begun to serve while this one was waiting.
            if !entries.is_empty() && is_served(&mut connection, &self.member)? {
                let requests: Vec<(StreamId, u32)> = entries.iter().map(|entry| (entry.id, 1)).collect();
                lease::release_on(&mut connection, &self.member, &requests)?;
            } else {
                self.refuse(self.reception.admit(entries, &HashMap::new()));
            }
        }
        Ok(())
    }

    /// What was delivered to consumers that are gone, or to this one on a connection that broke.
    fn abandoned(&self) -> RedisResult<Vec<Request>> {
        let lease = self.member.options.consumer.lease.as_millis() as u64;
        let found = lease::take_over_from(StreamId::default(), lease, COUNT, &self.member, &self.reception);
        // The next connection shows whether Redis is there.
        found.map(|(_, requests)| requests).map_err(|_| unexpected())
    }

    fn refuse(&self, requests: Vec<Request>) {
        for request in requests {
            let group = &self.member.group;
            let reason = format!("no handler: the group {group:?} is connected, but without on_request");
            self.reception.reject(request, "RedisIPC::NoHandlerError", &reason);
        }
    }
}

/// After how long without a heartbeat an instance does not count as serving.
fn silence(member: &Member) -> Duration {
    presence::heartbeat_interval(member) * 3 + SLACK
}

/// Whether an instance of the group serves: a consumer without our mark, whose instance was heard of lately.
fn is_served(connection: &mut Connection, member: &Member) -> RedisResult<bool> {
    let since = member.clock.now().saturating_sub(silence(member).as_millis() as u64);
    let alive = presence::living_consumers(connection, member, since)?;
    let mut info = redis::cmd("XINFO");
    info.arg("CONSUMERS").arg(&member.inbox).arg(&member.group);
    let reply = match connection.run(&info) {
        // The last one that served has tidied the inbox away.
        Err(error) if matches!(error.code(), Some("ERR" | "NOGROUP")) => {
            join_group(connection, member)?;
            return Ok(false);
        }
        reply => reply?,
    };
    let consumers: Vec<HashMap<String, redis::Value>> =
        FromRedisValue::from_redis_value(reply).map_err(|_| unexpected())?;
    Ok(consumers.iter().any(|consumer| match consumer.get("name") {
        Some(redis::Value::BulkString(name)) => {
            !name.ends_with(WITHOUT_HANDLER.as_bytes())
                && alive.iter().any(|living| living.as_bytes() == name)
        }
        _ => false,
    }))
}
