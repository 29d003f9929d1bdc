//! One thread's long-lived connection: reports its state, and paces the attempts to make it again.

use crate::error::{Error, Fate};
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::error_codes::is_passing;
use crate::foundation::redis::health::{Health, STABLE};
use crate::foundation::runtime::backoff::Backoff;
use crate::foundation::runtime::stop::Stop;
use redis::{ErrorKind, RedisError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whose connection it is.
pub trait Linked {
    /// What made it.
    fn connector(&self) -> &Connector;
    /// What ends the pauses between attempts.
    fn stop(&self) -> &Stop;
    /// All of its connections.
    fn health(&self) -> &Health;
    /// It broke.
    fn link_lost(&self, error: Error);
    /// It is lost, and the server refuses another.
    fn link_refused(&self, error: Error);
    /// It is back.
    fn link_restored(&self);
}

/// Whether the server could be reached and does not let us in; that may last, unlike an outage, until somebody helps.
pub fn is_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || error.code().is_some_and(|code| !is_passing(code))
}

/// One thread's connection: reports its state, and paces the attempts to make it again.
pub struct Link<'a, M: Linked> {
    member: &'a M,
    key: &'a str,
    state: State,
    backoff: Backoff,
}

enum State {
    Up(Instant),
    Lost,
}

impl<'a, M: Linked> Link<'a, M> {
    /// A connection for `key` that stands: an engine starts with all of its connections made. A thread that starts
    /// again after a panic has none: then it counts as lost.
    pub fn new(member: &'a Arc<M>, key: &'a str, stands: bool) -> Self {
        let state = if stands {
            State::Up(Instant::now())
        } else {
            member.health().lost();
            State::Lost
        };
        Self { member, key, state, backoff: Backoff::new() }
    }

    /// It is ready.
    pub fn up(&mut self) {
        if let State::Lost = self.state {
            self.member.link_restored();
            self.state = State::Up(Instant::now());
        }
    }

    /// It broke, or could not be made: reports that, and pauses before the next attempt. That its key is served by
    /// another node of the cluster now is no loss.
    pub fn lost(&mut self, error: &RedisError) {
        let connector = self.member.connector();
        let sent_away = connector.was_sent_away(self.key);
        let redirected = connector.redirected(self.key, error).or(sent_away.then_some(Duration::ZERO));
        if let State::Lost = self.state
            && redirected.is_none()
            && is_refusal(error)
        {
            self.member.link_refused(connector.explain(error, Fate::Unknown));
        }
        if let State::Up(since) = self.state {
            if since.elapsed() >= STABLE {
                self.backoff.reset();
            }
            self.state = if redirected.is_some() {
                State::Up(Instant::now())
            } else {
                self.member.link_lost(connector.explain(error, Fate::Unknown));
                State::Lost
            };
        }
        if redirected.is_none() {
            connector.doubt(&connector.known_route(self.key));
        }
        self.member.stop().pause(self.backoff.pause().max(redirected.unwrap_or_default()));
    }
}

impl<M: Linked> Drop for Link<'_, M> {
    /// Its thread ends, or panicked: what follows counts for itself.
    fn drop(&mut self) {
        if let State::Lost = self.state {
            self.member.health().restored();
        }
    }
}
