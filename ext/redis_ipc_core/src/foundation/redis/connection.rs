//! One connection to Redis.
//!
//! The socket is ours and not redis-rs's, because redis-rs lacks three things that the request path needs: another
//! thread can close the connection (so a disconnect never waits for a blocking read), one thread can write while
//! another reads, and it is certain whether anything is left unread. redis-rs encodes commands and converts values.
//! [`crate::foundation::redis::resp::decode`] reads replies.

use crate::error::io_error_behind;
use crate::foundation::net::address::Address;
use crate::foundation::net::attempt::Attempt;
use crate::foundation::net::dialer::Dialer;
use crate::foundation::net::socket::{Arrived, Closer, Socket};
use crate::foundation::net::tls;
use crate::foundation::payload::fields::Room;
use crate::foundation::payload::stream_entry::RawEntry;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::pace::Pace;
use crate::foundation::redis::redis_options::{Credentials, Login, RedisOptions};
use crate::foundation::redis::resp::decode::Replies;
use crate::foundation::redis::resp::push::Push;
use crate::foundation::redis::rights;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Value};
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// After this long without a command the connection is checked before the next command is sent. Redis's shortest
/// `timeout` closes connections that were idle for more than 1 s.
const PAUSE: Duration = Duration::from_millis(500);
/// How much of Redis's last reply before it closed a connection is shown.
const SHOWN: usize = 200;
/// How many received bytes are read to find that reply after a write failed.
const LAST_WORDS: u64 = 1 << 20;

/// The reason why a write failed.
#[derive(Debug)]
pub struct SendFailure {
    /// The failure.
    pub error: io::Error,
    /// How many bytes were written before the failure. Redis cannot have received more, so it executed no command
    /// that ends later.
    pub written: usize,
}

/// How a connection logs in.
pub struct Session<'a> {
    /// The user.
    pub login: &'a Login,
    /// The database.
    pub db: i64,
    /// The name that `CLIENT LIST` shows.
    pub name: &'a str,
}

/// A connection that is logged in and ready for commands.
pub struct Connection {
    address: Address,
    socket: Socket,
    replies: Replies,
    broken: bool,
    asks: bool,
    /// When a command was last sent.
    sent: Instant,
    /// The last reply, if it was a refusal: Redis may close the connection because of it.
    said: Option<String>,
    /// The shortest limits on a reply that has begun, and on a write (see [`Pace`]).
    limits: Limits,
}

/// Timeouts of a whole reply or a whole write.
#[derive(Debug, Clone, Copy)]
struct Limits {
    read: Duration,
    write: Duration,
}

impl Limits {
    /// No limits. While connecting, the attempt has its own deadline.
    const NONE: Self = Self { read: Duration::MAX, write: Duration::MAX };
}

impl Connection {
    /// Connects to `address` with the timeouts and TLS of `options`, within the time of `attempt`. Until
    /// [`Connection::is_ready`] is called, commands share that time too.
    pub fn dial(
        address: &Address,
        session: &Session<'_>,
        options: &RedisOptions,
        dialer: &Dialer,
        attempt: &Attempt,
    ) -> RedisResult<Self> {
        let mut socket = dialer.dial(address, attempt)?;
        if let (Some(tls), Address::Tcp(host, _)) = (&options.tls, address) {
            let client = tls::client(tls, host).map_err(|error| {
                RedisError::from((ErrorKind::InvalidClientConfig, "TLS", error.to_string()))
            })?;
            socket.speak_tls(client);
        }
        let mut connection = Self::new(address.clone(), socket);
        let credentials = session.login.credentials(attempt).map_err(|error| {
            RedisError::from((ErrorKind::AuthenticationFailed, "no login", error.to_string()))
        })?;
        connection.log_in(&credentials, session)?;
        Ok(connection)
    }

    fn new(address: Address, socket: Socket) -> Self {
        Self {
            address,
            socket,
            replies: Replies::default(),
            broken: false,
            asks: false,
            sent: Instant::now(),
            said: None,
            limits: Limits::NONE,
        }
    }

    /// Ends the attempt to connect. From now on the timeouts of `options` apply.
    pub fn is_ready(&mut self, options: &RedisOptions) -> io::Result<()> {
        self.socket.is_ready()?;
        self.limits = Limits { read: options.read_timeout, write: options.write_timeout };
        self.set_timeouts(options.read_timeout, options.write_timeout)
    }

    /// Logs in and checks that the server is ready: a server that is loading its data accepts logins but not PING.
    fn log_in(&mut self, credentials: &Credentials, session: &Session<'_>) -> RedisResult<()> {
        let mut commands = Vec::new();
        if let Some(password) = &credentials.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = &credentials.username {
                auth.arg(username);
            }
            auth.arg(password);
            commands.push((auth, true));
        }
        if session.db != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(session.db);
            commands.push((select, true));
        }
        // A server or a user without the right to CLIENT SETNAME is served all the same.
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(session.name);
        commands.push((name, false));
        commands.push((redis::cmd("PING"), true));

        let mut packed = Vec::new();
        commands.iter().for_each(|(command, _)| command.write_packed_command(&mut packed));
        self.send(&packed)?;
        // A server that accepts no more clients, or no clients from elsewhere, says so once and closes the
        // connection.
        let replies = commands.iter().map(|_| self.receive()).collect::<RedisResult<Vec<_>>>()?;
        for (reply, (_, needed)) in replies.into_iter().zip(commands) {
            match reply {
                Value::ServerError(error) if needed => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Sets how long a single read and a single write may take.
    pub fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.socket.set_timeouts(read, write)
    }

    /// Whether it goes where `route` does, as far as that names a node.
    pub fn is_at(&self, route: &Route) -> bool {
        route.node().is_none_or(|node| **node == self.address)
    }

    /// Sets how long a single read may take.
    pub fn shorten_reads(&self, read: Duration) -> io::Result<()> {
        self.socket.set_timeouts(read, self.limits.write)
    }

    /// Returns the address that it goes to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns a handle that closes this connection from another thread.
    pub fn closer(&self) -> Closer {
        self.socket.closer(self.address.clone())
    }

    /// Writes encoded commands. After an error the connection is of no more use. The error contains Redis's last
    /// reply.
    pub fn send(&mut self, packed: &[u8]) -> RedisResult<()> {
        let Err(failure) = self.send_counting(packed) else { return Ok(()) };
        self.read_last_words();
        Err(self.lost(failure.error.into()))
    }

    /// Writes like [`Connection::send`], but a failure tells how much was written, and replies are left to
    /// [`Connection::receive_left`].
    pub fn send_counting(&mut self, packed: &[u8]) -> Result<(), SendFailure> {
        self.sent = Instant::now();
        self.said = None;
        let mut left = packed;
        let mut pace = Pace::new(self.limits.write);
        let mut write = || -> io::Result<()> {
            while !left.is_empty() {
                pace.wait();
                match self.socket.write(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        left = &left[count..];
                        pace.moved(count)?;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.socket.flush()
        };
        let result = write();
        self.broken |= result.is_err();
        result.map_err(|error| SendFailure { error, written: packed.len() - left.len() })
    }

    /// Reads one reply. After an error the connection is of no more use. That includes a timeout, because the reply
    /// may still come and would answer the next command.
    pub fn receive(&mut self) -> RedisResult<Value> {
        self.receive_by(None)
    }

    /// Reads up to `count` replies that have arrived, also after an error. Replies that Redis wrote before it closed
    /// the connection can still be read.
    pub fn receive_left(&mut self, count: usize) -> Vec<Value> {
        let mut replies = Vec::new();
        while replies.len() < count
            && let Ok(reply) = self.replies.next(&mut AtHand(&mut self.socket))
        {
            self.note_refusal(&reply);
            replies.push(reply);
        }
        replies
    }

    /// Reads what Redis said before it closed the connection, at most [`LAST_WORDS`] bytes.
    fn read_last_words(&mut self) {
        let mut at_hand = AtHand(&mut self.socket).take(LAST_WORDS);
        let mut last = None;
        while let Ok(reply) = self.replies.next(&mut at_hand) {
            last = Some(reply);
        }
        if let Some(reply) = last {
            self.note_refusal(&reply);
        }
    }

    /// Returns the error of a lost connection, with what Redis said before it closed it. The operating system reports
    /// a reset or the end of the stream, depending on what was under way. Both get the same words.
    pub fn lost(&self, error: RedisError) -> RedisError {
        let how = match &self.said {
            _ if !error.is_io_error() || error.is_timeout() => return error,
            Some(said) => format!(" after it said: {said}"),
            None if is_reset(&error) => format!(" ({error})"),
            None => return error,
        };
        io::Error::new(io::ErrorKind::ConnectionAborted, format!("Redis closed the connection{how}")).into()
    }

    /// Returns the error of a connection that Redis closes because of its last reply.
    pub fn closed(&self) -> RedisError {
        self.lost(io::Error::new(io::ErrorKind::UnexpectedEof, "Redis closed the connection").into())
    }

    /// Whether the server has closed the connection during a pause in which nothing was sent. A command sent now
    /// would not arrive. This need not be reported, because servers with a `timeout` close idle connections.
    pub fn is_gone(&mut self) -> bool {
        if self.sent.elapsed() < PAUSE || !self.replies.is_empty() {
            return false;
        }
        self.socket.has_ended()
    }

    /// Reads a reply to XREAD or XREADGROUP, and keeps as much of each entry as there is `room` for. With `wait` it
    /// never blocks in a read: it calls `wait` with the descriptor of [`Connection::awaited`] before it reads from
    /// the socket, and fails with its error.
    pub fn receive_entries(&mut self, wait: Option<Wait<'_>>, room: Room) -> RedisResult<Vec<RawEntry>> {
        if self.asks {
            self.receive_by(wait)?;
        }
        let (replies, mut incoming) = self.incoming(wait);
        let result = replies.next_entries(&mut incoming, room);
        self.note(result)
    }

    /// Reads this many replies if all of them have arrived. It does not wait.
    pub fn receive_arrived(&mut self, count: usize) -> RedisResult<Option<Vec<Value>>> {
        if self.asks {
            return Ok(None);
        }
        let Some(socket) = self.socket.awaited() else { return Ok(None) };
        let arrived = self.replies.have_arrived(count, &mut Arrived(socket));
        if !self.note(arrived)? {
            return Ok(None);
        }
        (0..count).map(|_| self.receive()).collect::<RedisResult<_>>().map(Some)
    }

    /// Reads the next thing that Redis sends on a connection that subscribes into `push`, and keeps at most `room` bytes
    /// of a payload. `tend` is called before each wait for the socket. A wait lasts no longer than the timeout of
    /// reads; then `tend` is called again.
    pub fn receive_push(&mut self, room: usize, push: &mut Push, tend: &mut dyn Tend) -> RedisResult<()> {
        let mut incoming = Tended { socket: &mut self.socket, tend };
        let result = self.replies.next_push(&mut incoming, room, push);
        self.note(result)
    }

    fn receive_by(&mut self, wait: Option<Wait<'_>>) -> RedisResult<Value> {
        let (replies, mut incoming) = self.incoming(wait);
        let result = replies.next(&mut incoming);
        self.note_reply(result)
    }

    fn incoming<'a>(&'a mut self, wait: Option<Wait<'a>>) -> (&'a mut Replies, Incoming<'a>) {
        let pace = Pace::new(self.limits.read);
        (&mut self.replies, Incoming { socket: &mut self.socket, wait, pace })
    }

    fn note_reply(&mut self, result: RedisResult<Value>) -> RedisResult<Value> {
        if let Ok(reply) = &result {
            self.note_refusal(reply);
        }
        self.note(result)
    }

    fn note_refusal(&mut self, reply: &Value) {
        if let Value::ServerError(error) = reply {
            let text = format!("{} {}", error.code(), error.details().unwrap_or_default());
            let shown: String = text.trim_end().chars().take(SHOWN).collect();
            self.said = Some(shown.escape_debug().to_string());
        } else if self.said.is_some() {
            self.said = None;
        }
    }

    fn note<T>(&mut self, result: RedisResult<T>) -> RedisResult<T> {
        if let Err(error) = &result {
            // A refusal is a reply. After any other error replies no longer match commands.
            self.broken |= !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
        }
        result.map_err(|error| self.lost(error))
    }

    /// Sets whether `ASKING` precedes each command, because the slot of its key is moving to this node.
    pub fn ask_first(&mut self, asks: bool) {
        self.asks = asks;
    }

    /// Encodes a command. [`Connection::receive_own`] reads its reply.
    fn pack(&self, command: &Cmd, packed: &mut Vec<u8>) {
        if self.asks {
            redis::cmd("ASKING").write_packed_command(packed);
        }
        command.write_packed_command(packed);
    }

    /// Reads the reply to a command that [`Connection::write_all`] wrote. `wait` is as in
    /// [`Connection::receive_entries`].
    pub fn receive_own(&mut self, wait: Option<Wait<'_>>) -> RedisResult<Value> {
        if self.asks {
            self.receive_by(wait)?;
        }
        self.receive_by(wait)
    }

    /// Runs one command.
    pub fn run(&mut self, command: &Cmd) -> RedisResult<Value> {
        self.write_all(std::slice::from_ref(command))?;
        self.receive_reply(command)
    }

    /// Whether the server answers a small command promptly: within half of the time that a reply may take.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::run`].
    pub fn serves_promptly(&mut self) -> RedisResult<bool> {
        let started = Instant::now();
        self.run(&redis::cmd("PING"))?;
        Ok(started.elapsed() <= self.limits.read / 2)
    }

    /// Runs one command (XRANGE, XCLAIM) that replies with a list of entries, and keeps as much of each as there is
    /// `room` for.
    pub fn run_for_entries(&mut self, command: &Cmd, room: Room) -> RedisResult<Vec<RawEntry>> {
        self.write_all(std::slice::from_ref(command))?;
        self.receive_list(command, room)
    }

    /// Reads the reply to such a command, which [`Connection::write_all`] wrote.
    pub fn receive_list(&mut self, command: &Cmd, room: Room) -> RedisResult<Vec<RawEntry>> {
        if self.asks {
            self.receive()?;
        }
        let (replies, mut incoming) = self.incoming(None);
        let result = replies.next_list(&mut incoming, room);
        self.note(result).map_err(|error| rights::of_command(error, command))
    }

    /// Reads the reply to `command`, which [`Connection::write_all`] wrote. A refusal is an error that says which right is
    /// missing.
    pub fn receive_reply(&mut self, command: &Cmd) -> RedisResult<Value> {
        match rights::explained(self.receive_own(None)?, command) {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }

    /// Runs one command and converts its reply to a `T`.
    pub fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        Ok(T::from_redis_value(self.run(command)?)?)
    }

    /// Runs several commands in one round trip. A refusal is a `Value::ServerError` among the replies.
    pub fn run_all(&mut self, commands: &[Cmd]) -> RedisResult<Vec<Value>> {
        self.write_all(commands)?;
        commands.iter().map(|command| Ok(rights::explained(self.receive_own(None)?, command))).collect()
    }

    /// Runs several commands as [`Connection::run_all`] does, and keeps at most `room` bytes of each string in the
    /// replies.
    pub fn run_all_within(&mut self, commands: &[Cmd], room: usize) -> RedisResult<Vec<Value>> {
        self.write_all(commands)?;
        let receive = |command: &Cmd| -> RedisResult<Value> {
            if self.asks {
                self.receive()?;
            }
            let (replies, mut incoming) = self.incoming(None);
            let reply = replies.next_within(&mut incoming, room);
            Ok(rights::explained(self.note_reply(reply)?, command))
        };
        commands.iter().map(receive).collect()
    }

    /// Writes commands whose replies are received one by one.
    pub fn write_all(&mut self, commands: &[Cmd]) -> RedisResult<()> {
        let mut packed = Vec::new();
        commands.iter().for_each(|command| self.pack(command, &mut packed));
        self.send(&packed)
    }

    /// Returns the descriptor for a thread that must not block in a read. There is none with TLS, because readable
    /// data may have left the socket already, and none where a reply to `ASKING` comes first.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        if self.asks { None } else { self.socket.awaited() }
    }

    /// Whether bytes have been received that were not read yet.
    pub fn has_unread(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Whether an error has made the connection unusable.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

/// Whether the operating system says that the peer has ended a connection.
fn is_reset(error: &RedisError) -> bool {
    io_error_behind(error).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    })
}

/// Whether an error says that the server closed the connection. Then a written command may be the cause. A server
/// that hangs closes nothing.
pub fn is_close(error: &RedisError) -> bool {
    error.is_io_error() && !error.is_timeout()
}

/// Whether an error may be due to what was read: the server closed the connection, took too long to write the reply,
/// or the reply exceeds a limit of our own. [`crate::foundation::redis::read_size`] decides whether it is.
pub fn is_unreadable(error: &RedisError) -> bool {
    error.is_io_error() || error.kind() == ErrorKind::Parse
}

/// Waits for a socket. It fails if the wait is no longer wanted.
pub type Wait<'a> = &'a dyn Fn(BorrowedFd<'_>) -> io::Result<()>;

/// Tends a connection that only listens.
pub trait Tend {
    /// Called before each wait for the socket. It writes what is due.
    ///
    /// # Errors
    ///
    /// Nothing is to be waited for any more.
    fn wait(&mut self, socket: &mut Socket) -> io::Result<()>;

    /// Called when bytes have arrived.
    fn arrived(&mut self);
}

/// A socket that is tended before each read.
struct Tended<'a> {
    socket: &'a mut Socket,
    tend: &'a mut dyn Tend,
}

impl Read for Tended<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.tend.wait(self.socket)?;
            match self.socket.read(buffer) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Ok(count) => {
                    self.tend.arrived();
                    return Ok(count);
                }
                other => return other,
            }
        }
    }
}

/// The bytes of one reply, which must keep its [`Pace`]. Where a read must not block, it waits for the socket first.
struct Incoming<'a> {
    socket: &'a mut Socket,
    wait: Option<Wait<'a>>,
    pace: Pace,
}

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.wait();
        if let Some(wait) = self.wait
            && let Some(socket) = self.socket.awaited()
        {
            wait(socket)?;
        }
        let count = self.socket.read(buffer)?;
        self.pace.moved(count)?;
        Ok(count)
    }
}

/// A socket that is read without waiting, for what has arrived.
struct AtHand<'a>(&'a mut Socket);

impl Read for AtHand<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::net::attempt::Closing;
    use crate::foundation::runtime::open_sockets::OpenSockets;
    use std::net::Shutdown;
    use std::sync::mpsc::channel;

    const TIME: Duration = Duration::from_secs(10);

    fn connection(socket: socket2::Socket) -> Connection {
        let attempt = Attempt::new(TIME, &Closing::default());
        let mut socket = Socket::new(socket, attempt, &OpenSockets::default());
        socket.is_ready().unwrap();
        Connection::new(Address::Unix("".into()), socket)
    }

    #[test]
    fn a_reset_and_the_end_of_the_stream_are_the_same_to_users() {
        for (linger, words) in
            [(Some(Duration::ZERO), "Redis closed the connection (Conn"), (None, "Redis closed")]
        {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let own = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = socket2::Socket::from(listener.accept().unwrap().0);
            server.set_linger(linger).unwrap();
            drop(server);
            let error = connection(own.into()).receive().unwrap_err();
            assert!(error.to_string().starts_with(words), "{error}");
        }
    }

    #[test]
    fn a_server_that_goes_on_talking_does_not_keep_a_write_from_failing() {
        let (own, server) =
            socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        server.shutdown(Shutdown::Read).unwrap();
        std::thread::spawn(move || {
            let much = b"-ERR enough\r\n".repeat(1_000);
            while (&server).write_all(&much).is_ok() {}
        });
        let mut connection = connection(own);
        assert!(connection.receive().is_ok());
        let (sender, ended) = channel();
        std::thread::spawn(move || sender.send(connection.run(&redis::cmd("PING"))));
        let error = ended.recv_timeout(TIME).unwrap().unwrap_err();
        assert!(error.to_string().contains("enough"), "{error}");
    }
}
