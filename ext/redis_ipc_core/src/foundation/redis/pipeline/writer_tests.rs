//! Tests of a writer and its pipeline. Their server replies what a test tells it to.

use crate::error::{ErrorKind, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::pipeline::fake::{Desk, Event, Note, note};
use crate::foundation::redis::pipeline::outgoing::SUSPICIOUS;
use crate::foundation::redis::pipeline::writer::Writer;
use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);
const TAKEN: Option<&str> = Some("+OK");

/// What the server got: `SAY` with a name, or `END` with a count.
type Command = (String, String);

/// A server that replies what a test tells it to.
struct Server {
    path: PathBuf,
    commands: Receiver<Command>,
    /// The reply to each command; `None` closes the connection.
    replies: Sender<Option<String>>,
}

impl Server {
    fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("redis_ipc_writer{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).unwrap();
        let (got, commands) = unbounded();
        let (replies, to_send) = unbounded();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serve(stream.unwrap(), &got, &to_send).is_none() {
                    return;
                }
            }
        });
        Self { path, commands, replies }
    }

    /// A writer that is connected to it, and what becomes of its notes.
    fn writer(&self) -> (Arc<Writer<Note>>, Receiver<Event>) {
        let (desk, told) = Desk::new(json!({ "path": self.path, "connect_timeout": 0.5 }));
        let connection = desk.instance.connector.open(&Route::Server).unwrap();
        (Arc::new(Writer::new(desk, Some(connection))), told)
    }

    fn started_writer(&self) -> (Arc<Writer<Note>>, Receiver<Event>) {
        let (writer, told) = self.writer();
        writer.start().unwrap();
        (writer, told)
    }

    /// The next command; it is replied to with `reply`.
    fn expect(&self, name: &str, reply: Option<&str>) {
        let (_, got) = self.commands.recv_timeout(LONG).unwrap();
        assert_eq!(got, name);
        self.replies.send(reply.map(str::to_owned)).unwrap();
    }

    /// A batch, of which all is taken.
    fn expect_batch(&self, names: &[&str]) {
        names.iter().for_each(|name| self.expect(name, TAKEN));
        self.expect(&names.len().to_string(), TAKEN);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its thread ends with the process, or with the next connection.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves one connection; `None` once the test has ended.
fn serve(stream: UnixStream, got: &Sender<Command>, replies: &Receiver<Option<String>>) -> Option<()> {
    let (mut lines, mut stream) = (BufReader::new(stream.try_clone().unwrap()), stream);
    while let Some(words) = read_command(&mut lines) {
        let reply = match words[0].as_str() {
            "CLIENT" => "+OK".to_owned(),
            "PING" => "+PONG".to_owned(),
            _ => {
                got.send((words[0].clone(), words[1].clone())).ok()?;
                match replies.recv().ok()? {
                    Some(reply) => reply,
                    None => return Some(()),
                }
            }
        };
        let _ = write!(stream, "{reply}\r\n");
    }
    Some(())
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

fn send(writer: &Arc<Writer<Note>>, names: &[&'static str]) {
    for name in names {
        assert!(writer.send(note(name)));
    }
}

fn expect_events(told: &Receiver<Event>, expected: impl IntoIterator<Item = Event>) {
    for event in expected {
        assert_eq!(told.recv_timeout(LONG).unwrap(), event);
    }
}

#[test]
fn a_lone_command_needs_no_thread_of_the_writer() {
    let server = Server::start();
    let (writer, told) = server.writer();
    assert!(writer.send(note("a")));
    server.expect_batch(&["a"]);
    assert!(told.is_empty(), "nobody has read the replies");
}

#[test]
fn what_comes_during_a_round_trip_goes_out_together_in_the_next_one() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    writer.send(note("first"));
    // Until the reply is here, the others queue up.
    send(&writer, &["b", "unwanted", "c"]);
    server.expect_batch(&["first"]);
    expect_events(&told, [Event::Taken("first")]);
    server.expect_batch(&["b", "c", "second"]);
    expect_events(&told, ["b", "c", "second"].map(Event::Taken));
    writer.close();
}

#[test]
fn what_a_broken_connection_left_is_sent_again_in_its_order() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    writer.send(note("a"));
    send(&writer, &["b", "c"]);
    server.expect_batch(&["a"]);
    expect_events(&told, [Event::Taken("a")]);
    server.expect("b", TAKEN);
    server.expect("c", None);
    expect_events(&told, [Event::Taken("b"), Event::Broken("c", true), Event::Connected]);
    server.expect_batch(&["c", "end"]);
    expect_events(&told, ["c", "end"].map(Event::Taken));
    writer.close();
}

#[test]
fn a_panic_while_it_connects_costs_nothing_that_is_queued() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    writer.context().instance.explodes.store(true, Ordering::SeqCst);
    writer.send(note("a"));
    server.expect("a", None);
    expect_events(&told, [Event::Broken("a", true), Event::Panicked, Event::Connected]);
    server.expect_batch(&["a", "end"]);
    expect_events(&told, ["a", "end"].map(Event::Taken));
    assert!(writer.context().instance.health.are_up());
    writer.close();
}

#[test]
fn what_redis_refuses_for_now_is_sent_again_on_the_same_or_on_a_new_connection() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    writer.send(note("a"));
    server.expect("a", Some("-OOM full"));
    server.expect("1", TAKEN);
    server.expect("a", Some("-READONLY a replica"));
    server.expect("1", TAKEN);
    expect_events(&told, [Event::Connected]);
    server.expect_batch(&["a"]);
    expect_events(&told, [Event::Taken("a")]);
    writer.close();
}

#[test]
fn a_connection_is_replaced_where_another_one_broke() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    writer.context().instance.health.lost();
    writer.send(note("a"));
    expect_events(&told, [Event::Connected]);
    server.expect_batch(&["a"]);
    expect_events(&told, [Event::Taken("a")]);
    writer.close();
}

#[test]
fn what_breaks_two_connections_alone_is_too_large_and_the_others_get_through() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    writer.send(Note { padding: SUSPICIOUS, ..note("large") });
    server.expect("large", None);
    expect_events(&told, [Event::Broken("large", true), Event::Connected]);
    server.expect_batch(&["end"]);
    expect_events(&told, [Event::Taken("end")]);
    server.expect("large", None);
    let events = [Event::Broken("large", true), Event::TooLarge("large"), Event::Connected];
    expect_events(&told, events);
    server.expect_batch(&["end"]);
    expect_events(&told, [Event::Taken("end")]);
    writer.close();
}

#[test]
fn without_a_server_it_gives_up_on_what_is_hopeless_and_then_on_all() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    std::fs::remove_file(&server.path).unwrap();
    writer.send(note("a"));
    server.expect("a", None);
    expect_events(&told, [Event::Broken("a", true)]);
    writer.send(Note { waits: false, ..note("hurried") });
    expect_events(&told, [Event::Failed("hurried", ErrorKind::Connection(Fate::Unknown))]);
    writer.close();
    let closed = ErrorKind::Closed(Fate::NotSent);
    expect_events(&told, ["a", "end"].map(|name| Event::Failed(name, closed)));
}

#[test]
fn what_is_queued_is_written_before_it_ends_and_nothing_else() {
    let server = Server::start();
    let (writer, told) = server.started_writer();
    send(&writer, &["a", "b"]);
    writer.stop();
    assert!(!writer.send(note("late")));
    expect_events(&told, [Event::Failed("late", ErrorKind::Closed(Fate::NotSent))]);
    server.expect_batch(&["a"]);
    server.expect_batch(&["b"]);
    writer.close();
    expect_events(&told, ["a", "b"].map(Event::Taken));
}
