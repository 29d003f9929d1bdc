//! Tests of a writer and its pipeline, against a fake server.

use crate::error::{ErrorKind, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::fake_server::FakeServer;
use crate::foundation::redis::pipeline::carried::Context;
use crate::foundation::redis::pipeline::fake::{Desk, Event, Note, note};
use crate::foundation::redis::pipeline::outgoing::SUSPICIOUS;
use crate::foundation::redis::pipeline::writer::Writer;
use crate::foundation::runtime::reports::{Fetched, Report};
use crossbeam_channel::Receiver;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);
const TAKEN: Option<&str> = Some("+OK");

/// A server that replies what a test tells it to. It receives `SAY` with a name, or `END` with a count.
struct Server(FakeServer);

impl Server {
    fn start() -> Self {
        Self(FakeServer::start())
    }

    /// Returns a writer that is connected to it, and the events of its notes.
    fn writer(&self) -> (Arc<Writer<Note>>, Receiver<Event>) {
        let (desk, told) = Desk::new(self.0.endpoint());
        let connection = desk.endpoint().connector.open(&Route::Server).unwrap();
        (Arc::new(Writer::new(desk, Some(connection))), told)
    }

    fn started_writer(&self) -> (Arc<Writer<Note>>, Receiver<Event>) {
        let (writer, told) = self.writer();
        writer.start().unwrap();
        (writer, told)
    }

    /// Waits for the next command, and replies with `reply`.
    fn expect(&self, name: &str, reply: Option<&str>) {
        let words = self.0.expect("", reply);
        assert_eq!(words[1], name);
    }

    /// Waits for a batch, and accepts all of it.
    fn expect_batch(&self, names: &[&str]) {
        names.iter().for_each(|name| self.expect(name, TAKEN));
        self.expect(&names.len().to_string(), TAKEN);
    }
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
    // The other notes queue up until the reply arrives.
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
    writer.context().explodes.store(true, Ordering::SeqCst);
    writer.send(note("a"));
    server.expect("a", None);
    expect_events(&told, [Event::Broken("a", true), Event::Connected]);
    server.expect_batch(&["a", "end"]);
    expect_events(&told, ["a", "end"].map(Event::Taken));
    let desk = writer.context();
    assert!(desk.endpoint().health.are_up());
    let (_never, interrupt) = crossbeam_channel::bounded(1);
    let panics = |report| matches!(report, Fetched::Message(Report::Failure(error)) if error.kind == ErrorKind::Internal);
    assert!((0..2).any(|_| panics(desk.endpoint().reports.fetch(&interrupt))));
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
    writer.context().endpoint().health.lost();
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
    server.0.vanish();
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
