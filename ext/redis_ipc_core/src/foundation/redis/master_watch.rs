//! Asks the sentinels periodically which server is the master.
//!
//! In a failover on demand the old master accepts writes for ten seconds after the new one is in place. Those writes
//! are lost, and connections made meanwhile go to the other server.

use crate::foundation::net::address::Address;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::runtime::sync::Mutex;
use redis::RedisResult;
use std::time::{Duration, Instant};

/// How often a sentinel is asked.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// How long the same sentinel is asked. Another one may know of a failover that this one missed.
const TURN: Duration = Duration::from_secs(2);
/// How long the sentinels are not asked after none of them answered.
const PAUSE: Duration = Duration::from_secs(10);

/// The sentinel that is asked now.
#[derive(Default)]
pub struct MasterWatch(Mutex<State>);

#[derive(Default)]
struct State {
    sentinel: Option<(Address, Connection)>,
    since: Option<Instant>,
    /// How many sentinels were asked, and how many of the last ones did not answer.
    turns: usize,
    silent: usize,
    /// The master of the last check.
    master: Option<Address>,
    not_before: Option<Instant>,
}

impl MasterWatch {
    /// Returns the master, if it differs from that of the latest connection or of the last check. A connection that
    /// was opened in between may go to the new master already, while the others must still leave the old one.
    pub fn moved(&self, connector: &Connector) -> Option<Address> {
        let mut state = self.0.lock();
        if state.not_before.is_some_and(|time| Instant::now() < time) {
            return None;
        }
        match state.ask(connector) {
            Ok(master) => {
                state.silent = 0;
                master
            }
            Err(_) => {
                // The next connection attempt will report the problem. This check only finds a new master sooner.
                state.sentinel = None;
                state.silent += 1;
                if state.silent >= connector.sentinel_count() {
                    (state.silent, state.not_before) = (0, Some(Instant::now() + PAUSE));
                }
                None
            }
        }
    }
}

impl State {
    fn ask(&mut self, connector: &Connector) -> RedisResult<Option<Address>> {
        if self.since.is_some_and(|since| since.elapsed() >= TURN) {
            self.sentinel = None;
        }
        let (address, mut sentinel) = match self.sentinel.take() {
            Some(sentinel) => sentinel,
            None => {
                (self.since, self.turns) = (Some(Instant::now()), self.turns + 1);
                connector.open_sentinel(self.turns)?
            }
        };
        let named = connector.named_master(&address, &mut sentinel)?;
        self.sentinel = Some((address, sentinel));
        Ok(named.and_then(|(master, is_news)| self.note(master, is_news)))
    }

    fn note(&mut self, master: Address, is_news: bool) -> Option<Address> {
        let last = self.master.replace(master.clone());
        (is_news || last.is_some_and(|last| last != master)).then_some(master)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_that_a_connection_saw_first_is_noticed() {
        let (mut state, [old, new]) = (State::default(), [1, 2].map(|port| Address::Tcp("h".into(), port)));
        assert_eq!(state.note(old.clone(), false), None, "nothing has moved since the connections were made");
        assert_eq!(state.note(new.clone(), false), Some(new.clone()));
        assert_eq!(state.note(new.clone(), false), None);
        assert_eq!(state.note(old.clone(), true), Some(old));
    }
}
