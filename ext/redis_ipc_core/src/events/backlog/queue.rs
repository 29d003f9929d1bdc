//! The events that wait for workers, in their order, each loss in its place between them.
//!
//! The backlog is a list of *segments*. A segment begins with losses, followed by the events that came after these.
//! Workers take from the first segment only. The next segment begins once all of the first one is finished. So a loss
//! is reported after all events before it were handled, and before any event after it begins.

use crate::events::backlog::line::Line;
use crate::events::common::in_flight::InFlight;
use crate::events::common::live_options::{CHANNEL, KEY, Overflow};
use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::loss::{Cause, Loss};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::read_ahead::ReadAhead;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::waiting::Interrupt;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

/// A full backlog frees one of this many parts of its room at once. Freeing single places would cause many small
/// losses.
const PARTS: usize = 16;

/// The most that may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many events.
    pub events: usize,
    /// How many bytes of payloads and names.
    pub bytes: usize,
}

impl Limits {
    /// Returns the limits below which a full backlog has room again.
    fn with_a_part_free(self) -> Self {
        let part = |whole: usize| whole - (whole / PARTS).max(1);
        Self { events: part(self.events), bytes: part(self.bytes) }
    }
}

/// The counters of a backlog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that wait.
    pub waiting: usize,
    /// Events and losses that were taken and are not finished.
    pub running: usize,
    /// Events that failed and wait for their next try.
    pub resting: usize,
    /// Bytes of the events that wait.
    pub bytes: usize,
    /// Events that were dropped, because there was no room or the consumer ended.
    pub dropped: u64,
    /// Losses that were reported.
    pub losses: u64,
}

impl Counts {
    /// Returns what the backlog holds now, by name.
    pub fn held(&self) -> [(&'static str, u64); 4] {
        let held = self.waiting + self.running + self.resting;
        [
            ("held", held as u64),
            ("held_bytes", self.bytes as u64),
            ("running", self.running as u64),
            ("resting", self.resting as u64),
        ]
    }
}

/// The events that wait.
pub struct Backlog {
    /// Whether the events of a line are handled one after the other.
    is_serial: bool,
    /// Whether the events of a transaction are handed out together.
    by_transaction: bool,
    overflow: Overflow,
    limits: Limits,
    /// The name by which a loss is reported that concerns several channels.
    source: String,
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct State {
    segments: VecDeque<Segment>,
    /// Events that failed, by the time of their next try.
    resting: BTreeMap<(Instant, u64), Arc<InFlight>>,
    numbers: u64,
    counts: Counts,
    read_ahead: ReadAhead,
    /// Whether new events are refused until a part of the room is free.
    is_full: bool,
    is_paused: bool,
    /// The hashes of keys whose events are not handed out.
    paused_keys: HashSet<u64>,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Segment {
    losses: VecDeque<Loss>,
    /// A worker is reporting a loss.
    is_telling: bool,
    lines: HashMap<u64, Line>,
    /// The lines from which a worker may take.
    ready: VecDeque<u64>,
    /// All events that wait, in the order in which they came. Some that were taken may still be in it.
    arrivals: VecDeque<Arc<InFlight>>,
    waiting: usize,
    /// Events that wait, run or rest.
    unfinished: usize,
    has_begun: bool,
}

impl Segment {
    fn add(&mut self, event: Arc<InFlight>, is_serial: bool) {
        let key = event.line.unwrap_or_default();
        let line = self.lines.entry(key).or_default();
        line.waiting.push_back(Arc::clone(&event));
        self.arrivals.push_back(event);
        (self.waiting, self.unfinished) = (self.waiting + 1, self.unfinished + 1);
        self.list(key, is_serial);
    }

    /// Lists a line as ready if workers may take from it.
    fn list(&mut self, key: u64, is_serial: bool) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        if line.is_idle() {
            self.lines.remove(&key);
        } else if !line.is_listed && !line.waiting.is_empty() && (line.busy == 0 || !is_serial) {
            line.is_listed = true;
            self.ready.push_back(key);
        }
    }

    /// Lists the lines again that were passed over because their keys were paused.
    fn list_all(&mut self, is_serial: bool) {
        let keys: Vec<u64> = self.lines.keys().copied().collect();
        keys.into_iter().for_each(|key| self.list(key, is_serial));
    }

    /// Takes up to `most` events that may be handled now. Those of one line are in their order.
    fn take(&mut self, most: usize, is_serial: bool, paused: &HashSet<u64>) -> Vec<Arc<InFlight>> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(key) = self.ready.pop_front()
        {
            let Some(line) = self.lines.get_mut(&key) else { continue };
            line.is_listed = false;
            if line.is_paused(paused) {
                continue;
            }
            let count = line.waiting.len().min(most - taken.len());
            line.busy += count;
            taken.extend(line.waiting.drain(..count));
            self.list(key, is_serial);
        }
        self.waiting -= taken.len();
        self.has_begun |= !taken.is_empty();
        taken
    }

    /// Puts an event back in its place in its line. Other events that were taken with it may come back before or after
    /// it.
    fn put_back(&mut self, event: Arc<InFlight>, is_serial: bool) {
        let key = event.line.unwrap_or_default();
        let line = self.lines.entry(key).or_default();
        line.busy = line.busy.saturating_sub(1);
        insert(&mut line.waiting, Arc::clone(&event));
        insert(&mut self.arrivals, event);
        self.waiting += 1;
        self.list(key, is_serial);
    }

    fn finish(&mut self, event: &InFlight, is_serial: bool) {
        let key = event.line.unwrap_or_default();
        if let Some(line) = self.lines.get_mut(&key) {
            line.busy = line.busy.saturating_sub(1);
        }
        self.unfinished = self.unfinished.saturating_sub(1);
        self.list(key, is_serial);
    }

    /// Removes the event that waits longest.
    fn drop_oldest(&mut self) -> Option<Arc<InFlight>> {
        while let Some(event) = self.arrivals.pop_front() {
            let key = event.line.unwrap_or_default();
            let Some(line) = self.lines.get_mut(&key) else { continue };
            // An event that was taken is no longer the first one that waits.
            if line.waiting.front().is_some_and(|first| Arc::ptr_eq(first, &event)) {
                line.waiting.pop_front();
                (self.waiting, self.unfinished) = (self.waiting - 1, self.unfinished - 1);
                if line.is_idle() {
                    self.lines.remove(&key);
                }
                return Some(event);
            }
        }
        None
    }

    /// Removes arrivals that were taken, once most of the list consists of them.
    fn tidy(&mut self) {
        if self.arrivals.len() > 2 * self.waiting + PARTS {
            self.arrivals.retain(|event| event.is_queued());
        }
    }

    fn is_over(&self) -> bool {
        self.unfinished == 0 && self.losses.is_empty() && !self.is_telling
    }

    /// Moves the events that wait to a new segment. Events that have begun stay in this one.
    fn split(&mut self) -> Self {
        let mut rest = Self {
            arrivals: std::mem::take(&mut self.arrivals),
            waiting: self.waiting,
            unfinished: self.waiting,
            ..Self::default()
        };
        self.ready.clear();
        for (key, line) in &mut self.lines {
            line.is_listed = false;
            let waiting = std::mem::take(&mut line.waiting);
            if !waiting.is_empty() {
                rest.lines.insert(*key, Line { waiting, ..Line::default() });
            }
        }
        self.unfinished -= self.waiting;
        self.waiting = 0;
        self.lines.retain(|_, line| !line.is_idle());
        // Lists the lines in the order in which their events came.
        for event in &rest.arrivals {
            let key = event.line.unwrap_or_default();
            if let Some(line) = rest.lines.get_mut(&key)
                && !line.is_listed
            {
                line.is_listed = true;
                rest.ready.push_back(key);
            }
        }
        rest
    }
}

impl Backlog {
    /// Creates an empty backlog. If `is_serial`, the events of a line are handled one after the other.
    pub fn new(is_serial: bool, overflow: Overflow, limits: Limits, source: String) -> Self {
        let (state, work, room) = (Mutex::default(), Condvar::new(), Condvar::new());
        Self { is_serial, by_transaction: false, overflow, limits, source, state, work, room }
    }

    /// Has the events of a transaction handed out together, as far as there is room for them.
    #[must_use]
    pub fn handing_out_transactions(self, by_transaction: bool) -> Self {
        Self { by_transaction, ..self }
    }

    /// Adds all events, and leaves `events` empty. Returns true if it had to wait for room.
    pub fn push(&self, events: &mut Vec<Arc<InFlight>>) -> bool {
        let mut has_waited = false;
        let mut state = self.state.lock();
        for event in events.drain(..) {
            if state.is_closed {
                state.counts.dropped += 1;
                continue;
            }
            if !self.has_room(&mut state, size(&event)) {
                match self.overflow {
                    Overflow::DropOldest => self.make_room(&mut state, size(&event)),
                    Overflow::DropNewest => {
                        state.counts.dropped += 1;
                        self.note_missing(state.end(), &event, Cause::SlowConsumer);
                        continue;
                    }
                    Overflow::Block => {
                        has_waited = true;
                        self.work.notify_all();
                        state = self.wait_for_room(state);
                        if state.is_closed {
                            state.counts.dropped += 1;
                            continue;
                        }
                    }
                }
            }
            state.add(event, self.is_serial);
        }
        drop(state);
        self.work.notify_one();
        has_waited
    }

    /// Adds events from the front while there is room, and waits for room until `until`. The rest stays in `events`.
    pub fn offer(&self, events: &mut VecDeque<Arc<InFlight>>, until: Instant) {
        let mut state = self.state.lock();
        while let Some(size) = events.front().map(|event| size(event)) {
            if state.is_closed || (!self.has_room(&mut state, size) && Instant::now() >= until) {
                break;
            }
            if state.is_full {
                self.work.notify_all();
                state = self.room.wait_until(state, until);
            } else if let Some(event) = events.pop_front() {
                state.add(event, self.is_serial);
            }
        }
        drop(state);
        self.work.notify_one();
    }

    fn has_room(&self, state: &mut State, size: usize) -> bool {
        let Counts { waiting, bytes, resting, .. } = state.counts;
        let held = waiting + resting;
        let fits = |limits: Limits| held < limits.events && bytes.saturating_add(size) <= limits.bytes;
        // A transaction for which there is room is not divided: it gets all of it.
        let is_kept = state.is_full && !self.by_transaction;
        if held == 0 || fits(if is_kept { self.limits.with_a_part_free() } else { self.limits }) {
            state.is_full = false;
            return true;
        }
        state.is_full = self.overflow != Overflow::DropOldest;
        false
    }

    fn wait_for_room<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while !state.is_closed && !self.has_room(&mut state, 0) {
            state = self.room.wait(state);
        }
        state
    }

    /// Drops the events that wait longest, until a part of the room is free.
    fn make_room(&self, state: &mut State, size: usize) {
        let target = self.limits.with_a_part_free();
        let mut missing = VecDeque::new();
        while state.counts.waiting + state.counts.resting > target.events
            || state.counts.bytes.saturating_add(size) > target.bytes
        {
            let Some(segment) = state.segments.iter_mut().find(|segment| segment.waiting > 0) else { break };
            let Some(event) = segment.drop_oldest() else { break };
            state.forget(&event);
            self.note_missing(&mut missing, &event, Cause::SlowConsumer);
        }
        let Some(loss) = missing.pop_front() else { return };
        match state.segments.iter().position(|segment| segment.waiting > 0) {
            // The events that have begun come before the loss.
            Some(place) if state.segments[place].unfinished > state.segments[place].waiting => {
                let mut rest = state.segments[place].split();
                rest.losses.push_back(loss);
                state.segments.insert(place + 1, rest);
            }
            Some(place) => {
                let segment = &mut state.segments[place];
                segment.has_begun = false;
                self.merge(&mut segment.losses, loss);
            }
            None => self.merge(state.end(), loss),
        }
    }

    /// Adds a loss at the end.
    pub fn push_loss(&self, loss: Loss) {
        let mut state = self.state.lock();
        if !state.is_closed {
            self.merge(state.end(), loss);
        }
        drop(state);
        self.work.notify_one();
    }

    /// Records, at the end, an event that could not be kept at all.
    pub fn push_missing(&self, event: &InFlight, cause: Cause) {
        let mut state = self.state.lock();
        if !state.is_closed {
            self.note_missing(state.end(), event, cause);
        }
        drop(state);
        self.work.notify_one();
    }

    /// Adds a loss to those of the same place. Merges it with the last one if both have the same cause.
    fn merge(&self, losses: &mut VecDeque<Loss>, loss: Loss) {
        match losses.back_mut().filter(|last| last.cause == loss.cause && last.is_exact && loss.is_exact) {
            Some(last) => {
                if last.source != loss.source {
                    last.source.clone_from(&self.source);
                }
                last.until_ms = loss.until_ms;
                last.at_most = last.at_most.zip(loss.at_most).map(|(one, other)| one + other);
            }
            None => losses.push_back(loss),
        }
    }

    fn note_missing(&self, losses: &mut VecDeque<Loss>, event: &InFlight, cause: Cause) {
        let channel = event.fields.get(CHANNEL).or_else(|| event.fields.get(KEY)).unwrap_or_default();
        let at = event.received_ms;
        if let Some(last) = losses.back_mut().filter(|last| last.cause == cause && last.is_exact) {
            if last.source.as_bytes() != channel {
                last.source.clone_from(&self.source);
            }
            last.until_ms = at;
            last.at_most = last.at_most.map(|count| count + 1);
            return;
        }
        losses.push_back(Loss {
            source: String::from_utf8_lossy(channel).into_owned(),
            node: event.node.as_deref().unwrap_or_default().to_owned(),
            cause,
            since_ms: Some(at),
            until_ms: at,
            at_most: Some(1),
            is_exact: true,
        });
    }

    /// Takes up to `most` events that may be handled now; only one if handlers are slow. Waits for the first. Returns
    /// `None` once it is closed, and an empty list if the thread was interrupted.
    pub fn take(&self, most: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.wait_for(interrupt, |backlog, state| {
            let most = state.read_ahead.at_once(most);
            (backlog.take_now(state, most), None)
        })
    }

    /// Takes events like [`Backlog::take`], but at most one for each of `handlers` free handlers.
    pub fn take_for(&self, handlers: usize, interrupt: &Interrupt) -> Option<Vec<Arc<InFlight>>> {
        self.wait_for(interrupt, |backlog, state| (backlog.take_now(state, handlers), None))
    }

    /// Takes `size` events. Waits for them until `within` has passed since the first.
    /// A backlog of transactions hands out one of these, or as much of it as there is room for.
    pub fn take_batch(
        &self,
        size: usize,
        within: Duration,
        interrupt: &Interrupt,
    ) -> Option<Vec<Arc<InFlight>>> {
        if self.by_transaction {
            return self.wait_for(interrupt, |backlog, state| {
                let most = state.next_transaction();
                (if most == 0 { Vec::new() } else { backlog.take_now(state, most) }, None)
            });
        }
        let mut until = None;
        self.wait_for(interrupt, |backlog, state| {
            let (available, is_last) = state.available();
            if available == 0 {
                until = None;
                return (backlog.take_now(state, size), None);
            }
            let due = *until.get_or_insert_with(|| Instant::now() + within);
            // Events behind a loss do not belong to this batch.
            if available >= size || !is_last || Instant::now() >= due {
                until = None;
                return (backlog.take_now(state, size), None);
            }
            (Vec::new(), Some(due))
        })
    }

    /// Takes one event if one may begin now. Takes no loss.
    pub fn take_ready(&self) -> Option<Arc<InFlight>> {
        let mut state = self.state.lock();
        let is_loss = |segment: &Segment| !segment.losses.is_empty();
        if state.is_paused || state.is_closed || state.segments.iter().take(2).any(is_loss) {
            return None;
        }
        self.take_now(&mut state, 1).pop()
    }

    /// Whether a thread waits for room.
    #[cfg(test)]
    pub fn is_awaited(&self) -> bool {
        self.room.is_awaited()
    }

    /// Takes what may begin now, without waiting.
    #[cfg(test)]
    pub fn take_now_for_test(&self, most: usize) -> Vec<Arc<InFlight>> {
        let mut state = self.state.lock();
        state.wake_rested(self.is_serial);
        if state.is_paused { Vec::new() } else { self.take_now(&mut state, most) }
    }

    fn wait_for(
        &self,
        interrupt: &Interrupt,
        mut take: impl FnMut(&Self, &mut State) -> (Vec<Arc<InFlight>>, Option<Instant>),
    ) -> Option<Vec<Arc<InFlight>>> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if interrupt.take() {
                return Some(Vec::new());
            }
            let mut soonest = None;
            if !state.is_paused {
                state.wake_rested(self.is_serial);
                let (taken, until) = take(self, &mut state);
                if !taken.is_empty() {
                    let is_more = state.has_work();
                    drop(state);
                    if is_more {
                        self.work.notify_one();
                    }
                    return Some(taken);
                }
                let due = state.resting.first_key_value().map(|((due, _), _)| *due);
                soonest = [until, due].into_iter().flatten().min();
            }
            state = match soonest {
                Some(time) => self.work.wait_until(state, time),
                None => self.work.wait(state),
            };
        }
    }

    fn take_now(&self, state: &mut State, most: usize) -> Vec<Arc<InFlight>> {
        state.drop_finished();
        let Some(first) = state.segments.front_mut().filter(|first| !first.is_telling) else {
            return Vec::new();
        };
        if let Some(loss) = first.losses.pop_front() {
            first.is_telling = true;
            state.counts.running += 1;
            state.counts.losses += 1;
            return vec![Arc::new(of_loss(loss))];
        }
        let taken = first.take(most, self.is_serial, &state.paused_keys);
        if !taken.is_empty() {
            first.tidy();
            state.counts.running += taken.len();
            let now = Instant::now();
            for (place, event) in taken.iter().enumerate() {
                state.counts.waiting -= 1;
                state.counts.bytes -= size(event);
                event.start_after(place, now);
            }
            self.tell_room(state);
        }
        taken
    }

    fn tell_room(&self, state: &mut State) {
        if self.overflow == Overflow::Block && state.is_full && self.has_room(state, 0) {
            self.room.notify_all();
        }
    }

    /// Puts back events that were taken and not begun.
    pub fn give_back(&self, events: &[Arc<InFlight>]) {
        let mut state = self.state.lock();
        for event in events.iter().rev().filter(|event| event.back()) {
            state.counts.running = state.counts.running.saturating_sub(1);
            if state.is_closed {
                state.counts.dropped += u64::from(event.loss.is_none());
                continue;
            }
            let Some(first) = state.segments.front_mut() else { continue };
            if let Some(loss) = &event.loss {
                first.is_telling = false;
                first.losses.push_front((**loss).clone());
                state.counts.losses -= 1;
            } else {
                first.put_back(Arc::clone(event), self.is_serial);
                state.counts.waiting += 1;
                state.counts.bytes += size(event);
            }
        }
        drop(state);
        self.work.notify_all();
    }

    /// Finishes events that ran, of which the longest took `ran`.
    pub fn finish(&self, events: &[Arc<InFlight>], ran: Duration) {
        let mut state = self.state.lock();
        for event in events {
            state.counts.running = state.counts.running.saturating_sub(1);
            let Some(first) = state.segments.front_mut() else { continue };
            if event.loss.is_some() {
                first.is_telling = false;
            } else {
                first.finish(event, self.is_serial);
                state.read_ahead.note_run(ran);
            }
        }
        let has_work = state.has_work();
        drop(state);
        if has_work {
            self.work.notify_one();
        }
    }

    /// Lets a failed event be tried again at `due`. If there is an order, the events behind it wait.
    pub fn rest(&self, event: &Arc<InFlight>, due: Instant) {
        let mut state = self.state.lock();
        state.counts.running = state.counts.running.saturating_sub(1);
        if state.is_closed {
            state.counts.dropped += 1;
            return;
        }
        state.counts.resting += 1;
        state.read_ahead.note_run(event.ran(Instant::now()));
        state.numbers += 1;
        let number = state.numbers;
        state.resting.insert((due, number), Arc::clone(event));
        drop(state);
        self.work.notify_one();
    }

    /// Pauses the backlog, so that it hands out nothing, or ends the pause.
    pub fn pause(&self, is_paused: bool) {
        self.state.lock().is_paused = is_paused;
        self.work.notify_all();
    }

    /// Hands out no events of a key, or goes on.
    pub fn pause_key(&self, key: u64, is_paused: bool) {
        let mut state = self.state.lock();
        if is_paused {
            state.paused_keys.insert(key);
        } else if state.paused_keys.remove(&key) {
            state.segments.iter_mut().for_each(|segment| segment.list_all(self.is_serial));
        }
        drop(state);
        self.work.notify_all();
    }

    /// Wakes the waiting workers, so that they notice an interrupt.
    pub fn wake(&self) {
        drop(self.state.lock());
        self.work.notify_all();
    }

    /// Accepts nothing more, and drops what waits.
    pub fn close(&self) {
        let mut state = self.state.lock();
        if !state.is_closed {
            state.is_closed = true;
            let Counts { waiting, resting, .. } = state.counts;
            state.counts.dropped += (waiting + resting) as u64;
            (state.counts.waiting, state.counts.resting, state.counts.bytes) = (0, 0, 0);
            state.segments.clear();
            state.resting.clear();
        }
        drop(state);
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }
}

impl State {
    fn add(&mut self, event: Arc<InFlight>, is_serial: bool) {
        self.numbers += 1;
        event.came_as(self.numbers);
        self.counts.waiting += 1;
        self.counts.bytes += size(&event);
        let stands_alone = event.stands_alone;
        if stands_alone {
            self.end();
        }
        self.last_segment().add(event, is_serial);
        if stands_alone {
            self.segments.push_back(Segment::default());
        }
    }

    fn last_segment(&mut self) -> &mut Segment {
        if self.segments.is_empty() {
            self.segments.push_back(Segment::default());
        }
        let last = self.segments.len() - 1;
        &mut self.segments[last]
    }

    /// Returns the losses of the place behind all events.
    fn end(&mut self) -> &mut VecDeque<Loss> {
        let last = self.last_segment();
        if last.has_begun || last.is_telling || last.unfinished > 0 {
            self.segments.push_back(Segment::default());
        }
        &mut self.last_segment().losses
    }

    /// Drops the segments before the last one of which all is finished.
    fn drop_finished(&mut self) {
        while self.segments.len() > 1 && self.segments.front().is_some_and(Segment::is_over) {
            self.segments.pop_front();
        }
    }

    /// Whether there is something to take now.
    fn has_work(&self) -> bool {
        self.segments.front().is_some_and(|first| {
            let is_next = self.segments.len() > 1 && first.is_over();
            !first.is_telling && (!first.losses.is_empty() || !first.ready.is_empty() || is_next)
        })
    }

    /// Returns how many events of the first segment may be handled now, and whether no other segment follows.
    fn available(&self) -> (usize, bool) {
        let Some(first) = self.segments.front() else { return (0, true) };
        let is_open = !first.is_telling && first.losses.is_empty();
        let ready = first.ready.iter().filter_map(|key| first.lines.get(key)).map(|line| line.waiting.len());
        (if is_open { ready.sum() } else { 0 }, self.segments.len() == 1)
    }

    /// Returns how many events may be taken so that these are a transaction, or as much of one as there is room for; or
    /// 1 for a loss. 0 if there is none yet.
    fn next_transaction(&mut self) -> usize {
        self.drop_finished();
        let is_last = self.segments.len() == 1;
        let Some(first) = self.segments.front() else { return 0 };
        if !first.losses.is_empty() {
            return 1;
        }
        let Some(line) = first.ready.front().and_then(|key| first.lines.get(key)) else { return 0 };
        let number = line.waiting.front().and_then(|event| event.transaction);
        let count = line.waiting.iter().take_while(|event| event.transaction == number).count();
        let is_followed = count > 0 && line.waiting[count - 1].is_followed;
        let is_whole = !is_followed || count < line.waiting.len() || !is_last;
        if is_whole || self.is_full { count } else { 0 }
    }

    fn forget(&mut self, event: &InFlight) {
        self.counts.waiting -= 1;
        self.counts.bytes -= size(event);
        self.counts.dropped += 1;
    }

    fn wake_rested(&mut self, is_serial: bool) {
        let now = Instant::now();
        while let Some(rested) = self.resting.first_entry()
            && rested.key().0 <= now
        {
            let event = Arc::new(rested.remove().again());
            self.counts.resting -= 1;
            self.counts.waiting += 1;
            self.counts.bytes += size(&event);
            if let Some(first) = self.segments.front_mut() {
                first.put_back(event, is_serial);
            }
        }
    }
}

/// Inserts an event in its place. Most belong near the front.
fn insert(events: &mut VecDeque<Arc<InFlight>>, event: Arc<InFlight>) {
    let place = event.place();
    let before = events.iter().take_while(|other| other.place() < place).count();
    events.insert(before, event);
}

fn size(event: &InFlight) -> usize {
    event.fields.size()
}

fn of_loss(loss: Loss) -> InFlight {
    let id = StreamId { ms: loss.until_ms, seq: 0 };
    let mut event = InFlight::new(id, Fields::default(), 1, loss.until_ms);
    event.loss = Some(Box::new(loss));
    event.start();
    event
}
