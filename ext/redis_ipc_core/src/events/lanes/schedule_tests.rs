//! Tests of the schedule: which events wait for which, and which reader reads what.

use crate::events::common::in_flight::{InFlight, InLane};
use crate::events::lanes::checkpoint::{Checkpoint, Starts, Tries};
use crate::events::lanes::protocol::{Claim, Share};
use crate::events::lanes::schedule::{Candidate, Role, Schedule, Start};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::waiting::Interrupt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_secs(60);

fn id(ms: u64) -> StreamId {
    StreamId { ms, seq: 0 }
}

/// Claims lanes, each at a position.
fn claim(schedule: &Schedule, epoch: u64, lanes: &[(u16, u64)]) {
    let lanes = lanes.iter();
    let begin =
        |(lane, position): &(u16, u64)| (*lane, Checkpoint::starting_at(id(*position), Some(*position)));
    claim_after(0, schedule, epoch, lanes.map(begin).collect());
}

/// Claims lanes after this many owners in a row have died.
fn claim_after(crashes: u32, schedule: &Schedule, epoch: u64, lanes: Vec<(u16, Checkpoint)>) {
    let claim = |(lane, checkpoint)| Claim { lane, epoch, checkpoint: Some(checkpoint), crashes };
    let held = schedule.held();
    let share = Share {
        instances: 1,
        target: 64,
        is_new: false,
        start: Starts::default(),
        kept: held.iter().map(|(lane, _)| *lane).collect(),
        claims: lanes.into_iter().map(claim).collect(),
        decisions: Vec::new(),
    };
    schedule.renewed(&share, &held, Instant::now(), LEASE, 0);
}

/// Loses every lane.
fn lose(schedule: &Schedule) {
    let share = Share {
        instances: 2,
        target: 0,
        is_new: false,
        start: Starts::default(),
        kept: Vec::new(),
        claims: Vec::new(),
        decisions: Vec::new(),
    };
    schedule.renewed(&share, &schedule.held(), Instant::now(), LEASE, 0);
}

/// Makes the event `ms` of a lane and a key.
fn event(ms: u64, lane: u16, key: u64) -> Candidate {
    let mut event = InFlight::new(id(ms), Fields::default(), 1, 0);
    event.spot = Some(InLane { lane, epoch: 0, key, may_have_run: false });
    Candidate { event, ordinal: Some(ms), refusal: None }
}

fn start(schedule: &Schedule, role: Role) -> Option<Start> {
    schedule.wait_for_room(role, Duration::ZERO)
}

/// Takes up to `most` events, without waiting.
fn take(schedule: &Schedule, most: usize) -> Vec<Arc<InFlight>> {
    (0..most).map_while(|_| schedule.take_ready()).collect()
}

fn numbers(events: &[Arc<InFlight>]) -> Vec<u64> {
    events.iter().map(|event| event.id.ms).collect()
}

fn done(schedule: &Schedule, event: &Arc<InFlight>) {
    event.finish();
    schedule.finish(std::slice::from_ref(event), None);
}

/// Takes the next event of a careful lane, after its try was counted.
fn take_trial(schedule: &Schedule) -> Option<Arc<InFlight>> {
    assert!(schedule.take_ready().is_none(), "it is counted before it begins");
    schedule.counted(&schedule.trials());
    schedule.take_ready()
}

#[test]
fn a_key_has_one_event_at_a_time_and_the_others_go_on() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, vec![event(1, 0, 7), event(2, 0, 7), event(3, 0, 8)], true);
    let first = take(&schedule, 9);
    assert_eq!(numbers(&first), [1, 3]);
    done(&schedule, &first[0]);
    assert_eq!(numbers(&take(&schedule, 9)), [2]);
}

#[test]
fn what_is_given_back_comes_first_and_in_its_order() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, (1..5).map(|ms| event(ms, 0, 7)).collect(), true);
    let taken = schedule.take(3, &Interrupt::default()).unwrap();
    assert_eq!(numbers(&taken), [1, 2, 3]);
    // The first event fails, and its worker gives the others back.
    taken[0].fail();
    schedule.rest(&taken[0], Tries { count: 1, is_held: false });
    schedule.give_back(&taken[1..]);
    assert!(take(&schedule, 9).is_empty(), "the key waits");
    schedule.again(Arc::new(taken[0].again()));
    let again = schedule.take(9, &Interrupt::default()).unwrap();
    assert_eq!(numbers(&again), [1, 2, 3, 4]);
    assert_eq!(again[0].deliveries, 2);
}

#[test]
fn what_is_given_back_in_parts_is_in_its_order_again() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, (1..6).map(|ms| event(ms, 0, 7)).collect(), true);
    let taken = schedule.take(4, &Interrupt::default()).unwrap();
    // The first event of a batch fails, and the others are given back part by part.
    taken[0].fail();
    schedule.rest(&taken[0], Tries { count: 1, is_held: false });
    schedule.give_back(&taken[1..2]);
    schedule.give_back(&taken[2..]);
    schedule.again(Arc::new(taken[0].again()));
    assert_eq!(numbers(&schedule.take(9, &Interrupt::default()).unwrap()), [1, 2, 3, 4, 5]);
}

#[test]
fn events_of_a_key_that_failed_together_are_tried_again_in_their_order() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, (1..5).map(|ms| event(ms, 0, 7)).collect(), true);
    let taken = schedule.take(3, &Interrupt::default()).unwrap();
    for failed in &taken {
        failed.fail();
        schedule.rest(failed, Tries { count: 1, is_held: false });
    }
    schedule.again(Arc::new(taken[1].again()));
    assert!(take(&schedule, 9).is_empty(), "the first one still rests");
    schedule.again(Arc::new(taken[0].again()));
    let again = schedule.take(9, &Interrupt::default()).unwrap();
    assert_eq!(numbers(&again), [1, 2], "the third one still rests");
    again.iter().for_each(|event| done(&schedule, event));
    assert!(take(&schedule, 9).is_empty(), "the third one still rests");
    schedule.again(Arc::new(taken[2].again()));
    assert_eq!(numbers(&schedule.take(9, &Interrupt::default()).unwrap()), [3, 4]);
}

#[test]
fn a_dead_letter_that_is_tried_again_waits_for_none_that_holds_its_key_later() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, (1..4).map(|ms| event(ms, 0, 7)).collect(), true);
    let taken = schedule.take(2, &Interrupt::default()).unwrap();
    for held in &taken {
        held.fail();
        schedule.rest(held, Tries { count: 5, is_held: true });
    }
    schedule.try_letter(InFlight::new(id(1), Fields::default(), 1, 0), 0, 7);
    let tried = take(&schedule, 9);
    assert_eq!(numbers(&tried), [1]);
    done(&schedule, &tried[0]);
    assert!(take(&schedule, 9).is_empty(), "the second one still holds the key");
    schedule.drop_held(0, id(2));
    assert_eq!(numbers(&take(&schedule, 9)), [3]);
}

#[test]
fn a_lane_that_catches_up_misses_nothing_that_the_head_reads_meanwhile() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 10)]);
    let head = start(&schedule, Role::Head).unwrap();
    assert_eq!(head.after, id(10));
    claim(&schedule, 2, &[(1, 0)]);
    let behind = start(&schedule, Role::CatchUp).unwrap();
    assert_eq!((behind.after, behind.head), (id(0), id(10)));
    // The catch-up reader reads up to 9, the end of the stream. Before it records that, the head reads 11 and 12.
    schedule.admit(Role::Head, head, vec![event(11, 0, 1), event(12, 1, 2)], true);
    schedule.admit(Role::CatchUp, behind, vec![event(9, 1, 3)], true);
    let behind = start(&schedule, Role::CatchUp).unwrap();
    assert_eq!(behind.after, id(9));
    schedule.admit(Role::CatchUp, behind, vec![event(11, 0, 1), event(12, 1, 2)], true);
    assert_eq!(start(&schedule, Role::CatchUp), None, "it has caught up");
    assert_eq!(numbers(&take(&schedule, 9)), [11, 9, 12]);
    let head = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, head, vec![event(13, 1, 4)], true);
    assert_eq!(numbers(&take(&schedule, 9)), [13]);
}

#[test]
fn a_full_lane_stops_being_read_and_no_other_does() {
    let schedule = Schedule::new(32, 5, 0);
    claim(&schedule, 1, &[(0, 0), (1, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    let hot = (1..=20).map(|ms| event(ms, 0, 7));
    schedule.admit(Role::Head, from, hot.chain([event(21, 1, 8)]).collect(), true);
    let mut taken = take(&schedule, 9);
    assert_eq!(numbers(&taken), [1, 21]);
    let mut first = taken.remove(0);
    assert_eq!(start(&schedule, Role::CatchUp), None, "the lane 0 is full");
    assert!(start(&schedule, Role::Head).is_some());
    // Once half of the lane is done, it is read again from where reading stopped.
    let mut next = 1;
    while start(&schedule, Role::CatchUp).is_none() {
        done(&schedule, &first);
        next += 1;
        first = take(&schedule, 1).remove(0);
        assert_eq!(first.id.ms, next);
    }
    assert_eq!(start(&schedule, Role::CatchUp).unwrap().after, id(16));
    assert_eq!(next, 10);
}

#[test]
fn a_key_waits_for_a_handler_that_runs_on_after_its_lane_was_lost() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, vec![event(1, 0, 7)], true);
    let old = take(&schedule, 1);
    lose(&schedule);
    claim(&schedule, 2, &[(0, 0)]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, vec![event(1, 0, 7), event(2, 0, 8)], true);
    assert_eq!(numbers(&take(&schedule, 9)), [2]);
    assert!(old[0].finish());
    assert_eq!(schedule.finish(&old, None), 1, "it counts for nobody");
    let again = take(&schedule, 9);
    assert_eq!(numbers(&again), [1]);
    assert_eq!(again[0].spot.unwrap().epoch, 2);
}

#[test]
fn nothing_begins_after_the_lease_and_it_begins_once_that_is_renewed() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let held = schedule.held();
    let share = |kept| Share {
        instances: 1,
        target: 1,
        is_new: false,
        start: Starts::default(),
        kept,
        claims: Vec::new(),
        decisions: Vec::new(),
    };
    let Some(past) = Instant::now().checked_sub(LEASE * 2) else { return };
    lose(&schedule);
    let claims = vec![Claim { lane: 0, epoch: 2, checkpoint: None, crashes: 0 }];
    schedule.renewed(&Share { claims, ..share(Vec::new()) }, &held, past, LEASE, 0);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, vec![event(1, 0, 7)], true);
    assert!(take(&schedule, 9).is_empty(), "its lease is over");
    schedule.renewed(&share(vec![0]), &schedule.held(), Instant::now(), LEASE, 0);
    assert_eq!(numbers(&take(&schedule, 9)), [1]);
}

/// Returns the reader of a partition whose owner has the epoch 1.
fn reader_of(lane: u16) -> Role {
    Role::Partition(lane, 1)
}

#[test]
fn each_partition_is_read_from_where_it_is() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 10), (1, 3)]);
    let [first, second] = [0, 1].map(|lane| start(&schedule, reader_of(lane)).unwrap());
    assert_eq!((first.after, second.after), (id(10), id(3)));
    // Both streams may have the same ids.
    schedule.admit(reader_of(0), first, vec![event(11, 0, 7)], true);
    schedule.admit(reader_of(1), second, vec![event(11, 1, 8), event(12, 1, 9)], true);
    assert_eq!(numbers(&take(&schedule, 9)), [11, 11, 12]);
    let after = [0, 1].map(|lane| start(&schedule, reader_of(lane)).unwrap().after);
    assert_eq!(after, [id(11), id(12)]);
}

#[test]
fn a_partition_that_lost_entries_changes_no_other() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 10), (1, 3)]);
    let from = start(&schedule, reader_of(1)).unwrap();
    let gap = schedule.skip(reader_of(1), from, id(8), 8).unwrap();
    assert_eq!((gap.after, gap.at_most, gap.is_exact), (id(3), Some(5), true));
    assert!(schedule.roll_back(reader_of(1), id(2), Some(2)));
    let after = [0, 1].map(|lane| start(&schedule, reader_of(lane)).unwrap().after);
    assert_eq!(after, [id(10), id(2)]);
    assert!(!schedule.roll_back(reader_of(0), id(10), Some(10)), "it has not read more");
}

#[test]
fn a_full_partition_is_read_on_once_it_has_room_and_no_other_waits_for_it() {
    let schedule = Schedule::new(32, 5, 0);
    claim(&schedule, 1, &[(0, 0), (1, 0)]);
    let [first, second] = [0, 1].map(|lane| start(&schedule, reader_of(lane)).unwrap());
    assert_eq!(schedule.room(reader_of(0)).events, 16);
    schedule.admit(reader_of(0), first, (1..=20).map(|ms| event(ms, 0, 7)).collect(), false);
    assert_eq!(start(&schedule, reader_of(0)), None, "it is full");
    assert_eq!(schedule.room(reader_of(0)).events, 0);
    schedule.admit(reader_of(1), second, vec![event(1, 1, 8)], true);
    for _ in 0..9 {
        let events = take(&schedule, 9);
        events.iter().for_each(|event| done(&schedule, event));
    }
    assert_eq!(start(&schedule, reader_of(0)).unwrap().after, id(16));
}

#[test]
fn what_the_reader_of_an_owner_before_has_read_is_dropped() {
    let schedule = Schedule::new(100, 5, 0);
    claim(&schedule, 1, &[(0, 0)]);
    let from = start(&schedule, reader_of(0)).unwrap();
    lose(&schedule);
    claim(&schedule, 2, &[(0, 0)]);
    schedule.admit(reader_of(0), from, vec![event(1, 0, 7)], true);
    assert!(take(&schedule, 9).is_empty());
    assert_eq!(start(&schedule, reader_of(0)), None);
    assert!(start(&schedule, Role::Partition(0, 2)).is_some());
}

#[test]
fn the_other_keys_of_a_careful_lane_go_on_if_it_proves_harmless_while_its_event_runs() {
    let schedule = Schedule::new(1_000, 5, 0);
    claim_after(2, &schedule, 1, vec![(0, Checkpoint::default())]);
    let from = start(&schedule, Role::Head).unwrap();
    let mut events: Vec<Candidate> = (1..=102).map(|ms| event(ms, 0, ms)).collect();
    events[101].refusal = Some("no event".to_owned());
    schedule.admit(Role::Head, from, events, true);
    for ms in 1..=99 {
        let event = take_trial(&schedule).unwrap();
        assert_eq!(event.id.ms, ms);
        done(&schedule, &event);
    }
    let last = take_trial(&schedule).unwrap();
    assert!(schedule.take_ready().is_none(), "one at a time");
    schedule.take_condemned().iter().for_each(|(event, _)| schedule.dismiss(event));
    schedule.saved(schedule.saves(false), &[]);
    done(&schedule, &last);
    assert_eq!(numbers(&take(&schedule, 9)), [101]);
}

#[test]
fn lanes_that_wait_for_a_suspect_cost_the_others_no_time() {
    let schedule = Schedule::new(100_000, 5, 0);
    let (lanes, keys) = (4, 2_000);
    let of_lane = |lane: u16| (0..keys).map(move |key| u64::from(lane) + 1 + key * u64::from(lanes));
    let tried = |lane| {
        let left = of_lane(lane).map(|ms| (id(ms), Tries { count: 1, is_held: false })).collect();
        (lane, Checkpoint { left, ..Checkpoint::default() })
    };
    claim_after(2, &schedule, 1, (0..lanes).map(tried).collect());
    let from = start(&schedule, Role::Head).unwrap();
    let mut events: Vec<Candidate> =
        (0..lanes).flat_map(|lane| of_lane(lane).map(move |ms| event(ms, lane, ms))).collect();
    events.sort_by_key(|one| one.event.id);
    schedule.admit(Role::Head, from, events, true);
    let began = Instant::now();
    for _ in 0..20 {
        let event = take_trial(&schedule).unwrap();
        assert!(schedule.take_ready().is_none(), "one at a time in the whole process");
        done(&schedule, &event);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "20 trials took {:?}", began.elapsed());
}

#[test]
fn an_event_that_never_began_because_its_lane_is_given_up_was_not_tried() {
    let schedule = Schedule::new(100, 5, 0);
    let left = [(id(1), Tries { count: 3, is_held: false })].into();
    claim_after(2, &schedule, 1, vec![(0, Checkpoint { left, ..Checkpoint::default() })]);
    let from = start(&schedule, Role::Head).unwrap();
    schedule.admit(Role::Head, from, vec![event(1, 0, 7)], true);
    assert!(schedule.take_ready().is_none(), "it is counted before it begins");
    schedule.close();
    assert_eq!(schedule.trials(), []);
    let saves = schedule.saves(false);
    assert_eq!(saves[0].checkpoint.left[&id(1)].count, 3);
}
