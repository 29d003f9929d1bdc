//! What a server sends: an answer, and that a request is done with.

use crate::error::{Error, Fate};
use crate::foundation::redis::error_codes::{Remedy, remedy};
use crate::foundation::redis::pipeline::outgoing::{Outbound, SUSPICIOUS};
use crate::json_rpc::context::Party;
use crate::json_rpc::envelope_scan::scan_envelopes;
use crate::json_rpc::in_flight::Job;
use crate::json_rpc::outbox::{Parcel, may_pass};
use crate::json_rpc::request_queue::RequestQueue;
use redis::{Cmd, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// JSON-RPC's code for an error of the server.
const INTERNAL_ERROR: i32 = -32603;

/// What answers of one server have in common.
pub struct Desk {
    /// The server.
    pub party: Arc<Party>,
    /// The requests it holds.
    pub queue: Arc<RequestQueue>,
    /// The list of what it holds; none with at-most-once.
    pub processing: Option<String>,
    /// How long an answer that nobody fetches is kept.
    pub expiry: Duration,
}

/// The end of a request.
pub struct Answer {
    /// The request.
    pub job: Arc<Job>,
    /// Where its answer goes, and the answer.
    pub reply: Option<(String, Vec<u8>)>,
    /// When nobody waits for the answer any more.
    pub until: Instant,
    /// The server's.
    pub desk: Arc<Desk>,
}

impl Outbound for Answer {
    fn size(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, |(key, text)| 2 * key.len() + text.len());
        let removal = self.listed().map_or(0, |_| self.job.text.len());
        reply + removal + 200
    }
}

impl Parcel for Answer {
    fn content_size(&self) -> usize {
        self.reply.as_ref().map_or(0, |(_, text)| text.len())
    }

    fn each_command(&self, mut run: impl FnMut(&Cmd)) {
        if let Some((key, text)) = &self.reply {
            run(redis::cmd("LPUSH").arg(key).arg(text.as_slice()));
            run(redis::cmd("PEXPIRE").arg(key).arg(self.desk.expiry.as_millis() as u64));
        }
        if let Some(processing) = self.listed() {
            // From the right, where the oldest are: they are done first.
            run(redis::cmd("LREM").arg(processing).arg(-1).arg(self.job.text.as_slice()));
        }
    }

    fn settle(mut self, mut replies: Vec<Value>, _connection: Option<u64>) -> Option<Self> {
        let removed = self.listed().and_then(|_| replies.pop());
        match replies.first() {
            Some(Value::ServerError(error)) if self.may_pass(error.code()) => return Some(self),
            Some(Value::ServerError(error)) => {
                let error = self.desk.party.explain(&error.clone().into(), Fate::NotSent);
                self.lose(&error);
            }
            Some(_) => self.desk.party.stats.answers_sent.increment(),
            None => {}
        }
        self.reply = None;
        match removed {
            // The slot left in between: the request still stands among those that this server holds.
            Some(Value::ServerError(error)) if self.may_pass(error.code()) => Some(self),
            Some(Value::ServerError(error)) => {
                self.keep(&self.desk.party.explain(&error.into(), Fate::Unknown));
                None
            }
            _ => {
                self.desk.queue.finish(self.job.number);
                None
            }
        }
    }

    /// A second answer does no harm: the client takes the first.
    fn broken(self, _written: bool) -> Option<Self> {
        Some(self)
    }

    fn is_hopeless(&self) -> bool {
        self.reply.is_some() && Instant::now() >= self.until
    }

    /// Its request is to be removed all the same: it ran.
    fn fail(mut self, error: &Error) -> Option<Self> {
        if self.reply.take().is_some() {
            self.lose(error);
        }
        if self.listed().is_some() {
            return Some(self);
        }
        self.desk.queue.finish(self.job.number);
        None
    }

    /// In place of an answer that Redis does not take goes a short error, so that the asker hears of it at once.
    fn refuse_large(mut self, error: &Error) -> Option<Self> {
        if let Some((_, text)) = self.reply.as_mut().filter(|(_, text)| text.len() >= SUSPICIOUS) {
            let message = format!("the answer could not be sent: {}", error.message);
            *text = failure(&self.job.text, &message);
            self.lose(error);
            return Some(self);
        }
        // It is the request that is too large to be removed.
        if self.listed().is_some() {
            self.keep(error);
            return None;
        }
        self.fail(error)
    }
}

/// The answer to the requests in `request` that says that there is no other.
fn failure(request: &[u8], message: &str) -> Vec<u8> {
    let scanned = scan_envelopes(request);
    let error = serde_json::json!({ "code": INTERNAL_ERROR, "message": message }).to_string();
    let answers: Vec<String> = scanned
        .iter()
        .filter_map(|request| std::str::from_utf8(request.id.as_ref()?).ok())
        .map(|id| format!(r#"{{"jsonrpc":"2.0","error":{error},"id":{id}}}"#))
        .collect();
    match answers.as_slice() {
        [answer] if !request.trim_ascii_start().starts_with(b"[") => answer.clone().into_bytes(),
        answers => format!("[{}]", answers.join(",")).into_bytes(),
    }
}

impl Answer {
    /// The list of what this server holds, if its request is on it.
    fn listed(&self) -> Option<&String> {
        self.desk.processing.as_ref().filter(|_| !self.job.given_up)
    }

    fn lose(&self, error: &Error) {
        self.desk.party.stats.answers_dropped.increment();
        let message = format!("an answer was lost: {}", error.message);
        self.desk.party.reporter.failure(Error { message, ..error.clone() });
    }

    /// Redis does not remove the request from the list of what this server holds. So it stays held: else it would be
    /// taken for one that was never run.
    fn keep(&self, error: &Error) {
        let message = format!(
            "a request that ran cannot be removed from {}, so another server runs it again once this one has left: {}",
            self.desk.processing.as_deref().unwrap_or_default(),
            error.message
        );
        self.desk.party.reporter.failure(Error { message, ..error.clone() });
    }

    /// Whether it is worth trying again after this refusal.
    fn may_pass(&self, code: &str) -> bool {
        may_pass(code) || (remedy(code) == Remedy::Wait && !self.is_hopeless())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_answers_each_request_that_wants_an_answer() {
        let text = |request: &[u8]| String::from_utf8(failure(request, "no")).unwrap();
        let error = r#""error":{"code":-32603,"message":"no"}"#;
        let request = br#" {"jsonrpc":"2.0","method":"a","id":"x\"y"}"#;
        assert_eq!(text(request), format!(r#"{{"jsonrpc":"2.0",{error},"id":"x\"y"}}"#));
        let batch = br#"[{"method":"a","id":1},{"method":"note"},{"method":"b","id":2}]"#;
        let answer = |id| format!(r#"{{"jsonrpc":"2.0",{error},"id":{id}}}"#);
        assert_eq!(text(batch), format!("[{},{}]", answer(1), answer(2)));
        assert_eq!(text(br#"[{"method":"a","id":1}]"#), format!("[{}]", answer(1)));
    }
}
