//! Takes requests from the list, as many as there is room for.

use crate::appetite::Appetite;
use crate::connection::{Connection, is_unreadable};
use crate::error::{Error, ErrorKind};
use crate::link::Link;
use crate::list::options::Guarantee;
use crate::list::party::{Party, popped, texts};
use crate::list::work_queue::WorkQueue;
use crate::socket::Closer;
use crate::stop::Stop;
use crate::stream_reply::refused;
use crate::sync::Mutex;
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// How long, and how often, it is tried to end a read without losing what it may just have taken.
const UNBLOCKING: Duration = Duration::from_secs(1);
const UNBLOCK_EVERY: Duration = Duration::from_millis(10);

/// The most requests read at once.
const MOST: usize = 512;

/// Where a request stands that cannot be read.
struct Stuck {
    /// How many older ones stand before it.
    place: usize,
    /// The length of the list where these were read, as Redis said it.
    length: Option<Value>,
}

/// The reader of the list.
pub struct Intake {
    party: Arc<Party>,
    queue: Arc<WorkQueue>,
    guarantee: Guarantee,
    processing: String,
    quiet: Stop,
    ended: Stop,
    closer: Mutex<Option<Closer>>,
    /// Redis's id of the connection that reads.
    client: AtomicI64,
    /// What was taken, and the queue did not want any more.
    refused: Mutex<Vec<Vec<u8>>>,
    /// How many requests are read at once.
    appetite: Mutex<Appetite>,
    /// A request of its own list that breaks each connection that reads it.
    stuck: Mutex<Option<Stuck>>,
}

impl Intake {
    /// A reader that fills `queue`.
    pub fn new(party: Arc<Party>, queue: Arc<WorkQueue>, guarantee: Guarantee) -> Self {
        let processing = party.names.processing(&party.id);
        Self {
            party,
            queue,
            guarantee,
            processing,
            quiet: Stop::new(),
            ended: Stop::new(),
            closer: Mutex::default(),
            client: AtomicI64::new(0),
            refused: Mutex::default(),
            appetite: Mutex::new(Appetite::new(MOST)),
            stuck: Mutex::default(),
        }
    }

    /// Its thread: reads until [`Intake::stop`].
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.party, self.party.names.queue(), first.is_some());
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link)
                && !self.quiet.is_stopped()
            {
                link.lost(&error);
            }
        }
        self.ended.stop();
    }

    /// Takes nothing more. Returns what was taken and not wanted any more.
    pub fn stop(&self) -> Vec<Vec<u8>> {
        self.quiet.stop();
        // What a broken read took stays on the list of what this server holds; only without one is it lost.
        if self.guarantee == Guarantee::AtMostOnce {
            self.party.connector.closing().hurry(|| self.unblock());
        }
        if let Some(closer) = self.closer.lock().take() {
            closer.close();
        }
        std::mem::take(&mut *self.refused.lock())
    }

    fn unblock(&self) {
        let until = Instant::now() + UNBLOCKING;
        let Ok(mut connection) = self.party.connector.open_for(self.party.names.queue()) else { return };
        // Again and again: it may just have been about to block.
        while Instant::now() < until && !self.ended.is_stopped() {
            let id = self.client.load(Ordering::SeqCst);
            if connection.run(redis::cmd("CLIENT").arg("UNBLOCK").arg(id)).is_err() {
                return;
            }
            self.ended.pause(UNBLOCK_EVERY);
        }
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_, Party>) -> RedisResult<()> {
        let mut connection = match first {
            Some(connection) => connection,
            None => self.party.connector.open_blocking(
                self.party.names.queue(),
                self.party.block(),
                &self.quiet,
            )?,
        };
        *self.closer.lock() = Some(connection.closer());
        match self.guarantee {
            Guarantee::AtLeastOnce => self.recover(&mut connection)?,
            Guarantee::AtMostOnce => self.note_client(&mut connection)?,
        }
        link.up();
        let mut last = 0;
        while !self.quiet.is_stopped() {
            let room = self.queue.wait_for_room(self.party.block());
            if room == 0 || self.quiet.is_stopped() {
                continue;
            }
            if connection.is_gone() {
                return Ok(());
            }
            let room = room.min(self.appetite.lock().count(Instant::now()));
            let taken = match self.guarantee {
                Guarantee::AtLeastOnce => self.move_some(&mut connection, room, last),
                Guarantee::AtMostOnce => connection.run(&self.pop(room)).map(popped),
            };
            let taken = self.note(taken, room)?;
            last = taken.len();
            self.party.stats.taken.add(last as u64);
            self.hand_over(taken);
        }
        Ok(())
    }

    /// Notes whether a read broke its connection.
    fn note<T>(&self, read: RedisResult<Vec<T>>, asked: usize) -> RedisResult<Vec<T>> {
        match &read {
            Ok(found) => self.appetite.lock().ate(asked, found.len()),
            Err(error) if is_unreadable(error) => drop(self.appetite.lock().choked(asked, Instant::now())),
            Err(_) => {}
        }
        read
    }

    fn hand_over(&self, taken: Vec<Vec<u8>>) {
        if let Err(unwanted) = self.queue.push_texts(taken, false) {
            self.refused.lock().extend(unwanted.iter().map(|job| job.text.clone()));
        }
    }

    fn note_client(&self, connection: &mut Connection) -> RedisResult<()> {
        if let Value::Int(id) = connection.run(redis::cmd("CLIENT").arg("ID"))? {
            self.client.store(id, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Where the last look found something there may be more: up to twice as much is asked for in one round trip. Else
    /// it waits for one.
    fn move_some(&self, connection: &mut Connection, room: usize, last: usize) -> RedisResult<Vec<Vec<u8>>> {
        if last > 0 {
            let moves: Vec<Cmd> = (0..room.min(2 * last)).map(|_| self.mover("LMOVE")).collect();
            let replies = connection.run_all(&moves)?;
            if let Some(error) = replies.iter().find_map(refusal) {
                return Err(error);
            }
            let taken: Vec<Vec<u8>> = replies.into_iter().flat_map(texts).collect();
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
        let mut blocking = self.mover("BLMOVE");
        blocking.arg(self.party.block().as_secs());
        Ok(texts(connection.run(&blocking)?))
    }

    fn mover(&self, name: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(self.party.names.queue()).arg(&self.processing).arg("RIGHT").arg("LEFT");
        command
    }

    fn pop(&self, room: usize) -> Cmd {
        let mut command = redis::cmd("BLMPOP");
        command.arg(self.party.block().as_secs()).arg(1).arg(self.party.names.queue());
        command.arg("RIGHT").arg("COUNT").arg(room);
        command
    }

    /// What was moved on a connection that broke before it arrived is on the list of what this server holds.
    fn recover(&self, connection: &mut Connection) -> RedisResult<()> {
        self.give_up_stuck(connection)?;
        let lost = self.unheld(connection)?;
        self.party.stats.taken.add(lost.len() as u64);
        self.hand_over(lost);
        Ok(())
    }

    /// What is on this server's list and not held, oldest first.
    pub fn unheld(&self, connection: &mut Connection) -> RedisResult<Vec<Vec<u8>>> {
        // Before the look at the list: what is answered in between is gone from the list by then, or held here.
        let mut held = self.queue.held_texts();
        let mut listed = self.listed(connection)?;
        listed.retain(|text| match held.get_mut(text) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        });
        Ok(listed)
    }

    /// All that is on this server's list, oldest first. It is read in pages from the right. Nobody else adds to it; if
    /// something was removed meanwhile, the pages do not fit together, and it is read again.
    fn listed(&self, connection: &mut Connection) -> RedisResult<Vec<Vec<u8>>> {
        let (mut listed, mut length) = (Vec::new(), None);
        loop {
            let asked = self.appetite.lock().count(Instant::now());
            let (from, to) = (listed.len() + asked, listed.len() + 1);
            let (mut count, mut range) = (redis::cmd("LLEN"), redis::cmd("LRANGE"));
            count.arg(&self.processing);
            range.arg(&self.processing).arg(-(from as i64)).arg(-(to as i64));
            let replies = match connection.run_all(&[count, range]) {
                Err(error) if is_unreadable(&error) => {
                    if self.appetite.lock().choked(asked, Instant::now()) {
                        *self.stuck.lock() = Some(Stuck { place: listed.len(), length });
                    }
                    return Err(error);
                }
                replies => replies?,
            };
            let replies: Vec<Value> = replies.into_iter().map(refused).collect::<RedisResult<_>>()?;
            let is_same = *length.get_or_insert_with(|| replies[0].clone()) == replies[0];
            if !is_same {
                (listed, length) = (Vec::new(), None);
                continue;
            }
            let page = replies.into_iter().nth(1).map(texts).unwrap_or_default();
            let found = page.len();
            listed.extend(page.into_iter().rev());
            if found < asked {
                // Only now: a request that can be read must not acquit the one behind it.
                self.appetite.lock().ate(asked, found);
                return Ok(listed);
            }
        }
    }

    /// Moves the request that cannot be read to the dead letters, without reading it: the ones before it go to the other
    /// end of the list. Whom to tell stands in it.
    fn give_up_stuck(&self, connection: &mut Connection) -> RedisResult<()> {
        let Some(Stuck { place, length }) = self.stuck.lock().take() else { return Ok(()) };
        let known = connection.run(redis::cmd("LLEN").arg(&self.processing))?;
        if length.is_some_and(|length| length != known) {
            // Requests before it were answered meanwhile: another one has its place now.
            return Ok(());
        }
        let mut turn = redis::cmd("LMOVE");
        turn.arg(&self.processing).arg(&self.processing).arg("RIGHT").arg("LEFT");
        for _ in 0..place {
            connection.run(&turn)?;
        }
        let dead = self.party.names.dead();
        let mut bury = redis::cmd("LMOVE");
        bury.arg(&self.processing).arg(&dead).arg("RIGHT").arg("LEFT");
        // Redis moves it, and breaks the connection over the reply.
        let buried = connection.run(&bury);
        if matches!(buried, Ok(Value::Nil)) {
            return Ok(());
        }
        self.party.stats.taken.increment();
        self.party.stats.dead_lettered.increment();
        let message = format!(
            "a request cannot be read: it breaks each connection that reads it (client-output-buffer-limit of Redis, or \
             the limits in security.md); it is in {dead}"
        );
        self.party.reporter.failure(self.party.locate(Error::new(ErrorKind::DeadLettered, message)));
        buried.map(drop)
    }
}

fn refusal(reply: &Value) -> Option<redis::RedisError> {
    match reply {
        Value::ServerError(error) => Some(error.clone().into()),
        _ => None,
    }
}
