//! The commands of a server: they write an answer, and remove its request.

use crate::error::Error;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::carried::{Carried, Context, Delivery, Writing};
use crate::foundation::redis::pipeline::outgoing::{Outbound, SUSPICIOUS};
use crate::foundation::redis::resp::replies::refused;
use crate::json_rpc::clock_check::ClockCheck;
use crate::json_rpc::envelope_scan::scan_envelopes;
use crate::json_rpc::in_flight::InFlight;
use crate::json_rpc::instance::{CLOSED, Instance};
use crate::json_rpc::request_queue::RequestQueue;
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// JSON-RPC's code for an error of the server.
const INTERNAL_ERROR: i32 = -32603;

/// The state that the answers of one server share.
pub struct AnswerContext {
    /// The server.
    pub instance: Arc<Instance>,
    /// The requests that it holds.
    pub queue: Arc<RequestQueue>,
    /// The list of the requests that it holds. `None` with at-most-once.
    pub processing: Option<String>,
    /// How long an answer that is not fetched is kept.
    pub expiry: Duration,
}

/// The end of a request.
pub struct OutgoingAnswer {
    held: Arc<InFlight>,
    /// The list that the answer goes to, and the answer.
    reply: Option<(String, Vec<u8>)>,
    /// The request is to be removed from the list of those that the server holds.
    is_listed: bool,
    /// The deadline of the call that waits for the answer.
    until: Instant,
}

impl OutgoingAnswer {
    /// Creates the end of `held`. `reply` is the list that the answer goes to, and the answer. No call waits for it
    /// after `until`. Returns `None` if there is nothing to write, so that the request is finished.
    pub fn new(
        held: &Arc<InFlight>,
        reply: Option<(String, Vec<u8>)>,
        until: Instant,
        context: &AnswerContext,
    ) -> Option<Self> {
        let is_listed = context.processing.is_some() && !held.given_up;
        if reply.is_none() && !is_listed {
            context.queue.finish(held.number);
            return None;
        }
        Some(Self { held: Arc::clone(held), reply, is_listed, until })
    }

    /// Whether the removal goes to the server at `route`, as the answer does. While a slot of a cluster moves, the
    /// removal may have to go to another server. Then it follows.
    fn removes_at(&self, route: &Route, context: &AnswerContext) -> bool {
        let is_there =
            |processing: &str| context.instance.endpoint.connector.known_route(processing) == *route;
        self.is_listed
            && (self.reply.is_none()
                || *route == Route::Server
                || context.processing.as_deref().is_some_and(is_there))
    }
}

impl Context for AnswerContext {
    const THREAD: &'static str = "rpc-answers";
    const CLOSED: &'static str = CLOSED;
    const ONE_SLOT: bool = true;

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.instance.endpoint
    }

    fn connected(&self, _route: &Route, connection: &mut Connection) -> RedisResult<()> {
        self.instance.endpoint.clock.read(connection)
    }
}

impl AnswerContext {
    fn lose(&self, error: &Error) {
        self.instance.endpoint.stats.answers_dropped.increment();
        let message = format!("an answer was lost: {}", error.message);
        self.report(Error { message, ..error.clone() });
    }

    /// Reports that Redis does not remove the request from the list of those that this server holds. The request
    /// stays held; otherwise it would be taken for one that was never run.
    fn keep(&self, error: &Error) {
        let message = format!(
            "a request that ran cannot be removed from {}, so another server runs it again once this one has left: {}",
            self.processing.as_deref().unwrap_or_default(),
            error.message
        );
        self.report(Error { message, ..error.clone() });
    }

    /// Tells the user once if Redis lets no list of answers expire.
    fn note_expiry(&self, replies: &[Value], asking: bool) {
        let Some(expiry) = replies.get(1 + usize::from(asking)) else { return };
        let rule = format!("%W~{} +pexpire", self.instance.names.reply("*"));
        let consequence = "the answers for a client that died stay in Redis";
        self.instance.missing_rights.note(expiry, rule, consequence, &self.instance.endpoint);
    }

    fn report(&self, error: Error) {
        self.instance.endpoint.report(error);
    }
}

impl Outbound for OutgoingAnswer {
    fn size(&self) -> usize {
        let reply = self.reply.as_ref().map_or(0, |(key, text)| 2 * key.len() + text.len());
        let removal = if self.is_listed { self.held.text.len() } else { 0 };
        reply + removal + 200
    }
}

impl Carried for OutgoingAnswer {
    type Context = AnswerContext;
    type Remembered = ();
    type Tail = ClockCheck;

    fn content_size(&self) -> usize {
        self.reply.as_ref().map_or(0, |(_, text)| text.len())
    }

    fn key(&self, context: &AnswerContext) -> String {
        let reply = self.reply.as_ref().map(|(key, _)| key);
        reply.or(context.processing.as_ref()).cloned().unwrap_or_default()
    }

    fn rights(&self) -> &'static str {
        if self.reply.is_some() { "+lpush" } else { "+lrem" }
    }

    fn encode(self, to: &mut Writing<'_, Self>) -> Option<Self> {
        let Writing { encoder, context, .. } = to;
        if let Some((key, text)) = &self.reply {
            encoder.command(3).word("LPUSH").word(key).word(text);
            encoder.command(3).word("PEXPIRE").word(key).number(context.expiry.as_millis() as u64);
        }
        if let Some(processing) = &context.processing
            && self.removes_at(encoder.route, context)
        {
            // It searches from the right, where the oldest requests are, because they finish first.
            encoder.command(4).word("LREM").word(processing).word("-1").word(&self.held.text);
        }
        Some(self)
    }

    fn settle(&mut self, replies: &[Value], delivery: &Delivery<'_, Self>) -> RedisResult<Option<Self>> {
        let context = delivery.context;
        // The other replies are those to ASKING.
        let mut own = replies.iter().step_by(1 + usize::from(delivery.asking)).cloned().map(refused);
        let pushed = self.reply.as_ref().and_then(|_| Some((own.next()?, own.next()?)));
        let removal = own.next().transpose();
        self.is_listed &= !matches!(removal, Ok(Some(_)));
        if let Some((pushed, expiry)) = pushed {
            pushed?;
            // The reply list moved to another node in between, so the answer goes there too.
            if let Err(moved) = expiry
                && matches!(moved.code(), Some("ASK" | "MOVED"))
            {
                return Err(moved);
            }
            context.note_expiry(replies, delivery.asking);
            context.instance.endpoint.stats.answers_sent.increment();
            self.reply = None;
        }
        removal?;
        if self.is_listed {
            // The request is still held.
            return Ok(Some(Self { held: Arc::clone(&self.held), reply: None, ..*self }));
        }
        context.queue.finish(self.held.number);
        Ok(None)
    }

    /// The answer is sent again. A second copy does no harm, because the client uses the first.
    fn broken(self, _may_be_executed: bool, _context: &AnswerContext) -> Option<Self> {
        Some(self)
    }

    fn waits_for_redis(&self, context: &AnswerContext) -> bool {
        !self.is_hopeless(Duration::ZERO, context)
    }

    fn is_hopeless(&self, _patience: Duration, _context: &AnswerContext) -> bool {
        self.reply.is_some() && Instant::now() >= self.until
    }

    /// The request is removed all the same, because it ran. If it is not removed, it stays held.
    fn fail(mut self, error: &Error, context: &AnswerContext) -> Option<Self> {
        let is_lost = self.reply.take().is_some();
        if is_lost {
            context.lose(error);
        }
        if self.is_listed {
            return is_lost.then_some(self);
        }
        context.queue.finish(self.held.number);
        None
    }

    fn refused(self, error: &Error, context: &AnswerContext) -> Option<Self> {
        if self.reply.is_some() {
            return self.fail(error, context);
        }
        context.keep(error);
        None
    }

    /// A short error replaces an answer that Redis does not accept, so that the caller hears of it at once.
    fn refuse_large(mut self, error: &Error, context: &AnswerContext) -> Option<Self> {
        if let Some((_, text)) = self.reply.as_mut().filter(|(_, text)| text.len() >= SUSPICIOUS) {
            let message = format!("the answer could not be sent: {}", error.message);
            *text = failure(&self.held.text, &message);
            context.lose(error);
            return Some(self);
        }
        // The request itself is too large to be removed.
        if self.is_listed {
            context.keep(error);
            return None;
        }
        self.fail(error, context)
    }
}

/// Returns a failure as the answer to the requests in `request`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::foundation::payload::option_reader::OptionReader;
    use crate::foundation::redis::redis_options::RedisOptions;
    use crate::json_rpc::names::Names;

    const TAKEN: [&str; 2] = [":1", ":1"];

    /// Returns a server that holds one request, and the answer to that.
    fn answered() -> (AnswerContext, OutgoingAnswer) {
        let redis = RedisOptions::parse(OptionReader::new("redis_options", None).unwrap(), None).unwrap();
        let instance = Arc::new(Instance::new(Names::new("{q}").unwrap(), &redis).unwrap());
        let queue = Arc::new(RequestQueue::new(1));
        queue.push_texts(vec![b"{}".to_vec()], false).unwrap();
        let held = queue.try_take().unwrap();
        let processing = Some(instance.names.processing(&instance.id));
        let context = AnswerContext { instance, queue, processing, expiry: Duration::from_secs(1) };
        let reply = Some(("{q}:reply:1".to_owned(), b"1".to_vec()));
        let answer = OutgoingAnswer::new(&held, reply, Instant::now(), &context).unwrap();
        (context, answer)
    }

    fn settle(
        answer: &mut OutgoingAnswer,
        replies: &[&str],
        context: &AnswerContext,
    ) -> (Option<String>, Vec<OutgoingAnswer>) {
        let parse = |text: &&str| redis::parse_redis_value(format!("{text}\r\n").as_bytes()).unwrap();
        let replies = replies.iter().map(parse).collect::<Vec<_>>();
        let delivery = Delivery { connection: 1, asking: false, tail: &ClockCheck::default(), context };
        match answer.settle(&replies, &delivery) {
            Ok(next) => (None, next.into_iter().collect()),
            Err(error) => (error.code().map(str::to_owned), Vec::new()),
        }
    }

    #[test]
    fn a_request_is_held_until_its_answer_and_its_removal_are_in() {
        let (context, mut answer) = answered();
        let (refusal, follow) = settle(&mut answer, &[TAKEN[0], TAKEN[1], ":1"], &context);
        assert!(refusal.is_none() && follow.is_empty() && context.queue.len() == 0);
    }

    #[test]
    fn a_removal_that_goes_to_another_node_follows() {
        let (context, mut answer) = answered();
        let (refusal, mut follow) = settle(&mut answer, &TAKEN, &context);
        assert!(refusal.is_none() && context.queue.len() != 0);
        let mut removal = follow.pop().unwrap();
        assert_eq!(Some(removal.key(&context)), context.processing);
        assert!(settle(&mut removal, &[":1"], &context).1.is_empty() && context.queue.len() == 0);
    }

    #[test]
    fn what_was_done_is_not_done_again_with_what_was_refused() {
        let (context, mut answer) = answered();
        let (refusal, _) = settle(&mut answer, &["-ASK 1 h:2", "-ASK 1 h:2", ":1"], &context);
        assert_eq!((refusal.as_deref(), answer.is_listed), (Some("ASK"), false));
        assert!(settle(&mut answer, &TAKEN, &context).1.is_empty() && context.queue.len() == 0);

        let (context, mut answer) = answered();
        let (refusal, _) = settle(&mut answer, &[TAKEN[0], TAKEN[1], "-LOADING wait"], &context);
        assert_eq!((refusal.is_some(), answer.reply.is_some(), answer.is_listed), (true, false, true));
        assert!(context.queue.len() != 0);
    }

    #[test]
    fn a_request_whose_answer_is_given_up_on_is_removed_all_the_same() {
        let (context, answer) = answered();
        let error = Error::new(ErrorKind::Internal, "no");
        let removal = answer.fail(&error, &context).unwrap();
        assert!(removal.reply.is_none() && removal.is_listed);
        assert!(removal.fail(&error, &context).is_none());
        assert!(context.queue.len() != 0, "else it would be taken for one that never ran");
        assert_eq!(context.instance.endpoint.stats.answers_dropped.get(), 1);
    }

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
