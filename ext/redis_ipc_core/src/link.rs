//! One thread's long-lived connection: reports its state, and paces the attempts to make it again.

use crate::backoff::Backoff;
use crate::error::Fate;
use crate::links::STABLE;
use crate::member::Member;
use redis::RedisError;
use std::time::Instant;

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
            self.member.link_restored();
            self.state = State::Up(Instant::now());
        }
    }

    /// It broke, or could not be made: reports that, and pauses before the next attempt.
    pub fn lost(&mut self, error: &RedisError) {
        if let State::Up(since) = self.state {
            self.member.link_lost(self.member.connections.connector().explain(error, Fate::Unknown));
            self.state = State::Lost;
            if since.elapsed() >= STABLE {
                self.backoff.reset();
            }
        }
        self.member.stop.pause(self.backoff.pause());
    }
}
