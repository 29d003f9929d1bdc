//! The long-lived connection of one thread. It reports its state and paces the attempts to reconnect.

use crate::error::Fate;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::error_codes::is_passing;
use crate::foundation::runtime::backoff::Backoff;
use crate::foundation::runtime::health::STABLE;
use redis::{ErrorKind, RedisError};
use std::time::{Duration, Instant};

/// Whether the server was reached and refuses access. Unlike an outage, that may last until an administrator acts.
pub fn is_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || error.code().is_some_and(|code| !is_passing(code))
}

/// The long-lived connection of one thread. It reports its state and paces the attempts to reconnect.
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
    /// Creates the link of a connection for `key` that is up, if `stands`: an engine starts with all of its
    /// connections made. A thread that restarts after a panic has none, so its connection counts as lost.
    pub fn new(endpoint: &'a Endpoint, key: &'a str, stands: bool) -> Self {
        let state = if stands {
            State::Up(Instant::now())
        } else {
            endpoint.health.lost();
            State::Lost
        };
        Self { endpoint, key, state, backoff: Backoff::default() }
    }

    /// Records that the connection is ready.
    pub fn up(&mut self) {
        if let State::Lost = self.state {
            self.endpoint.link_restored();
            self.state = State::Up(Instant::now());
        }
    }

    /// Records that the connection broke or could not be made: reports that, and pauses before the next attempt. It
    /// is no loss if another node of the cluster serves the key now.
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
            connector.mark_stale(&connector.known_route(self.key));
        }
        self.endpoint.stop.pause(self.backoff.pause().max(redirected.unwrap_or_default()));
    }
}

impl Drop for Link<'_> {
    /// The thread ends or panicked. The next link counts its own losses.
    fn drop(&mut self) {
        if let State::Lost = self.state {
            self.endpoint.health.restored();
        }
    }
}
