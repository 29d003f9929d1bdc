//! A model of how requests are leased to the servers of a JSON-RPC queue (docs/json_rpc.md, "What a server
//! promises"), and a search of every state it can reach. One server takes a request, breaks its connections
//! half-open, stops, dies or leaves. Another one watches it. A request must never be on the list of a server that no
//! other server knows of.
//!
//! The server's scores are numbers that it uses once. They are only compared for equality, so a clock that jumps
//! needs no step of its own.
#![allow(clippy::panic, reason = "a test")]

use std::collections::{HashSet, VecDeque};

/// The lease, in ticks.
const LEASE: u8 = 2;
/// The longest time that a read waits in Redis, in ticks.
const BLOCK: u8 = 3;
/// How long after a heartbeat the read that follows it may reach Redis, in ticks.
const HELD_BACK: u8 = 1;
/// How many connections the server makes.
const CONNECTIONS: usize = 3;
/// How many heartbeats the server sends.
const SCORES: u8 = 4;

/// The rules that the servers follow.
#[derive(Clone, Copy)]
struct Rules {
    /// Each read begins with a heartbeat on its own connection.
    beat_before_read: bool,
    /// How long a server that died stays known, in ticks.
    forget_after: u8,
    /// A server that leaves stays known if one of its connections broke.
    leave_only_if_clear: bool,
}

const RULES: Rules =
    Rules { beat_before_read: true, forget_after: BLOCK + HELD_BACK + LEASE, leave_only_if_clear: true };

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Place {
    NotAsked,
    Queue,
    List,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Command {
    Beat(u8),
    Read,
}

/// One connection of the server, as the network and Redis see it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Connection {
    /// The commands on their way. They may take any time, except for the rest of a command that has arrived in part.
    sent: VecDeque<Command>,
    /// How long ago its heartbeat arrived whose read has not arrived yet.
    begun: Option<u8>,
    /// How many ticks its read still waits in Redis.
    waiting: Option<u8>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    request: Place,
    /// The server's score in Redis.
    known: Option<u8>,
    connections: Vec<Connection>,
    /// The server can still use its last connection.
    is_connected: bool,
    is_running: bool,
    scores: u8,
    /// The score that the other server saw, and for how many ticks it has not changed.
    seen: Option<(u8, u8)>,
}

impl State {
    fn start() -> Self {
        Self {
            request: Place::NotAsked,
            known: Some(0),
            connections: vec![Connection::default()],
            is_connected: true,
            is_running: true,
            scores: 1,
            seen: None,
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    /// Redis gives the request to a waiting read.
    fn serve(&mut self) {
        if self.request == Place::Queue
            && let Some(reader) = self.connections.iter_mut().find(|connection| connection.waiting.is_some())
        {
            reader.waiting = None;
            self.request = Place::List;
        }
    }

    fn is_idle(&self) -> bool {
        let last = self.connections.last();
        self.is_connected && last.is_some_and(|last| last.sent.is_empty() && last.waiting.is_none())
    }

    fn successors(&self, rules: Rules) -> Vec<Self> {
        let mut next = Vec::new();
        self.outside(&mut next);
        self.in_redis(&mut next);
        if self.is_running {
            self.of_the_server(rules, &mut next);
        }
        self.of_the_other(rules, &mut next);
        next
    }

    fn outside(&self, next: &mut Vec<Self>) {
        if self.request == Place::NotAsked {
            next.push(self.with(|state| {
                state.request = Place::Queue;
                state.serve();
            }));
        }
        // Time passes, unless a read is over that Redis has not ended yet.
        if self.connections.iter().all(|connection| connection.waiting != Some(0)) {
            next.push(self.with(|state| {
                for connection in &mut state.connections {
                    connection.waiting = connection.waiting.map(|ticks| ticks - 1);
                    connection.begun = connection.begun.map(|ticks| ticks + 1);
                    if connection.begun.is_some_and(|ticks| ticks > HELD_BACK) {
                        (connection.sent, connection.begun) = (VecDeque::new(), None);
                    }
                }
                state.seen = state.seen.map(|(score, ticks)| (score, (ticks + 1).min(RULES.forget_after)));
            }));
        }
    }

    fn in_redis(&self, next: &mut Vec<Self>) {
        for (index, connection) in self.connections.iter().enumerate() {
            if connection.waiting == Some(0) {
                next.push(self.with(|state| state.connections[index].waiting = None));
            }
            if connection.waiting.is_some() || connection.sent.is_empty() {
                continue;
            }
            next.push(self.with(|state| match state.connections[index].sent.pop_front() {
                Some(Command::Beat(score)) => {
                    state.known = Some(score);
                    state.connections[index].begun = Some(0);
                }
                Some(Command::Read) => {
                    state.connections[index].begun = None;
                    state.connections[index].waiting = Some(BLOCK);
                    state.serve();
                }
                None => {}
            }));
        }
    }

    fn of_the_server(&self, rules: Rules, next: &mut Vec<Self>) {
        // The server sends a heartbeat on a separate connection, which does not break.
        if self.scores < SCORES {
            next.push(self.with(|state| {
                state.known = Some(state.scores);
                state.scores += 1;
            }));
        }
        if self.is_idle() && (self.scores < SCORES || !rules.beat_before_read) {
            next.push(self.with(|state| {
                let score = state.scores;
                let Some(last) = state.connections.last_mut() else { return };
                if rules.beat_before_read {
                    last.sent.push_back(Command::Beat(score));
                    state.scores += 1;
                }
                last.sent.push_back(Command::Read);
            }));
        }
        if self.is_connected {
            next.push(self.with(|state| state.is_connected = false));
        } else if self.connections.len() < CONNECTIONS {
            next.push(self.with(|state| {
                state.connections.push(Connection::default());
                state.is_connected = true;
            }));
        }
        // The server dies. A server that stops for a while is modelled by steps of the others before its own.
        next.push(self.with(|state| state.is_running = false));
        if self.is_idle() && self.request != Place::List {
            next.push(self.with(|state| {
                if state.connections.len() == 1 || !rules.leave_only_if_clear {
                    state.known = None;
                }
                state.is_running = false;
            }));
        }
    }

    fn of_the_other(&self, rules: Rules, next: &mut Vec<Self>) {
        let seen =
            self.known.map(|score| self.seen.filter(|(known, _)| *known == score).unwrap_or((score, 0)));
        if seen != self.seen {
            next.push(self.with(|state| state.seen = seen));
        }
        // The other server decided by the score it saw. The script compares the score again.
        let Some((score, ticks)) = self.seen else { return };
        if ticks < LEASE || self.known != Some(score) {
            return;
        }
        next.push(self.with(|state| {
            if state.request == Place::List {
                state.request = Place::Queue;
                state.serve();
            }
            if ticks >= rules.forget_after && state.request != Place::List {
                state.known = None;
            }
        }));
    }

    /// Whether the request is on the list of a server that no other server knows of.
    fn is_lost(&self) -> bool {
        self.request == Place::List && self.known.is_none()
    }
}

/// Returns the first lost request that the rules allow, and how many states were searched.
fn search(rules: Rules) -> (Option<State>, usize) {
    let start = State::start();
    let (mut seen, mut open) = (HashSet::from([start.clone()]), VecDeque::from([start]));
    while let Some(state) = open.pop_front() {
        for next in state.successors(rules) {
            if next.is_lost() {
                return (Some(next), seen.len());
            }
            if seen.insert(next.clone()) {
                open.push_back(next);
            }
        }
    }
    (None, seen.len())
}

#[test]
fn no_request_is_on_the_list_of_a_server_that_nobody_knows() {
    let (lost, states) = search(RULES);
    assert_eq!(lost, None);
    assert!(states > 10_000, "the model is too small to say anything: {states} states");
}

#[test]
fn each_rule_is_needed() {
    for (name, rules) in [
        ("a read without a heartbeat", Rules { beat_before_read: false, ..RULES }),
        ("forgotten after a lease", Rules { forget_after: LEASE, ..RULES }),
        (
            "forgotten when it leaves, though a connection broke",
            Rules { leave_only_if_clear: false, ..RULES },
        ),
    ] {
        assert!(search(rules).0.is_some(), "{name}: nothing is lost without the rule");
    }
}
