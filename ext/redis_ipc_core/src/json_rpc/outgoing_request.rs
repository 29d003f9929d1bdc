//! The commands of a client: they put requests on the list, and withdraw them.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::carried::{Carried, Context, Delivery, Writing};
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::json_rpc::clock_check::ClockCheck;
use crate::json_rpc::housekeeper::REMEMBERED;
use crate::json_rpc::instance::{CLOSED, Instance};
use crate::json_rpc::pending::Pending;
use redis::{RedisResult, Value};
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The step to take for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put the request on the list.
    Ask,
    /// Remove it from the list.
    Withdraw,
}

/// One step of one call.
pub struct OutgoingRequest {
    /// The step.
    pub step: Step,
    /// The call.
    pub pending: Arc<Pending>,
}

impl OutgoingRequest {
    /// Ends the call with an error of Redis.
    fn fail_as(&self, error: &Error, fate: Fate, instance: &Instance) {
        let error = instance.endpoint.locate(Error { kind: error.kind.of_call(fate), ..error.clone() });
        self.pending.finish(Err(error), &instance.endpoint.stats);
    }

    /// Whether no server ever had the withdrawn request. Redis must reply that the request was on the list, and that
    /// no server put it back there. It must be the Redis that received the request, on a connection that has not
    /// broken since: after a failover or a restart it may have forgotten which server had it.
    fn is_unclaimed(&self, replies: &[Value], connection: Option<u64>) -> bool {
        let is_the_same = connection.is_some() && self.pending.confirmed_by() == connection;
        // Older records of requests that were put back may have expired.
        let is_known = self.pending.asked.elapsed() < REMEMBERED / 2;
        matches!(replies, [Value::Int(1..), Value::Int(0)]) && is_the_same && is_known
    }

    fn time_out(&self, fate: Fate, instance: &Instance) {
        self.pending.finish(Err(timed_out(&self.pending, fate, instance)), &instance.endpoint.stats);
    }
}

impl Context for Arc<Instance> {
    const THREAD: &'static str = "rpc-calls";
    const CLOSED: &'static str = CLOSED;
    const ONE_SLOT: bool = true;

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn connected(&self, _route: &Route, connection: &mut Connection) -> RedisResult<()> {
        self.endpoint.clock.read(connection)
    }
}

impl Outbound for OutgoingRequest {
    fn size(&self) -> usize {
        self.pending.text.len() + 100
    }
}

impl Carried for OutgoingRequest {
    type Context = Arc<Instance>;
    type Remembered = ();
    type Tail = ClockCheck;

    fn content_size(&self) -> usize {
        self.pending.text.len()
    }

    fn key(&self, instance: &Arc<Instance>) -> String {
        instance.names.queue().to_owned()
    }

    fn rights(&self) -> &'static str {
        match self.step {
            Step::Ask => "+lpush",
            Step::Withdraw => "+lrem",
        }
    }

    fn encode(self, to: &mut Writing<'_, Self>) -> Option<Self> {
        let Writing { encoder, context: instance, .. } = to;
        let (queue, text) = (instance.names.queue(), self.pending.text.as_slice());
        match self.step {
            Step::Ask if !self.pending.writing() => return None,
            Step::Ask => {
                encoder.command(3).word("LPUSH").word(queue).word(text);
            }
            Step::Withdraw => {
                // It searches from the right, because a request that has waited for its whole time is among the
                // oldest.
                encoder.command(4).word("LREM").word(queue).word("-1").word(text);
                // This comes second: a server that puts a request back records that before, in the same step.
                encoder.command(3).word("HEXISTS").word(instance.names.deliveries()).word(digest(text));
            }
        }
        Some(self)
    }

    fn settle(&mut self, replies: &[Value], delivery: &Delivery<'_, Self>) -> RedisResult<Option<Self>> {
        let instance = delivery.context;
        if let Some(Value::ServerError(error)) = replies.first() {
            return Err(error.clone().into());
        }
        // While a slot moves, one of the keys may be on the new node and the other one still on the old.
        let connection = (!delivery.asking).then_some(delivery.connection);
        match self.step {
            Step::Withdraw => {
                let is_unclaimed = self.is_unclaimed(replies, connection);
                self.time_out(if is_unclaimed { Fate::Unclaimed } else { Fate::Unknown }, instance);
            }
            Step::Ask if self.pending.is_notification() => {
                self.pending.finish(Ok(Arc::default()), &instance.endpoint.stats);
            }
            Step::Ask => self.pending.confirmed(connection),
        }
        Ok(None)
    }

    fn not_executed(&self) {
        if self.step == Step::Ask {
            self.pending.not_sent();
        }
    }

    /// A request that may have reached Redis is not sent again, because the two copies could not be told apart. A
    /// call waits for its answer.
    fn broken(self, may_be_executed: bool, instance: &Arc<Instance>) -> Option<Self> {
        if self.step == Step::Withdraw {
            return Some(self);
        }
        if !may_be_executed {
            self.pending.not_sent();
            return Some(self);
        }
        if self.pending.is_notification() {
            let message = "the connection broke before Redis confirmed the notification";
            self.fail_as(&Error::new(ErrorKind::Connection(Fate::Unknown), message), Fate::Unknown, instance);
        }
        None
    }

    /// The caller is told at once that its request was refused.
    fn waits_for_redis(&self, _instance: &Arc<Instance>) -> bool {
        false
    }

    fn is_hopeless(&self, patience: Duration, _instance: &Arc<Instance>) -> bool {
        match self.step {
            Step::Ask => self.pending.asked.elapsed() >= patience,
            Step::Withdraw => self.pending.deadline + patience <= Instant::now(),
        }
    }

    fn fail(self, error: &Error, instance: &Arc<Instance>) -> Option<Self> {
        match self.step {
            Step::Ask => self.fail_as(error, Fate::NotSent, instance),
            Step::Withdraw => self.time_out(Fate::Unknown, instance),
        }
        None
    }

    /// A thread waits for the reply: a notification ends with it, and so does a call whose time is over.
    fn is_awaited(&self) -> bool {
        self.step == Step::Withdraw || self.pending.is_notification()
    }
}

/// Returns the digest that identifies a request among those that were put back.
fn digest(text: &[u8]) -> String {
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, text);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the error of a call whose time is over.
pub fn timed_out(pending: &Pending, fate: Fate, instance: &Instance) -> Error {
    let waited = pending.deadline.duration_since(pending.asked).as_secs_f64();
    let what = match fate {
        Fate::NotSent => "the request never reached Redis, so it did not run",
        Fate::Unclaimed => {
            "no server took the request and it was withdrawn, so it did not and will not run; is one connected?"
        }
        Fate::Unknown => "a server may have taken the request: whether it ran is not known",
    };
    let message = format!("no answer within {waited:.3} s: {what}");
    instance
        .endpoint
        .locate(Error::new(ErrorKind::Timeout(fate), message).address(instance.endpoint.connector.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_sha1hex_in_a_script() {
        assert_eq!(digest(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
