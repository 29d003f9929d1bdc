//! Model checks how requests that may crash their process are marked (`suspect_marks.rs`). It visits every interleaving
//! of three instances that take one request over from each other. Each may stall at any time, so that its lease runs
//! out, and crash between any two commands.
//!
//! This must hold:
//!
//! - While an instance runs a request that it took over, and nobody has answered it, there is a mark.
//! - Once an instance has crashed while it ran such a request, there is a mark until somebody has answered it.
//! - When all have ended, there is no mark of a request that somebody has answered, and at most one of another, unless
//!   an instance crashed between the commands that write or remove a mark.

use std::collections::{BTreeSet, HashSet};

const INSTANCES: usize = 3;
/// The most deliveries. More add no new cases, but many states.
const MOST: u8 = 4;

type Marks = BTreeSet<u8>;

/// What an instance does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    /// It has claimed the request, and looks for marks.
    Claimed,
    /// It adds its own mark. These were there before.
    Found(Marks),
    /// It looks whether it still has the request.
    Marked(Marks),
    /// It removes the marks that were there before.
    Confirmed(Marks),
    Running,
    /// It has answered, and removes its mark.
    Answered,
    /// It looks for marks of others.
    Seeking,
    /// It removes them.
    Removing(Marks),
    /// It lost the request before it ran it, and removes its own mark.
    Dropped,
    Ended,
    Crashed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Instance {
    step: Step,
    mark: Option<u8>,
    /// Its lease has run out while it had the request. It knows that before it has answered.
    is_late: bool,
    took_over: bool,
    /// How it crashed.
    crash: Option<Crash>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Crash {
    Running,
    AmidMarks,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// Who has the request. `None` once it was answered and removed.
    holder: Option<usize>,
    deliveries: u8,
    marks: Marks,
    next_mark: u8,
    instances: Vec<Instance>,
}

impl World {
    fn new() -> Self {
        let idle = Instance { step: Step::Idle, mark: None, is_late: false, took_over: false, crash: None };
        let mut instances = vec![idle; INSTANCES];
        instances[0].step = Step::Running;
        Self { holder: Some(0), deliveries: 1, marks: Marks::new(), next_mark: 1, instances }
    }

    /// Returns the worlds after one more command, or one more crash.
    fn next(&self) -> Vec<Self> {
        let each =
            (0..INSTANCES).flat_map(|at| [self.after_step(at), self.after_renewal(at), self.after_crash(at)]);
        each.flatten().collect()
    }

    fn after_step(&self, at: usize) -> Option<Self> {
        let mut after = self.clone();
        let own = &mut after.instances[at];
        let step = match own.step.clone() {
            Step::Idle => return self.after_claim(at),
            Step::Claimed if self.holder.is_none() => Step::Ended,
            Step::Claimed => Step::Found(self.marks.clone()),
            Step::Found(before) => {
                own.mark = Some(self.next_mark);
                after.marks.insert(self.next_mark);
                after.next_mark += 1;
                Step::Marked(before)
            }
            Step::Marked(before) if self.holder == Some(at) => Step::Confirmed(before),
            Step::Marked(_) => Step::Dropped,
            Step::Confirmed(before) => {
                after.marks.retain(|mark| !before.contains(mark));
                Step::Running
            }
            Step::Running => {
                after.holder = None;
                Step::Answered
            }
            Step::Answered => match own.mark.map(|mark| after.marks.remove(&mark)) {
                Some(true) | None if !own.is_late => Step::Ended,
                _ => Step::Seeking,
            },
            Step::Seeking => Step::Removing(self.marks.clone()),
            Step::Removing(found) => {
                after.marks.retain(|mark| !found.contains(mark));
                Step::Ended
            }
            Step::Dropped => {
                own.mark.map(|mark| after.marks.remove(&mark));
                Step::Ended
            }
            Step::Ended | Step::Crashed => return None,
        };
        after.instances[at].step = step;
        Some(after)
    }

    /// Takes the request over. Its holder has crashed, or has been stalled for a lease.
    fn after_claim(&self, at: usize) -> Option<Self> {
        let holder = self.holder.filter(|holder| *holder != at && self.deliveries < MOST)?;
        let mut after = self.clone();
        (after.holder, after.deliveries) = (Some(at), self.deliveries + 1);
        after.instances[holder].is_late = true;
        after.instances[at].step = Step::Claimed;
        after.instances[at].took_over = true;
        Some(after)
    }

    /// A stalled instance goes on, and renews the lease of what it runs: it takes the request back.
    fn after_renewal(&self, at: usize) -> Option<Self> {
        let holder =
            self.holder.filter(|holder| *holder != at && self.instances[at].step == Step::Running)?;
        let mut after = self.clone();
        after.holder = Some(at);
        after.instances[holder].is_late = true;
        Some(after)
    }

    fn after_crash(&self, at: usize) -> Option<Self> {
        let crash = match self.instances[at].step {
            Step::Idle | Step::Ended | Step::Crashed => return None,
            Step::Running => Crash::Running,
            _ => Crash::AmidMarks,
        };
        let mut after = self.clone();
        after.instances[at].crash = Some(crash);
        after.instances[at].step = Step::Crashed;
        Some(after)
    }

    fn check(&self) {
        let is_open = self.holder.is_some();
        let took_over = || self.instances.iter().filter(|instance| instance.took_over);
        let needs_mark =
            |instance: &Instance| instance.step == Step::Running || instance.crash == Some(Crash::Running);
        if is_open && took_over().any(needs_mark) {
            assert!(
                !self.marks.is_empty(),
                "no mark of a request that runs, or has crashed its process: {self:?}"
            );
        }
        let has_ended =
            |instance: &Instance| matches!(instance.step, Step::Idle | Step::Ended | Step::Crashed);
        if !self.instances.iter().all(has_ended) {
            return;
        }
        let is_amid_marks = |instance: &Instance| instance.crash == Some(Crash::AmidMarks);
        if !self.instances.iter().any(is_amid_marks) {
            assert!(self.marks.len() <= usize::from(is_open), "marks that nobody has removed: {self:?}");
        }
    }
}

#[test]
fn every_interleaving_of_answers_marks_and_crashes_keeps_the_promises() {
    let (mut seen, mut open) = (HashSet::new(), vec![World::new()]);
    while let Some(world) = open.pop() {
        if seen.insert(world.clone()) {
            world.check();
            open.extend(world.next());
        }
    }
    assert!(seen.len() > 5_000, "{} states", seen.len());
}
