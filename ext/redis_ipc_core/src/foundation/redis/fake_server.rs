//! A fake of Redis for tests. It replies what a test tells it to.

use crate::error::Place;
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::redis_options::RedisOptions;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

/// A command that waits for its reply. If it gets none, its connection is closed.
pub struct Received {
    /// The command's words.
    pub words: Vec<String>,
    reply: Sender<String>,
}

impl Received {
    /// Sends a reply in RESP. `resp` leaves the last line end out.
    pub fn reply(self, resp: &str) {
        self.reply.send(resp.to_owned()).unwrap();
    }
}

/// A server that replies what a test tells it to. It answers `CLIENT` and `PING` itself.
pub struct FakeServer {
    path: PathBuf,
    commands: Receiver<Received>,
}

impl FakeServer {
    /// Starts a server that listens.
    pub fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("redis_ipc_fake{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let (got, commands) = unbounded();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let got = got.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &got));
            }
        });
        Self { path, commands }
    }

    /// Returns the options to reach it.
    pub fn redis_options(&self) -> serde_json::Value {
        json!({ "path": self.path, "connect_timeout": 0.5 })
    }

    /// Creates an endpoint that reaches it.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        endpoint_of(self.redis_options())
    }

    /// Stops accepting connections.
    pub fn vanish(&self) {
        std::fs::remove_file(&self.path).unwrap();
    }

    /// Waits for the next command.
    pub fn next(&self) -> Received {
        self.commands.recv_timeout(LONG).unwrap()
    }

    /// Waits for the next command and checks that its words begin with those of `start`. A `reply` of `None` closes
    /// the connection.
    pub fn expect(&self, start: &str, reply: Option<&str>) -> Vec<String> {
        let received = self.next();
        let said = received.words.join(" ");
        assert!(said.starts_with(start), "{said:?} is not {start:?}");
        let words = received.words.clone();
        if let Some(reply) = reply {
            received.reply(reply);
        }
        words
    }

    /// Whether it received no other command.
    pub fn is_silent(&self) -> bool {
        self.commands.is_empty()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        // Its threads end with the process.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Creates an endpoint with these options.
pub fn endpoint_of(redis_options: serde_json::Value) -> Arc<Endpoint> {
    let section = OptionReader::new("redis_options", Some(redis_options)).unwrap();
    Arc::new(Endpoint::new(Place::default(), &RedisOptions::parse(section, None).unwrap()))
}

/// Encodes a bulk string.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}", text.len())
}

/// Encodes an array.
pub fn array(items: &[String]) -> String {
    [vec![format!("*{}", items.len())], items.to_vec()].concat().join("\r\n")
}

/// Encodes an entry of a stream.
pub fn entry(id: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect();
    array(&[bulk(id), array(&fields)])
}

/// Serves one connection.
fn serve(stream: UnixStream, got: &Sender<Received>) {
    let (mut lines, mut stream) = (BufReader::new(stream.try_clone().unwrap()), stream);
    while let Some(words) = read_command(&mut lines) {
        let said = match words[0].as_str() {
            "CLIENT" => "+OK".to_owned(),
            "PING" => "+PONG".to_owned(),
            _ => {
                let (reply, replied) = bounded(1);
                if got.send(Received { words, reply }).is_err() {
                    return;
                }
                let Ok(said) = replied.recv() else { return };
                said
            }
        };
        let _ = write!(stream, "{said}\r\n");
    }
}

fn read_command(lines: &mut impl BufRead) -> Option<Vec<String>> {
    let number = |lines: &mut dyn BufRead| {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        line.get(1..)?.trim_end().parse::<usize>().ok()
    };
    let mut words = Vec::new();
    for _ in 0..number(lines)? {
        let mut word = vec![0; number(lines)? + 2];
        lines.read_exact(&mut word).ok()?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    Some(words)
}
