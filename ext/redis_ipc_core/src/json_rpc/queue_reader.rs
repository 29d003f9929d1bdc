//! Takes requests from the list of a queue, as many as there is room for.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::{Connection, is_unreadable};
use crate::foundation::redis::link::Link;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::read_size::{ReadSize, gives_up};
use crate::foundation::redis::record::control::Control;
use crate::foundation::redis::resp::replies::refused;
use crate::foundation::runtime::stop::Stop;
use crate::foundation::runtime::sync::Mutex;
use crate::json_rpc::heartbeat::{Heartbeat, beat};
use crate::json_rpc::instance::{Instance, SETTLED, popped, texts};
use crate::json_rpc::options::ServerOptions;
use crate::json_rpc::request_queue::RequestQueue;
use redis::{Cmd, RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// How long the server tries to unblock its read, which may just have taken a request, before it closes the
/// connection.
const UNBLOCKING: Duration = Duration::from_secs(1);
/// The pause between these attempts.
const UNBLOCK_EVERY: Duration = Duration::from_millis(10);

/// The most requests in one read.
const MOST: usize = 512;

/// The position of a request that cannot be read.
struct Stuck {
    /// How many older requests are before it.
    place: usize,
    /// The length of the list during that read, as Redis sent it.
    length: Option<Value>,
}

/// The reader of a queue's list.
pub struct QueueReader {
    instance: Arc<Instance>,
    queue: Arc<RequestQueue>,
    guarantee: Guarantee,
    lease: Duration,
    /// How long a read waits in Redis.
    wait: Duration,
    heartbeat: Arc<Heartbeat>,
    control: Arc<Control>,
    processing: String,
    quiet: Stop,
    ended: Stop,
    read_cancel: ReadCancel,
    /// Redis's id of the reading connection.
    client: AtomicI64,
    /// The requests that were taken but that the queue did not accept any more.
    refused: Mutex<Vec<Vec<u8>>>,
    /// How many requests one read takes.
    read_size: Mutex<ReadSize>,
    /// The request of the server's own list whose read broke the last connection.
    stuck: Mutex<Option<Stuck>>,
    /// When a connection was last given up on whose read may still wait in Redis.
    broke: Mutex<Option<Instant>>,
}

/// Returns how long a read waits in Redis. With at-least-once it is at most a lease: before others take a server for
/// dead, its last read has ended.
pub fn wait(instance: &Instance, options: &ServerOptions) -> Duration {
    match options.guarantee {
        Guarantee::AtLeastOnce => instance.block().min(options.lease),
        Guarantee::AtMostOnce => instance.block(),
    }
}

impl QueueReader {
    /// Creates a reader that fills `queue`, unless `control` says that nothing is to be taken.
    pub fn new(
        instance: Arc<Instance>,
        queue: Arc<RequestQueue>,
        options: &ServerOptions,
        heartbeat: Arc<Heartbeat>,
        control: Arc<Control>,
    ) -> Self {
        let processing = instance.names.processing(&instance.id);
        Self {
            guarantee: options.guarantee,
            lease: options.lease,
            wait: wait(&instance, options),
            instance,
            queue,
            heartbeat,
            control,
            processing,
            quiet: Stop::default(),
            ended: Stop::default(),
            read_cancel: ReadCancel::default(),
            client: AtomicI64::new(0),
            refused: Mutex::default(),
            read_size: Mutex::new(ReadSize::new(MOST)),
            stuck: Mutex::default(),
            broke: Mutex::default(),
        }
    }

    /// Runs the reader's thread until [`QueueReader::stop`].
    pub fn run(&self, mut first: Option<Connection>) {
        let mut link = Link::new(&self.instance.endpoint, self.instance.names.queue(), first.is_some());
        while !self.quiet.is_stopped() {
            if let Err(error) = self.session(first.take(), &mut link) {
                *self.broke.lock() = Some(Instant::now());
                if !self.quiet.is_stopped() {
                    link.lost(&error);
                }
            }
        }
        self.ended.stop();
    }

    /// Takes no more requests.
    pub fn stop(&self) {
        self.quiet.stop();
        // Otherwise the read that waits in Redis could take one more request, which would be lost.
        self.instance.endpoint.connector.closing().with_short_limit(|| self.unblock());
        self.interrupt();
    }

    /// Returns the requests that were taken but not accepted any more. The list is complete once the thread has
    /// ended.
    pub fn refused(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.refused.lock())
    }

    /// Ends the current read, without waiting.
    pub fn interrupt(&self) {
        self.quiet.stop();
        self.read_cancel.end();
    }

    /// Whether no read of this server can wait in Redis any more, once its thread has ended.
    pub fn takes_nothing(&self) -> bool {
        self.broke.lock().is_none_or(|at| at.elapsed() > SETTLED)
    }

    /// Ends the read that waits in Redis, without loss. If it does not wait yet, it may take one more request.
    pub fn unblock_once(&self, connection: &mut Connection) -> RedisResult<()> {
        let id = self.client.load(Ordering::SeqCst);
        connection.run(redis::cmd("CLIENT").arg("UNBLOCK").arg(id)).map(drop)
    }

    fn unblock(&self) {
        if self.ended.is_stopped() {
            return;
        }
        let until = Instant::now() + UNBLOCKING;
        let Ok(mut connection) =
            self.instance.endpoint.connector.opener(Purpose::Work).open_for(self.instance.names.queue())
        else {
            return;
        };
        // It repeats this, because the read may not have begun to block yet.
        while Instant::now() < until && !self.ended.is_stopped() {
            let id = self.client.load(Ordering::SeqCst);
            if let Err(error) = connection.run(redis::cmd("CLIENT").arg("UNBLOCK").arg(id)) {
                if error.code() == Some("NOPERM") {
                    let consequence = "a server that leaves waits for its read of the list";
                    let rule = "+client|unblock".to_owned();
                    self.instance.missing_rights.report(rule, consequence, &self.instance.endpoint);
                }
                return;
            }
            self.ended.pause(UNBLOCK_EVERY);
        }
    }

    fn session(&self, first: Option<Connection>, link: &mut Link<'_>) -> RedisResult<()> {
        let open = || {
            let queue = self.instance.names.queue();
            let opened = self.instance.endpoint.connector.opener(Purpose::Reader).open_blocking(
                queue,
                self.wait,
                &self.quiet,
            );
            opened.inspect_err(|_| self.read_size.lock().acquit())
        };
        let mut connection = first.map_or_else(open, Ok)?;
        self.read_cancel.on(&connection);
        self.note_client(&mut connection)?;
        let holds = self.guarantee == Guarantee::AtLeastOnce;
        if holds {
            self.recover(&mut connection)?;
        }
        link.up();
        let (mut last, mut compared, mut shown) = (0, Instant::now(), None);
        while !self.quiet.is_stopped() {
            let room = self.queue.wait_for_room(self.wait);
            if holds && compared.elapsed() >= self.lease {
                self.compare(&mut connection)?;
                compared = Instant::now();
            }
            if room == 0 || self.quiet.is_stopped() {
                continue;
            }
            if connection.is_gone() {
                return Ok(());
            }
            if let Some(pause) = self.control.pause() {
                self.quiet.pause(pause);
                continue;
            }
            let room = room.min(self.read_size.lock().count(Instant::now()));
            let taken = match self.guarantee {
                Guarantee::AtLeastOnce => self.move_some(&mut connection, room, last, &mut shown),
                Guarantee::AtMostOnce => connection.run(&self.pop(room)).map(popped),
            };
            self.read_size.lock().note(room, &taken);
            let taken = taken?;
            last = taken.len();
            self.instance.endpoint.stats.taken.add(last as u64);
            self.hand_over(taken);
        }
        Ok(())
    }

    fn hand_over(&self, taken: Vec<Vec<u8>>) {
        if let Err(unwanted) = self.queue.push_texts(taken, false) {
            self.refused.lock().extend(unwanted.iter().map(|held| held.text.clone()));
        }
    }

    fn note_client(&self, connection: &mut Connection) -> RedisResult<()> {
        if let Value::Int(id) = connection.run(redis::cmd("CLIENT").arg("ID"))? {
            self.client.store(id, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Moves requests to this server's list. If the last read found some there may be more, so up to twice as many
    /// are requested in one round trip. Otherwise it waits for one.
    fn move_some(
        &self,
        connection: &mut Connection,
        room: usize,
        last: usize,
        shown: &mut Option<Instant>,
    ) -> RedisResult<Vec<Vec<u8>>> {
        if last > 0 {
            let moves = (0..room.min(2 * last)).map(|_| self.mover("LMOVE")).collect();
            let taken = self.move_by(connection, moves, shown)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
        }
        let mut blocking = self.mover("BLMOVE");
        blocking.arg(self.wait.as_secs_f64());
        self.move_by(connection, vec![blocking], shown)
    }

    /// Moves requests to this server's list. Unless this connection did so recently, it sends a heartbeat before. So
    /// when a command of a broken connection reaches Redis late, the other servers know this server by then.
    fn move_by(
        &self,
        connection: &mut Connection,
        mut commands: Vec<Cmd>,
        shown: &mut Option<Instant>,
    ) -> RedisResult<Vec<Vec<u8>>> {
        let asked = Instant::now();
        let is_due = shown.is_none_or(|shown| asked.duration_since(shown) >= self.lease / 4);
        if is_due {
            commands.insert(0, beat(&self.instance, &self.heartbeat));
        }
        let replies = connection.run_all(&commands)?.into_iter().map(refused);
        let replies: Vec<Value> = replies.collect::<RedisResult<_>>()?;
        if is_due {
            self.heartbeat.shown(asked);
            *shown = Some(asked);
        }
        Ok(replies.into_iter().flat_map(texts).collect())
    }

    fn mover(&self, name: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(self.instance.names.queue()).arg(&self.processing).arg("RIGHT").arg("LEFT");
        command
    }

    fn pop(&self, room: usize) -> Cmd {
        let mut command = redis::cmd("BLMPOP");
        command.arg(self.wait.as_secs_f64()).arg(1).arg(self.instance.names.queue());
        command.arg("RIGHT").arg("COUNT").arg(room);
        command
    }

    /// Checks whether this server's list has more requests than it should. A read of an earlier connection may have
    /// waited in Redis when this connection was made, and have taken a request since. Between two reads no request is
    /// under way.
    fn compare(&self, connection: &mut Connection) -> RedisResult<()> {
        let held = self.queue.listed_count();
        let listed = refused(connection.run(redis::cmd("LLEN").arg(&self.processing))?)?;
        let is_more = matches!(listed, Value::Int(count) if count > held as i64);
        // Requests that other servers took over from this one would hide as many that are not held.
        if self.heartbeat.has_lapsed() || is_more { self.recover(connection) } else { Ok(()) }
    }

    /// Takes the requests that were moved on a connection that broke before they arrived. They are on this server's
    /// list.
    fn recover(&self, connection: &mut Connection) -> RedisResult<()> {
        // Whether a request of this server's list broke the last connections is decided on a new connection.
        if gives_up(&self.read_size, || connection.serves_promptly())? {
            self.give_up_stuck(connection)?;
        }
        let lost = self.unheld(connection)?;
        self.instance.endpoint.stats.taken.add(lost.len() as u64);
        self.hand_over(lost);
        Ok(())
    }

    /// Returns the requests on this server's list that are not held, oldest first.
    pub fn unheld(&self, connection: &mut Connection) -> RedisResult<Vec<Vec<u8>>> {
        // This comes before the list is read: a request that is answered in between is either gone from the list by
        // then, or still counted as held.
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

    /// Returns all requests on this server's list, oldest first. It reads pages from the right. No other server adds
    /// to the list. If requests are removed meanwhile, the pages do not fit together, and it starts again.
    fn listed(&self, connection: &mut Connection) -> RedisResult<Vec<Vec<u8>>> {
        let (mut listed, mut length) = (Vec::new(), None);
        loop {
            let asked = self.read_size.lock().count(Instant::now());
            let (from, to) = (listed.len() + asked, listed.len() + 1);
            let (mut count, mut range) = (redis::cmd("LLEN"), redis::cmd("LRANGE"));
            count.arg(&self.processing);
            range.arg(&self.processing).arg(-(from as i64)).arg(-(to as i64));
            let replies = match connection.run_all(&[count, range]) {
                Err(error) if is_unreadable(&error) => {
                    self.read_size.lock().broke(asked, Instant::now());
                    *self.stuck.lock() = Some(Stuck { place: listed.len(), length });
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
                // This comes last, because a readable request must not acquit the one behind it.
                *self.stuck.lock() = None;
                self.read_size.lock().succeeded(asked, found);
                return Ok(listed);
            }
        }
    }

    /// Moves the request that cannot be read to the dead letters, without reading it. The requests before it go to
    /// the other end of the list. Its caller cannot be told, because only the unread text names it.
    fn give_up_stuck(&self, connection: &mut Connection) -> RedisResult<()> {
        let Some(Stuck { place, length }) = self.stuck.lock().take() else { return Ok(()) };
        let known = connection.run(redis::cmd("LLEN").arg(&self.processing))?;
        if length.is_some_and(|length| length != known) {
            // Requests before it were answered meanwhile, so another request has its position now.
            return Ok(());
        }
        let mut turn = redis::cmd("LMOVE");
        turn.arg(&self.processing).arg(&self.processing).arg("RIGHT").arg("LEFT");
        for _ in 0..place {
            connection.run(&turn)?;
        }
        let dead = self.instance.names.dead();
        let mut give_up = redis::cmd("LMOVE");
        give_up.arg(&self.processing).arg(&dead).arg("RIGHT").arg("LEFT");
        // Redis moves the request and breaks the connection with the reply.
        let moved = connection.run(&give_up);
        if matches!(moved, Ok(Value::Nil)) {
            return Ok(());
        }
        self.instance.endpoint.stats.taken.increment();
        self.instance.endpoint.stats.dead_lettered.increment();
        let message = format!(
            "a request cannot be read: it breaks each connection that reads it (client-output-buffer-limit of Redis, or \
             the limits in security.md); it is in {dead}"
        );
        self.instance.endpoint.report(Error::new(ErrorKind::DeadLettered, message));
        moved.map(drop)
    }
}
