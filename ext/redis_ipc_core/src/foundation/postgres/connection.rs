//! A replication connection: it answers queries, and then streams what is in the log.

use crate::foundation::net::address::Address;
use crate::foundation::net::attempt::Attempt;
use crate::foundation::net::dialer::Dialer;
use crate::foundation::net::socket::Socket;
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::frames::{Frames, message, server_error};
use crate::foundation::postgres::login::{self, Login};
use crate::foundation::postgres::pgoutput::lsn::Lsn;
use crate::foundation::postgres::settings::Settings;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::time::{Duration, SystemTime};

/// What a message may have beside a row.
const SLACK: usize = 64 << 10;
/// From 1970 to 2000, from where PostgreSQL counts, in microseconds.
pub const EPOCH_US: i64 = 946_684_800_000_000;
/// How long the server may take to read or to write.
const PATIENCE: Duration = Duration::from_secs(30);

/// A row of an answer.
pub type Row = Vec<Option<String>>;

/// Returns a cell of the first row of an answer. `None` if it is NULL, or is not there.
pub fn cell(rows: &[Row], column: usize) -> Option<&str> {
    rows.first()?.get(column)?.as_deref()
}

/// A connection.
pub struct Connection {
    socket: Socket,
    frames: Frames,
    /// Its major version.
    pub version: u32,
}

/// What came while it streams.
#[derive(Debug, PartialEq, Eq)]
pub enum Streamed<'a> {
    /// A message of pgoutput, and where in the log it is.
    Change(Lsn, &'a [u8]),
    /// How far the server has read the log. It may ask for an answer.
    Alive(Lsn, bool),
    /// Something that does not matter here.
    Other,
    /// Nothing more has arrived.
    Nothing,
    /// The server ends the stream.
    End,
}

/// What came of the answer to a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered<'a> {
    /// A row, as the protocol writes it.
    Row(&'a [u8]),
    /// Something that does not matter here.
    Other,
    /// Nothing more has arrived.
    Nothing,
    /// The end.
    End,
}

impl Connection {
    /// Connects to the first of the servers that lets it in, and that can be written to where there are several. Messages
    /// larger than `limit` are refused.
    ///
    /// # Errors
    ///
    /// None of them does, within `attempt`.
    pub fn open(
        settings: &Settings,
        dialer: &Dialer,
        limit: usize,
        attempt: &Attempt,
    ) -> Result<Self, Failure> {
        let mut last = Failure::Io(io::Error::new(io::ErrorKind::NotFound, "no host is given"));
        for address in &settings.addresses {
            match Self::open_at(address, settings, dialer, limit, attempt) {
                Ok(mut connection) => {
                    if settings.addresses.len() == 1 || !connection.is_standby()? {
                        return Ok(connection);
                    }
                    let standby = "every server that answers is a standby (pg_is_in_recovery)";
                    last = Failure::Io(io::Error::other(standby));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn open_at(
        address: &Address,
        settings: &Settings,
        dialer: &Dialer,
        limit: usize,
        attempt: &Attempt,
    ) -> Result<Self, Failure> {
        let mut socket = dialer.dial(address, attempt)?;
        if let Address::Tcp(host, _) = address {
            login::secure(&mut socket, settings, host)?;
        }
        socket.write_all(&login::startup(settings))?;
        let frames = Frames::new(limit.saturating_add(SLACK));
        let mut connection = Self { socket, frames, version: 0 };
        connection.log_in(settings, address)?;
        Ok(connection)
    }

    fn log_in(&mut self, settings: &Settings, address: &Address) -> Result<(), Failure> {
        let mut login = Login::new(settings, address, &self.socket);
        loop {
            let Some(frame) = self.frames.next()? else {
                self.fill()?;
                continue;
            };
            match frame.tag {
                b'R' => {
                    if let Some(answer) = login.answer(frame.body)? {
                        self.socket.write_all(&answer)?;
                    }
                }
                b'E' => return Err(server_error(frame.body).into()),
                b'S' => {
                    let mut parts = frame.body.split(|byte| *byte == 0);
                    if parts.next() == Some(b"server_version") {
                        self.version = major(parts.next().unwrap_or_default());
                    }
                }
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    fn is_standby(&mut self) -> Result<bool, Failure> {
        let rows = self.query("SELECT pg_is_in_recovery()")?;
        Ok(cell(&rows, 0) == Some("t"))
    }

    /// Ends the attempt to connect.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn is_ready(&mut self) -> io::Result<()> {
        self.socket.is_ready()?;
        self.socket.set_timeouts(PATIENCE, PATIENCE)
    }

    /// Returns the socket, to be waited for. What [`Connection::next`] has not returned yet has left it already.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.descriptor()
    }

    fn fill(&mut self) -> Result<(), Failure> {
        let socket = &mut self.socket;
        match self.frames.fill(&mut |buffer| socket.read(buffer))? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    /// Runs a query, and returns its rows.
    ///
    /// # Errors
    ///
    /// The server refuses, or the connection breaks.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        self.send_query(sql)?;
        let (mut rows, mut refusal) = (Vec::new(), None);
        loop {
            let Some(frame) = self.frames.next()? else {
                self.fill()?;
                continue;
            };
            match frame.tag {
                b'D' => rows.push(row(frame.body)?),
                b'E' => refusal = Some(server_error(frame.body)),
                b'Z' => return refusal.map_or(Ok(rows), |error| Err(error.into())),
                _ => {}
            }
        }
    }

    /// Sends a query whose rows [`Connection::next_row`] returns. The server waits while they are not read.
    ///
    /// # Errors
    ///
    /// The connection breaks.
    pub fn send_query(&mut self, sql: &str) -> Result<(), Failure> {
        Ok(self.socket.write_all(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()))?)
    }

    /// Returns what came of the answer to a query, of what was read.
    ///
    /// # Errors
    ///
    /// The server refuses, or breaks the protocol.
    pub fn next_row(&mut self) -> Result<Answered<'_>, Failure> {
        let Some(frame) = self.frames.next()? else { return Ok(Answered::Nothing) };
        match frame.tag {
            b'D' => Ok(Answered::Row(frame.body)),
            b'E' => Err(server_error(frame.body).into()),
            b'Z' => Ok(Answered::End),
            _ => Ok(Answered::Other),
        }
    }

    /// Begins to stream.
    ///
    /// # Errors
    ///
    /// The server refuses, such as for a slot that is in use (SQLSTATE 55006). The connection can be used on.
    pub fn stream(&mut self, command: &str) -> Result<(), Failure> {
        self.send_query(command)?;
        let mut refusal = None;
        loop {
            let Some(frame) = self.frames.next()? else {
                self.fill()?;
                continue;
            };
            match frame.tag {
                b'W' => return Ok(()),
                b'E' => refusal = Some(server_error(frame.body)),
                b'Z' => {
                    return Err(refusal.map_or(Failure::Protocol("no stream begins"), Failure::Server));
                }
                _ => {}
            }
        }
    }

    /// Whether the next message has arrived already.
    pub fn has_next(&self) -> bool {
        self.frames.has_next()
    }

    /// Reads what has arrived, without waiting. Returns false if nothing has.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub fn read_arrived(&mut self) -> Result<bool, Failure> {
        let socket = &mut self.socket;
        match self.frames.fill(&mut |buffer| socket.read_now(buffer)) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what the stream brings next, of what was read.
    ///
    /// # Errors
    ///
    /// The server ends the stream with an error, or breaks the protocol.
    pub fn next(&mut self) -> Result<Streamed<'_>, Failure> {
        let Some(frame) = self.frames.next()? else { return Ok(Streamed::Nothing) };
        match frame.tag {
            b'd' => copied(frame.body),
            b'c' => Ok(Streamed::End),
            b'E' => Err(server_error(frame.body).into()),
            _ => Ok(Streamed::Other),
        }
    }

    /// Tells the server how far the log has been read, and how far everything is done.
    ///
    /// # Errors
    ///
    /// The connection breaks.
    pub fn confirm(&mut self, read: Lsn, done: Lsn) -> Result<(), Failure> {
        let mut status = vec![b'r'];
        for lsn in [read, done, done] {
            status.extend_from_slice(&lsn.0.to_be_bytes());
        }
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX).saturating_sub(EPOCH_US);
        status.extend_from_slice(&now.to_be_bytes());
        status.push(0);
        Ok(self.socket.write_all(&message(b'd', &status))?)
    }

    /// Ends the stream and the connection. What the server still sends is read for a while: it reads what it was told
    /// before only if the connection is not reset.
    pub fn finish(mut self) {
        let ends = [message(b'c', b""), message(b'X', b"")].concat();
        if self.socket.write_all(&ends).is_err() {
            return;
        }
        let until = std::time::Instant::now() + Duration::from_secs(1);
        // An error means that it has ended.
        while let Ok(has_read) = self.read_arrived() {
            while matches!(self.frames.next(), Ok(Some(_))) {}
            if !has_read {
                let wait = crate::foundation::runtime::waker::is_readable(self.descriptor(), until);
                if !matches!(wait, Ok(true)) {
                    return;
                }
            }
        }
    }
}

fn copied(body: &[u8]) -> Result<Streamed<'_>, Failure> {
    const SHORT: Failure = Failure::Protocol("a short message of the stream");
    let (kind, rest) = body.split_first().ok_or(SHORT)?;
    let number =
        |at: usize| rest.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    match kind {
        b'w' => Ok(Streamed::Change(Lsn(number(0).ok_or(SHORT)?), rest.get(24..).ok_or(SHORT)?)),
        b'k' => {
            let asks = rest.get(16).ok_or(SHORT)?;
            Ok(Streamed::Alive(Lsn(number(0).ok_or(SHORT)?), *asks != 0))
        }
        _ => Ok(Streamed::Other),
    }
}

fn row(body: &[u8]) -> Result<Row, Failure> {
    const BROKEN: Failure = Failure::Protocol("a broken row");
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(BROKEN)?;
    let mut row = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(BROKEN)?;
        let length = i32::from_be_bytes(*length);
        rest = after;
        let Ok(length) = usize::try_from(length) else {
            row.push(None);
            continue;
        };
        let (value, after) = rest.split_at_checked(length).ok_or(BROKEN)?;
        row.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Ok(row)
}

fn major(version: &[u8]) -> u32 {
    let digits: String =
        version.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| *byte as char).collect();
    digits.parse().unwrap_or(0)
}

/// Writes a name as SQL has it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a text as SQL has it.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_stream_are_told_apart() {
        let change = [&b"w"[..], &7u64.to_be_bytes(), &9u64.to_be_bytes(), &[0; 8], b"B..."].concat();
        assert_eq!(copied(&change).unwrap(), Streamed::Change(Lsn(7), b"B..."));
        let alive = [&b"k"[..], &7u64.to_be_bytes(), &[0; 8], &[1]].concat();
        assert_eq!(copied(&alive).unwrap(), Streamed::Alive(Lsn(7), true));
        assert_eq!(copied(b"x").unwrap(), Streamed::Other);
        for short in [&b""[..], b"w", &change[..24], &alive[..17]] {
            assert!(copied(short).is_err());
        }
    }

    #[test]
    fn a_row_is_read_or_refused() {
        assert_eq!(row(b"\0\x02\0\0\0\x01x\xff\xff\xff\xff").unwrap(), [Some("x".to_owned()), None]);
        for broken in [&b""[..], b"\0\x01", b"\0\x01\0\0\0\x02x"] {
            assert!(row(broken).is_err());
        }
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!((quoted("a\"b"), literal("it's")), ("\"a\"\"b\"".to_owned(), "'it''s'".to_owned()));
        assert_eq!((major(b"15.18 (Debian)"), major(b"17beta1"), major(b"")), (15, 17, 0));
    }
}
