//! One thread's long-lived connection: reports its state, and paces the attempts to make it again.

use crate::error::Fate;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::error_codes::is_passing;
use crate::foundation::redis::health::STABLE;
use crate::foundation::runtime::backoff::Backoff;
use redis::{ErrorKind, RedisError};
use std::time::{Duration, Instant};

/// Whether the server could be reached and does not let us in; that may last, unlike an outage, until somebody helps.
pub fn is_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || error.code().is_some_and(|code| !is_passing(code))
}

/// One thread's connection: reports its state, and paces the attempts to make it again.
pub struct Link<'a> {
    endpoint: &'a Endpoint,
    key: &'a str,
    state: State,
    backoff: Backoff,
}

enum State {
    Up(Instant),
    Lost,
}

impl<'a> Link<'a> {
    /// A connection for `key` that stands: an engine starts with all of its connections made. A thread that starts
    /// again after a panic has none: then it counts as lost.
    pub fn new(endpoint: &'a Endpoint, key: &'a str, stands: bool) -> Self {
        let state = if stands {
            State::Up(Instant::now())
        } else {
            endpoint.health.lost();
            State::Lost
        };
        Self { endpoint, key, state, backoff: Backoff::new() }
    }

    /// It is ready.
    pub fn up(&mut self) {
        if let State::Lost = self.state {
            self.endpoint.link_restored();
            self.state = State::Up(Instant::now());
        }
    }

    /// It broke, or could not be made: reports that, and pauses before the next attempt. That its key is served by
    /// another node of the cluster now is no loss.
    pub fn lost(&mut self, error: &RedisError) {
        let connector = &self.endpoint.connector;
        let sent_away = connector.was_sent_away(self.key);
        let redirected = connector.redirected(self.key, error).or(sent_away.then_some(Duration::ZERO));
        if let State::Lost = self.state
            && redirected.is_none()
            && is_refusal(error)
        {
            self.endpoint.link_refused(connector.explain(error, Fate::Unknown));
        }
        if let State::Up(since) = self.state {
            if since.elapsed() >= STABLE {
                self.backoff.reset();
            }
            self.state = if redirected.is_some() {
                State::Up(Instant::now())
            } else {
                self.endpoint.link_lost(connector.explain(error, Fate::Unknown));
                State::Lost
            };
        }
        if redirected.is_none() {
            connector.doubt(&connector.known_route(self.key));
        }
        self.endpoint.stop.pause(self.backoff.pause().max(redirected.unwrap_or_default()));
    }
}

impl Drop for Link<'_> {
    /// Its thread ends, or panicked: what follows counts for itself.
    fn drop(&mut self) {
        if let State::Lost = self.state {
            self.endpoint.health.restored();
        }
    }
}
