//! What a client sends: requests, and the withdrawal of requests.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::json_rpc::context::Party;
use crate::json_rpc::housekeeper::REMEMBERED;
use crate::json_rpc::outbox::{Parcel, may_pass};
use crate::json_rpc::pending::Pending;
use redis::{Cmd, Value};
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use std::sync::Arc;
use std::time::Instant;

/// What is to be done about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put it on the list.
    Ask,
    /// Take it off the list again.
    Withdraw,
}

/// One step of one call.
pub struct Question {
    /// What is to be done.
    pub step: Step,
    /// The call.
    pub pending: Arc<Pending>,
    /// The client.
    pub party: Arc<Party>,
}

impl Question {
    /// Ends the call with an error of Redis's.
    fn fail_as(&self, error: &Error, fate: Fate) {
        let error = self.party.locate(Error { kind: error.kind.of_call(fate), ..error.clone() });
        self.pending.finish(Err(error), &self.party.stats);
    }

    /// Whether no server ever had the request that was to be taken back. Redis must say that it was in the queue and
    /// that nobody put it back there. It must be the Redis that took the request, by the connection that did not break
    /// since: after a failover or a restart it may have forgotten who had it.
    fn is_unclaimed(&self, replies: &[Value], connection: Option<u64>) -> bool {
        let is_the_same = connection.is_some() && self.pending.confirmed_by() == connection;
        // What was put back earlier than that may be forgotten.
        let is_known = self.pending.asked.elapsed() < REMEMBERED / 2;
        matches!(replies, [Value::Int(1..), Value::Int(0)]) && is_the_same && is_known
    }

    fn time_out(&self, fate: Fate) {
        self.pending.finish(Err(timed_out(&self.pending, fate, &self.party)), &self.party.stats);
    }
}

impl Outbound for Question {
    fn size(&self) -> usize {
        self.pending.text.len() + 100
    }
}

impl Parcel for Question {
    fn content_size(&self) -> usize {
        self.pending.text.len()
    }

    fn each_command(&self, mut run: impl FnMut(&Cmd)) {
        let queue = self.party.names.queue();
        let text = self.pending.text.as_slice();
        match self.step {
            Step::Ask if !self.pending.writing() => {}
            Step::Ask => run(redis::cmd("LPUSH").arg(queue).arg(text)),
            Step::Withdraw => {
                // From the right: what has waited for its whole time is among the oldest.
                run(redis::cmd("LREM").arg(queue).arg(-1).arg(text));
                // After it: a server that puts a request back notes that before, in the same step.
                run(redis::cmd("HEXISTS").arg(self.party.names.deliveries()).arg(digest(text)));
            }
        }
    }

    fn settle(self, replies: Vec<Value>, connection: Option<u64>) -> Option<Self> {
        if self.step == Step::Withdraw {
            self.time_out(if self.is_unclaimed(&replies, connection) {
                Fate::Unclaimed
            } else {
                Fate::Unknown
            });
            return None;
        }
        match replies.into_iter().next() {
            Some(Value::ServerError(error)) => {
                self.pending.not_sent();
                if may_pass(error.code()) {
                    return Some(self);
                }
                self.fail_as(&self.party.explain(&error.into(), Fate::NotSent), Fate::NotSent);
            }
            Some(_) if self.pending.is_notification() => {
                self.pending.finish(Ok(Arc::default()), &self.party.stats);
            }
            Some(_) => self.pending.confirmed(connection),
            None => {}
        }
        None
    }

    /// What may have reached Redis is not sent again: nothing would tell the two apart. A call waits for its answer.
    fn broken(self, written: bool) -> Option<Self> {
        if self.step == Step::Withdraw {
            return Some(self);
        }
        if !written {
            self.pending.not_sent();
            return Some(self);
        }
        if self.pending.is_notification() {
            let message = "the connection broke before Redis confirmed the notification";
            self.fail_as(&Error::new(ErrorKind::Connection(Fate::Unknown), message), Fate::Unknown);
        }
        None
    }

    fn is_hopeless(&self) -> bool {
        let patience = self.party.connector.patience();
        match self.step {
            Step::Ask => self.pending.asked.elapsed() >= patience,
            Step::Withdraw => self.pending.deadline + patience <= Instant::now(),
        }
    }

    fn fail(self, error: &Error) -> Option<Self> {
        match self.step {
            Step::Ask => self.fail_as(error, Fate::NotSent),
            Step::Withdraw => self.time_out(Fate::Unknown),
        }
        None
    }

    fn refuse_large(self, error: &Error) -> Option<Self> {
        self.fail(error)
    }
}

/// What a request is known by among those that were put back.
fn digest(text: &[u8]) -> String {
    let digest = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, text);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The error of a call whose time is up.
pub fn timed_out(pending: &Pending, fate: Fate, party: &Party) -> Error {
    let waited = pending.deadline.duration_since(pending.asked).as_secs_f64();
    let what = match fate {
        Fate::NotSent => "the request never reached Redis, so it did not run",
        Fate::Unclaimed => {
            "no server took the request and it has been withdrawn, so it did not and will not run; is one connected?"
        }
        Fate::Unknown => "a server may have taken the request: whether it ran is not known",
    };
    let message = format!("no answer within {waited:.3} s: {what}");
    party.locate(Error::new(ErrorKind::Timeout(fate), message).address(party.connector.address()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_sha1hex_in_a_script() {
        assert_eq!(digest(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
