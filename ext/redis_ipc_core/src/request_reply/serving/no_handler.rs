//! An instance without a handler: rejects what its group is asked, unless another instance of the group serves.

use crate::error::Error;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::Reading;
use crate::foundation::redis::resp::replies::unexpected;
use crate::foundation::runtime::stop::Stop;
use crate::request_reply::membership::key_expiry::join_group;
use crate::request_reply::membership::member::{Member, WITHOUT_HANDLER};
use crate::request_reply::membership::presence;
use crate::request_reply::protocol::entry::Request;
use crate::request_reply::serving::admission::Reception;
use crate::request_reply::serving::inbox_session::read;
use crate::request_reply::serving::lease;
use redis::{FromRedisValue, RedisResult};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How much later than its third heartbeat an instance may be heard of and still count as serving.
const SLACK: Duration = Duration::from_secs(1);
/// How often it looks whether those who serve are still there.
const LOOK: Duration = Duration::from_secs(2);
/// How often it looks at its own state while it does nothing.
const GLANCE: Duration = Duration::from_millis(250);
/// How many requests it refuses at once.
const COUNT: usize = 16;

/// The reader of the inbox of a group whose instance here has no handler.
pub struct Refusal {
    member: Arc<Member>,
    reception: Arc<Reception>,
    /// The read under way.
    pub reading: Arc<Reading>,
    quiet: Stop,
}

impl Refusal {
    /// A reader that answers by way of `reception`.
    pub fn new(member: Arc<Member>, reception: Arc<Reception>) -> Self {
        Self { member, reception, reading: Arc::default(), quiet: Stop::new() }
    }

    /// Its thread: refuses until [`Refusal::stop`].
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.member, &self.member.inbox, first.is_some());
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
        self.reading.end();
    }

    fn open(&self) -> RedisResult<Connection> {
        let connector = self.member.connections.connector();
        let connection = connector.open_blocking(
            &self.member.inbox,
            crate::request_reply::serving::inbox_session::BLOCK,
            &self.quiet,
        )?;
        self.reading.on(&connection);
        Ok(connection)
    }

    /// While it rests the server may close the connection as an idle one.
    fn replace_if_gone(&self, connection: &mut Connection) -> RedisResult<()> {
        if connection.is_gone() {
            *connection = self.open()?;
        }
        Ok(())
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_, Member>) -> RedisResult<()> {
        let again = first.is_none();
        let mut connection = match first {
            Some(connection) => connection,
            None => self.open()?,
        };
        self.reading.on(&connection);
        join_group(&mut connection, &self.member)?;
        link.up();
        if again {
            // After an outage those who serve are to show themselves first.
            self.rest(silence(&self.member), &mut connection)?;
        }
        while !self.quiet.is_stopped() {
            self.replace_if_gone(&mut connection)?;
            match look(&mut connection, &self.member)? {
                Serving::Somebody => self.rest(LOOK, &mut connection)?,
                Serving::Unknown => {
                    join_group(&mut connection, &self.member)?;
                    self.rest(silence(&self.member), &mut connection)?;
                }
                Serving::Nobody => self.refuse_next(&mut connection)?,
            }
        }
        Ok(())
    }

    /// Does nothing for a while. Where another connection of the instance breaks meanwhile, this one is looked at:
    /// nobody reads it now, so nobody else would notice.
    fn rest(&self, time: Duration, connection: &mut Connection) -> RedisResult<()> {
        let until = Instant::now() + time;
        let mut losses = self.member.links.losses();
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if self.quiet.pause(left.min(GLANCE)) {
                break;
            }
            if self.member.links.losses() != losses {
                losses = self.member.links.losses();
                self.replace_if_gone(connection)?;
                connection.run(&redis::cmd("PING"))?;
            }
        }
        Ok(())
    }

    fn refuse_next(&self, connection: &mut Connection) -> RedisResult<()> {
        self.refuse(self.abandoned()?);
        let entries = read(connection, &self.member, COUNT)?;
        if entries.is_empty() {
            return Ok(());
        }
        // Somebody may have begun to serve while this one was waiting.
        if look(connection, &self.member)? == Serving::Nobody {
            self.refuse(self.reception.admit(entries, &HashMap::new()));
            return Ok(());
        }
        let requests: Vec<(StreamId, u32)> = entries.iter().map(|entry| (entry.id, 1)).collect();
        lease::hand_on_by(connection, &self.member, &requests, false)
    }

    /// What was delivered to consumers that are gone, or to this one on a connection that broke.
    fn abandoned(&self) -> RedisResult<Vec<Request>> {
        let find = || {
            if !lease::is_any_idle(&self.member)? {
                return Ok(Vec::new());
            }
            presence::look_at_leases(&self.member)?;
            lease::take_over_first(COUNT, &self.member, &self.reception)
        };
        // The next connection shows whether Redis is there.
        find().map_err(|_: Error| unexpected())
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

/// Whether an instance of the group has a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serving {
    Somebody,
    Nobody,
    /// The inbox or the presence was deleted lately, or has too many rows: those who serve may be missing in them.
    Unknown,
}

/// Whether somebody serves, by a clock that is right: if Redis's was stepped, all others look dead or alive for ever.
fn look(connection: &mut Connection, member: &Member) -> RedisResult<Serving> {
    match who_serves(connection, member)? {
        Serving::Nobody => {
            member.clock.read(connection)?;
            who_serves(connection, member)
        }
        serving => Ok(serving),
    }
}

/// Whether those who serve may have been forgotten lately, or show their presence by a clock that was right before:
/// each reads it now and then.
fn is_in_doubt(member: &Member) -> bool {
    let silence = silence(member);
    presence::was_lost(member, silence) || member.clock.has_stepped_within(presence::RENEWAL + silence)
}

/// An instance serves that has a consumer without our mark, and was heard of lately.
fn who_serves(connection: &mut Connection, member: &Member) -> RedisResult<Serving> {
    let since = member.clock.now().saturating_sub(silence(member).as_millis() as u64);
    // The next connection shows whether Redis is there.
    let Some(alive) = presence::living_consumers(member, since).map_err(|_| unexpected())? else {
        return Ok(Serving::Unknown);
    };
    let mut info = redis::cmd("XINFO");
    info.arg("CONSUMERS").arg(&member.inbox).arg(&member.group);
    let reply = match connection.run(&info) {
        Err(error) if matches!(error.code(), Some("ERR" | "NOGROUP")) => return Ok(Serving::Unknown),
        reply => reply?,
    };
    let consumers: Vec<HashMap<String, redis::Value>> =
        FromRedisValue::from_redis_value(reply).map_err(|_| unexpected())?;
    let names: Vec<&[u8]> = consumers
        .iter()
        .filter_map(|consumer| match consumer.get("name") {
            Some(redis::Value::BulkString(name)) => Some(name.as_slice()),
            _ => None,
        })
        .collect();
    let is_alive = |name: &[u8]| alive.iter().any(|living| living.as_bytes() == name);
    let own = member.consumer.as_bytes();
    if names.iter().any(|name| !name.ends_with(WITHOUT_HANDLER.as_bytes()) && is_alive(name)) {
        Ok(Serving::Somebody)
    } else if names.contains(&own) && is_alive(own) && !is_in_doubt(member) {
        Ok(Serving::Nobody)
    } else {
        Ok(Serving::Unknown)
    }
}
