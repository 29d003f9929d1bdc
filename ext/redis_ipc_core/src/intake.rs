//! Reads requests from the group's inbox, as many as there is room for.

use crate::connection::Connection;
use crate::consumer_queue::ConsumerQueue;
use crate::drill;
use crate::entry::RawEntry;
use crate::lease;
use crate::link::Link;
use crate::member::Member;
use crate::presence;
use crate::reading::Reading;
use crate::reception::Reception;
use crate::stop::Stop;
use crate::stream_reply::{self, unexpected};
use crate::upkeep;
use redis::RedisResult;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a read waits for a request before it asks again. Never for ever: servers before Redis 7 do not wake
/// a reader whose key vanishes.
pub const BLOCK: Duration = Duration::from_secs(10);

/// How many lost requests are fetched at once.
const PAGE: usize = 100;

/// The reader of one inbox.
pub struct Intake {
    member: Arc<Member>,
    queue: Arc<ConsumerQueue>,
    reception: Arc<Reception>,
    /// The read under way.
    pub reading: Arc<Reading>,
    quiet: Stop,
}

impl Intake {
    /// A reader that fills `queue` by way of `reception`.
    pub fn new(member: Arc<Member>, queue: Arc<ConsumerQueue>, reception: Arc<Reception>) -> Self {
        Self { member, queue, reception, reading: Arc::default(), quiet: Stop::new() }
    }

    /// Its thread: reads until [`Intake::stop`].
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

    /// Takes nothing more; a read under way ends at once.
    pub fn stop(&self) {
        self.quiet.stop();
        self.restart();
    }

    /// Ends the read under way; the next one starts on a new connection.
    pub fn restart(&self) {
        self.reading.end();
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_>) -> RedisResult<()> {
        let again = first.is_none();
        let mut connection = match first {
            Some(connection) => connection,
            None => self.member.connections.connector().open_blocking(&self.member.inbox, BLOCK)?,
        };
        self.reading.on(&connection)?;
        if again {
            // It may be another server, with another clock.
            presence::read_clock(&mut connection, &self.member)?;
        }
        upkeep::join_group(&mut connection, &self.member)?;
        self.recover(&mut connection)?;
        link.up();
        while !self.quiet.is_stopped() {
            let room = self.queue.wait_for_room(BLOCK);
            drill::point();
            if let Some(pause) = self.member.memory.shortage() {
                // Answers could not be written: what is taken now would only be lost with this process.
                self.quiet.pause(pause);
            } else if room > 0 && !self.quiet.is_stopped() {
                let entries = read(&mut connection, &self.member, room)?;
                self.queue.note_pressure(entries.len() == room);
                self.reception.receive(entries, &HashMap::new());
            }
        }
        Ok(())
    }

    /// What was delivered on a connection that broke before it arrived is pending under our name. What was delivered
    /// before to others may still be running there: that is left to the leases.
    fn recover(&self, connection: &mut Connection) -> RedisResult<()> {
        let mut missing = lease::pending(connection, &self.member)?;
        missing.retain(|(id, deliveries)| *deliveries == 1 && self.queue.held(*id).is_none());
        for page in missing.chunks(PAGE) {
            let entries = lease::fetch(connection, &self.member, page)?;
            self.reception.receive(entries, &HashMap::new());
        }
        Ok(())
    }
}

/// Reads new entries of the inbox as this member's consumer.
pub fn read(connection: &mut Connection, member: &Member, count: usize) -> RedisResult<Vec<RawEntry>> {
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(&member.group).arg(&member.consumer);
    read.arg("COUNT").arg(count).arg("BLOCK").arg(BLOCK.as_millis() as u64);
    read.arg("STREAMS").arg(&member.inbox).arg(">");
    stream_reply::read(connection.run(&read)?).ok_or_else(unexpected)
}
