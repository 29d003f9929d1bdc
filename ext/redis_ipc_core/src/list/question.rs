//! What a client sends: requests, and the withdrawal of requests.

use crate::error::{Error, ErrorKind, Fate};
use crate::list::outbox::{Parcel, may_pass};
use crate::list::party::Party;
use crate::list::pending::Pending;
use crate::outgoing::Outbound;
use redis::{Cmd, Value};
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
        let kind = match error.kind {
            ErrorKind::Closed(_) => ErrorKind::Closed(fate),
            ErrorKind::Command(_) => ErrorKind::Command(fate),
            _ => ErrorKind::Connection(fate),
        };
        let error = self.party.locate(Error { kind, ..error.clone() });
        self.pending.finish(Err(error), &self.party.stats);
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
            // From the right: what has waited for its whole time is among the oldest.
            Step::Withdraw => run(redis::cmd("LREM").arg(queue).arg(-1).arg(text)),
        }
    }

    fn settle(self, replies: Vec<Value>) -> Option<Self> {
        match (self.step, replies.into_iter().next()) {
            (Step::Ask, Some(Value::ServerError(error))) => {
                self.pending.not_sent();
                if may_pass(error.code()) {
                    return Some(self);
                }
                self.fail_as(&self.party.explain(&error.into(), Fate::NotSent), Fate::NotSent);
            }
            (Step::Ask, Some(_)) if self.pending.is_notification() => {
                self.pending.finish(Ok(Arc::default()), &self.party.stats);
            }
            (Step::Withdraw, Some(Value::Int(count))) if count > 0 => {
                self.time_out(Fate::Unclaimed);
            }
            (Step::Withdraw, _) => self.time_out(Fate::Unknown),
            (Step::Ask, _) => {}
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

    fn fail(self, error: &Error) {
        match self.step {
            Step::Ask => self.fail_as(error, Fate::NotSent),
            Step::Withdraw => self.time_out(Fate::Unknown),
        }
    }

    fn refuse_large(self, error: &Error) -> Option<Self> {
        self.fail(error);
        None
    }
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
