//! The floor of the benchmarks: the Redis commands of a call in plain Rust, without everything the core does.
//!
//! Run `floor answer port=6379`, and `floor ask port=6379`, which reads lines like `seconds=2 bytes=64 in_flight=1`
//! and prints its measurements. It replaces bench/player.rb.
//!
//! `floor consume port=6379 group=g` consumes events, and prints when it has each, in ns of the clock that all processes
//! of the machine share. It replaces a program of bench/consumers.

use redis::{Cmd, Parser, Value};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const INBOX: &str = "floor:inbox";
const REPLIES: &str = "floor:replies";
const GROUP: &str = "child";
const EVENTS: &str = "events";
/// The most entries in one read.
const COUNT: usize = 512;
/// The most entries that are kept in a stream.
const KEPT: usize = 10_000;

struct Redis {
    socket: TcpStream,
    parser: Parser,
    packed: Vec<u8>,
    expected: usize,
}

impl Redis {
    fn connect(port: u16) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, parser: Parser::new(), packed: Vec::new(), expected: 0 })
    }

    /// Adds a command to the next pipeline.
    fn put(&mut self, command: &Cmd) {
        command.write_packed_command(&mut self.packed);
        self.expected += 1;
    }

    /// Sends the pipeline and returns the last reply.
    fn run(&mut self) -> Result<Value> {
        self.socket.write_all(&self.packed)?;
        self.packed.clear();
        let mut last = Value::Nil;
        for _ in 0..std::mem::take(&mut self.expected) {
            last = self.parser.parse_value(&mut self.socket)?;
            if let Value::ServerError(error) = &last {
                return Err(format!("{error:?}").into());
            }
        }
        Ok(last)
    }
}

fn add(key: &str, id: &[u8], content: &[u8], reply_to: &str) -> Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(key).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
    add.arg("id").arg(id).arg("content").arg(content).arg("reply_to").arg(reply_to);
    add
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;
/// Its id and its fields.
type Entry = (Vec<u8>, Fields);

/// Returns the entries of the one stream in a reply to XREAD or XREADGROUP.
fn entries(reply: Value) -> Result<Vec<Entry>> {
    if reply == Value::Nil {
        return Ok(Vec::new());
    }
    let streams: Vec<(String, Vec<Entry>)> = redis::from_redis_value(reply)?;
    Ok(streams.into_iter().flat_map(|(_, entries)| entries).collect())
}

fn field<'a>(fields: &'a Fields, name: &str) -> Result<&'a [u8]> {
    let found = fields.iter().find(|(key, _)| key == name.as_bytes());
    found.map(|(_, value)| value.as_slice()).ok_or_else(|| format!("no field {name}").into())
}

fn answer(port: u16) -> Result<()> {
    let (mut reader, mut writer) = (Redis::connect(port)?, Redis::connect(port)?);
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(INBOX).arg(GROUP).arg("0").arg("MKSTREAM");
    writer.put(&create);
    writer.run()?;
    println!("ready");
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(GROUP).arg("one").arg("COUNT").arg(COUNT).arg("BLOCK").arg(1_000);
    read.arg("STREAMS").arg(INBOX).arg(">");
    loop {
        reader.put(&read);
        let requests = entries(reader.run()?)?;
        if requests.is_empty() {
            continue;
        }
        let mut acknowledge = redis::cmd("XACK");
        acknowledge.arg(INBOX).arg(GROUP);
        for (stream_id, fields) in &requests {
            let reply_to = std::str::from_utf8(field(fields, "reply_to")?)?;
            writer.put(&add(reply_to, field(fields, "id")?, field(fields, "content")?, ""));
            acknowledge.arg(stream_id);
        }
        writer.put(&acknowledge);
        writer.run()?;
    }
}

fn consume(port: u16, group: &str) -> Result<()> {
    let mut redis = Redis::connect(port)?;
    let mut create = redis::cmd("XGROUP");
    create.arg("CREATE").arg(EVENTS).arg(group).arg("0").arg("MKSTREAM");
    redis.put(&create);
    redis.run()?;
    let mut output = std::io::stdout();
    writeln!(output, "ready")?;
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(group).arg("one").arg("COUNT").arg(COUNT).arg("BLOCK").arg(5_000);
    read.arg("STREAMS").arg(EVENTS).arg(">");
    loop {
        redis.put(&read);
        let mut acknowledge = redis::cmd("XACK");
        acknowledge.arg(EVENTS).arg(group);
        let events = entries(redis.run()?)?;
        if events.is_empty() {
            continue;
        }
        for (id, fields) in events {
            field(&fields, "data")?;
            let now = clock_gettime(ClockId::Monotonic);
            writeln!(output, "{}", i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec))?;
            acknowledge.arg(id);
        }
        redis.put(&acknowledge);
        redis.run()?;
    }
}

struct Asker {
    writer: Redis,
    reader: Redis,
    last: Vec<u8>,
    next: u64,
}

impl Asker {
    fn connect(port: u16) -> Result<Self> {
        Ok(Self {
            writer: Redis::connect(port)?,
            reader: Redis::connect(port)?,
            last: b"0-0".to_vec(),
            next: 0,
        })
    }

    /// Makes calls, `in_flight` at the same time, and returns how long each took, in ns.
    fn load(&mut self, seconds: f64, bytes: usize, in_flight: usize) -> Result<Vec<u64>> {
        let content = vec![b'x'; bytes];
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut open: HashMap<Vec<u8>, Instant> = HashMap::new();
        let mut took = Vec::new();
        let mut wanted = in_flight;
        loop {
            if wanted > 0 {
                let now = Instant::now();
                for _ in 0..wanted {
                    self.next += 1;
                    let id = self.next.to_string().into_bytes();
                    self.writer.put(&add(INBOX, &id, &content, REPLIES));
                    open.insert(id, now);
                }
                self.writer.run()?;
            }
            if open.is_empty() {
                return Ok(took);
            }
            let answers = self.read()?;
            let now = Instant::now();
            wanted = if now < until { answers.len() } else { 0 };
            for (stream_id, fields) in answers {
                let asked = open.remove(field(&fields, "id")?).ok_or("an answer nobody waits for")?;
                if field(&fields, "content")? != content {
                    return Err("a wrong answer".into());
                }
                took.push(now.duration_since(asked).as_nanos() as u64);
                self.last = stream_id;
            }
        }
    }

    fn read(&mut self) -> Result<Vec<Entry>> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(COUNT).arg("BLOCK").arg(10_000);
        read.arg("STREAMS").arg(REPLIES).arg(&self.last);
        self.reader.put(&read);
        entries(self.reader.run()?)
    }
}

fn ask(port: u16) -> Result<()> {
    let mut asker = Asker::connect(port)?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let settings = settings(line.split_whitespace().map(str::to_owned));
        let (seconds, bytes) = (number(&settings, "seconds")?, number(&settings, "bytes")? as usize);
        // A thread of the other players is a call in flight here.
        let in_flight = number(&settings, "in_flight").or(number(&settings, "threads"))? as usize;
        let began = Instant::now();
        let mut took = asker.load(seconds, bytes, in_flight)?;
        let elapsed = began.elapsed().as_secs_f64();
        took.sort_unstable();
        let rank = |percent: usize| took[(took.len() - 1) * percent / 100] as f64 / 1000.0;
        println!(
            "calls={} seconds={elapsed} p50_us={} p95_us={} p99_us={}",
            took.len(),
            rank(50),
            rank(95),
            rank(99)
        );
    }
    Ok(())
}

fn settings(words: impl Iterator<Item = String>) -> HashMap<String, String> {
    words.filter_map(|word| word.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect()
}

fn number(settings: &HashMap<String, String>, name: &str) -> Result<f64> {
    let value = settings.get(name).ok_or_else(|| format!("{name}= is missing"))?;
    Ok(value.parse()?)
}

/// Ends the process when its standard input ends, so that it never outlives the harness.
fn end_with_input() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

fn main() -> Result<()> {
    let role = std::env::args().nth(1).unwrap_or_default();
    let words = settings(std::env::args().skip(2));
    let port = number(&words, "port")? as u16;
    match role.as_str() {
        "answer" => {
            end_with_input();
            answer(port)
        }
        "ask" => ask(port),
        "consume" => {
            end_with_input();
            consume(port, words.get("group").ok_or("group= is missing")?)
        }
        _ => Err("floor answer|ask|consume port=...".into()),
    }
}
