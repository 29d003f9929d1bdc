//! Tests of an instance's parts, each by itself, against a fake Redis.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::stream_entry::{RawEntry, StreamId};
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::fake_server::{array, bulk, entry};
use crate::foundation::redis::group_consumer::admission::{Admission, Earlier};
use crate::foundation::redis::group_consumer::consumer::Delivered;
use crate::foundation::runtime::waiting::Interrupt;
use crate::request_reply::fixture::Fixture;
use crate::request_reply::protocol::entry::{Context, Question};
use crate::request_reply::sending::command::Command;
use crate::request_reply::tracking::ledger::{Outcome, Sent, Ticket, Waited};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const DONE: Option<&str> = Some(":1");

/// Admits `entries`, which have this number of deliveries, while `redis` plays Redis. Returns how many are admitted.
fn admit(fixture: &Fixture, entries: Vec<RawEntry>, deliveries: u32, redis: impl FnOnce()) -> usize {
    let earlier = Earlier { deliveries, holder: "gone".to_owned() };
    let earlier: HashMap<_, _> = entries.iter().map(|entry| (entry.id, earlier.clone())).collect();
    thread::scope(|scope| {
        let admitted = scope.spawn(|| fixture.admission.admit(entries, &earlier).len());
        redis();
        admitted.join().unwrap()
    })
}

/// Returns the value of the field `name` in a command that adds an entry.
fn field<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == name)?;
    words.get(at + 1).map(String::as_str)
}

fn expect_acknowledgement(fixture: &Fixture) {
    fixture.server.expect("XDEL s:inbox:child", DONE);
    fixture.server.expect("XACK s:inbox:child child", DONE);
}

#[test]
fn a_request_that_is_good_runs_and_one_that_was_withdrawn_is_acknowledged() {
    let fixture = Fixture::new(json!({}));
    let good = fixture.request("", &[]);
    assert_eq!(admit(&fixture, vec![good], 1, || {}), 1);
    let withdrawn = RawEntry { id: StreamId { ms: 1, seq: 1 }, fields: None };
    assert_eq!(admit(&fixture, vec![withdrawn], 1, || expect_acknowledgement(&fixture)), 0);
    let stats = &fixture.instance.endpoint.stats;
    assert_eq!([stats.taken.get(), stats.withdrawn.get()], [2, 1]);
}

#[test]
fn an_acknowledgement_after_leaving_began_is_not_reported_because_leaving_hands_on_what_is_pending() {
    let fixture = Fixture::new(json!({}));
    fixture.sender.close();
    assert!(!fixture.sender.send(Command::Acknowledge(vec![StreamId { ms: 7, seq: 7 }])));
    fixture.instance.endpoint.report(Error::new(ErrorKind::Malformed, "the only report"));
    assert!(fixture.reported().starts_with("the only report"));
}

#[test]
fn what_another_thread_takes_while_others_are_dealt_with_is_looked_at_once() {
    let fixture = Fixture::new(json!({}));
    let (malformed, mut good) = (fixture.request("content", &[]), fixture.request("", &[]));
    good.id.seq = 2;
    let both = vec![malformed, good.clone()];
    let admitted = admit(&fixture, both, 1, || {
        let burial = fixture.server.next();
        let other = fixture.admission.admit(vec![good], &HashMap::new());
        assert!(fixture.queue.push_but_first(other).is_some());
        burial.reply("$3\r\n1-0");
        ["XTRIM", "PEXPIRE", "MEMORY"].iter().for_each(|word| drop(fixture.server.expect(word, DONE)));
        expect_rejection(&fixture, "RedisIPC::MalformedEntryError");
    });
    assert_eq!((admitted, fixture.instance.endpoint.stats.taken.get()), (0, 2));
}

#[test]
fn a_request_that_has_expired_does_not_run_once_the_clock_has_been_read_again() {
    let fixture = Fixture::new(json!({}));
    let mut late = fixture.request("ttl", &[("ttl", "1000")]);
    late.id.ms -= 1_000;
    let admitted = admit(&fixture, vec![late], 1, || {
        let now = fixture.instance.endpoint.clock.now() / 1_000 + 1;
        fixture.server.expect("TIME", Some(&array(&[bulk(&now.to_string()), bulk("0")])));
        expect_acknowledgement(&fixture);
    });
    assert_eq!((admitted, fixture.instance.endpoint.stats.expired.get()), (0, 1));
}

/// Expects that the entry is moved to the dead letters, and that its caller is told by a rejection of this class.
fn expect_dead_letter(fixture: &Fixture, reason: &str, class: &str) {
    let words = fixture.server.expect("XADD s:dead:child", Some("$3\r\n1-0"));
    assert!(field(&words, "dead_reason").is_some_and(|said| said.contains(reason)), "{words:?}");
    fixture.server.expect("XTRIM s:dead:child", DONE);
    fixture.server.expect("PEXPIRE s:dead:child", DONE);
    fixture.server.expect("MEMORY USAGE s:dead:child", DONE);
    expect_rejection(fixture, class);
    assert!(fixture.reported().contains(reason));
}

fn expect_rejection(fixture: &Fixture, class: &str) {
    let words = fixture.server.expect("XADD s:replies:parent:asker NOMKSTREAM", Some("$3\r\n1-0"));
    assert_eq!(field(&words, "status"), Some("rejected"));
    assert_eq!(field(&words, "error"), Some(class));
    expect_acknowledgement(fixture);
}

#[test]
fn an_entry_that_is_no_request_becomes_a_dead_letter_and_its_caller_is_told() {
    let fixture = Fixture::new(json!({}));
    let malformed = fixture.request("content", &[]);
    let admitted = admit(&fixture, vec![malformed], 1, || {
        expect_dead_letter(&fixture, "\"content\" is missing", "RedisIPC::MalformedEntryError");
    });
    assert_eq!((admitted, fixture.instance.endpoint.stats.dead_lettered.get()), (0, 1));
}

#[test]
fn a_request_that_was_delivered_too_often_becomes_a_dead_letter_and_its_caller_is_told() {
    let fixture = Fixture::new(json!({ "consumer": { "max_deliveries": 2 } }));
    let request = fixture.request("", &[]);
    let mark = mark_of(&request, r#"[{"instance":"a","host":"web-7","pid":7,"delivery":1}]"#);
    let admitted = admit(&fixture, vec![request], 3, || {
        fixture.server.expect("XRANGE s:dead:child", Some(&array(&[mark])));
        let words = fixture.server.expect("XADD s:dead:child", Some("$3\r\n1-0"));
        assert!(field(&words, "dead_holders").is_some_and(|holders| holders.contains("web-7")), "{words:?}");
        assert_eq!(field(&words, "dead_suspect"), None);
        fixture.server.expect("XDEL s:dead:child 8-0", DONE);
        expect_rest_of_letter(&fixture);
        expect_rejection(&fixture, "RedisIPC::DeadLetteredError");
    });
    assert_eq!(admitted, 0);
    assert!(fixture.reported().contains("delivered 2 times without an answer"));
}

/// Encodes the mark `8-0` of a request.
fn mark_of(request: &RawEntry, holders: &str) -> String {
    let id = request.id.to_string();
    entry("8-0", &[("dead_id", &*id), ("dead_holders", holders), ("dead_suspect", "1")])
}

fn expect_rest_of_letter(fixture: &Fixture) {
    ["XTRIM", "PEXPIRE"].iter().for_each(|word| drop(fixture.server.expect(word, DONE)));
    fixture.server.expect("MEMORY USAGE s:dead:child", DONE);
}

/// Plays Redis while a request is marked as the letter `9-0`. `holder` is the row of XPENDING for this instance.
fn expect_mark(fixture: &Fixture, before: &[String], holder: &[String]) -> Vec<String> {
    fixture.server.expect("XRANGE s:dead:child", Some(&array(before)));
    let names = &fixture.instance.names;
    let presence = ["a", &*names.instance_id].map(|id| bulk(&format!("child:{id}:web-7:42")));
    let living = presence.into_iter().flat_map(|name| [name, bulk("1")]).collect::<Vec<_>>();
    fixture.server.expect("ZRANGE s:instances", Some(&array(&living)));
    let words = fixture.server.expect("XADD s:dead:child", Some("$3\r\n9-0"));
    expect_rest_of_letter(fixture);
    let look = fixture.server.expect("XPENDING s:inbox:child child", Some(&array(holder)));
    assert_eq!(look.last().map(String::as_str), Some(&*names.instance_id));
    words
}

fn pending(request: &RawEntry) -> String {
    array(&[bulk(&request.id.to_string()), bulk("me"), ":0".to_owned(), ":2".to_owned()])
}

#[test]
fn a_request_that_was_taken_over_is_marked_before_it_runs_and_until_it_is_answered() {
    let fixture = Fixture::new(json!({}));
    let request = fixture.request("", &[("dead_suspect", "1"), ("dead_holders", "forged")]);
    let id = request.id;
    let before = mark_of(&request, r#"[{"instance":"a","host":"web-7","pid":42,"delivery":1}]"#);
    let row = pending(&request);
    let admitted = admit(&fixture, vec![request], 3, || {
        let words = expect_mark(&fixture, &[before], &[row]);
        assert_eq!(field(&words, "dead_suspect"), Some("1"));
        assert_eq!(words.iter().filter(|word| *word == "dead_suspect" || *word == "forged").count(), 1);
        let holders: serde_json::Value =
            serde_json::from_str(field(&words, "dead_holders").unwrap()).unwrap();
        let names: Vec<_> =
            holders.as_array().unwrap().iter().map(|holder| holder["instance"].clone()).collect();
        assert_eq!(names, ["a", "gone", &*fixture.instance.names.instance_id]);
        assert_eq!(holders[2]["pid"], 42);
        assert!(field(&words, "dead_reason").unwrap().contains(r#"the process 42 on "web-7""#));
        fixture.server.expect("XDEL s:dead:child 8-0", DONE);
    });
    assert_eq!(admitted, 1);
    fixture.marks.clear().unwrap();
    fixture.sender.send(Command::Acknowledge(vec![id]));
    expect_acknowledgement(&fixture);
    fixture.nudge.receiver().recv().unwrap();
    thread::scope(|scope| {
        let clearing = scope.spawn(|| fixture.marks.clear());
        // Another instance has replaced the mark.
        fixture.server.expect("XDEL s:dead:child 9-0", Some(":0"));
        let others = mark_of(&RawEntry { id, fields: None }, "[]");
        let foreign = mark_of(&RawEntry { id: StreamId { seq: 7, ..id }, fields: None }, "[]");
        fixture.server.expect("XRANGE s:dead:child", Some(&array(&[others, foreign])));
        fixture.server.expect("XDEL s:dead:child 8-0", DONE);
        clearing.join().unwrap().unwrap();
    });
}

#[test]
fn a_request_that_another_instance_has_finished_meanwhile_loses_its_mark_and_does_not_run() {
    let fixture = Fixture::new(json!({}));
    let request = fixture.request("", &[]);
    let admitted = admit(&fixture, vec![request], 2, || drop(expect_mark(&fixture, &[], &[])));
    assert_eq!(admitted, 0);
    thread::scope(|scope| {
        let clearing = scope.spawn(|| fixture.marks.clear());
        fixture.server.expect("XDEL s:dead:child 9-0", Some(":0"));
        clearing.join().unwrap().unwrap();
    });
}

#[test]
fn a_request_runs_without_a_mark_where_redis_refuses_it_and_where_nothing_runs_twice() {
    let fixture = Fixture::new(json!({}));
    let admitted = admit(&fixture, vec![fixture.request("", &[])], 2, || {
        fixture.server.expect("XRANGE s:dead:child", Some("-NOPERM no permissions"));
    });
    assert_eq!(admitted, 1);
    assert!(fixture.reported().contains("run unmarked"));
    let fixture = Fixture::new(json!({ "consumer": { "delivery": "at_most_once" } }));
    assert_eq!(admit(&fixture, vec![fixture.request("", &[])], 2, || {}), 1);
}

#[test]
fn what_cannot_become_a_dead_letter_stays_pending() {
    let fixture = Fixture::new(json!({}));
    let malformed = fixture.request("content", &[]);
    let admitted = admit(&fixture, vec![malformed], 1, || {
        fixture.server.expect("XADD s:dead:child", Some("-OOM full"));
        ["XTRIM", "PEXPIRE", "MEMORY"].iter().for_each(|word| drop(fixture.server.expect(word, DONE)));
        assert!(fixture.reported().contains("OOM"));
    });
    assert_eq!(admitted, 0);
    // No command was sent before this.
    fixture.sender.send(Command::Acknowledge(vec![StreamId { ms: 7, seq: 7 }]));
    fixture.server.expect("XDEL s:inbox:child 7-7", DONE);
    fixture.server.expect("XACK s:inbox:child child 7-7", DONE);
}

#[test]
fn what_may_have_run_does_not_run_where_nothing_runs_twice() {
    let fixture = Fixture::new(json!({ "consumer": { "delivery": "at_most_once" } }));
    let resent = fixture.request("", &[("resent", "1")]);
    let admitted = admit(&fixture, vec![resent], 1, || {
        expect_rejection(&fixture, "RedisIPC::MayHaveRunError");
    });
    assert_eq!(admitted, 0);
}

#[test]
fn an_unreadable_entry_becomes_a_dead_letter_and_no_caller_is_told() {
    let fixture = Fixture::new(json!({}));
    let unreadable = Delivered { id: StreamId { ms: 1, seq: 1 }, deliveries: 4 };
    thread::scope(|scope| {
        scope.spawn(|| fixture.admission.give_up_unreadable(&[unreadable]));
        fixture.server.expect("XRANGE s:dead:child", Some("*0"));
        let words = fixture.server.expect("XADD s:dead:child", Some("$3\r\n1-0"));
        assert_eq!(field(&words, "dead_deliveries"), Some("4"));
        ["XTRIM", "PEXPIRE", "MEMORY"].iter().for_each(|word| drop(fixture.server.expect(word, DONE)));
        expect_acknowledgement(&fixture);
    });
}

fn question() -> Question {
    Question { content: b"1".to_vec(), to: "other".to_owned(), context: Context::default() }
}

fn ask(fixture: &Fixture, timeout: Duration) -> Arc<Ticket> {
    let ticket = fixture.calls.ask(question(), Some(timeout)).unwrap();
    fixture.server.expect("XADD s:inbox:other MINID", Some("$3\r\n5-1"));
    ["PEXPIRE", "PEXPIRE"].iter().for_each(|word| drop(fixture.server.expect(word, DONE)));
    ticket
}

fn wait(fixture: &Fixture, ticket: &Ticket) -> Outcome {
    match fixture.calls.wait(ticket, None, &Interrupt::default()) {
        Waited::Done(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_nobody_took_is_withdrawn_at_its_deadline() {
    let fixture = Fixture::new(json!({}));
    let ticket = ask(&fixture, Duration::from_millis(50));
    while ticket.sent() == Sent::Perhaps || Instant::now() < ticket.deadline {
        thread::sleep(Duration::from_millis(1));
    }
    fixture.calls.end_overdue();
    fixture.server.expect("MULTI", Some("+OK"));
    fixture.server.expect("XINFO GROUPS s:inbox:other", Some("+QUEUED"));
    fixture.server.expect("XDEL s:inbox:other 5-1", Some("+QUEUED"));
    fixture.server.expect("EXEC", Some("*2\r\n*0\r\n:1"));
    fixture.server.expect("XPENDING s:inbox:other other 5-1 5-1 1", Some("-NOGROUP No such key"));
    fixture.nudge.receiver().recv().unwrap();
    fixture.explainer.end();
    let waited = ticket.ending.wait(Instant::now() + Duration::from_secs(20), &Interrupt::default());
    let Waited::Done(outcome) = waited else { panic!("{waited:?}") };
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Timeout(Fate::Unclaimed));
}

#[test]
fn nothing_is_asked_about_a_request_whose_caller_has_gone() {
    let fixture = Fixture::new(json!({}));
    let ticket = ask(&fixture, Duration::from_secs(20));
    while ticket.sent() == Sent::Perhaps {
        thread::sleep(Duration::from_millis(1));
    }
    fixture.calls.cancel(&ticket);
    fixture.server.expect("MULTI", Some("+OK"));
    fixture.server.expect("XINFO GROUPS s:inbox:other", Some("+QUEUED"));
    fixture.server.expect("XDEL s:inbox:other 5-1", Some("+QUEUED"));
    fixture.server.expect("EXEC", Some("*2\r\n*0\r\n:1"));
    fixture.calls.ask(question(), None).unwrap();
    fixture.server.expect("XADD s:inbox:other", Some("$3\r\n5-2"));
    assert!(fixture.nudge.receiver().is_empty());
}

#[test]
fn what_becomes_of_a_call_is_unknown_where_redis_does_not_say_so() {
    let fixture = Fixture::new(json!({}));
    let ticket = ask(&fixture, Duration::from_millis(50));
    let outcome = thread::scope(|scope| {
        let outcome = scope.spawn(|| wait(&fixture, &ticket));
        let unanswered = fixture.server.next();
        let outcome = outcome.join().unwrap();
        drop(unanswered);
        outcome
    });
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::Timeout(Fate::Unknown));
}

/// Runs the reader of answers on a connection while `redis` plays Redis.
fn read(fixture: &Fixture, redis: impl FnOnce()) {
    let names = &fixture.instance.names;
    let connector = &fixture.instance.endpoint.connector;
    let connection: Connection = connector
        .opener(Purpose::Replies)
        .open_blocking(&names.replies, Duration::from_secs(10), &fixture.instance.endpoint.stop)
        .unwrap();
    /// Ends the reader, also if the test fails.
    struct Ending<'a>(&'a Fixture);
    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            self.0.instance.endpoint.stop.stop();
            self.0.reply_reader.restart();
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| fixture.reply_reader.run(Some(connection)));
        let _ending = Ending(fixture);
        fixture.server.expect("PEXPIRE s:replies:child:", DONE);
        redis();
    });
}

/// Encodes a reply to XREAD: an answer to the call with this id.
fn answer(id: &str, content: &[(&str, &str)]) -> String {
    let fields = [
        ("id", id),
        ("instance_id", "i"),
        ("status", "fulfilled"),
        ("source_group", "other"),
        ("destination_group", "child"),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().chain(content).copied().collect();
    array(&[array(&[bulk("s:replies"), array(&[entry("7-1", &fields)])])])
}

#[test]
fn an_answer_ends_its_call_and_no_other() {
    let fixture = Fixture::new(json!({}));
    let tickets = [0, 1].map(|_| Duration::from_secs(9)).map(|timeout| {
        let ticket = fixture.calls.ask(question(), Some(timeout)).unwrap();
        fixture.server.expect("XADD", Some("$3\r\n5-1"));
        if fixture.calls.ledger.len() == 1 {
            ["PEXPIRE", "PEXPIRE"].iter().for_each(|word| drop(fixture.server.expect(word, DONE)));
        }
        ticket
    });
    read(&fixture, || {
        let id = tickets[1].id.to_string();
        fixture.server.expect("XREAD COUNT", Some(&answer(&id, &[("content", "[1]")])));
        // The answer matches no call: it is late, a duplicate, or foreign.
        let read = fixture.server.expect("XREAD COUNT", Some(&answer(&id, &[("content", "[1]")])));
        assert_eq!(read.last().map(String::as_str), Some("7-1"));
        drop(fixture.server.next());
    });
    let content = wait(&fixture, &tickets[1]).unwrap().content.share().to_vec();
    assert_eq!(content, b"[1]");
    assert!(!tickets[0].ending.has_ended());
    let stats = &fixture.instance.endpoint.stats;
    assert_eq!([stats.fulfilled.get(), stats.answers_unmatched.get()], [1, 1]);
}

#[test]
fn a_malformed_answer_ends_its_call_with_an_error() {
    let fixture = Fixture::new(json!({}));
    let ticket = ask(&fixture, Duration::from_secs(9));
    read(&fixture, || {
        fixture.server.expect("XREAD", Some(&answer(&ticket.id.to_string(), &[])));
        drop(fixture.server.next());
    });
    assert_eq!(wait(&fixture, &ticket).unwrap_err().kind, ErrorKind::Malformed);
    assert!(fixture.reported().contains("malformed"));
}

/// Returns the id after which the next read requests answers. Answers that were read a second ago are trimmed before.
fn asked_after(fixture: &Fixture, reply: Option<&str>) -> String {
    let mut command = fixture.server.next();
    if command.words[0] == "XTRIM" {
        command.reply(":0");
        command = fixture.server.next();
    }
    assert_eq!(command.words[0], "XREAD");
    let after = command.words.last().cloned();
    if let Some(reply) = reply {
        command.reply(reply);
    }
    after.unwrap()
}

#[test]
fn a_reply_stream_that_vanished_is_made_again_and_read_from_its_beginning() {
    let fixture = Fixture::new(json!({}));
    read(&fixture, || {
        assert_eq!(asked_after(&fixture, Some(&answer("1", &[("content", "1")]))), "0-0");
        // The connection breaks, and the key vanishes.
        assert_eq!(asked_after(&fixture, None), "7-1");
        fixture.server.expect("PEXPIRE", Some(":0"));
        fixture.server.expect("MULTI", Some("+OK"));
        (0..3).for_each(|_| drop(fixture.server.expect("", Some("+QUEUED"))));
        fixture.server.expect("EXEC", Some("*3\r\n+OK\r\n:1\r\n:1"));
        assert_eq!(asked_after(&fixture, None), "0-0");
    });
}
