//! Tests of a batch. They need no server.

use crate::error::{ErrorKind, Fate};
use crate::foundation::net::address::Address;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::fake_server::endpoint_of;
use crate::foundation::redis::pipeline::batch::{Batch, Server};
use crate::foundation::redis::pipeline::carried::Leftover;
use crate::foundation::redis::pipeline::fake::{Desk, Event, Note, note};
use crossbeam_channel::Receiver;
use redis::Value;
use serde_json::json;
use std::sync::Arc;

const TAKEN: &str = "+OK";

fn desk() -> (Desk, Receiver<Event>) {
    Desk::new(endpoint_of(json!({})))
}

fn reply(text: &str) -> Value {
    redis::parse_redis_value(format!("{text}\r\n").as_bytes()).unwrap()
}

fn replies(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|text| reply(text)).collect()
}

fn encode(notes: &[&'static str], desk: &Desk) -> (Batch<Note>, Vec<u8>) {
    let (notes, mut bytes) = (notes.iter().copied().map(note).collect(), Vec::new());
    let server = Server { route: &Route::Server, connection: 7 };
    (Batch::encode(notes, &mut bytes, server, &mut (), desk), bytes)
}

fn settle(notes: &[&'static str], texts: &[&str]) -> (Leftover<Note>, Vec<Event>) {
    let (desk, told) = desk();
    let (batch, _) = encode(notes, &desk);
    assert_eq!(batch.replies, texts.len());
    let leftover = batch.settle(&replies(texts), &desk);
    (leftover, told.try_iter().collect())
}

fn names(notes: &[Note]) -> Vec<&'static str> {
    notes.iter().map(|note| note.name).collect()
}

#[test]
fn each_part_gets_its_own_replies_and_the_tail_the_rest() {
    let (leftover, events) = settle(&["first", "unwanted", "b"], &[TAKEN, TAKEN, ":-1"]);
    assert_eq!(events, [Event::Taken("first"), Event::Taken("b")]);
    assert_eq!(names(&leftover.follow), ["second", "end again"]);
}

#[test]
fn to_a_node_that_a_slot_moves_to_each_command_has_asking_before_it() {
    let (desk, told) = desk();
    let route = Route::Asking(Arc::new(Address::Tcp("h".into(), 1)));
    let (server, mut bytes) = (Server { route: &route, connection: 7 }, Vec::new());
    let batch = Batch::encode(vec![note("a"), note("b")], &mut bytes, server, &mut (), &desk);
    assert_eq!(String::from_utf8_lossy(&bytes).matches("ASKING").count(), 3);
    assert_eq!(batch.replies, 6);
    batch.settle(&replies(&[TAKEN, TAKEN, TAKEN, TAKEN, TAKEN, TAKEN]), &desk);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Event::Taken("a"), Event::Taken("b")]);
}

#[test]
fn a_refusal_is_tried_again_here_or_later_or_is_final() {
    let said = ["-LOADING wait", "-OOM full", "-ERR no", TAKEN];
    let (leftover, events) = settle(&["here", "later", "refused"], &said);
    assert_eq!(names(&leftover.again), ["here"]);
    assert!(leftover.refusal.is_some_and(|error| error.kind == ErrorKind::Connection(Fate::NotSent)));
    assert_eq!(names(&leftover.later), ["later"]);
    assert!(leftover.deferral.is_some_and(|error| error.kind == ErrorKind::Command(Fate::NotSent)));
    assert_eq!((events, names(&leftover.follow)), (vec![Event::Refused("refused")], vec!["instead"]));
}

#[test]
fn what_does_not_wait_for_redis_is_refused_at_once() {
    let (desk, told) = desk();
    let mut leftover = Leftover::default();
    let error = reply("-OOM full").extract_error().unwrap_err();
    leftover.refuse(Note { waits: false, ..note("hurried") }, &error, &desk);
    assert!(leftover.later.is_empty());
    assert_eq!(told.try_recv(), Ok(Event::Refused("hurried")));
}

#[test]
fn a_redirection_counts_in_a_cluster_only() {
    let moved = reply("-MOVED 1 h:2").extract_error().unwrap_err();
    let (alone, told) = desk();
    let mut leftover = Leftover::default();
    leftover.refuse(note("a"), &moved, &alone);
    assert_eq!((leftover.elsewhere.len(), told.try_recv()), (0, Ok(Event::Refused("a"))));
    let (of_cluster, _told) = Desk::new(endpoint_of(json!({ "cluster": ["redis://h:1"] })));
    leftover.refuse(note("a"), &moved, &of_cluster);
    assert_eq!(names(&leftover.elsewhere), ["a"]);
}

#[test]
fn after_a_break_it_is_known_what_redis_cannot_have_executed() {
    let (desk, told) = desk();
    let (batch, bytes) = encode(&["answered", "whole", "part", "unsent"], &desk);
    let end = |name: &str| {
        let text = String::from_utf8_lossy(&bytes);
        text.find(name).unwrap() + name.len()
    };
    // The name of "part" was written, but not its padding.
    let remains = batch.settle_broken(&replies(&[TAKEN]), end("part"), &desk);
    let broken = [("whole", true), ("part", false), ("unsent", false)];
    let mut events = vec![Event::Taken("answered")];
    events.extend(broken.map(|(name, may_be_executed)| Event::Broken(name, may_be_executed)));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), events);
    assert_eq!(names(&remains.broken.unanswered), ["whole", "part"]);
    assert_eq!(names(&remains.broken.unsent), ["unsent", "end"]);
    assert!(remains.culprit.is_none());
}

#[test]
fn what_redis_closes_the_connection_over_is_told_and_what_follows_was_not_executed() {
    let (desk, told) = desk();
    let (batch, _) = encode(&["loaded", "culprit", "later"], &desk);
    let said = replies(&["-LOADING wait", "-ERR Protocol error: invalid bulk length"]);
    let remains = batch.settle_broken(&said, usize::MAX, &desk);
    assert_eq!(names(&remains.broken.refused), ["loaded"]);
    assert!(remains.culprit.is_some_and(|(note, error)| {
        note.name == "culprit" && error.message.contains("proto-max-bulk-len")
    }));
    assert!(remains.broken.unanswered.is_empty());
    assert_eq!(names(&remains.broken.unsent), ["later", "end"]);
    let events = [Event::Broken("culprit", false), Event::Broken("later", false)];
    assert_eq!(told.try_iter().collect::<Vec<_>>(), events);
}
