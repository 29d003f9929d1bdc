//! Reads this instance's reply stream and routes each answer to the call that waits for it.

use crate::command::Command;
use crate::connection::Connection;
use crate::drill;
use crate::entry::{Answer, RawEntry, Status, StreamId};
use crate::error::ErrorKind;
use crate::identity::Id;
use crate::ledger::{Ledger, Sent};
use crate::link::Link;
use crate::member::Member;
use crate::reading::Reading;
use crate::sender::Sender;
use crate::stream_reply::{self, refused, unexpected};
use crate::upkeep;
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const BLOCK: Duration = Duration::from_secs(10);
const BLOCK_IN_CLUSTER: Duration = Duration::from_secs(2);
/// How many answers are read at once.
const COUNT: usize = 512;
/// After so many answers, or this long, the ones read are trimmed.
const TRIM_COUNT: usize = 128;
const TRIM_BYTES: usize = 1 << 20;
const TRIM_INTERVAL: Duration = Duration::from_secs(1);

/// How long a read waits for an answer before it asks again. In a cluster not for long: a reply stream on the move is
/// gone from its old node before that sends its readers away.
pub fn block(member: &Member) -> Duration {
    if member.connections.connector().is_cluster() { BLOCK_IN_CLUSTER } else { BLOCK }
}

/// The reader of one reply stream.
pub struct Dispatcher {
    member: Arc<Member>,
    ledger: Arc<Ledger>,
    sender: Arc<Sender>,
    /// The read under way.
    pub reading: Arc<Reading>,
}

/// What was read and not trimmed yet.
struct Position {
    /// Which of the reply streams made so far it is about.
    made: usize,
    last: StreamId,
    untrimmed: usize,
    bytes: usize,
    trimmed: Instant,
}

impl Position {
    /// Goes back to the beginning if the stream was made anew: Redis's clock may be behind the last id.
    fn follow(&mut self, member: &Member) {
        let made = member.replies_made.load(Ordering::SeqCst);
        if self.made != made {
            (self.made, self.last) = (made, StreamId::default());
        }
    }
}

impl Dispatcher {
    /// A dispatcher for the calls in `ledger`.
    pub fn new(member: Arc<Member>, ledger: Arc<Ledger>, sender: Arc<Sender>) -> Self {
        Self { member, ledger, sender, reading: Arc::default() }
    }

    /// Its thread: reads until the engine stops, over `first` and as many more connections as it takes.
    pub fn run(&self, mut first: Option<Connection>) {
        let mut position =
            Position { made: 0, last: StreamId::default(), untrimmed: 0, bytes: 0, trimmed: Instant::now() };
        position.follow(&self.member);
        let mut link = Link::new(&self.member, &self.member.replies, first.is_some());
        while !self.member.stop.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut position, &mut link) {
                link.lost(&error);
            }
        }
    }

    /// Ends the read under way; the next one starts on a new connection.
    pub fn restart(&self) {
        self.reading.end();
    }

    fn session(
        &self,
        first: Option<Connection>,
        position: &mut Position,
        link: &mut Link<'_>,
    ) -> RedisResult<()> {
        let mut connection = match first {
            Some(connection) => connection,
            None => self
                .member
                .connections
                .connector()
                .open_blocking(&self.member.replies, block(&self.member))?,
        };
        self.reading.on(&connection)?;
        upkeep::make_replies(&mut connection, &self.member)?;
        position.follow(&self.member);
        link.up();
        while !self.member.stop.is_stopped() {
            let answers = self.read(&mut connection, position)?;
            drill::point();
            if answers.is_empty() {
                position.follow(&self.member);
            }
            position.untrimmed += answers.len();
            for answer in answers {
                position.last = answer.id;
                position.bytes += self.route(answer);
            }
        }
        Ok(())
    }

    /// Trims what was read before, if it is worth it, and waits for more, in one round trip.
    fn read(&self, connection: &mut Connection, position: &mut Position) -> RedisResult<Vec<RawEntry>> {
        let trims = position.untrimmed > 0
            && (position.untrimmed >= TRIM_COUNT
                || position.bytes >= TRIM_BYTES
                || position.trimmed.elapsed() >= TRIM_INTERVAL);
        let mut commands = Vec::with_capacity(2);
        if trims {
            let mut trim = redis::cmd("XTRIM");
            trim.arg(&self.member.replies).arg("MINID").arg(position.last.next().to_string());
            commands.push(trim);
        }
        // With answers left to trim it comes back soon for them.
        let block = if position.untrimmed > 0 && !trims { TRIM_INTERVAL } else { block(&self.member) };
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(block.as_millis() as u64);
        read.arg("STREAMS").arg(&self.member.replies).arg(position.last.to_string());
        commands.push(read);
        let replies = connection.run_all(&commands)?.into_iter().map(refused);
        let answers = replies.collect::<RedisResult<Vec<Value>>>()?.pop();
        if trims {
            (position.untrimmed, position.bytes, position.trimmed) = (0, 0, Instant::now());
        }
        answers.and_then(stream_reply::read).ok_or_else(unexpected)
    }

    /// Hands an answer to its call. Returns its size.
    fn route(&self, raw: RawEntry) -> usize {
        let Some(mut fields) = raw.fields else { return 0 };
        let size = fields.iter().map(|(_, value)| value.len()).sum();
        // The id is looked up first: a malformed answer to an open call must end that call.
        let id = fields.iter().find(|(name, _)| name == b"id").and_then(|(_, value)| Id::parse(value));
        let Some(ticket) = id.and_then(|id| self.ledger.close(id)) else {
            self.member.stats.answers_unmatched.increment();
            return size;
        };
        match Answer::decode(raw.id, &mut fields, self.member.options.max_content_size) {
            Ok(answer) => {
                let counter = match answer.status {
                    Status::Fulfilled => &self.member.stats.fulfilled,
                    _ => &self.member.stats.rejected,
                };
                counter.increment();
                ticket.finish(Ok(Arc::new(answer)));
                if let (true, Sent::Yes(id)) = (ticket.has_earlier_copy(), ticket.sent()) {
                    // Whichever copy was answered, the other is not wanted any more.
                    self.sender.send(Command::Withdraw(ticket, id));
                }
            }
            Err(error) => {
                self.member.stats.malformed.increment();
                self.member.stats.failed.increment();
                let message = format!("the answer from {:?} is malformed: {error}", ticket.to);
                let error = self.member.error(ErrorKind::Malformed, message, &ticket.to).entry(raw.id);
                self.member.reporter.failure(error.clone());
                ticket.finish(Err(error));
            }
        }
        size
    }
}
