//! Reads replies of Redis in RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), the version
//! that a server uses unless it is asked for another.
//!
//! redis-rs's own parser took a sixth of the processor time of a call, most of it for boxes of states that it never
//! returned to. This one never allocates because of an announced length, only for bytes that have arrived.

use crate::foundation::payload::fields::{Extent, FieldsBuilder, Room};
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::resp::push::{INVALIDATIONS, Push, PushKind};
use crate::foundation::redis::resp::replies::unexpected;
use redis::{ErrorKind, RedisError, RedisResult, Value};
use std::io::{self, Read};

/// The size of the buffer, and the longest line.
const BUFFER: usize = 64 << 10;
/// The most bytes that are reserved ahead for one string.
const RESERVED: usize = 64 << 10;
/// The most items that are reserved ahead for one list.
const RESERVED_ITEMS: usize = 256;
/// The deepest nesting of lists. The replies to this library's commands have four levels.
const MAX_NESTING: usize = 16;
/// The most bytes in one string: Redis's own limit (proto-max-bulk-len).
const MAX_STRING: usize = 512 << 20;
/// The most values in one reply, including those in lists, without those of skipped parts of entries.
const MAX_VALUES: usize = 1 << 22;
/// The most names and values of an entry: as many as Redis accepts in one command.
const MAX_PARTS: usize = i32::MAX as usize;
/// The most bytes in one reply, including skipped ones: 512 answers of 16 MiB, more than is ever requested at once.
const MAX_BYTES: u64 = 8 << 30;

/// Splits the bytes of a socket into replies.
pub struct Replies {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    left: Budget,
    /// The most bytes of a string of a value that are kept.
    room: usize,
    /// The keys of an invalidation that are not read yet.
    keys: usize,
}

/// The remaining limits of the reply that is being read.
struct Budget {
    values: usize,
    bytes: u64,
}

/// The start of a reply: a list or a string of this length, or a whole value.
enum Head {
    Nil,
    Bulk(usize),
    List(usize),
    Value(Value),
}

impl Budget {
    const WHOLE: Self = Self { values: MAX_VALUES, bytes: MAX_BYTES };

    fn spend(&mut self, bytes: usize) -> RedisResult<()> {
        self.bytes = self.bytes.checked_sub(bytes as u64).ok_or_else(too_large)?;
        Ok(())
    }
}

/// Whether a message came to the channel of invalidations. Nobody but Redis can send a list of keys there.
fn is_of_invalidations(has_pattern: bool, push: &Push) -> bool {
    !has_pattern && push.channel() == INVALIDATIONS
}

impl Default for Replies {
    /// Creates an empty buffer.
    fn default() -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            left: Budget::WHOLE,
            room: usize::MAX,
            keys: 0,
        }
    }
}

impl Replies {
    /// Reads the next reply. An error reply is a [`Value::ServerError`]. After an `Err` replies no longer match
    /// commands.
    ///
    /// # Errors
    ///
    /// The socket fails, or its bytes are not RESP2 or exceed a limit.
    pub fn next(&mut self, socket: &mut impl Read) -> RedisResult<Value> {
        self.left = Budget::WHOLE;
        self.value(socket, 0)
    }

    /// Reads the next reply as [`Replies::next`] does, and keeps at most `room` bytes of each string in it.
    ///
    /// # Errors
    ///
    /// Those of [`Replies::next`].
    pub fn next_within(&mut self, socket: &mut impl Read, room: usize) -> RedisResult<Value> {
        self.room = room;
        let reply = self.next(socket);
        self.room = usize::MAX;
        reply
    }

    /// Whether every byte read from the socket has been used.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether the next `count` replies have arrived completely. It reads what `socket`, which must not block, has to
    /// give.
    ///
    /// # Errors
    ///
    /// The socket fails for another reason than that it would block.
    pub fn have_arrived(&mut self, count: usize, socket: &mut impl Read) -> RedisResult<bool> {
        while !is_whole(&self.buffer[self.start..self.end], count) {
            match self.fill(socket) {
                Err(error) if error.is_timeout() => return Ok(false),
                Err(error) => return Err(error),
                // Replies that exceed the buffer are not examined as a whole.
                Ok(()) if self.end - self.start == BUFFER => return Ok(false),
                Ok(()) => {}
            }
        }
        Ok(true)
    }

    /// Reads the next reply as one to XREAD or XREADGROUP: the entries of all its streams, each as far as there is
    /// `room`. An error reply is an `Err` of its kind. After any other `Err` replies no longer match commands.
    ///
    /// # Errors
    ///
    /// The reply is an error or not one to XREAD or XREADGROUP, or see [`Replies::next`].
    pub fn next_entries(&mut self, socket: &mut impl Read, room: Room) -> RedisResult<Vec<RawEntry>> {
        self.left = Budget::WHOLE;
        let streams = match self.head(socket)? {
            Head::Nil => 0,
            Head::List(streams) => streams,
            Head::Value(Value::ServerError(error)) => return Err(error.into()),
            _ => return Err(unexpected()),
        };
        let mut entries = Vec::new();
        for _ in 0..streams {
            self.expect_list(socket, 2)?;
            self.string(socket)?;
            let Head::List(count) = self.head(socket)? else { return Err(unexpected()) };
            self.list(socket, count, room, &mut entries)?;
        }
        Ok(entries)
    }

    /// Reads the next reply as one to XRANGE or XCLAIM, a list of entries.
    ///
    /// # Errors
    ///
    /// The reply is an error or not a list of entries, or see [`Replies::next`].
    pub fn next_list(&mut self, socket: &mut impl Read, room: Room) -> RedisResult<Vec<RawEntry>> {
        self.left = Budget::WHOLE;
        let count = match self.head(socket)? {
            Head::List(count) => count,
            Head::Value(Value::ServerError(error)) => return Err(error.into()),
            _ => return Err(unexpected()),
        };
        let mut entries = Vec::new();
        self.list(socket, count, room, &mut entries)?;
        Ok(entries)
    }

    /// Reads the next thing that Redis sends on a connection that subscribes, and keeps at most `room` bytes of a
    /// payload. One invalidation can name many keys; each of them is read as a thing of its own.
    ///
    /// # Errors
    ///
    /// It is none of these, or see [`Replies::next`].
    pub fn next_push(&mut self, socket: &mut impl Read, room: usize, push: &mut Push) -> RedisResult<()> {
        self.left = Budget::WHOLE;
        push.reset();
        if self.keys > 0 {
            self.keys -= 1;
            return self.invalidated(socket, room, push);
        }
        let parts = match self.head(socket)? {
            Head::List(parts) => parts,
            // An answer to PING where nothing is subscribed.
            Head::Value(Value::SimpleString(text)) => {
                push.bytes.extend_from_slice(text.as_bytes());
                push.kind = PushKind::Pong;
                return Ok(());
            }
            Head::Value(Value::ServerError(error)) => {
                push.kind = PushKind::Refused(error.into());
                return Ok(());
            }
            _ => return Err(unexpected()),
        };
        self.push_part(socket, usize::MAX, push)?;
        match (push.bytes.as_slice(), parts) {
            (b"message" | b"smessage", 3) => self.message(socket, false, room, push),
            (b"pmessage", 4) => self.message(socket, true, room, push),
            (b"subscribe" | b"psubscribe" | b"ssubscribe", 3) => {
                self.confirmation(socket, PushKind::Subscribed, push)
            }
            (b"unsubscribe" | b"punsubscribe" | b"sunsubscribe", 3) => {
                self.confirmation(socket, PushKind::Unsubscribed, push)
            }
            (b"pong", 2) => {
                push.bytes.clear();
                push.kind = PushKind::Pong;
                self.push_part(socket, usize::MAX, push).map(|whole| push.whole = whole)
            }
            _ => Err(unexpected()),
        }
    }

    fn message(
        &mut self,
        socket: &mut impl Read,
        has_pattern: bool,
        room: usize,
        push: &mut Push,
    ) -> RedisResult<()> {
        push.kind = PushKind::Message;
        push.bytes.clear();
        if has_pattern {
            self.push_part(socket, usize::MAX, push)?;
        }
        push.ends[0] = push.bytes.len();
        self.push_part(socket, usize::MAX, push)?;
        push.ends[1] = push.bytes.len();
        match self.head(socket)? {
            Head::Bulk(length) => {
                push.whole = length;
                self.bulk_part(socket, length, length.min(room), &mut push.bytes)
            }
            Head::List(keys) if is_of_invalidations(has_pattern, push) && keys > 0 => {
                self.keys = keys - 1;
                self.invalidated(socket, room, push)
            }
            Head::Nil if is_of_invalidations(has_pattern, push) => {
                push.reset();
                push.kind = PushKind::Flushed;
                Ok(())
            }
            _ => Err(unexpected()),
        }
    }

    /// Reads the next key of an invalidation.
    fn invalidated(&mut self, socket: &mut impl Read, room: usize, push: &mut Push) -> RedisResult<()> {
        push.reset();
        push.kind = PushKind::Invalidated;
        push.whole = self.push_part(socket, room, push)?;
        Ok(())
    }

    fn confirmation(&mut self, socket: &mut impl Read, kind: PushKind, push: &mut Push) -> RedisResult<()> {
        push.kind = kind;
        push.bytes.clear();
        // A client that unsubscribes from all and has no subscription is told no channel.
        match self.head(socket)? {
            Head::Bulk(length) => self.bulk(socket, length, &mut push.bytes)?,
            Head::Nil => {}
            _ => return Err(unexpected()),
        }
        (push.ends[1], push.whole) = (push.bytes.len(), 0);
        match self.head(socket)? {
            Head::Value(Value::Int(_)) => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Reads a string, and keeps at most `room` bytes of it. Returns its length.
    fn push_part(&mut self, socket: &mut impl Read, room: usize, push: &mut Push) -> RedisResult<usize> {
        let Head::Bulk(length) = self.head(socket)? else { return Err(unexpected()) };
        self.bulk_part(socket, length, length.min(room), &mut push.bytes)?;
        Ok(length)
    }

    fn list(
        &mut self,
        socket: &mut impl Read,
        count: usize,
        room: Room,
        entries: &mut Vec<RawEntry>,
    ) -> RedisResult<()> {
        entries.reserve(count.min(RESERVED_ITEMS));
        for _ in 0..count {
            entries.push(self.entry(socket, room)?);
        }
        Ok(())
    }

    fn entry(&mut self, socket: &mut impl Read, room: Room) -> RedisResult<RawEntry> {
        self.expect_list(socket, 2)?;
        let id = StreamId::parse(&self.string(socket)?).ok_or_else(unexpected)?;
        let line = self.line(socket)?;
        let parts = match line.split_first() {
            Some((b'*', rest)) => length(rest, MAX_PARTS)?,
            _ => return Err(unexpected()),
        };
        let Some(parts) = parts else { return Ok(RawEntry { id, fields: None }) };
        if parts % 2 != 0 {
            return Err(unexpected());
        }
        let kept = (parts / 2).min(room.fields);
        let mut fields = FieldsBuilder::with_capacity(kept);
        let mut whole = Extent { fields: parts / 2, bytes: 0 };
        for _ in 0..2 * kept {
            let Head::Bulk(length) = self.head(socket)? else { return Err(unexpected()) };
            whole.bytes += length as u64;
            let left = room.bytes.saturating_sub(fields.bytes.len());
            let taken = length.min(room.value).min(left);
            self.bulk_part(socket, length, taken, &mut fields.bytes)?;
            fields.end();
        }
        for _ in 2 * kept..parts {
            whole.bytes += self.skip_string(socket)? as u64;
        }
        if kept < whole.fields || (fields.bytes.len() as u64) < whole.bytes {
            fields.cut(whole);
        }
        Ok(RawEntry { id, fields: Some(fields.finish()) })
    }

    /// Skips a string and returns its length. It uses up only the byte limit of a reply.
    fn skip_string(&mut self, socket: &mut impl Read) -> RedisResult<usize> {
        let line = self.line(socket)?;
        let (size, length) = match line.split_first() {
            Some((b'$', rest)) => (line.len(), length(rest, MAX_STRING)?.ok_or_else(unexpected)?),
            _ => return Err(unexpected()),
        };
        self.left.spend(size)?;
        self.left.spend(length)?;
        self.skip(socket, length)?;
        self.end_of_string(socket)?;
        Ok(length)
    }

    fn skip(&mut self, socket: &mut impl Read, mut count: usize) -> RedisResult<()> {
        loop {
            let ready = count.min(self.end - self.start);
            self.start += ready;
            count -= ready;
            if count == 0 {
                return Ok(());
            }
            self.fill(socket)?;
        }
    }

    fn expect_list(&mut self, socket: &mut impl Read, items: usize) -> RedisResult<()> {
        match self.head(socket)? {
            Head::List(found) if found == items => Ok(()),
            _ => Err(unexpected()),
        }
    }

    fn string(&mut self, socket: &mut impl Read) -> RedisResult<Vec<u8>> {
        let Head::Bulk(length) = self.head(socket)? else { return Err(unexpected()) };
        let mut bytes = Vec::new();
        self.bulk(socket, length, &mut bytes)?;
        Ok(bytes)
    }

    fn value(&mut self, socket: &mut impl Read, depth: usize) -> RedisResult<Value> {
        match self.head(socket)? {
            Head::Nil => Ok(Value::Nil),
            Head::Value(value) => Ok(value),
            Head::Bulk(length) => {
                let mut bytes = Vec::new();
                self.bulk_part(socket, length, length.min(self.room), &mut bytes)?;
                Ok(Value::BulkString(bytes))
            }
            Head::List(_) if depth == MAX_NESTING => Err(garbage("lists in lists in lists")),
            Head::List(length) => {
                let mut items = Vec::with_capacity(length.min(RESERVED_ITEMS));
                for _ in 0..length {
                    items.push(self.value(socket, depth + 1)?);
                }
                Ok(Value::Array(items))
            }
        }
    }

    /// Reads the line that begins a value.
    fn head(&mut self, socket: &mut impl Read) -> RedisResult<Head> {
        self.left.values = self.left.values.checked_sub(1).ok_or_else(too_large)?;
        let line = self.line(socket)?;
        let Some((kind, rest)) = line.split_first() else { return Err(garbage("an empty line")) };
        match kind {
            b'$' => Ok(length(rest, MAX_STRING)?.map_or(Head::Nil, Head::Bulk)),
            b'*' => Ok(length(rest, MAX_VALUES)?.map_or(Head::Nil, Head::List)),
            b':' => number(rest).map(|number| Head::Value(Value::Int(number))),
            b'+' if rest == b"OK" => Ok(Head::Value(Value::Okay)),
            b'+' => {
                let text = String::from_utf8_lossy(rest).into_owned();
                self.left.spend(text.len())?;
                Ok(Head::Value(Value::SimpleString(text)))
            }
            b'-' => {
                let (size, refusal) = (rest.len(), refusal(rest)?);
                self.left.spend(size)?;
                Ok(Head::Value(refusal))
            }
            other => Err(garbage(&format!("a reply that begins with {:?}", char::from(*other)))),
        }
    }

    /// Reads a string and appends it to `bytes`.
    fn bulk(&mut self, socket: &mut impl Read, length: usize, bytes: &mut Vec<u8>) -> RedisResult<()> {
        self.bulk_part(socket, length, length, bytes)
    }

    /// Reads a string and appends its first `taken` bytes to `bytes`.
    fn bulk_part(
        &mut self,
        socket: &mut impl Read,
        length: usize,
        taken: usize,
        bytes: &mut Vec<u8>,
    ) -> RedisResult<()> {
        self.left.spend(length)?;
        bytes.reserve(taken.min(RESERVED));
        let ready = taken.min(self.end - self.start);
        bytes.extend_from_slice(&self.buffer[self.start..self.start + ready]);
        self.start += ready;
        let missing = taken - ready;
        if missing > 0 && socket.take(missing as u64).read_to_end(bytes)? < missing {
            return Err(closed());
        }
        self.skip(socket, length - taken)?;
        self.end_of_string(socket)
    }

    fn end_of_string(&mut self, socket: &mut impl Read) -> RedisResult<()> {
        while self.end - self.start < 2 {
            self.fill(socket)?;
        }
        self.start += 2;
        if &self.buffer[self.start - 2..self.start] != b"\r\n" {
            return Err(garbage("a string longer than its announced length"));
        }
        Ok(())
    }

    /// Returns the next line, without its end.
    fn line(&mut self, socket: &mut impl Read) -> RedisResult<&[u8]> {
        let mut searched = 0;
        loop {
            let ready = &self.buffer[self.start..self.end];
            if let Some(at) = ready[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.start..self.start + searched + at;
                self.start = line.end + 1;
                return self.buffer[line]
                    .strip_suffix(b"\r")
                    .ok_or_else(|| garbage("a line feed without a carriage return"));
            }
            searched = ready.len();
            self.fill(socket)?;
        }
    }

    /// Reads at least one more byte.
    fn fill(&mut self, socket: &mut impl Read) -> RedisResult<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == BUFFER {
            if self.start == 0 {
                return Err(garbage("a line without an end"));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        loop {
            match socket.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(closed()),
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether the first `replies` replies in `bytes` are complete. Invalid bytes count as complete: reading them returns
/// the error.
fn is_whole(mut bytes: &[u8], mut replies: usize) -> bool {
    while replies > 0 {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return false };
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        let number =
            line.get(1..).and_then(|text| std::str::from_utf8(text).ok()?.trim_end().parse::<usize>().ok());
        let skipped = match (line.first(), number) {
            (Some(b'$'), Some(length)) => length.saturating_add(2),
            (Some(b'*'), Some(items)) => {
                replies = replies.saturating_add(items);
                0
            }
            _ => 0,
        };
        if rest.len() < skipped {
            return false;
        }
        bytes = &rest[skipped..];
        replies -= 1;
    }
    true
}

/// Reads a length. -1 stands for a null.
fn length(text: &[u8], most: usize) -> RedisResult<Option<usize>> {
    match number(text)? {
        -1 => Ok(None),
        length => match usize::try_from(length) {
            Ok(length) if length <= most => Ok(Some(length)),
            _ => Err(garbage(&format!("a length of {length}, the limit is {most}"))),
        },
    }
}

fn too_large() -> RedisError {
    garbage("a reply larger than anything requested")
}

fn number(text: &[u8]) -> RedisResult<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| garbage("no number where one is required"))
}

/// Converts an error reply. redis-rs knows the kinds.
fn refusal(text: &[u8]) -> RedisResult<Value> {
    let mut line = Vec::with_capacity(text.len() + 3);
    line.push(b'-');
    // redis-rs would not read bytes that are not UTF-8.
    line.extend_from_slice(String::from_utf8_lossy(text).as_bytes());
    line.extend_from_slice(b"\r\n");
    redis::parse_redis_value(&line)
}

fn garbage(what: &str) -> RedisError {
    RedisError::from((ErrorKind::Parse, "this is not a reply of Redis", what.to_owned()))
}

fn closed() -> RedisError {
    io::Error::new(io::ErrorKind::UnexpectedEof, "Redis closed the connection").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Yields a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    fn read(bytes: &[u8], at_once: usize) -> RedisResult<Value> {
        Replies::default().next(&mut Dribble(bytes, at_once))
    }

    fn written(value: &Value) -> Vec<u8> {
        match value {
            Value::Nil => b"$-1\r\n".to_vec(),
            Value::Okay => b"+OK\r\n".to_vec(),
            Value::Int(number) => format!(":{number}\r\n").into_bytes(),
            Value::SimpleString(text) => format!("+{text}\r\n").into_bytes(),
            Value::BulkString(bytes) => [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
            Value::Array(items) => {
                items.iter().fold(format!("*{}\r\n", items.len()).into_bytes(), |text, item| {
                    [text, written(item)].concat()
                })
            }
            other => panic!("not written here: {other:?}"),
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            Just(Value::Okay),
            any::<i64>().prop_map(Value::Int),
            "[a-zA-Z ]{0,20}".prop_filter("OK is Okay", |text| text != "OK").prop_map(Value::SimpleString),
            proptest::collection::vec(any::<u8>(), 0..100).prop_map(Value::BulkString),
        ];
        leaf.prop_recursive(4, 64, 10, |inner| proptest::collection::vec(inner, 0..10).prop_map(Value::Array))
    }

    #[test]
    fn refusals_are_replies() {
        let Ok(Value::ServerError(error)) = read(b"-NOGROUP no such group\r\n", 100) else { panic!() };
        assert_eq!((error.code(), error.details()), ("NOGROUP", Some("no such group")));
        let Ok(Value::ServerError(error)) = read(b"-MOVED 1 \xff\r\n", 100) else { panic!() };
        assert_eq!(error.code(), "MOVED");
    }

    #[test]
    fn what_redis_would_not_say_is_an_error() {
        let deep = b"*1\r\n".repeat(100_000);
        let endless = vec![b'+'; 2 * BUFFER];
        for bytes in [
            &b"\r\n"[..],
            b"x\r\n",
            b"+a\n",
            b":\r\n",
            b":1x\r\n",
            b"$-2\r\n",
            b"*-7\r\n",
            b"$3\r\nabcd\r\n",
            b"$99999999999999999999\r\n",
            b"%1\r\n+a\r\n+b\r\n",
            b"-",
            b"",
            b"$9223372036854775807\r\nabc",
            b"*9223372036854775807\r\n:1\r\n",
            &deep,
            &endless,
        ] {
            assert!(read(bytes, 1 << 20).is_err(), "{:?}", &bytes[..bytes.len().min(40)]);
        }
    }

    #[test]
    fn no_length_is_believed() {
        for bytes in
            [&b"$99999999999\r\n"[..], b"$536870913\r\n", b"*1000000000\r\n", b"*-9223372036854775808\r\n"]
        {
            let error = read(bytes, 5).unwrap_err().to_string();
            assert!(error.contains("the limit is"), "{error}");
        }
        // These lengths are allowed, but the data is missing. Nothing is reserved for it.
        for bytes in [&b"$536870912\r\nabc"[..], b"*4194304\r\n:1\r\n"] {
            assert!(read(bytes, 5).unwrap_err().is_io_error());
        }
        let row = [&b"*2097152\r\n"[..], &b":1\r\n".repeat(1 << 21)].concat();
        let error = read(&[&b"*3\r\n"[..], &row, &row].concat(), BUFFER).unwrap_err().to_string();
        assert!(error.contains("larger than anything"), "{error}");
        assert!(read(&row, BUFFER).is_ok());
    }

    #[test]
    fn of_a_long_string_as_much_is_kept_as_there_is_room_for() {
        let text = |length| Value::BulkString(vec![b'x'; length]);
        let whole = Value::Array(vec![text(200_000), Value::Int(1), text(3)]);
        let bytes = [written(&whole), written(&text(9))].concat();
        for at_once in [7, BUFFER, 1 << 20] {
            let (mut replies, mut socket) = (Replies::default(), Dribble(&bytes, at_once));
            let cut = replies.next_within(&mut socket, 5).unwrap();
            assert_eq!(cut, Value::Array(vec![text(5), Value::Int(1), text(3)]));
            assert_eq!(replies.next(&mut socket).unwrap(), text(9));
        }
    }

    const ROOM: Room = Room { value: 40, bytes: 60, fields: 3 };

    fn read_entries(bytes: &[u8], at_once: usize) -> RedisResult<Vec<RawEntry>> {
        Replies::default().next_entries(&mut Dribble(bytes, at_once), ROOM)
    }

    #[test]
    fn entries_are_read_where_they_stand() {
        let text = b"*1\r\n*2\r\n$1\r\nk\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$2\r\n42\r\n$0\r\n\r\n$0\r\n\r\n*2\r\n$3\r\n2-5\r\n*-1\r\n";
        let fields = [("a", "42"), ("", "")].into_iter().collect();
        let expected = [
            RawEntry { id: StreamId { ms: 1, seq: 0 }, fields: Some(fields) },
            RawEntry { id: StreamId { ms: 2, seq: 5 }, fields: None },
        ];
        for at_once in [1, 7, BUFFER] {
            assert_eq!(read_entries(text, at_once).unwrap(), expected);
        }
        assert_eq!(read_entries(b"*-1\r\n", 9).unwrap(), []);
        assert_eq!(read_entries(b"-NOGROUP no\r\n", 9).unwrap_err().code(), Some("NOGROUP"));
        for cut in 0..text.len() {
            assert!(read_entries(&text[..cut], BUFFER).is_err(), "{cut}");
        }
    }

    fn written_entry(fields: &[(&str, &str)]) -> Vec<u8> {
        let parts = fields.iter().flat_map(|(name, value)| [name, value]);
        let parts = parts.map(|part| Value::BulkString(part.as_bytes().to_vec())).collect();
        written(&Value::Array(vec![Value::BulkString(b"1-0".to_vec()), Value::Array(parts)]))
    }

    #[test]
    fn what_there_is_no_room_for_is_read_past() {
        let long = "x".repeat(200_000);
        let (first, second) = (&long[..40], &long[..16]);
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Pairs<'_>, Pairs<'_>); 4] = [
            (&[("a", &long), ("b", "1")], &[("a", first), ("b", "1")]),
            (&[("a", &long), ("b", &long), ("c", "1")], &[("a", first), ("b", &long[..18]), ("", "")]),
            (&[("", ""); 9], &[("", ""); 3]),
            (&[("a", first), ("bc", second), ("d", "2")], &[("a", first), ("bc", second), ("d", "")]),
        ];
        for (whole, kept) in cases {
            let entry = written_entry(whole);
            let text = [&b"*2\r\n"[..], &entry, &written_entry(&[("next", "one")])].concat();
            for at_once in [7, BUFFER, 1 << 20] {
                let found = Replies::default().next_list(&mut Dribble(&text, at_once), ROOM).unwrap();
                let [RawEntry { fields: Some(cut), .. }, RawEntry { fields: Some(next), .. }] = &found[..]
                else {
                    panic!("{found:?}")
                };
                let bytes = whole.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
                assert_eq!(cut.cut_from(), Some(Extent { fields: whole.len(), bytes: bytes as u64 }));
                assert_eq!(cut.whole_size(), bytes);
                let found: Vec<_> = cut.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                let kept: Vec<_> = kept
                    .iter()
                    .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                    .collect();
                assert_eq!(found, kept);
                assert_eq!(next, &[("next", "one")].into_iter().collect());
            }
        }
    }

    #[test]
    fn an_entry_may_have_more_fields_than_a_reply_may_have_values() {
        let fields = (1 << 21) + 1;
        let text =
            [&b"*1\r\n*2\r\n$3\r\n1-0\r\n*4194306\r\n"[..], &b"$0\r\n\r\n".repeat(2 * fields)].concat();
        let found = Replies::default().next_list(&mut Dribble(&text, BUFFER), ROOM).unwrap();
        let cut = found[0].fields.as_ref().unwrap();
        assert_eq!((cut.len(), cut.cut_from()), (3, Some(Extent { fields, bytes: 0 })));
        for odd in [&b"*1\r\n*2\r\n$3\r\n1-0\r\n*3\r\n"[..], b"*1\r\n*2\r\n$3\r\n1-0\r\n:3\r\n", b":1\r\n"] {
            let error = Replies::default().next_list(&mut Dribble(odd, BUFFER), ROOM).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedReturnType);
        }
    }

    #[test]
    fn what_is_no_reply_to_a_read_is_refused() {
        for bytes in [
            &b":1\r\n"[..],
            b"+OK\r\n",
            b"*1\r\n*1\r\n$1\r\nk\r\n",
            b"*1\r\n*2\r\n$1\r\nk\r\n:1\r\n",
            b"*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$1\r\nx\r\n*-1\r\n",
            b"*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*1\r\n$1\r\na\r\n",
            b"*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n:1\r\n",
        ] {
            let error = read_entries(bytes, BUFFER).unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::UnexpectedReturnType,
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
    }

    /// Has no more bytes to give now.
    struct Dry<'a>(&'a [u8]);

    impl Read for Dry<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
        }
    }

    #[test]
    fn replies_that_have_not_arrived_whole_are_left_until_they_have() {
        let text = b":1\r\n$3\r\na\r\n\r\n*2\r\n$-1\r\n*1\r\n+OK\r\n-ERR x\r\n";
        let nested = Value::Array(vec![Value::Nil, Value::Array(vec![Value::Okay])]);
        for cut in 0..text.len() {
            let mut replies = Replies::default();
            assert!(!replies.have_arrived(4, &mut Dry(&text[..cut])).unwrap(), "{cut}");
            assert!(replies.have_arrived(4, &mut Dry(&text[cut..])).unwrap(), "{cut}");
            let mut nothing = Dry(b"");
            assert_eq!(replies.next(&mut nothing).unwrap(), Value::Int(1));
            assert_eq!(replies.next(&mut nothing).unwrap(), Value::BulkString(b"a\r\n".to_vec()));
            assert_eq!(replies.next(&mut nothing).unwrap(), nested);
            assert!(matches!(replies.next(&mut nothing).unwrap(), Value::ServerError(_)));
        }
        let mut replies = Replies::default();
        assert!(!replies.have_arrived(1, &mut Dry(&[b'+'; BUFFER])).unwrap());
        assert!(Replies::default().have_arrived(1, &mut Dribble(b"", 1)).is_err(), "the end of the socket");
    }

    #[test]
    fn a_long_string_arrives_whole() {
        let long = Value::BulkString((0..1_000_000).map(|index| index as u8).collect());
        let bytes = written(&Value::Array(vec![long.clone(), Value::Int(1)]));
        for at_once in [1_000, BUFFER, 1 << 20] {
            assert_eq!(read(&bytes, at_once).unwrap(), Value::Array(vec![long.clone(), Value::Int(1)]));
        }
    }

    proptest! {
        #[test]
        fn replies_are_read_wherever_they_are_cut(values in proptest::collection::vec(value(), 1..5), at_once in 1usize..50) {
            let bytes: Vec<u8> = values.iter().flat_map(written).collect();
            let (mut replies, mut socket) = (Replies::default(), Dribble(&bytes, at_once));
            for value in values {
                prop_assert_eq!(redis::parse_redis_value(&written(&value)).unwrap(), value.clone());
                prop_assert_eq!(replies.next(&mut socket).unwrap(), value);
            }
            prop_assert!(replies.next(&mut socket).is_err());
        }

        #[test]
        fn replies_have_arrived_with_their_last_byte(value in value(), cut in any::<prop::sample::Index>()) {
            let bytes = written(&value);
            prop_assert!(is_whole(&bytes, 1));
            prop_assert!(!is_whole(&bytes[..cut.index(bytes.len())], 1));
        }

        #[test]
        fn a_reply_that_is_cut_is_an_error(value in value(), cut in any::<prop::sample::Index>()) {
            let bytes = written(&value);
            prop_assert!(read(&bytes[..cut.index(bytes.len())], 11).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(prop_oneof![
            any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'*'), Just(b'$'), Just(b'1'), Just(b'9')
        ], 0..300), at_once in 1usize..50) {
            let _ = read(&bytes, at_once);
            let _ = read_entries(&bytes, at_once);
        }
    }

    fn pushes(bytes: &[u8], at_once: usize, room: usize) -> RedisResult<Vec<String>> {
        let (mut socket, mut replies) = (Dribble(bytes, at_once), Replies::default());
        let (mut push, mut seen) = (Push::default(), Vec::new());
        while !(socket.0.is_empty() && replies.is_empty()) {
            replies.next_push(&mut socket, room, &mut push)?;
            let texts = [push.pattern(), push.channel(), push.payload()].map(String::from_utf8_lossy);
            let kind = match &push.kind {
                PushKind::Refused(error) => error.to_string(),
                kind => format!("{kind:?}"),
            };
            seen.push(format!("{kind} {} {}", texts.join("|"), push.is_cut()));
        }
        Ok(seen)
    }

    #[test]
    fn what_a_subscriber_is_sent_is_told_apart() {
        let sent = b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n\
            *4\r\n$8\r\npmessage\r\n$2\r\nb*\r\n$2\r\nbc\r\n$0\r\n\r\n*2\r\n$4\r\npong\r\n$1\r\n7\r\n\
            *3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n-NOPERM no\r\n+PONG\r\n*3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n";
        let expected = [
            "Subscribed |a| false",
            "Message |a|hel true",
            "Message b*|bc| false",
            "Pong ||7 false",
            "Unsubscribed || false",
            "NOPERM: no || false",
            "Pong ||PONG false",
            "Message |c|x false",
        ];
        for at_once in [1, 7, 1000] {
            let seen = pushes(sent, at_once, 3).unwrap();
            let seen: Vec<String> = seen.iter().map(|one| one.replace("\"", "")).collect();
            assert_eq!(seen[..5], expected[..5]);
            assert!(seen[5].contains("NoPerm"), "{}", seen[5]);
            assert_eq!(seen[6..], expected[6..]);
        }
        for bad in ["*1\r\n$4\r\npong\r\n", ":1\r\n", "*3\r\n$7\r\nmessage\r\n:1\r\n$1\r\nx\r\n"] {
            assert!(pushes(bad.as_bytes(), 100, 3).is_err());
        }
    }

    #[test]
    fn an_invalidation_is_read_key_by_key() {
        let channel = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
        let sent = format!(
            "{channel}*3\r\n$1\r\na\r\n$4\r\nlong\r\n$0\r\n\r\n{channel}$-1\r\n{channel}$5\r\nhello\r\n"
        );
        let expected = [
            "Invalidated ||a false",
            "Invalidated ||lon true",
            "Invalidated || false",
            "Flushed || false",
            "Message |__redis__:invalidate|hel true",
        ];
        for at_once in [1, 7, 1000] {
            assert_eq!(pushes(sent.as_bytes(), at_once, 3).unwrap(), expected);
        }
        for bad in ["$-1", "*1\r\n$1\r\na", "*0"] {
            let other = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n{bad}\r\n");
            assert!(pushes(other.as_bytes(), 100, 3).is_err(), "{bad}");
        }
        assert!(pushes(format!("{channel}*1\r\n:1\r\n").as_bytes(), 100, 3).is_err());
    }
}
