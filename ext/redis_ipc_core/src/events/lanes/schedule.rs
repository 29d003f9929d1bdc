//! The events of the lanes that this instance owns: which wait, which may begin, which are running. The events of one
//! key run one after the other. Those of different keys run at the same time.

use crate::events::common::in_flight::{InFlight, InLane};
use crate::events::common::recent_ids::RecentIds;
use crate::events::lanes::checkpoint::{Checkpoint, Tries};
use crate::events::lanes::lane_queue::{KeyQueue, LaneQueue, Trial};
use crate::events::lanes::ownership::{Change, Owned, Ownership};
use crate::events::lanes::protocol::{self, Save};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::read_ahead::ReadAhead;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waiting::Interrupt;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many keys may have an event ready before the reader waits.
const READY: usize = 1_024;
/// About the most bytes of events that are held in memory. A lane may exceed its part by one event.
const MOST_BYTES: usize = 64 << 20;

/// The events of the lanes of this instance.
pub struct Schedule {
    prefetch: usize,
    state: Mutex<State>,
    work: Condvar,
    /// Each reader waits on its own condition, so that an event that ends wakes no reader without need.
    head_room: Condvar,
    catch_up_room: Condvar,
    wake: (Sender<()>, Receiver<()>),
}

/// An amount of events in memory.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// How many events.
    pub events: usize,
    /// How many bytes.
    pub bytes: usize,
}

/// Which lanes a reader reads for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The lanes that are up to date. It waits at the end of the stream.
    Head,
    /// The lanes that are behind, because they were just claimed or had no room.
    CatchUp,
    /// The partition with this number, while its owner has this epoch.
    Partition(u16, u64),
}

/// An entry of the stream, of a lane of this instance or of another one.
pub struct Candidate {
    /// The event, with its lane and its key.
    pub event: InFlight,
    /// How many entries the stream has had up to this one.
    pub ordinal: Option<u64>,
    /// Why it cannot be handled.
    pub refusal: Option<String>,
}

/// A dead letter that is to be deleted, because its event is done or has become another dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The lane of the event.
    pub lane: u16,
    /// The event.
    pub entry: StreamId,
    /// The dead letter.
    pub letter: StreamId,
}

/// The counts of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// The lanes that it owns.
    pub lanes: usize,
    /// The events that were read and are not done.
    pub held: usize,
    /// The events that run.
    pub running: usize,
    /// How many events were second copies.
    pub suppressed: u64,
}

/// The position at which a reader continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Start {
    /// The id after which it reads.
    pub after: StreamId,
    /// How many entries the stream has had up to there.
    pub ordinal: Option<u64>,
    /// A number that changes when the reader must begin elsewhere.
    pub generation: u64,
    /// The position of the head at that time.
    pub head: StreamId,
}

/// What the lanes of an instance have missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// What is missing comes after this id.
    pub after: StreamId,
    /// How many entries are gone at most. Some may belong to lanes that had read them, or to other instances.
    pub at_most: Option<u64>,
    /// Whether none of the lanes has read any of them.
    pub is_exact: bool,
}

struct State {
    ownership: Ownership,
    queues: HashMap<u16, LaneQueue>,
    ready: VecDeque<(u16, u64)>,
    head: Start,
    /// Events that cannot be handled, and why.
    condemned: Vec<(Arc<InFlight>, String)>,
    /// The events of dead letters that are tried again.
    retried_letters: HashSet<(u16, StreamId)>,
    finished_letters: Vec<Finished>,
    paused_keys: HashSet<u64>,
    /// For lanes that were lost: how many handlers of each key are still running. If the lane comes back, the key waits
    /// for them.
    stale: HashMap<u64, usize>,
    read_ahead: ReadAhead,
    recent_ids: RecentIds,
    suppressed: u64,
    attempts: u32,
    /// The event that is tried on its own, and was begun before without being done.
    suspect: Option<(u16, StreamId)>,
    is_closed: bool,
}

impl State {
    /// Lists a key as ready if its next event may begin.
    fn make_ready(&mut self, lane: u16, key: u64) {
        let waits = self.waits(key);
        let Some(queue) = self.queues.get_mut(&lane) else { return };
        let Some(found) = queue.keys.get_mut(&key) else { return };
        if found.is_unused() {
            queue.keys.remove(&key);
        } else if found.may_begin() && !found.is_ready && !waits {
            found.is_ready = true;
            self.ready.push_back((lane, key));
        }
    }

    /// Lists all keys of the lane as ready whose next events may begin.
    fn make_all_ready(&mut self, lane: u16) {
        let Some(queue) = self.queues.get(&lane) else { return };
        let mut keys: Vec<(StreamId, u64)> = queue
            .keys
            .iter()
            .filter_map(|(key, found)| found.first.as_ref().map(|event| (event.id, *key)))
            .collect();
        keys.sort_unstable();
        for (_, key) in keys {
            self.make_ready(lane, key);
        }
    }

    /// Takes events that may begin, at most `of_a_key` of the same key. Also returns whether an event waits to be tried
    /// on its own.
    fn pop(&mut self, most: usize, of_a_key: usize) -> (Vec<Arc<InFlight>>, bool) {
        let (mut taken, now, mut has_trial) = (Vec::new(), Instant::now(), false);
        while taken.len() < most
            && let Some((lane, key)) = self.ready.pop_front()
        {
            let Some(queue) = self.queues.get_mut(&lane) else { continue };
            let Some(found) = queue.keys.get_mut(&key) else { continue };
            found.is_ready = false;
            if !found.may_begin() || self.paused_keys.contains(&key) || self.stale.contains_key(&key) {
                continue;
            }
            let Some(owned) = self.ownership.serving(lane, now) else {
                queue.is_stalled = true;
                continue;
            };
            let mut room = of_a_key.min(most - taken.len());
            if owned.is_careful() {
                let first = found.first.as_ref().map(|event| event.id);
                match queue.trial {
                    Trial::Counted(id) if Some(id) == first && queue.running.is_empty() => room = 1,
                    Trial::None if queue.running.is_empty() => {
                        let Some((id, tries)) = queue.next_trial(&self.paused_keys) else { continue };
                        // If several such events ran at the same time, all of them would be blamed for the next crash.
                        if tries > 1 || self.attempts == 1 {
                            if self.suspect.is_some() {
                                queue.trial = Trial::AfterSuspect;
                                continue;
                            }
                            self.suspect = Some((lane, id));
                        }
                        queue.trial = Trial::Wanted(id);
                        has_trial = true;
                        continue;
                    }
                    _ => continue,
                }
            }
            while room > 0
                && let Some(event) = found.pop()
            {
                event.start_after(taken.len(), now);
                found.running += 1;
                queue.running.insert(event.id, event.deliveries);
                taken.push(event);
                room -= 1;
            }
        }
        (taken, has_trial)
    }

    /// Returns the queue of the event's lane and the event's key, if the lane still has the same owner.
    fn queues_of(&mut self, event: &InFlight) -> Option<(&mut LaneQueue, u64)> {
        let spot = event.spot?;
        let queue = self.queues.get_mut(&spot.lane).filter(|queue| queue.epoch == spot.epoch)?;
        Some((queue, spot.key))
    }

    /// Lets the next suspect be tried, if the current one is cleared.
    fn clear_suspect(&mut self, is_cleared: impl Fn(u16, StreamId) -> bool) {
        if self.suspect.is_some_and(|(lane, id)| is_cleared(lane, id)) {
            self.suspect = None;
            let waiting = self.queues.iter_mut().filter(|(_, queue)| queue.trial == Trial::AfterSuspect);
            let waiting: Vec<u16> = waiting
                .map(|(lane, queue)| {
                    queue.trial = Trial::None;
                    *lane
                })
                .collect();
            waiting.into_iter().for_each(|lane| self.make_all_ready(lane));
        }
    }

    /// Records that an event no longer runs.
    fn ended(&mut self, event: &InFlight) -> Option<&mut KeyQueue> {
        if self.queues_of(event).is_none() {
            self.ended_late(event);
            return None;
        }
        let lane = event.spot?.lane;
        self.clear_suspect(|of, id| (of, id) == (lane, event.id));
        let (queue, key) = self.queues_of(event)?;
        queue.running.remove(&event.id);
        if matches!(queue.trial, Trial::Counted(id) if id == event.id) {
            queue.trial = Trial::None;
        }
        let found = queue.keys.get_mut(&key)?;
        found.running = found.running.saturating_sub(1);
        Some(found)
    }

    /// Records that an event no longer runs whose lane was lost in the meantime.
    fn ended_late(&mut self, event: &InFlight) {
        let Some(spot) = event.spot else { return };
        if let Some(count) = self.stale.get_mut(&spot.key) {
            *count -= 1;
            if *count == 0 {
                self.stale.remove(&spot.key);
                // Two partitions may have the same key, if publishers disagree on the number of partitions.
                self.make_key_ready(spot.key);
            }
        }
    }

    /// Lists a key as ready in each lane that has it, if its next event may begin.
    fn make_key_ready(&mut self, key: u64) {
        let lanes: Vec<u16> = self.queues.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.make_ready(lane, key));
    }

    /// Whether the key must wait for something outside of its lane.
    fn waits(&self, key: u64) -> bool {
        self.paused_keys.contains(&key) || self.stale.contains_key(&key)
    }

    /// Whether the events of the lane are tried one at a time.
    fn is_careful(&self, lane: u16) -> bool {
        self.ownership.get(lane).is_some_and(Owned::is_careful)
    }

    /// Lists as ready what waited for an event.
    fn go_on(&mut self, event: &InFlight) {
        let Some(spot) = event.spot else { return };
        self.make_ready(spot.lane, spot.key);
        if self.is_careful(spot.lane) {
            self.make_all_ready(spot.lane);
        }
    }

    fn finish(&mut self, event: &InFlight) -> bool {
        let Some(spot) = event.spot else { return false };
        let Some(owned) = self.ownership.owned(spot.lane, spot.epoch) else {
            self.ended_late(event);
            return false;
        };
        owned.progress.finish(event.id);
        owned.finished = owned.finished.saturating_add(1);
        if let Some(letter) = event.letter {
            self.retried_letters.remove(&(spot.lane, event.id));
            self.finished_letters.push(Finished { lane: spot.lane, entry: event.id, letter });
        }
        if let Some((queue, _)) = self.queues_of(event)
            && event.letter.is_none()
        {
            queue.let_go_of(event);
        }
        self.ended(event);
        self.go_on(event);
        true
    }

    fn tried(&mut self, event: &InFlight, tries: Tries) {
        if let Some(spot) = event.spot
            && let Some(owned) = self.ownership.owned(spot.lane, spot.epoch)
        {
            owned.progress.tried(event.id, tries);
        }
    }

    fn remove(&mut self, lanes: &[u16]) {
        for lane in lanes {
            let Some(queue) = self.queues.remove(lane) else { continue };
            for (key, found) in queue.keys.into_iter().filter(|(_, found)| found.running > 0) {
                *self.stale.entry(key).or_default() += found.running;
            }
        }
        self.retried_letters.retain(|(lane, _)| !lanes.contains(lane));
        self.clear_suspect(|lane, _| lanes.contains(&lane));
    }

    /// Returns the most of a lane that is held in memory.
    fn most_of_lane(&self, prefetch: usize) -> Share {
        let lanes = self.ownership.len().max(1);
        Share { events: (prefetch / lanes).max(16), bytes: MOST_BYTES / lanes }
    }

    fn is_full(&self, lane: u16, most: Share) -> bool {
        let Some(owned) = self.ownership.get(lane) else { return false };
        let bytes = self.queues.get(&lane).map_or(0, |queue| queue.bytes);
        owned.progress.len() >= most.events || bytes >= most.bytes
    }

    fn is_read_by(&self, lane: u16, role: Role) -> bool {
        let Some(owned) = self.ownership.get(lane) else { return false };
        let Some(queue) = self.queues.get(&lane) else { return false };
        !owned.is_leaving
            && match role {
                Role::Head => !queue.is_behind,
                Role::CatchUp => queue.is_behind,
                Role::Partition(of, epoch) => lane == of && owned.epoch == epoch,
            }
    }

    fn lanes_of(&self, role: Role) -> Vec<u16> {
        let is_read = |lane: &u16| self.is_read_by(*lane, role);
        match role {
            Role::Head | Role::CatchUp => self.queues.keys().copied().filter(is_read).collect(),
            Role::Partition(lane, _) => Some(lane).filter(is_read).into_iter().collect(),
        }
    }

    /// Returns the lanes that share the stream of this reader.
    fn lanes_of_stream(&self, role: Role) -> Vec<u16> {
        match role {
            Role::Head | Role::CatchUp => self.queues.keys().copied().collect(),
            Role::Partition(..) => self.lanes_of(role),
        }
    }

    /// If no lane is up to date, moves the head to the lanes that are behind, so that it reads for them.
    fn promote(&mut self) {
        if !self.lanes_of(Role::Head).is_empty() {
            return;
        }
        let behind = self.lanes_of(Role::CatchUp);
        let of = |lane: &u16| self.ownership.get(*lane).map(|owned| &owned.progress);
        let Some(lowest) = behind.iter().filter_map(of).min_by_key(|progress| progress.cursor()) else {
            return;
        };
        self.head = Start {
            after: lowest.cursor(),
            ordinal: lowest.ordinal(),
            generation: self.head.generation + 1,
            ..Start::default()
        };
        self.settle(&behind);
    }

    fn fall_behind(&mut self, lane: u16) {
        if let Some(queue) = self.queues.get_mut(&lane) {
            queue.is_behind = true;
        }
    }

    fn settle(&mut self, lanes: &[u16]) {
        for lane in lanes {
            if let Some(queue) = self.queues.get_mut(lane) {
                queue.is_behind = false;
            }
        }
    }
}

impl Schedule {
    /// Creates the schedule of an instance without lanes. It holds at most `prefetch` events in memory. An event that
    /// was tried `attempts` times without being done is given up on. A second copy of an event is recognized by the
    /// last `remember_ids` ids.
    pub fn new(prefetch: usize, attempts: u32, remember_ids: usize) -> Self {
        let state = State {
            ownership: Ownership::default(),
            queues: HashMap::new(),
            ready: VecDeque::new(),
            head: Start::default(),
            condemned: Vec::new(),
            retried_letters: HashSet::new(),
            finished_letters: Vec::new(),
            paused_keys: HashSet::new(),
            stale: HashMap::new(),
            read_ahead: ReadAhead::default(),
            recent_ids: RecentIds::new(remember_ids),
            suppressed: 0,
            attempts,
            suspect: None,
            is_closed: false,
        };
        Self {
            prefetch,
            state: Mutex::new(state),
            work: Condvar::new(),
            head_room: Condvar::new(),
            catch_up_room: Condvar::new(),
            wake: bounded(1),
        }
    }

    /// Returns the receiver that gets a message when the keeper has something to do at once.
    pub fn urgent(&self) -> &Receiver<()> {
        &self.wake.1
    }

    /// Wakes the keeper.
    pub fn call_keeper(&self) {
        // A full channel holds a message already, and one is enough.
        let _ = self.wake.0.try_send(());
    }

    /// Waits for events that may begin, and takes at least one. Returns `None` once it is closed, and an empty list if
    /// the thread was interrupted.
    pub fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.take_until(most, usize::MAX, interrupt, None)
    }

    /// Takes events like [`Schedule::take`], but only such as may run at the same time.
    pub fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.take_until(handlers, 1, interrupt, None)
    }

    /// Takes the next event if one may begin now.
    pub fn take_ready(&self) -> Option<Arc<InFlight>> {
        let mut state = self.state.lock();
        if state.is_closed {
            return None;
        }
        let before = state.ready.len();
        let (events, has_trial) = state.pop(1, 1);
        if has_trial {
            self.call_keeper();
        }
        self.tell_room(&state, before);
        events.into_iter().next()
    }

    /// Takes up to `size` events, and waits until there are as many, or `within` has passed since the first.
    pub fn take_batch(
        &self,
        size: usize,
        within: Duration,
        interrupt: &Interrupt,
    ) -> Option<Vec<Arc<InFlight>>> {
        let mut events = self.take_until(size, usize::MAX, interrupt, None)?;
        let until = Instant::now() + within;
        while !events.is_empty() && events.len() < size {
            match self.take_until(size - events.len(), usize::MAX, interrupt, Some(until)) {
                Some(more) if !more.is_empty() => events.extend(more),
                _ => break,
            }
        }
        Some(events)
    }

    fn take_until(
        &self,
        most: usize,
        of_a_key: usize,
        interrupt: &Interrupt,
        until: Option<Instant>,
    ) -> Option<Vec<Arc<InFlight>>> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if interrupt.take() {
                return Some(Vec::new());
            }
            let before = state.ready.len();
            let (events, has_trial) = state.pop(most, of_a_key);
            if has_trial {
                self.call_keeper();
            }
            if !events.is_empty() {
                self.tell_room(&state, before);
                return Some(events);
            }
            state = match until {
                Some(until) if Instant::now() >= until => return Some(Vec::new()),
                Some(until) => self.work.wait_until(state, until),
                None => self.work.wait(state),
            };
        }
    }

    /// Returns how many events a worker is to take at once.
    pub fn at_once(&self, most: usize) -> usize {
        self.state.lock().read_ahead.at_once(most)
    }

    /// Wakes the waiting workers, so that they notice an interrupt.
    pub fn wake(&self) {
        drop(self.state.lock());
        self.work.notify_all();
    }

    /// Finishes events. Returns how many belong to lanes that this instance no longer owns: they may run again
    /// elsewhere.
    pub fn finish(&self, events: &[Arc<InFlight>], ran: Option<Duration>) -> usize {
        let mut state = self.state.lock();
        if let Some(ran) = ran {
            state.read_ahead.note_run(ran);
        }
        let lost = events.iter().filter(|event| !state.finish(event)).count();
        events.iter().for_each(|event| self.tell_catch_up(&state, event));
        if !state.finished_letters.is_empty() {
            self.call_keeper();
        }
        self.let_go_on(&state);
        lost
    }

    /// Wakes the readers that have room now that events were taken. `before` is how many keys were ready before that.
    fn tell_room(&self, state: &State, before: usize) {
        if state.ready.len() <= READY / 2 {
            self.head_room.notify_all();
        }
        if state.ready.len() < READY && state.queues.values().any(|queue| queue.is_behind) {
            self.catch_up_room.notify_all();
        }
        if before > READY / 2 && state.ready.len() <= READY / 2 {
            state.queues.values().for_each(|queue| queue.room.notify_all());
        }
    }

    /// Wakes all readers, because the lanes that they read for may have changed.
    fn tell_readers(&self, state: &State) {
        self.head_room.notify_all();
        self.catch_up_room.notify_all();
        state.queues.values().for_each(|queue| queue.room.notify_all());
    }

    /// Finishes an event that was never begun because it cannot be handled.
    pub fn dismiss(&self, event: &InFlight) {
        let mut state = self.state.lock();
        if let Some(spot) = event.spot
            && let Some(owned) = state.ownership.owned(spot.lane, spot.epoch)
        {
            owned.progress.finish(event.id);
            owned.finished = owned.finished.saturating_add(1);
        }
        if let Some((queue, _)) = state.queues_of(event) {
            queue.let_go_of(event);
        }
        self.tell_catch_up(&state, event);
    }

    /// Wakes those who can go on now that an event has ended.
    fn let_go_on(&self, state: &State) {
        match state.ready.len() {
            0 => {}
            1 => self.work.notify_one(),
            _ => self.work.notify_all(),
        }
        if state.ready.len() <= READY / 2 {
            self.head_room.notify_all();
        }
    }

    /// Wakes the catch-up reader if the event's lane is behind, and the reader of a partition, because there may be
    /// room now.
    fn tell_catch_up(&self, state: &State, event: &InFlight) {
        let Some(spot) = event.spot else { return };
        let Some(queue) = state.queues.get(&spot.lane) else { return };
        if queue.is_behind {
            self.catch_up_room.notify_all();
        }
        if queue.room.is_awaited()
            && state.ready.len() <= READY / 2
            && !state.is_full(spot.lane, self.half_of_lane(state))
        {
            queue.room.notify_all();
        }
    }

    /// Records that an event was tried and failed. Its key waits for it.
    pub fn rest(&self, event: &InFlight, tries: Tries) {
        let mut state = self.state.lock();
        state.tried(event, tries);
        if let Some(found) = state.ended(event) {
            found.waits_for.insert(event.id);
        }
        if tries.is_held
            && let Some((queue, key)) = state.queues_of(event)
        {
            queue.let_go_of(event);
            queue.holding.insert(event.id, key);
        }
        state.go_on(event);
        self.let_go_on(&state);
    }

    /// Lets a failed event be tried again.
    pub fn again(&self, event: Arc<InFlight>) {
        let mut state = self.state.lock();
        let Some(spot) = event.spot else { return };
        let Some((queue, key)) = state.queues_of(&event) else { return };
        let found = queue.keys.entry(key).or_default();
        found.waits_for.remove(&event.id);
        found.put_back(event);
        state.make_ready(spot.lane, spot.key);
        self.work.notify_one();
    }

    /// Gives back events that were taken and not begun.
    pub fn give_back(&self, events: &[Arc<InFlight>]) {
        let mut state = self.state.lock();
        for event in events {
            if !event.back() {
                continue;
            }
            if state.ended(event).is_none() {
                continue;
            }
            let Some((queue, key)) = state.queues_of(event) else { continue };
            queue.keys.entry(key).or_default().put_back(Arc::clone(event));
        }
        events.iter().for_each(|event| state.go_on(event));
        self.let_go_on(&state);
    }

    /// Pauses a key, or ends its pause.
    pub fn pause_key(&self, key: u64, is_paused: bool) {
        let mut state = self.state.lock();
        if is_paused {
            state.paused_keys.insert(key);
            return;
        }
        state.paused_keys.remove(&key);
        state.make_key_ready(key);
        self.work.notify_all();
    }

    /// Waits until a reader has room, but at most for `time`, and returns the position at which it continues. Returns
    /// `None` if there is nothing to read for or no room.
    pub fn wait_for_room(&self, role: Role, time: Duration) -> Option<Start> {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let start = match role {
                Role::Head => {
                    state.promote();
                    self.head_start(&state)
                }
                Role::CatchUp => {
                    state.promote();
                    self.lowest_start(&state, role)
                }
                Role::Partition(..) => self.lowest_start(&state, role),
            };
            if start.is_some() || Instant::now() >= until {
                return start;
            }
            state = match role {
                Role::Head => self.head_room.wait_until(state, until),
                Role::CatchUp => self.catch_up_room.wait_until(state, until),
                Role::Partition(lane, _) => {
                    let room = state.queues.get(&lane).map(|queue| Arc::clone(&queue.room));
                    room.as_deref().unwrap_or(&self.catch_up_room).wait_until(state, until)
                }
            };
        }
    }

    fn head_start(&self, state: &State) -> Option<Start> {
        let has_room = state.ready.len() <= READY / 2 && !state.lanes_of(Role::Head).is_empty();
        has_room.then_some(state.head)
    }

    /// Returns the lowest position of the lanes that have room.
    fn lowest_start(&self, state: &State, role: Role) -> Option<Start> {
        // Many readers of partitions wait for this. One event that begins must not wake them all.
        let most_ready = if role == Role::CatchUp { READY - 1 } else { READY / 2 };
        if state.ready.len() > most_ready {
            return None;
        }
        let half = self.half_of_lane(state);
        let lowest = state
            .lanes_of(role)
            .into_iter()
            .filter(|lane| !state.is_full(*lane, half))
            .filter_map(|lane| state.ownership.get(lane))
            .min_by_key(|owned| owned.progress.cursor())?;
        let (after, ordinal) = (lowest.progress.cursor(), lowest.progress.ordinal());
        Some(Start { after, ordinal, generation: 0, head: state.head.after })
    }

    /// Returns how much of a lane may be in memory when its reader goes on.
    fn half_of_lane(&self, state: &State) -> Share {
        let most = state.most_of_lane(self.prefetch);
        Share { events: most.events / 2, bytes: most.bytes / 2 }
    }

    /// Returns the most that a reader may read at once. The reader of a partition reads only what its lane has room
    /// for, because there are as many such readers as lanes.
    pub fn room(&self, role: Role) -> Share {
        let Role::Partition(lane, _) = role else { return Share { events: usize::MAX, bytes: MOST_BYTES } };
        let state = self.state.lock();
        let most = state.most_of_lane(self.prefetch);
        let held = state.ownership.get(lane).map_or(0, |owned| owned.progress.len());
        let bytes = state.queues.get(&lane).map_or(0, |queue| queue.bytes);
        Share { events: most.events.saturating_sub(held), bytes: most.bytes.saturating_sub(bytes) }
    }

    /// Adds the entries that a reader has read after `start`. `is_end` says that the stream had no more entries.
    pub fn admit(&self, role: Role, start: Start, entries: Vec<Candidate>, is_end: bool) {
        let last = entries.last().map(|last| (last.event.id, last.ordinal));
        let mut state = self.state.lock();
        if state.is_closed || role == Role::Head && start.generation != state.head.generation {
            return;
        }
        let reached = last.map_or(start.after, |(id, _)| id);
        let most = state.most_of_lane(self.prefetch);
        let mut reading = HashSet::new();
        for lane in state.lanes_of(role) {
            let cursor = state.ownership.get(lane).map(|owned| owned.progress.cursor()).unwrap_or_default();
            // This read began after the lane's position, so it skipped entries of the lane.
            if cursor < start.after {
                state.fall_behind(lane);
            } else if role == Role::Head || cursor <= reached {
                reading.insert(lane);
            }
        }
        let mut before = (start.after, start.ordinal);
        for Candidate { event, ordinal, refusal } in entries {
            let here = (event.id, ordinal);
            if let Some(spot) = event.spot
                && reading.contains(&spot.lane)
            {
                if state.is_full(spot.lane, most) {
                    reading.remove(&spot.lane);
                    if let Some(owned) = state.ownership.get_mut(spot.lane) {
                        owned.progress.read(before.0, before.1);
                    }
                    state.fall_behind(spot.lane);
                } else {
                    self.admit_one(&mut state, event, ordinal, refusal);
                }
            }
            before = here;
        }
        if let Some((id, ordinal)) = last {
            for lane in &reading {
                if let Some(owned) = state.ownership.get_mut(*lane) {
                    owned.progress.read(id, ordinal);
                }
            }
            if role == Role::Head {
                (state.head.after, state.head.ordinal) = (id, ordinal);
            }
        }
        // At the end of the stream, nothing is missing up to the position that the head had before this read. The head
        // may be further by now.
        let looked_up_to = if is_end { reached.max(start.head) } else { reached };
        if role == Role::CatchUp && looked_up_to >= state.head.after {
            let Start { after, ordinal, .. } = state.head;
            let caught_up: Vec<u16> = reading.into_iter().collect();
            for lane in &caught_up {
                if let Some(owned) = state.ownership.get_mut(*lane) {
                    owned.progress.read(after, ordinal);
                }
            }
            state.settle(&caught_up);
        }
        let has_condemned = !state.condemned.is_empty();
        self.work.notify_all();
        self.tell_readers(&state);
        drop(state);
        if has_condemned {
            self.call_keeper();
        }
    }

    fn admit_one(
        &self,
        state: &mut State,
        mut event: InFlight,
        ordinal: Option<u64>,
        refusal: Option<String>,
    ) {
        let Some(mut spot) = event.spot else { return };
        let Some(owned) = state.ownership.get_mut(spot.lane) else { return };
        let Some(tries) = owned.progress.admit(event.id, ordinal) else { return };
        // Both copies of an event have the same key, so one instance sees both.
        if state.recent_ids.is_copy(event.id, &event.fields) {
            owned.progress.finish(event.id);
            state.suppressed += 1;
            return;
        }
        spot.epoch = owned.epoch;
        spot.may_have_run = owned.crashes > 0 && event.id.ms <= owned.claimed_ms || tries.count > 0;
        event.spot = Some(spot);
        event.deliveries = tries.count.saturating_add(1);
        let refusal = refusal.or_else(|| {
            (event.deliveries > state.attempts && !tries.is_held).then(|| {
                format!(
                    "tried {} times without being done: each process that tried it died or hung",
                    tries.count
                )
            })
        });
        let event = Arc::new(event);
        let Some(queue) = state.queues.get_mut(&spot.lane) else { return };
        if !tries.is_held {
            queue.bytes += event.fields.size();
        }
        let found = queue.keys.entry(spot.key).or_default();
        if tries.is_held {
            found.waits_for.insert(event.id);
            queue.holding.insert(event.id, spot.key);
            return;
        }
        if let Some(refusal) = refusal {
            // Nothing handles it, so the events behind it need not wait.
            state.condemned.push((event, refusal));
            return;
        }
        found.push(event);
        state.make_ready(spot.lane, spot.key);
    }

    /// Takes the events that cannot be handled, with the reasons.
    pub fn take_condemned(&self) -> Vec<(Arc<InFlight>, String)> {
        std::mem::take(&mut self.state.lock().condemned)
    }

    /// Puts events back that could not be given up on.
    pub fn condemn(&self, events: impl Iterator<Item = (Arc<InFlight>, String)>) {
        self.state.lock().condemned.extend(events);
    }

    /// Whether this instance must carry out a decision about a dead letter: it owns the lane, has come past the event,
    /// and has not begun to.
    pub fn may_decide(&self, lane: u16, entry: StreamId) -> bool {
        let state = self.state.lock();
        let has_come = |cursor: StreamId| cursor >= entry;
        !state.retried_letters.contains(&(lane, entry))
            && !state.finished_letters.iter().any(|one| one.lane == lane && one.entry == entry)
            && state
                .ownership
                .get(lane)
                .is_some_and(|owned| !owned.is_leaving && has_come(owned.progress.cursor()))
    }

    /// Tries the event of a dead letter again, before the waiting events of its key.
    pub fn try_letter(&self, mut event: InFlight, lane: u16, key: u64) {
        let mut state = self.state.lock();
        let Some(queue) = state.queues.get_mut(&lane) else { return };
        event.spot = Some(InLane { lane, epoch: queue.epoch, key, may_have_run: true });
        // It may come before the event that the lane was about to try.
        let is_idle = queue.running.is_empty();
        let had_trial = is_idle && std::mem::take(&mut queue.trial) != Trial::None;
        let found = queue.keys.entry(key).or_default();
        let id = event.id;
        found.waits_for.remove(&id);
        found.put_back(Arc::new(event));
        state.retried_letters.insert((lane, id));
        state.clear_suspect(|of, _| is_idle && of == lane);
        state.make_ready(lane, key);
        if had_trial {
            state.make_all_ready(lane);
        }
        self.work.notify_one();
    }

    /// Finishes an event that stopped its key, so that the key goes on.
    pub fn drop_held(&self, lane: u16, entry: StreamId) {
        let mut state = self.state.lock();
        if let Some(owned) = state.ownership.get_mut(lane) {
            owned.progress.finish(entry);
        }
        let Some(queue) = state.queues.get_mut(&lane) else { return };
        let key = queue.holding.remove(&entry);
        if let Some(key) = key
            && let Some(found) = queue.keys.get_mut(&key)
        {
            found.waits_for.remove(&entry);
            state.make_ready(lane, key);
            self.work.notify_one();
        }
    }

    /// Takes the dead letters whose events are done.
    pub fn take_finished_letters(&self) -> Vec<Finished> {
        std::mem::take(&mut self.state.lock().finished_letters)
    }

    /// Puts back dead letters that could not be deleted.
    pub fn keep_finished_letters(&self, finished: Vec<Finished>) {
        self.state.lock().finished_letters.extend(finished);
    }

    /// Returns the position at which the head continues.
    pub fn head(&self) -> Start {
        self.state.lock().head
    }

    /// Returns the readers of the partitions that this instance owns, each with the position at which it continues.
    pub fn partitions(&self) -> Vec<(Role, Start)> {
        let mut state = self.state.lock();
        let staying = state.ownership.iter_mut().filter(|(_, owned)| !owned.is_leaving);
        let place = |(lane, owned): (u16, &mut Owned)| {
            let (after, ordinal) = (owned.progress.cursor(), owned.progress.ordinal());
            (Role::Partition(lane, owned.epoch), Start { after, ordinal, ..Start::default() })
        };
        staying.map(place).collect()
    }

    /// Returns the last checkpoint of the lane that Redis is known to have, if this is still the lane's owner.
    pub fn durable(&self, lane: u16, epoch: u64) -> Option<Checkpoint> {
        self.state.lock().ownership.owned(lane, epoch).map(|owned| owned.durable.clone())
    }

    /// Moves the lanes that have read further than `position` back to it, because the stream of the reader has lost the
    /// rest. Returns false if there was nothing to move.
    pub fn roll_back(&self, role: Role, position: StreamId, ordinal: Option<u64>) -> bool {
        let mut state = self.state.lock();
        let is_shared = !matches!(role, Role::Partition(..));
        let mut is_changed = is_shared && state.head.after > position;
        for lane in state.lanes_of_stream(role) {
            if let Some(owned) = state.ownership.get_mut(lane)
                && owned.progress.cursor() > position
            {
                owned.progress.roll_back(position, ordinal);
                is_changed = true;
            }
        }
        if is_shared {
            let (after, generation) = (position.min(state.head.after), state.head.generation + 1);
            state.head = Start { after, ordinal, generation, ..Start::default() };
        }
        self.tell_readers(&state);
        is_changed
    }

    /// Moves the lanes that are between `start` and `position` on to `position`, because the stream of the reader has
    /// no entries between them. Returns what they have missed together. Returns `None` if that is already known.
    pub fn skip(&self, role: Role, start: Start, position: StreamId, ordinal: u64) -> Option<Gap> {
        let mut state = self.state.lock();
        let (mut after, mut counted, mut is_exact, mut is_new) = (start.after, start.ordinal, true, false);
        for lane in state.lanes_of_stream(role) {
            let Some(owned) = state.ownership.get_mut(lane) else { continue };
            let cursor = owned.progress.cursor();
            // A lane at another position has read more or less of what is gone.
            is_exact &= cursor == start.after;
            // At `start` = `position`, the reader is at the end: the stream still has what comes after lanes that are
            // behind.
            if cursor == start.after || position > start.after && cursor < position {
                if cursor < after {
                    (after, counted) = (cursor, owned.progress.ordinal());
                }
                is_new = true;
                owned.progress.read(position, Some(ordinal));
                owned.progress.count(ordinal);
            }
        }
        let is_shared = !matches!(role, Role::Partition(..));
        if is_shared
            && (state.head.after == start.after || position > start.after && state.head.after < position)
        {
            (state.head.after, state.head.ordinal) = (position.max(state.head.after), Some(ordinal));
        }
        let at_most = counted.map(|counted| ordinal.saturating_sub(counted));
        is_new.then_some(Gap { after, at_most, is_exact })
    }

    /// Records how many entries the stream has had up to `start`.
    pub fn count(&self, role: Role, start: Start, ordinal: u64) {
        let mut state = self.state.lock();
        for lane in state.lanes_of(role) {
            if let Some(owned) = state.ownership.get_mut(lane)
                && owned.progress.cursor() == start.after
            {
                owned.progress.count(ordinal);
            }
        }
        if role == Role::Head && state.head == start {
            state.head.ordinal = Some(ordinal);
        }
    }

    /// Whether this instance owns the lane.
    pub fn owns(&self, lane: u16) -> bool {
        self.state.lock().ownership.get(lane).is_some()
    }

    /// Whether this instance owns every lane.
    pub fn owns_all(&self, lanes: u16) -> bool {
        self.state.lock().ownership.len() == usize::from(lanes)
    }

    /// Returns the lanes with their epochs, for a heartbeat.
    pub fn held(&self) -> Vec<(u16, u64)> {
        self.state.lock().ownership.held()
    }

    /// Applies the reply to a heartbeat (see [`Ownership::renewed`]). `now_ms` is Redis's time.
    pub fn renewed(
        &self,
        share: &protocol::Share,
        held: &[(u16, u64)],
        sent: Instant,
        lease: Duration,
        now_ms: u64,
    ) -> Change {
        let mut state = self.state.lock();
        let change = state.ownership.renewed(share, held, sent, lease);
        state.remove(&change.lost);
        for lane in &change.claimed {
            let Some(owned) = state.ownership.get_mut(*lane) else { continue };
            owned.claimed_ms = now_ms;
            let queue = LaneQueue { epoch: owned.epoch, is_behind: true, ..LaneQueue::default() };
            state.queues.insert(*lane, queue);
        }
        let mut stalled = Vec::new();
        for (lane, queue) in &mut state.queues {
            if std::mem::take(&mut queue.is_stalled) {
                stalled.push(*lane);
            }
        }
        stalled.into_iter().for_each(|lane| state.make_all_ready(lane));
        Self::forget_leaving(&mut state);
        self.work.notify_all();
        self.tell_readers(&state);
        change
    }

    /// Drops the waiting events of lanes that are being given up. The next owner reads them again.
    fn forget_leaving(state: &mut State) {
        let leaving: Vec<u16> =
            state.ownership.iter_mut().filter(|(_, owned)| owned.is_leaving).map(|(lane, _)| lane).collect();
        for lane in leaving {
            let Some(queue) = state.queues.get_mut(&lane) else { continue };
            queue.forget_waiting();
        }
    }

    /// Returns what is to be written (see [`Ownership::saves`]). With `all`, every lane that is being given up is
    /// released, even if events of it are running.
    pub fn saves(&self, all: bool) -> Vec<Save> {
        let state = self.state.lock();
        state
            .ownership
            .saves(|lane| all || state.queues.get(&lane).is_none_or(|queue| queue.running.is_empty()))
    }

    /// Applies the reply to what was written. Returns which lanes were lost.
    pub fn saved(&self, saves: Vec<Save>, refused: &[u16]) -> Change {
        let mut state = self.state.lock();
        let lanes: Vec<u16> = saves.iter().map(|save| save.lane).collect();
        let careful: Vec<u16> = lanes.iter().copied().filter(|lane| state.is_careful(*lane)).collect();
        let change = state.ownership.saved(saves, refused, Instant::now());
        let gone: Vec<u16> = lanes.into_iter().filter(|lane| state.ownership.get(*lane).is_none()).collect();
        state.remove(&gone);
        for lane in careful {
            // The other keys of the lane waited for the event that was tried. They need not wait any longer.
            if !state.is_careful(lane) {
                state.make_all_ready(lane);
            }
        }
        self.work.notify_all();
        self.tell_readers(&state);
        change
    }

    /// Returns the events that wait to be tried on their own, and records their tries.
    pub fn trials(&self) -> Vec<(u16, StreamId)> {
        let mut state = self.state.lock();
        let wanted: Vec<(u16, StreamId)> = state
            .queues
            .iter()
            .filter_map(|(lane, queue)| match queue.trial {
                Trial::Wanted(id) => Some((*lane, id)),
                _ => None,
            })
            .collect();
        for (lane, id) in &wanted {
            let tries = state.deliveries_of(*lane, *id);
            if let Some(owned) = state.ownership.get_mut(*lane) {
                owned.progress.tried(*id, Tries { count: tries, is_held: false });
            }
        }
        wanted
    }

    /// Lets the events begin whose tries Redis has counted.
    pub fn counted(&self, trials: &[(u16, StreamId)]) {
        let mut state = self.state.lock();
        for (lane, id) in trials {
            if let Some(queue) = state.queues.get_mut(lane)
                && queue.trial == Trial::Wanted(*id)
            {
                queue.trial = Trial::Counted(*id);
            }
            state.make_all_ready(*lane);
        }
        self.work.notify_all();
    }

    /// Takes no more events, and begins to give up every lane.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.ownership.leave();
        Self::forget_leaving(&mut state);
        self.work.notify_all();
        self.tell_readers(&state);
        drop(state);
        self.call_keeper();
    }

    /// Records the tries of the running events, because this process will not report what becomes of them.
    pub fn count_running(&self) {
        let mut state = self.state.lock();
        let State { queues, ownership, retried_letters, .. } = &mut *state;
        for (lane, queue) in queues {
            let Some(owned) = ownership.get_mut(*lane) else { continue };
            for (id, count) in &queue.running {
                // A decision about a dead letter stays in Redis until its event is done.
                if !retried_letters.contains(&(*lane, *id)) {
                    owned.progress.tried(*id, Tries { count: *count, is_held: false });
                }
            }
        }
    }

    /// Whether it takes no more events.
    pub fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// Returns the counts.
    pub fn counts(&self) -> Counts {
        let mut state = self.state.lock();
        let held = state.ownership.iter_mut().map(|(_, owned)| owned.progress.len()).sum();
        let running = state.queues.values().map(|queue| queue.running.len()).sum();
        Counts { lanes: state.ownership.len(), held, running, suppressed: state.suppressed }
    }
}

impl State {
    fn deliveries_of(&self, lane: u16, id: StreamId) -> u32 {
        let queue = self.queues.get(&lane);
        let fronts = queue.into_iter().flat_map(|queue| queue.keys.values());
        fronts
            .filter_map(|found| found.first.as_ref())
            .find(|event| event.id == id)
            .map_or(1, |event| event.deliveries)
    }
}
