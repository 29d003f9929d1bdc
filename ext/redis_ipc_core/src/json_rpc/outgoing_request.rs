//! The commands of a client: they put requests on the list, and withdraw them.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::carried::{Carried, Context, Delivery, Writing};
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::json_rpc::clock_check::ClockCheck;
use crate::json_rpc::explainer::{self, Why};
use crate::json_rpc::housekeeper::REMEMBERED;
use crate::json_rpc::instance::{CLOSED, Instance};
use crate::json_rpc::missing_rights::UNEXPLAINED;
use crate::json_rpc::pending::Pending;
use redis::{RedisResult, Value};
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The step to take for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Put the request on the list.
    Ask,
    /// Remove it from the list.
    Withdraw,
    /// Find out which of these servers has it.
    Find(Vec<String>),
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

    fn time_out(&self, why: &Why, instance: &Instance) {
        self.pending.finish(Err(timed_out(&self.pending, why, instance)), &instance.endpoint.stats);
    }

    /// Concludes from the replies to a withdrawal. Returns the next step, if a server has the request.
    fn conclude(&self, replies: &[Value], connection: Option<u64>, instance: &Instance) -> Option<Self> {
        let [removed, counted, rest @ ..] = replies else {
            self.time_out(&Why::Unknown, instance);
            return None;
        };
        let (names, rights) = (&instance.names, &instance.missing_rights);
        for reply in rest {
            let rule = format!("%R~{} %R~{} +zrange", names.servers(), names.stats());
            rights.note(reply, rule, UNEXPLAINED, &instance.endpoint);
        }
        rights.note(counted, format!("%R~{} +hexists", names.deliveries()), UNEXPLAINED, &instance.endpoint);
        let servers = match rest {
            [holding, recorded] if connection.is_some() => explainer::alive(holding, recorded),
            _ => None,
        };
        if self.is_unclaimed(&[removed.clone(), counted.clone()], connection) {
            self.time_out(&Why::Unclaimed(servers), instance);
            return None;
        }
        let taken = matches!(removed, Value::Int(0));
        let Some(servers) = servers.filter(|servers| taken && !servers.is_empty()) else {
            self.time_out(&Why::Unknown, instance);
            return None;
        };
        let servers = explainer::asked(servers, self.pending.text.len());
        Some(Self { step: Step::Find(servers), pending: Arc::clone(&self.pending) })
    }

    fn find(&self, servers: &[String], replies: &[Value], instance: &Instance) {
        if let Some(refusal) = replies.first() {
            let rule = format!("%R~{} +lpos", instance.names.processing("*"));
            instance.missing_rights.note(refusal, rule, UNEXPLAINED, &instance.endpoint);
        }
        let holder = explainer::holder(servers, replies);
        self.time_out(&holder.map_or(Why::Unknown, Why::Held), instance);
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
        match &self.step {
            Step::Ask => "+lpush",
            Step::Withdraw => "+lrem",
            Step::Find(_) => "+lpos",
        }
    }

    fn encode(self, to: &mut Writing<'_, Self>) -> Option<Self> {
        let Writing { encoder, context: instance, .. } = to;
        let (queue, text) = (instance.names.queue(), self.pending.text.as_slice());
        match &self.step {
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
                if !self.pending.ending.has_ended() {
                    explainer::ask_who_is_alive(encoder, instance);
                }
            }
            Step::Find(servers) => explainer::ask_who_holds(encoder, servers, text, instance),
        }
        Some(self)
    }

    fn settle(&mut self, replies: &[Value], delivery: &Delivery<'_, Self>) -> RedisResult<Option<Self>> {
        let instance = delivery.context;
        if let (Some(Value::ServerError(error)), Step::Ask | Step::Withdraw) = (replies.first(), &self.step) {
            return Err(error.clone().into());
        }
        // While a slot moves, one of the keys may be on the new node and the other one still on the old.
        let connection = (!delivery.asking).then_some(delivery.connection);
        match &self.step {
            Step::Withdraw => return Ok(self.conclude(replies, connection, instance)),
            Step::Find(servers) => self.find(servers, replies, instance),
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
        if self.step != Step::Ask {
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
        match &self.step {
            Step::Ask => self.pending.asked.elapsed() >= patience,
            Step::Withdraw | Step::Find(_) => self.pending.deadline + patience <= Instant::now(),
        }
    }

    fn fail(self, error: &Error, instance: &Arc<Instance>) -> Option<Self> {
        match &self.step {
            Step::Ask => self.fail_as(error, Fate::NotSent, instance),
            Step::Withdraw | Step::Find(_) => {
                if error.is_missing_right() {
                    let rule = format!("%W~{} +lrem", instance.names.queue());
                    let consequence = "requests whose time is over stay on the list";
                    instance.missing_rights.report(rule, consequence, &instance.endpoint);
                }
                self.time_out(&Why::Unknown, instance);
            }
        }
        None
    }

    /// A thread waits for the reply: a notification ends with it, and so does a call whose time is over.
    fn is_awaited(&self) -> bool {
        self.step != Step::Ask || self.pending.is_notification()
    }
}

/// Returns the digest that identifies a request among those that were put back.
fn digest(text: &[u8]) -> String {
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, text);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the error of a call whose time is over.
pub fn timed_out(pending: &Pending, why: &Why, instance: &Instance) -> Error {
    let waited = pending.deadline.duration_since(pending.asked).as_secs_f64();
    let message = format!("no answer within {waited:.3} s: {}", why.describe());
    let error = Error::new(ErrorKind::Timeout(why.fate()), message);
    instance.endpoint.locate(error.address(instance.endpoint.connector.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_sha1hex_in_a_script() {
        assert_eq!(digest(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
