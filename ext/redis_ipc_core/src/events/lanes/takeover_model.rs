//! Model checks how lanes change owners. It visits every interleaving of two instances. Each may stall at any time (it
//! does nothing while time passes), crash between any two commands, and lose any request or reply. The instances run
//! the real [`Ownership`] and `Progress`. Redis is [`Store`]; a test compares it with the scripts on a real server.
//!
//! This must hold in every state:
//!
//! - At most one instance may begin events of a lane.
//! - No checkpoint says that an event is done which no handler has finished.
//! - An event of a key begins only after someone has finished all events before it.
//! - The epochs of a lane's owners grow.

use crate::events::lanes::checkpoint::{Checkpoint, Starts};
use crate::events::lanes::ownership::Ownership;
use crate::events::lanes::protocol::{Beat, Claim, Save, Share, Then};
use crate::foundation::payload::stream_entry::StreamId;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

const LEASE: u64 = 2;

/// The state of Redis, and what its scripts do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Store {
    lanes: Option<u16>,
    start: Starts,
    instances: BTreeMap<String, (u64, u64)>,
    owners: BTreeMap<u16, Owner>,
    checkpoints: BTreeMap<u16, Checkpoint>,
    crashes: BTreeMap<u16, u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    /// `None` once the lane was released.
    instance: Option<String>,
    epoch: u64,
    expires: u64,
}

impl Store {
    fn beat(&mut self, now: u64, beat: &Beat) -> Share {
        let is_new = self.lanes.is_none();
        if is_new {
            (self.lanes, self.start) = (Some(beat.lanes), beat.start.clone());
        }
        let expires = now + beat.lease;
        let joined = self.instances.get(&beat.instance).map_or(now, |(_, joined)| *joined);
        self.instances.retain(|name, (expires, _)| *name == beat.instance || *expires >= now);
        self.instances.insert(beat.instance.clone(), (expires, joined));
        let mut ranks: Vec<(u64, &String)> =
            self.instances.iter().map(|(name, (_, joined))| (*joined, name)).collect();
        ranks.sort();
        let rank = ranks.iter().position(|(_, name)| **name == beat.instance).unwrap();
        let (count, lanes) = (ranks.len(), usize::from(beat.lanes));
        let target = lanes / count + usize::from(rank < lanes % count);
        let mut kept = Vec::new();
        for (lane, epoch) in &beat.held {
            let Some(owner) = self.owners.get_mut(lane) else { continue };
            if owner.instance.as_deref() == Some(&beat.instance) && owner.epoch == *epoch {
                owner.expires = expires;
                kept.push(*lane);
            }
        }
        let mut claims = Vec::new();
        for lane in 0..beat.lanes {
            let none = Owner { instance: None, epoch: 0, expires: 0 };
            let owner = self.owners.get(&lane).cloned().unwrap_or(none);
            let is_own = owner.instance.as_deref() == Some(&beat.instance);
            if kept.len() + claims.len() >= target || kept.contains(&lane) || !(owner.expires < now || is_own)
            {
                continue;
            }
            let epoch = (owner.epoch + 1).max(now);
            self.owners.insert(lane, Owner { instance: Some(beat.instance.clone()), epoch, expires });
            if owner.instance.is_some() && !is_own {
                *self.crashes.entry(lane).or_default() += 1;
            }
            let crashes = self.crashes.get(&lane).copied().unwrap_or_default();
            claims.push(Claim { lane, epoch, checkpoint: self.checkpoints.get(&lane).cloned(), crashes });
        }
        let (instances, start) = (count as u16, self.start.clone());
        Share { instances, target, is_new, start, kept, claims, decisions: Vec::new() }
    }

    fn save(&mut self, instance: &str, saves: &[Save]) -> Vec<u16> {
        let mut refused = Vec::new();
        for save in saves {
            let owner = self.owners.get_mut(&save.lane);
            let Some(owner) = owner
                .filter(|owner| owner.instance.as_deref() == Some(instance) && owner.epoch == save.epoch)
            else {
                refused.push(save.lane);
                continue;
            };
            self.checkpoints.insert(save.lane, save.checkpoint.clone());
            if save.then != Then::Keep {
                self.crashes.remove(&save.lane);
            }
            if save.then == Then::Free {
                *owner = Owner { instance: None, epoch: owner.epoch, expires: 0 };
            }
        }
        refused
    }
}

/// A command on its way to Redis, or a reply on its way back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Flight<Q, R> {
    None,
    Sent(Q),
    Executed(Q, R),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    name: String,
    ownership: Ownership,
    /// The lane, its epoch and the event of each running handler.
    running: BTreeSet<(u16, u64, u64)>,
    beat: Flight<(Beat, u64), Share>,
    save: Flight<Vec<Save>, Vec<u16>>,
    beats_left: u32,
    saves_left: u32,
}

impl Node {
    fn new(name: &str, beats: u32, saves: u32) -> Self {
        Self {
            name: name.to_owned(),
            ownership: Ownership::default(),
            running: BTreeSet::new(),
            beat: Flight::None,
            save: Flight::None,
            beats_left: beats,
            saves_left: saves,
        }
    }
}

/// The bounds of a check.
#[derive(Debug, Clone, Copy)]
struct Setup {
    lanes: u16,
    /// How many events the stream has. The event n is in the lane n modulo `lanes`, and all events of a lane have one
    /// key.
    events: u64,
    until: u64,
    beats: u32,
    saves: u32,
    /// How often an instance may crash, or a request or a reply may be lost.
    faults: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: u64,
    store: Store,
    nodes: Vec<Option<Node>>,
    finished: BTreeSet<u64>,
    faults_left: u32,
}

fn id(event: u64) -> StreamId {
    StreamId { ms: event, seq: 0 }
}

/// Checks every reachable state.
struct Checker {
    setup: Setup,
    origin: Instant,
}

impl Checker {
    fn at(&self, now: u64) -> Instant {
        self.origin + Duration::from_millis(now)
    }

    /// Returns the number of states.
    fn run(&self) -> Result<usize, String> {
        let first = World {
            now: 1,
            store: Store::default(),
            nodes: vec![
                Some(Node::new("a", self.setup.beats, self.setup.saves)),
                // The second instance needs no renewal to take over.
                Some(Node::new("b", self.setup.beats - 1, self.setup.saves)),
            ],
            finished: BTreeSet::new(),
            faults_left: self.setup.faults,
        };
        let mut seen = HashSet::from([hash(&first)]);
        let mut stack = vec![first];
        while let Some(mut world) = stack.pop() {
            self.check(&mut world)?;
            let next = self.successors(&world)?;
            stack.extend(next.into_iter().filter(|next| seen.insert(hash(next))));
        }
        Ok(seen.len())
    }

    /// Checks the invariants in a state.
    fn check(&self, world: &mut World) -> Result<(), String> {
        let now = self.at(world.now);
        for lane in 0..self.setup.lanes {
            let serving = world.nodes.iter_mut().flatten();
            let serving =
                serving.filter_map(|node| node.ownership.serving(lane, now).map(|owned| owned.epoch));
            let serving: Vec<u64> = serving.collect();
            if serving.len() > 1 {
                return Err(format!("two own lane {lane}, with the epochs {serving:?}: {world:#?}"));
            }
            let Some(checkpoint) = world.store.checkpoints.get(&lane) else { continue };
            for event in self.events_of(lane) {
                if checkpoint.is_done(id(event)) && !world.finished.contains(&event) {
                    return Err(format!("the event {event} is lost: {world:#?}"));
                }
            }
        }
        Ok(())
    }

    fn events_of(&self, lane: u16) -> impl Iterator<Item = u64> {
        let lanes = u64::from(self.setup.lanes);
        (1..=self.setup.events).filter(move |event| event % lanes == u64::from(lane))
    }

    fn successors(&self, world: &World) -> Result<Vec<World>, String> {
        let mut next = Vec::new();
        if world.now < self.setup.until {
            next.push(World { now: world.now + 1, ..world.clone() });
        }
        for (place, node) in world.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let with = |node: Option<Node>| {
                let mut changed = world.clone();
                changed.nodes[place] = node;
                changed
            };
            if let Some(faults_left) = world.faults_left.checked_sub(1) {
                let lost = Node { beat: Flight::None, ..node.clone() };
                let unsaved = Node { save: Flight::None, ..node.clone() };
                let faults = [
                    Some(None),
                    (node.beat != Flight::None).then_some(Some(lost)),
                    (node.save != Flight::None).then_some(Some(unsaved)),
                ];
                next.extend(faults.into_iter().flatten().map(|node| World { faults_left, ..with(node) }));
            }
            next.extend(self.beat(world, node).map(|(store, node)| World { store, ..with(Some(node)) }));
            next.extend(self.save(world, node).map(|(store, node)| World { store, ..with(Some(node)) }));
            let handled = self.handle(world, node)?;
            next.extend(handled.into_iter().map(|(finished, node)| World { finished, ..with(Some(node)) }));
        }
        Ok(next)
    }

    /// Sends a heartbeat, lets it reach Redis, or lets the reply arrive.
    fn beat(&self, world: &World, node: &Node) -> Option<(Store, Node)> {
        let (mut store, mut node) = (world.store.clone(), node.clone());
        node.beat = match std::mem::replace(&mut node.beat, Flight::None) {
            Flight::None => {
                node.beats_left = node.beats_left.checked_sub(1)?;
                let beat = Beat {
                    instance: node.name.clone(),
                    lease: LEASE,
                    lanes: self.setup.lanes,
                    are_partitions: false,
                    start: Starts::default(),
                    held: node.ownership.held(),
                };
                Flight::Sent((beat, world.now))
            }
            Flight::Sent(request) => {
                let share = store.beat(world.now, &request.0);
                Flight::Executed(request, share)
            }
            Flight::Executed((beat, sent), share) => {
                let lease = Duration::from_millis(LEASE);
                node.ownership.renewed(&share, &beat.held, self.at(sent), lease);
                Flight::None
            }
        };
        Some((store, node))
    }

    /// Sends checkpoints, lets them reach Redis, or lets the reply arrive.
    fn save(&self, world: &World, node: &Node) -> Option<(Store, Node)> {
        let (mut store, mut node) = (world.store.clone(), node.clone());
        node.save = match std::mem::replace(&mut node.save, Flight::None) {
            Flight::None => {
                node.saves_left = node.saves_left.checked_sub(1)?;
                let is_idle = |lane| !node.running.iter().any(|(of, ..)| *of == lane);
                let saves = node.ownership.saves(is_idle);
                if saves.is_empty() {
                    return None;
                }
                Flight::Sent(saves)
            }
            Flight::Sent(saves) => {
                let refused = store.save(&node.name, &saves);
                Flight::Executed(saves, refused)
            }
            Flight::Executed(saves, refused) => {
                node.ownership.saved(saves, &refused, self.at(world.now));
                Flight::None
            }
        };
        Some((store, node))
    }

    /// Lets the node begin an event, which it has read with all others, or finish one.
    fn handle(&self, world: &World, node: &Node) -> Result<Vec<(BTreeSet<u64>, Node)>, String> {
        let mut next = Vec::new();
        for (lane, epoch) in node.ownership.held() {
            let mut begun = node.clone();
            let is_running = node.running.iter().any(|(of, at, _)| (*of, *at) == (lane, epoch));
            let Some(owned) = begun.ownership.serving(lane, self.at(world.now)) else { continue };
            for event in self.events_of(lane) {
                owned.progress.admit(id(event), Some(event));
                owned.progress.read(id(event), Some(event));
            }
            if let Some(first) = owned.progress.first().filter(|_| !is_running) {
                let unfinished = |event: &u64| *event < first.ms && !world.finished.contains(event);
                if let Some(before) = self.events_of(lane).find(unfinished) {
                    return Err(format!("{first} begins, and {before} was never finished: {world:#?}"));
                }
                begun.running.insert((lane, epoch, first.ms));
                next.push((world.finished.clone(), begun));
            }
        }
        for run @ (lane, epoch, event) in &node.running {
            let (mut done, mut finished) = (node.clone(), world.finished.clone());
            done.running.remove(run);
            if let Some(owned) = done.ownership.owned(*lane, *epoch) {
                owned.progress.finish(id(*event));
                owned.finished = 1;
            }
            finished.insert(*event);
            next.push((finished, done));
        }
        Ok(next)
    }
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

fn states(setup: Setup) -> usize {
    Checker { setup, origin: Instant::now() }.run().unwrap_or_else(|wrong| panic!("{wrong}"))
}

#[test]
fn one_lane_has_one_owner_and_loses_nothing() {
    let states = states(Setup { lanes: 1, events: 2, until: 4, beats: 2, saves: 1, faults: 1 });
    assert!(states > 10_000, "only {states}");
}

#[test]
fn lanes_are_shared_out_and_lose_nothing() {
    let states = states(Setup { lanes: 2, events: 2, until: 3, beats: 2, saves: 1, faults: 0 });
    assert!(states > 10_000, "only {states}");
}

/// Checks that [`Store`] does what the scripts do on a real server.
#[cfg(feature = "live-tests")]
mod against_redis {
    use super::*;
    use crate::events::lanes::protocol;
    use crate::foundation::redis::live_server::LiveServer;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Beat { instance: usize, forgets: bool },
        Save { instance: usize, then: usize, epoch: bool },
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..3, prop::bool::weighted(0.2))
                .prop_map(|(instance, forgets)| Step::Beat { instance, forgets }),
            (0usize..3, 0usize..3, prop::bool::weighted(0.9))
                .prop_map(|(instance, then, epoch)| Step::Save { instance, then, epoch }),
            (1u64..8).prop_map(Step::Wait),
        ]
    }

    /// Runs the steps on both, and returns where they differ.
    fn difference(server: &LiveServer, key: &str, lanes: u16, steps: &[Step]) -> Option<String> {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        let (mut store, mut now) = (Store::default(), 1_000_000u64);
        let mut held: [Vec<(u16, u64)>; 3] = Default::default();
        for step in steps {
            match step {
                Step::Wait(ms) => now += ms,
                Step::Beat { instance, forgets } => {
                    let beat = Beat {
                        instance: NAMES[*instance].to_owned(),
                        lease: 5,
                        lanes,
                        are_partitions: lanes.is_multiple_of(2),
                        start: Starts::new(vec![Checkpoint::starting_at(id(7), Some(3))]),
                        held: if *forgets { Vec::new() } else { held[*instance].clone() },
                    };
                    let expected = store.beat(now, &beat);
                    let found = Share::read(&server.run(&beat.command_at(now, key))).unwrap();
                    if found != expected {
                        return Some(format!("{step:?}: {found:?}, not {expected:?}"));
                    }
                    let kept = beat.held.iter().filter(|(lane, _)| found.kept.contains(lane)).copied();
                    held[*instance] =
                        kept.chain(found.claims.iter().map(|claim| (claim.lane, claim.epoch))).collect();
                }
                Step::Save { instance, then, epoch } => {
                    let then = [Then::Keep, Then::Calm, Then::Free][*then];
                    let save = |(lane, of): &(u16, u64)| Save {
                        lane: *lane,
                        epoch: if *epoch { *of } else { of + 1 },
                        checkpoint: Checkpoint::starting_at(id(now), None),
                        then,
                    };
                    let saves: Vec<Save> = held[*instance].iter().map(save).collect();
                    if saves.is_empty() {
                        continue;
                    }
                    let expected = store.save(NAMES[*instance], &saves);
                    let reply = server.run(&protocol::save(key, NAMES[*instance], &saves));
                    let found = protocol::refused(&reply).unwrap();
                    if found != expected {
                        return Some(format!("{step:?}: refused {found:?}, not {expected:?}"));
                    }
                }
            }
        }
        None
    }

    #[test]
    fn the_store_does_what_the_scripts_do() {
        let server = LiveServer::start();
        let key = std::sync::atomic::AtomicUsize::new(0);
        let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(lanes in 1u16..6, steps in prop::collection::vec(step(), 1..40))| {
            let number = key.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            prop_assert_eq!(difference(&server, &format!("key {number}"), lanes, &steps), None);
        });
    }
}
