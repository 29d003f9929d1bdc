//! The long-lived connections of an instance, and whether they stand: what `connected?` tells.

use crate::backoff::Backoff;
use crate::error::{Error, Fate};
use crate::member::Member;
use crate::sync::Mutex;
use redis::RedisError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A connection that stood this long was good: the next attempt starts without a long pause.
const STABLE: Duration = Duration::from_secs(1);

/// How many of the long-lived connections broke and are not back, and what became of them.
#[derive(Debug, Default)]
pub struct Links {
    lost: AtomicUsize,
    losses: AtomicUsize,
    told: Mutex<Option<Instant>>,
}

impl Links {
    /// One broke; the user hears of the first.
    pub fn lost(&self, member: &Member, error: Error) {
        self.losses.fetch_add(1, Ordering::SeqCst);
        if self.lost.fetch_add(1, Ordering::SeqCst) == 0 && self.is_news() && !member.stop.is_stopped() {
            member.reporter.failure(member.locate(error));
        }
    }

    /// A connection that breaks again and again is told of once a second; each time is counted.
    fn is_news(&self) -> bool {
        let mut told = self.told.lock();
        let news = told.is_none_or(|told| told.elapsed() >= STABLE);
        if news {
            *told = Some(Instant::now());
        }
        news
    }

    /// One that broke is back.
    pub fn restored(&self, member: &Member) {
        self.lost.fetch_sub(1, Ordering::SeqCst);
        member.stats.reconnections.increment();
    }

    /// How often one broke. Where another broke since a connection was made, that one is not to be trusted: TCP lets
    /// a first write to a server that is gone succeed.
    pub fn losses(&self) -> usize {
        self.losses.load(Ordering::SeqCst)
    }

    /// Whether none is broken.
    pub fn are_up(&self) -> bool {
        self.lost.load(Ordering::SeqCst) == 0
    }
}

/// One thread's connection: reports its state, and paces the attempts to make it again.
pub struct Link<'a> {
    member: &'a Member,
    state: State,
    backoff: Backoff,
}

enum State {
    Up(Instant),
    Lost,
}

impl<'a> Link<'a> {
    /// A connection that stands: an engine starts with all of its connections made.
    pub fn new(member: &'a Member) -> Self {
        Self { member, state: State::Up(Instant::now()), backoff: Backoff::new() }
    }

    /// It is ready.
    pub fn up(&mut self) {
        if let State::Lost = self.state {
            self.member.links.restored(self.member);
            self.state = State::Up(Instant::now());
        }
    }

    /// It broke, or could not be made: reports that, and pauses before the next attempt.
    pub fn lost(&mut self, error: &RedisError) {
        if let State::Up(since) = self.state {
            self.member
                .links
                .lost(self.member, self.member.connections.connector().explain(error, Fate::Unknown));
            self.state = State::Lost;
            if since.elapsed() >= STABLE {
                self.backoff.reset();
            }
        }
        self.member.stop.pause(self.backoff.pause());
    }
}
