//! Asks a sentinel now and then who the master is. In a failover on demand the old master takes writes for ten seconds
//! after there is a new one; they are lost, and connections made meanwhile go to the other server.

use crate::connection::Connection;
use crate::connector::Connector;
use crate::redis_options::Address;
use crate::sync::Mutex;
use redis::RedisResult;
use std::time::{Duration, Instant};

/// How often the sentinel is asked.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// How long it is left alone after it did not answer.
const PAUSE: Duration = Duration::from_secs(10);

/// What the sentinels said so far.
#[derive(Default)]
pub struct MasterWatch(Mutex<State>);

#[derive(Default)]
struct State {
    sentinel: Option<Connection>,
    master: Option<Address>,
    not_before: Option<Instant>,
}

impl MasterWatch {
    /// The master, if it is another one than at the last look.
    pub fn moved(&self, connector: &Connector) -> Option<Address> {
        let mut state = self.0.lock();
        if state.not_before.is_some_and(|time| Instant::now() < time) {
            return None;
        }
        let master = match state.ask(connector) {
            Ok(master) => master?,
            Err(_) => {
                // Whoever opens a connection will tell; this is only to know sooner.
                state.sentinel = None;
                state.not_before = Some(Instant::now() + PAUSE);
                return None;
            }
        };
        let before = state.master.replace(master.clone());
        before.is_some_and(|before| before != master).then_some(master)
    }
}

impl State {
    fn ask(&mut self, connector: &Connector) -> RedisResult<Option<Address>> {
        match &mut self.sentinel {
            Some(sentinel) => connector.ask(sentinel),
            None => {
                let Some((sentinel, master)) = connector.find_sentinel()? else { return Ok(None) };
                self.sentinel = Some(sentinel);
                Ok(Some(master))
            }
        }
    }
}
