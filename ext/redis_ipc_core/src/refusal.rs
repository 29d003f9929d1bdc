//! An instance without a handler: rejects what its group is asked, unless another instance of the group serves.

use crate::connection::{Closer, Connection};
use crate::dispatcher::unexpected;
use crate::entry::{RawEntry, StreamId};
use crate::intake::{join_group, read};
use crate::lease;
use crate::link::Link;
use crate::member::{Member, WITHOUT_HANDLER};
use crate::reception::Reception;
use crate::stop::Stop;
use parking_lot::Mutex;
use redis::{FromRedisValue, RedisResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A consumer that has not asked for requests for this long does not serve any more; one that does asks at least
/// every [`crate::intake::BLOCK`].
const SERVING: Duration = Duration::from_secs(15);
/// How often it looks whether those who serve are still there.
const LOOK: Duration = Duration::from_secs(5);
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
        let mut connection = match first {
            Some(connection) => connection,
            None => self.member.connections.connector().open_blocking(crate::intake::BLOCK)?,
        };
        *self.closer.lock() = Some(connection.closer()?);
        join_group(&mut connection, &self.member)?;
        link.up();
        while !self.quiet.is_stopped() {
            if is_served(&mut connection, &self.member)? {
                self.quiet.pause(LOOK);
                continue;
            }
            let entries = read(&mut connection, &self.member, ">", COUNT)?;
            if entries.is_empty() {
                continue;
            }
            // Somebody may have begun to serve while this one was waiting.
            if is_served(&mut connection, &self.member)? {
                let ids: Vec<StreamId> = entries.iter().map(|entry| entry.id).collect();
                lease::release_on(&mut connection, &self.member, &ids)?;
            } else {
                self.refuse(entries);
            }
        }
        Ok(())
    }

    fn refuse(&self, entries: Vec<RawEntry>) {
        for request in self.reception.admit(entries, &HashMap::new()) {
            let group = &self.member.group;
            let reason = format!("no handler: the group {group:?} is connected, but without on_request");
            self.reception.reject(request, "RedisIPC::NoHandlerError", &reason);
        }
    }
}

fn is_served(connection: &mut Connection, member: &Member) -> RedisResult<bool> {
    let mut info = redis::cmd("XINFO");
    info.arg("CONSUMERS").arg(&member.inbox).arg(&member.group);
    let consumers: Vec<HashMap<String, redis::Value>> =
        FromRedisValue::from_redis_value(connection.run(&info)?).map_err(|_| unexpected())?;
    Ok(consumers.iter().any(|consumer| {
        let serves = match consumer.get("name") {
            Some(redis::Value::BulkString(name)) => !name.ends_with(WITHOUT_HANDLER.as_bytes()),
            _ => false,
        };
        let idle = match consumer.get("idle") {
            Some(redis::Value::Int(idle)) => Duration::from_millis(*idle as u64),
            _ => Duration::ZERO,
        };
        serves && idle < SERVING
    }))
}
