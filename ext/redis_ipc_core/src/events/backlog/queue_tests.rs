//! Tests of the order in which the backlog hands out events and losses.

use crate::events::backlog::queue::{Backlog, Limits};
use crate::events::common::in_flight::InFlight;
use crate::events::common::live_options::{CHANNEL, LiveOrder, Overflow};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::waiting::Interrupt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROOM: Limits = Limits { events: 1_000, bytes: 1 << 20 };
const MS: Duration = Duration::from_millis(1);

fn backlog(order: LiveOrder, overflow: Overflow, limits: Limits) -> Backlog {
    Backlog::new(order != LiveOrder::None, overflow, limits, "all".to_owned())
}

/// Makes an event of a channel. The first letter of its name is the channel: "a1" is an event of "a".
fn event(name: &str) -> Arc<InFlight> {
    let (channel, number) = name.split_at(1);
    let fields = Fields::exactly(&[(CHANNEL.as_bytes(), channel.as_bytes()), (b"data", number.as_bytes())]);
    let ms = number.parse().unwrap();
    let mut event = InFlight::new(StreamId { ms, seq: 0 }, fields, 1, ms);
    event.line = Some(u64::from(channel.as_bytes()[0]));
    Arc::new(event)
}

fn push(backlog: &Backlog, names: &str) -> bool {
    backlog.push(&mut names.split(' ').map(event).collect())
}

fn loss(at_most: u64) -> Loss {
    let (source, node) = ("all".to_owned(), "here".to_owned());
    Loss {
        source,
        node,
        cause: Cause::Disconnected,
        since_ms: None,
        until_ms: 9,
        at_most: Some(at_most),
        is_exact: false,
    }
}

fn name(event: &InFlight) -> String {
    match &event.loss {
        Some(loss) => format!("-{}:{}", loss.source, loss.at_most.unwrap()),
        None => event.fields.iter().map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect(),
    }
}

/// Takes what may begin now. Returns it, and a text that shows it.
fn take(backlog: &Backlog, most: usize) -> (Vec<Arc<InFlight>>, String) {
    let taken = backlog.take_now_for_test(most);
    let told = names(&taken);
    (taken, told)
}

fn done(backlog: &Backlog, events: &[Arc<InFlight>]) {
    assert!(events.iter().all(|event| event.finish()));
    backlog.finish(events, MS);
}

/// Handles everything one by one. Returns a text that shows the order.
fn drain(backlog: &Backlog) -> String {
    let mut told = Vec::new();
    loop {
        let (events, name) = take(backlog, 1);
        if events.is_empty() {
            return told.join(" ");
        }
        done(backlog, &events);
        told.push(name);
    }
}

fn names(events: &[Arc<InFlight>]) -> String {
    events.iter().map(|event| name(event)).collect::<Vec<_>>().join(" ")
}

#[test]
fn events_of_a_channel_are_handled_one_after_the_other_and_those_of_others_at_the_same_time() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, ROOM);
    push(&backlog, "a1 a2 b3 a4 c5");
    let (first, told) = take(&backlog, 2);
    assert_eq!(told, "a1 a2");
    assert_eq!(take(&backlog, 9).1, "b3 c5");
    assert_eq!(take(&backlog, 9).1, "", "the rest of a waits");
    done(&backlog, &first);
    assert_eq!(take(&backlog, 9).1, "a4");
}

#[test]
fn without_an_order_all_may_be_handled_at_the_same_time() {
    let backlog = backlog(LiveOrder::None, Overflow::DropOldest, ROOM);
    let mut events: Vec<Arc<InFlight>> = ["a1", "a2", "b3"]
        .map(|name| {
            let mut event = Arc::into_inner(event(name)).unwrap();
            event.line = None;
            Arc::new(event)
        })
        .into();
    backlog.push(&mut events);
    assert_eq!([1, 1, 1].map(|most| take(&backlog, most).1), ["a1", "a2", "b3"]);
}

#[test]
fn what_is_given_back_comes_first_again() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, ROOM);
    push(&backlog, "a1 a2 a3");
    let (events, _) = take(&backlog, 2);
    backlog.give_back(&events);
    assert_eq!(drain(&backlog), "a1 a2 a3");
}

#[test]
fn a_loss_is_told_after_all_before_it_is_done_and_before_any_after_it_begins() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, ROOM);
    push(&backlog, "a1 b2");
    backlog.push_loss(loss(7));
    push(&backlog, "b3 c4");
    let ((a, _), (b, _)) = (take(&backlog, 1), take(&backlog, 1));
    done(&backlog, &b);
    assert_eq!(take(&backlog, 9).1, "", "a1 runs");
    done(&backlog, &a);
    let (lost, told) = take(&backlog, 9);
    assert_eq!(told, "-all:7");
    assert_eq!(take(&backlog, 9).1, "", "it is being told");
    backlog.give_back(&lost);
    assert_eq!(drain(&backlog), "-all:7 b3 c4", "it was not told");
    backlog.push_loss(loss(8));
    assert_eq!(drain(&backlog), "-all:8");
    assert_eq!(backlog.counts().losses, 2);
}

#[test]
fn a_failed_event_holds_up_its_channel_until_it_is_tried_again() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, ROOM);
    push(&backlog, "a1 a2 b3");
    let (events, _) = take(&backlog, 1);
    assert!(events[0].fail());
    backlog.rest(&events[0], Instant::now() + Duration::from_secs(60));
    backlog.push_loss(loss(1));
    assert_eq!(drain(&backlog), "b3", "neither a2 nor the loss");
    let resting = backlog.counts().resting;
    assert_eq!(resting, 1);
    let again = self::backlog(LiveOrder::Channel, Overflow::DropOldest, ROOM);
    push(&again, "a1 a2");
    let (events, _) = take(&again, 1);
    assert!(events[0].fail());
    again.rest(&events[0], Instant::now());
    let (events, told) = take(&again, 1);
    assert_eq!((told.as_str(), events[0].deliveries), ("a1", 2));
    done(&again, &events);
    assert_eq!(drain(&again), "a2");
}

#[test]
fn the_oldest_are_dropped_and_told_in_their_place() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, Limits { events: 3, bytes: 1 << 20 });
    push(&backlog, "a1 a2 b3 b4");
    assert_eq!(drain(&backlog), "-a:1 a2 b3 b4");
    push(&backlog, "a1");
    let (running, _) = take(&backlog, 1);
    push(&backlog, "a2 b3 a4 c5 c6");
    assert_eq!(take(&backlog, 9).1, "", "what is missing comes after a1");
    done(&backlog, &running);
    assert_eq!(drain(&backlog), "-all:2 a4 c5 c6");
    assert_eq!(backlog.counts().dropped, 3);
}

#[test]
fn what_was_dropped_after_a_loss_that_waits_is_told_after_it() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, Limits { events: 2, bytes: 1 << 20 });
    backlog.push_loss(loss(7));
    push(&backlog, "a1 a2 a3 a4");
    assert_eq!(drain(&backlog), "-all:7 -a:2 a3 a4");
}

#[test]
fn the_newest_are_dropped_until_a_part_of_the_room_is_free() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropNewest, Limits { events: 32, bytes: 1 << 20 });
    let names =
        |range: std::ops::Range<u32>| range.map(|number| format!("a{number}")).collect::<Vec<_>>().join(" ");
    push(&backlog, &names(0..34));
    let (events, _) = take(&backlog, 2);
    push(&backlog, "a34");
    done(&backlog, &events);
    let (events, _) = take(&backlog, 1);
    push(&backlog, "a35");
    done(&backlog, &events);
    assert_eq!(drain(&backlog), format!("{} -a:3 a35", names(3..32)));
}

#[test]
fn bytes_count_as_events_do_but_one_event_always_fits() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, Limits { events: 100, bytes: 30 });
    // Each event has 13 bytes, with the names of its fields.
    push(&backlog, "a1 a2 a3");
    assert_eq!(drain(&backlog), "-a:1 a2 a3");
    let small = self::backlog(LiveOrder::Channel, Overflow::DropOldest, Limits { events: 100, bytes: 1 });
    push(&small, "a1 a2");
    assert_eq!(drain(&small), "-a:1 a2");
}

#[test]
fn who_reads_waits_for_room_if_nothing_may_be_dropped() {
    let backlog =
        Arc::new(backlog(LiveOrder::Channel, Overflow::Block, Limits { events: 2, bytes: 1 << 20 }));
    assert!(!push(&backlog, "a1 a2"));
    let reader = {
        let backlog = Arc::clone(&backlog);
        std::thread::spawn(move || push(&backlog, "a3 a4"))
    };
    while !backlog.is_awaited() {
        std::thread::yield_now();
    }
    let mut told = Vec::new();
    while told.len() < 4 {
        let events = backlog.take(1, &Interrupt::default()).unwrap();
        told.push(names(&events));
        done(&backlog, &events);
    }
    assert_eq!(told.join(" "), "a1 a2 a3 a4");
    assert!(reader.join().unwrap(), "it had to wait");
    assert_eq!(backlog.counts().dropped, 0);
}

#[test]
fn a_reader_that_waits_for_room_ends_with_the_consumer() {
    let backlog =
        Arc::new(backlog(LiveOrder::Channel, Overflow::Block, Limits { events: 1, bytes: 1 << 20 }));
    push(&backlog, "a1");
    let reader = {
        let backlog = Arc::clone(&backlog);
        std::thread::spawn(move || push(&backlog, "a2"))
    };
    backlog.close();
    reader.join().unwrap();
    assert!(backlog.take(1, &Interrupt::default()).is_none());
    assert_eq!((backlog.counts().dropped, backlog.counts().waiting), (2, 0));
}

#[test]
fn a_batch_is_what_came_in_time_and_ends_before_a_loss() {
    let backlog = backlog(LiveOrder::Source, Overflow::DropOldest, ROOM);
    let batch = |within| names(&backlog.take_batch(3, within, &Interrupt::default()).unwrap());
    push(&backlog, "a1 a2 a3 a4");
    assert_eq!(batch(Duration::from_secs(60)), "a1 a2 a3");
    let second = self::backlog(LiveOrder::Source, Overflow::DropOldest, ROOM);
    push(&second, "a1");
    assert_eq!(names(&second.take_batch(3, MS, &Interrupt::default()).unwrap()), "a1");
    let third = self::backlog(LiveOrder::Source, Overflow::DropOldest, ROOM);
    push(&third, "a1");
    third.push_loss(loss(2));
    push(&third, "a2");
    assert_eq!(names(&third.take_batch(3, Duration::from_secs(60), &Interrupt::default()).unwrap()), "a1");
}

#[test]
fn a_pause_hands_nothing_out() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, ROOM);
    backlog.pause(true);
    push(&backlog, "a1");
    assert!(backlog.take_ready().is_none());
    backlog.pause(false);
    assert_eq!(backlog.take_ready().map(|event| name(&event)), Some("a1".to_owned()));
}

#[test]
fn a_fiber_that_is_free_is_given_no_loss() {
    let backlog = backlog(LiveOrder::Channel, Overflow::DropOldest, ROOM);
    backlog.push_loss(loss(1));
    assert!(backlog.take_ready().is_none());
    assert_eq!(drain(&backlog), "-all:1");
}

/// In every sequence of operations: the events of a channel run in their order, losses are reported in their places,
/// and each event is either handled or reported as missing.
#[test]
fn each_event_is_handled_or_told_as_missing() {
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for round in 0..300 {
        let overflow = [Overflow::DropOldest, Overflow::DropNewest][round % 2];
        let backlog = backlog(LiveOrder::Channel, overflow, Limits { events: 20, bytes: 1 << 20 });
        let (mut sent, mut handled, mut missing) = (0, 0, 0);
        let mut last = [0_u64; 3];
        let mut running: Vec<Vec<Arc<InFlight>>> = Vec::new();
        let end = |events: &[Arc<InFlight>], last: &mut [u64; 3], handled: &mut u64, missing: &mut u64| {
            for event in events {
                match &event.loss {
                    Some(loss) => *missing += loss.at_most.unwrap(),
                    None => {
                        *handled += 1;
                        let channel = (event.line.unwrap() - u64::from(b'a')) as usize;
                        assert!(event.id.ms > last[channel], "out of order");
                        last[channel] = event.id.ms;
                    }
                }
            }
            done(&backlog, events);
        };
        for _ in 0..300 {
            match random(6) {
                0..=2 => {
                    let names = (0..random(6) + 1).map(|_| {
                        sent += 1;
                        format!("{}{sent}", [b'a', b'b', b'c'][random(3) as usize] as char)
                    });
                    push(&backlog, &names.collect::<Vec<_>>().join(" "));
                }
                3 => {
                    let (events, _) = take(&backlog, random(5) as usize + 1);
                    if !events.is_empty() {
                        running.push(events);
                    }
                }
                4 if !running.is_empty() => {
                    let events = running.swap_remove(random(running.len() as u64) as usize);
                    end(&events, &mut last, &mut handled, &mut missing);
                }
                5 if !running.is_empty() && random(4) == 0 => {
                    backlog.give_back(&running.swap_remove(random(running.len() as u64) as usize));
                }
                _ => {}
            }
        }
        for events in running {
            end(&events, &mut last, &mut handled, &mut missing);
        }
        loop {
            let (events, _) = take(&backlog, 9);
            if events.is_empty() {
                break;
            }
            end(&events, &mut last, &mut handled, &mut missing);
        }
        assert_eq!(handled + missing, sent, "round {round}");
        assert_eq!(backlog.counts().dropped, missing);
        let counts = backlog.counts();
        assert_eq!((counts.waiting, counts.running, counts.bytes), (0, 0, 0));
    }
}

#[test]
fn an_event_that_is_tried_again_comes_before_one_that_was_taken_with_it_and_is_given_back_later() {
    let backlog = backlog(LiveOrder::Source, Overflow::DropOldest, ROOM);
    push(&backlog, "a1 a2 a3");
    let (taken, _) = take(&backlog, 2);
    assert!(taken[0].fail());
    backlog.rest(&taken[0], Instant::now());
    assert_eq!(take(&backlog, 1).1, "", "another one of its line runs");
    backlog.give_back(&taken[1..]);
    assert_eq!(drain(&backlog), "a1 a2 a3");
}

#[test]
fn an_event_that_stands_alone_comes_after_all_before_it_and_before_all_after_it() {
    let backlog = backlog(LiveOrder::Channel, Overflow::Block, ROOM);
    let mut alone = Arc::into_inner(event("b2")).unwrap();
    alone.stands_alone = true;
    let mut events = [event("a1"), Arc::new(alone), event("c3"), event("a4")].into();
    backlog.offer(&mut events, Instant::now());
    for expected in ["a1", "b2"] {
        let (taken, told) = take(&backlog, 9);
        assert_eq!((told.as_str(), take(&backlog, 9).1.as_str()), (expected, ""));
        done(&backlog, &taken);
    }
    assert_eq!(drain(&backlog), "c3 a4");
}

#[test]
fn what_is_offered_waits_for_room_as_long_as_is_said() {
    let backlog = backlog(LiveOrder::Source, Overflow::Block, Limits { events: 2, bytes: 1 << 20 });
    let mut events = ["a1", "a2", "a3"].map(event).into();
    backlog.offer(&mut events, Instant::now() + 5 * MS);
    assert_eq!(events.len(), 1);
    let (taken, _) = take(&backlog, 2);
    done(&backlog, &taken);
    backlog.offer(&mut events, Instant::now());
    assert!(events.is_empty());
    backlog.close();
    let mut events = [event("a4")].into();
    backlog.offer(&mut events, Instant::now() + 60_000 * MS);
    assert_eq!(events.len(), 1);
}
