//! Feeds mutated replies, messages of Pub/Sub, entries, messages of a log and JSON to every reader of data from Redis
//! and PostgreSQL. No reader may panic, hang, or reserve memory for data that has not arrived. `bin/fuzz` runs it for
//! long.

#![allow(clippy::unwrap_used, clippy::panic)]

use redis_ipc_core::StreamId;
use redis_ipc_core::json;
use redis_ipc_core::readers::Keys;
use redis_ipc_core::readers::Replies;
use redis_ipc_core::readers::Request;
use redis_ipc_core::readers::replies;
use redis_ipc_core::readers::{Fields, Room};
use redis_ipc_core::readers::{Message, Tuple};
use redis_ipc_core::readers::{Push, PushKind};
use redis_ipc_core::request_reply::Answer;
use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime};

const CONTENT: usize = 1 << 16;

/// A random number generator that is good enough for mutations, and repeatable (xorshift64*, Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }
}

/// Yields pieces of random sizes.
struct Pieces<'a>(&'a [u8], &'a mut Random);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (1 + self.1.below(40)).min(self.0.len()).min(buffer.len());
        let (now, later) = self.0.split_at(count);
        buffer[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

/// Applies one to eight changes: a byte, a cut, a repeated stretch, or an inserted word of the language.
fn mutate(text: &[u8], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(30)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.next() as u8,
            1 => drop(bytes.drain(at..end)),
            2 => {
                let stretch = bytes[at..end].to_vec();
                bytes.splice(at..at, stretch.repeat(1 + random.below(5)));
            }
            3 => bytes.truncate(at),
            _ => drop(bytes.splice(at..end.min(at + random.below(4)), random.pick(words).iter().copied())),
        }
    }
    bytes
}

const REPLY_WORDS: [&[u8]; 19] = [
    b"\r\n",
    b"*1\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*2\r\n",
    b"*3\r\n",
    b"*1000000000\r\n",
    b"*4194304\r\n",
    b"$-1\r\n",
    b"$99999999999\r\n",
    b"$536870912\r\n",
    b"$0\r\n\r\n",
    b":1\r\n",
    b":-9223372036854775808\r\n",
    b"-NOGROUP x\r\n",
    b"+OK\r\n",
    b"%1\r\n",
    b"$3\r\n1-1\r\n",
    b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
];

const REPLIES: [&[u8]; 7] = [
    b"*1\r\n*2\r\n$13\r\nhouse:inbox:c\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$2\r\nid\r\n$2\r\n42\r\n$7\r\ncontent\r\n$1\r\n1\r\n*2\r\n$3\r\n2-5\r\n*-1\r\n",
    b"*3\r\n$3\r\n0-0\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$1\r\n1\r\n*1\r\n$3\r\n9-9\r\n",
    b"*2\r\n*4\r\n$3\r\n1-0\r\n$1\r\nc\r\n:12\r\n:2\r\n*4\r\n$3\r\n2-0\r\n$1\r\nc\r\n:0\r\n:1\r\n",
    b"*-1\r\n",
    b"-UNBLOCKED the stream key no longer exists\r\n",
    b"*2\r\n*0\r\n:1\r\n",
    b"*2\r\n$10\r\n1700000000\r\n$4\r\n3000\r\n",
];

fn replies(random: &mut Random) {
    let seed = random.pick(&REPLIES);
    let bytes = mutate(seed, &REPLY_WORDS, random);
    let mut socket = Pieces(&bytes, random);
    let mut replies = Replies::default();
    let room = Room { value: 5, bytes: 9, fields: 2 };
    while let Ok(entries) = replies.next_entries(&mut socket, room) {
        entries.into_iter().filter_map(|entry| entry.fields).for_each(|fields| decode(&fields));
    }
    let mut socket = Pieces(&bytes, random);
    let mut replies = Replies::default();
    while let Ok(value) = replies.next(&mut socket) {
        let _ = replies::claimed(value.clone());
        let _ = replies::id(&value);
    }
    let mut socket = Pieces(&bytes, random);
    let mut replies = Replies::default();
    while let Ok(entries) = replies.next_list(&mut socket, Room::for_content(CONTENT)) {
        entries.into_iter().filter_map(|entry| entry.fields).for_each(|fields| decode(&fields));
    }
}

const PUSH_WORDS: [&[u8]; 12] = [
    b"\r\n",
    b"*2\r\n",
    b"*3\r\n",
    b"*4\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$4\r\npong\r\n",
    b"$7\r\nmessage\r\n",
    b"$8\r\npmessage\r\n",
    b"$536870912\r\n",
    b":1\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n",
];

const PUSHES: [&[u8]; 6] = [
    b"*3\r\n$9\r\nsubscribe\r\n$6\r\nprices\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$6\r\nprices\r\n$12\r\n{\"a\":[1, 2]}\r\n",
    b"*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$6\r\nprices\r\n$2\r\n12\r\n*2\r\n$4\r\npong\r\n$1\r\n7\r\n",
    b"*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$0\r\n\r\n*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n",
    b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n+PONG\r\n",
    b"-NOPERM no right to this channel\r\n",
    b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*2\r\n$6\r\nuser:1\r\n$1\r\na\r\n\
      *3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n",
];

/// What is kept of a payload is a part of it, and at most what there is room for.
fn pushes(random: &mut Random) {
    const ROOM: usize = 5;
    let seed = random.pick(&PUSHES);
    let bytes = mutate(seed, &PUSH_WORDS, random);
    let mut socket = Pieces(&bytes, random);
    let (mut replies, mut push) = (Replies::default(), Push::default());
    while replies.next_push(&mut socket, ROOM, &mut push).is_ok() {
        let (pattern, channel, payload) = (push.pattern(), push.channel(), push.payload());
        assert_eq!(pattern.len() + channel.len() + payload.len(), push.bytes.len());
        if matches!(push.kind, PushKind::Message | PushKind::Invalidated) {
            assert!(payload.len() <= ROOM && payload.len() <= push.whole, "{:?}", escaped(&bytes));
            assert_eq!(push.is_cut(), push.whole > ROOM);
        }
    }
}

fn decode(fields: &Fields) {
    let keys = Keys::new("house").unwrap();
    let id = StreamId { ms: u64::MAX, seq: u64::MAX };
    let _ = id.next();
    if let Ok(answer) = Answer::decode(id, fields, CONTENT) {
        assert!(json::check(&answer.content.share(), CONTENT).is_ok());
    }
    if let Ok(request) = Request::decode(id, fields, &keys, CONTENT) {
        assert!(json::check(&request.content.share(), CONTENT).is_ok());
        assert!(keys.is_replies_of(&request.source_group, request.reply_to.as_bytes()));
        let _ = request.deadline();
    }
}

const FIELD_WORDS: [&[u8]; 12] = [
    b"pending",
    b"fulfilled",
    b"house:replies:",
    b":",
    b"%3A",
    b"\xff",
    b"\0",
    b"\r\n",
    b"18446744073709551615",
    b"-1",
    b"id",
    b"content",
];

const FIELDS: [(&[u8], &[u8]); 8] = [
    (b"id", b"0123456789abcdef0123456789abcdef"),
    (b"instance_id", b"i"),
    (b"status", b"pending"),
    (b"content", b"{\"a\":[1]}"),
    (b"source_group", b"parent"),
    (b"destination_group", b"child"),
    (b"reply_to", b"house:replies:parent:i"),
    (b"ttl", b"5000"),
];

fn entries(random: &mut Random) {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> =
        FIELDS.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    for _ in 0..=random.below(3) {
        let index = random.below(fields.len());
        match random.below(8) {
            0 => drop(fields.remove(index)),
            1 => fields.extend_from_within(..),
            2 => fields[index].0 = mutate(&fields[index].0, &FIELD_WORDS, random),
            3 => fields[index].1 = b"x".repeat(random.below(10_000)),
            _ => fields[index].1 = mutate(&fields[index].1, &FIELD_WORDS, random),
        }
        if fields.is_empty() {
            break;
        }
    }
    decode(&fields.into_iter().collect());
}

const JSON_WORDS: [&[u8]; 22] = [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\udc00",
    b"null",
    b"true",
    b"-",
    b"1e400",
    b".5",
    b"NaN",
    b"\xff",
    b"\xed\xa0\x80",
    b"\"a\":",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"99999999999999999999",
];

const JSON: [&[u8]; 3] = [
    b"{\"event\":\"cook\",\"params\":{\"dish\":\"pasta\",\"n\":[1,-2.5e3,true,null]}}",
    b"[\"\\ud83d\\ude00 \\u0000\\n\",{\"\":{}},[[]],0]",
    b"-12345678901234567890.25E-7",
];

fn content(random: &mut Random) {
    let seed = random.pick(&JSON);
    let text = mutate(seed, &JSON_WORDS, random);
    let ours = json::check(&text, CONTENT);
    match serde_json::from_slice::<serde_json::Value>(&text) {
        Ok(_) => {
            assert!(ours.is_ok() || ours == Err(json::JsonError::TooDeep), "{:?} {ours:?}", escaped(&text))
        }
        // serde_json knows no number beyond a double, and nesting only to 127.
        Err(error) if error.to_string().contains("out of range") => {}
        Err(error) if error.to_string().contains("recursion limit") => assert!(ours.is_err()),
        Err(error) => assert!(ours.is_err(), "{:?} {error}", escaped(&text)),
    }
}

const LOG_WORDS: [&[u8]; 16] = [
    b"B",
    b"I\0\0\0\x01N",
    b"K",
    b"O",
    b"N",
    b"n",
    b"u",
    b"t\0\0\0\x01x",
    b"t\xff\xff\xff\xff",
    b"t\x7f\xff\xff\xff",
    b"\0\0",
    b"\xff\xff",
    b"\0\x02",
    b"\0",
    b"public\0accounts\0",
    b"\xff\xff\xff\xff",
];

const LOG: [&[u8]; 8] = [
    b"B\0\0\0\0\x01\x52\x98\xd0\0\x02\xe8\x1a\0\0\0\0\0\0\x02\xd6",
    b"C\0\0\0\0\0\x01\x52\x98\xd0\0\0\0\0\x01\x52\x99\0\0\x02\xe8\x1a\0\0\0\0",
    b"R\0\0\0\x07public\0a\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0b\0\0\0\0\x19\xff\xff\xff\xff",
    b"I\0\0\0\x07N\0\x02t\0\0\0\x011n",
    b"U\0\0\0\x07K\0\x02t\0\0\0\x011nN\0\x02t\0\0\0\x012u",
    b"D\0\0\0\x07O\0\x02t\0\0\0\x011t\0\0\0\x02ab",
    b"T\0\0\0\x02\x03\0\0\0\x07\0\0\0\x08",
    b"M\x01\0\0\0\0\x01\x52\x98\xd0mail\0\0\0\0\x02ab",
];

/// A row that is accepted has as many values as it says, and these have all of its bytes.
fn check_row(row: Tuple<'_>) {
    assert_eq!(row.values().count(), row.width());
}

fn log(random: &mut Random) {
    let seed = random.pick(&LOG);
    let bytes = mutate(seed, &LOG_WORDS, random);
    match Message::read(&bytes) {
        Ok(Message::Insert { new, .. }) => check_row(new),
        Ok(Message::Update { old, new, .. }) => {
            check_row(new);
            if let Some(old) = old {
                check_row(old.tuple());
            }
        }
        Ok(Message::Delete { old, .. }) => check_row(old.tuple()),
        Ok(Message::Relation(relation)) => assert!(relation.columns.len() <= bytes.len()),
        Ok(Message::Truncate { relations, .. }) => assert!(relations.len() * 4 <= bytes.len()),
        Ok(Message::Logical { content, .. }) => assert!(content.len() <= bytes.len()),
        _ => {}
    }
}

fn escaped(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

fn fuzz(name: &str, run: impl Fn(&mut Random)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(2));
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("FUZZ_SEED").unwrap_or(clock) | 1;
    println!("{name}: FUZZ_SEED={seed}");
    let (began, mut random, mut runs, mut slowest) = (Instant::now(), Random(seed), 0u64, Duration::ZERO);
    while began.elapsed() < time {
        let before = Instant::now();
        run(&mut random);
        slowest = slowest.max(before.elapsed());
        runs += 1;
    }
    println!("{name}: {runs} runs, the slowest took {slowest:?}");
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    assert!(runs > 100, "{runs} runs only");
}

#[test]
fn replies_of_redis() {
    fuzz("replies", replies);
}

#[test]
fn what_redis_publishes() {
    fuzz("pushes", pushes);
}

#[test]
fn entries_of_strangers() {
    fuzz("entries", entries);
}

#[test]
fn the_log_of_postgres() {
    fuzz("log", log);
}

#[test]
fn content_of_strangers() {
    fuzz("content", content);
}
