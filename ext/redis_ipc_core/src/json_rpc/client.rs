//! The client of a queue. It makes calls, and each call ends with its answer, with an error, or at its deadline.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::id::Id;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::writer::Writer;
use crate::foundation::redis::running::Running;
use crate::foundation::runtime::reports::Mailbox;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use crate::json_rpc::explainer::Why;
use crate::json_rpc::instance::Instance;
use crate::json_rpc::names::Names;
use crate::json_rpc::options::{ClientOptions, MAX_TIMEOUT};
use crate::json_rpc::outgoing_request::{self, OutgoingRequest, Step};
use crate::json_rpc::pending::{Outcome, Pending, PendingCalls, Waited};
use crate::json_rpc::reply_reader::ReplyReader;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long past its deadline a call waits to hear what happened to its request.
const WITHDRAWAL: Duration = Duration::from_millis(250);

/// The counters that a client reports.
const COUNTED: [&str; 8] = [
    "requests",
    "fulfilled",
    "timed_out",
    "failed",
    "cancelled",
    "answers_unmatched",
    "reconnections",
    "reports_dropped",
];

/// A connected client of a queue.
pub struct Client {
    instance: Arc<Instance>,
    calls: Arc<PendingCalls>,
    writer: Arc<Writer<OutgoingRequest>>,
    reader: Arc<ReplyReader>,
    /// The options it was started with.
    pub options: ClientOptions,
    /// The ends of the calls that fibers wait for. They have a queue of their own, so that no report to the user
    /// delays them.
    pub wakes: Mailbox<Id>,
    next_id: AtomicU64,
    reader_thread: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
}

impl Client {
    /// Connects to the list `queue`. Returns when the client is ready.
    ///
    /// # Errors
    ///
    /// The name of the queue is not valid, the system has no random numbers or no thread, Redis cannot be reached, or
    /// Redis refuses.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::Running;
    /// use redis_ipc_core::json_rpc::{Client, ClientOptions};
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// let options = ClientOptions::parse(serde_json::json!({}), Some("redis://localhost:6379"))?;
    /// let client = Client::start("calculator", options)?;
    /// assert!(client.is_connected());
    /// client.close();
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(queue: &str, options: ClientOptions) -> Result<Self, Error> {
        let instance = Arc::new(Instance::new(Names::new(queue)?, &options.redis)?);
        let replies = instance.names.reply(&instance.id);
        let (first, second) = instance
            .open_both(Purpose::Replies, &replies, instance.block(), |_| Ok(()))
            .map_err(|error| instance.endpoint.explain(&error, Fate::NotSent))?;
        let calls = Arc::new(PendingCalls::default());
        let client = Self {
            writer: Arc::new(Writer::new(Arc::clone(&instance), first)),
            reader: Arc::new(ReplyReader::new(Arc::clone(&instance), Arc::clone(&calls), options.max_size)),
            instance,
            calls,
            options,
            wakes: Mailbox::default(),
            next_id: AtomicU64::new(1),
            reader_thread: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        client.start_threads(second).map_err(|error| client.instance.endpoint.locate(error))?;
        Ok(client)
    }

    fn start_threads(&self, second: Connection) -> Result<(), Error> {
        self.writer.start()?;
        let (reader, second) = (Arc::clone(&self.reader), Mutex::new(Some(second)));
        *self.reader_thread.lock() =
            Some(spawn("rpc-replies", &self.instance.endpoint, move || reader.run(second.lock().take()))?);
        Ok(())
    }

    /// Reserves `count` consecutive ids, which no other call gets, and returns the first.
    pub fn reserve(&self, count: u64) -> u64 {
        self.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// Returns the key of the list that its answers come on.
    pub fn reply_to(&self) -> String {
        self.instance.names.reply(&self.instance.id)
    }

    /// Returns the time in ms on Redis's clock when `timeout` will be over. A longer timeout counts as `MAX_TIMEOUT`.
    pub fn deadline(&self, timeout: Duration) -> u64 {
        self.instance.endpoint.clock.now().saturating_add(timeout.min(MAX_TIMEOUT).as_millis() as u64)
    }

    /// Sends a text whose requests have these ids (none for a notification). Wait for the answer with
    /// [`Client::wait`].
    ///
    /// # Errors
    ///
    /// The text is larger than `max_size`, or the client is closed. Nothing was sent then.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::Interrupt;
    /// use redis_ipc_core::json_rpc::{Client, ClientOptions};
    /// use std::time::Duration;
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// # let options = ClientOptions::parse(serde_json::json!({}), None)?;
    /// let client = Client::start("calculator", options)?;
    /// let (id, timeout) = (client.reserve(1), Duration::from_secs(5));
    /// let request = serde_json::json!({
    ///     "jsonrpc": "2.0", "id": id, "method": "add", "params": [1, 2],
    ///     "reply_to": client.reply_to(), "deadline": client.deadline(timeout),
    /// });
    /// let call = client.send(id..id + 1, request.to_string().into_bytes(), timeout)?;
    /// if let Some(outcome) = client.wait(&call, &Interrupt::default()) {
    ///     println!("{}", String::from_utf8_lossy(&outcome?));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, ids: Range<u64>, text: Vec<u8>, timeout: Duration) -> Result<Arc<Pending>, Error> {
        if text.len() > self.options.max_size {
            let message = format!(
                "the request has {} bytes, the limit is {} (max_size)",
                text.len(),
                self.options.max_size
            );
            return Err(self.instance.endpoint.locate(Error::new(ErrorKind::Content, message)));
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(self.instance.endpoint.locate(closed()));
        }
        let own = if ids.is_empty() { self.reserve(1) } else { ids.start };
        let pending = Arc::new(Pending::new(own..own + (ids.end - ids.start), text, timeout));
        self.instance.endpoint.stats.requests.increment();
        self.calls.open(&pending);
        self.post(Step::Ask, &pending);
        // A thread that closed the client meanwhile may have missed this call.
        if self.closed.load(Ordering::SeqCst) {
            self.end_all();
        }
        Ok(pending)
    }

    fn post(&self, step: Step, pending: &Arc<Pending>) {
        self.writer.send(OutgoingRequest { step, pending: Arc::clone(pending) });
    }

    /// Waits for the end of a call. Returns `None` if the wait was interrupted.
    pub fn wait(&self, pending: &Arc<Pending>, interrupt: &Interrupt) -> Option<Outcome> {
        let mut due = pending.deadline;
        loop {
            match pending.ending.wait(due, interrupt) {
                Waited::Interrupted => return None,
                Waited::Done(outcome) => return Some(self.conclude(pending, outcome)),
                Waited::TimeUp => due = self.check_deadline(pending).unwrap_or(due),
            }
        }
    }

    /// Does what is due for a call, without waiting. At the deadline it withdraws the request, and a while later it
    /// ends the call with what is known then. Returns when to call this next. `None` once the call has ended.
    pub fn check_deadline(&self, pending: &Arc<Pending>) -> Option<Instant> {
        if pending.ending.has_ended() {
            return None;
        }
        let (now, last) = (Instant::now(), pending.deadline + WITHDRAWAL);
        if now < pending.deadline {
            return Some(pending.deadline);
        }
        self.calls.close(pending.ids.clone());
        let timed_out = |why| Err(outgoing_request::timed_out(pending, &why, &self.instance));
        let stats = &self.instance.endpoint.stats;
        if !pending.finish_unsent(|| timed_out(Why::NotSent), stats) && pending.withdrawing() {
            self.post(Step::Withdraw, pending);
        }
        if now >= last {
            pending.finish(timed_out(Why::Unknown), stats);
        }
        (!pending.ending.has_ended()).then_some(last)
    }

    /// Returns how a call ended. `None` while it is open.
    pub fn outcome(&self, pending: &Pending) -> Option<Outcome> {
        pending.ending.outcome().map(|outcome| self.conclude(pending, outcome))
    }

    /// Closes a call that failed on its way to Redis, because no answer has closed it.
    fn conclude(&self, pending: &Pending, outcome: Outcome) -> Outcome {
        if outcome.is_err() {
            self.calls.close(pending.ids.clone());
        }
        outcome
    }

    /// Lets [`Client::wakes`] report the end of a call. Returns false if the call has ended already.
    pub fn watch(&self, pending: &Pending) -> bool {
        pending.ending.watch(self.wakes.watcher())
    }

    /// Gives up a call, if it has not ended. Its request is withdrawn.
    pub fn cancel(&self, pending: &Arc<Pending>) {
        self.calls.close(pending.ids.clone());
        let cancelled = Error::new(ErrorKind::Closed(Fate::Unknown), "the call was given up");
        if pending.cancel(Err(self.instance.endpoint.locate(cancelled)), &self.instance.endpoint.stats)
            && pending.was_written()
        {
            self.post(Step::Withdraw, pending);
        }
    }

    fn end_all(&self) {
        for pending in self.calls.close_all() {
            let fate = if pending.was_written() { Fate::Unknown } else { Fate::NotSent };
            let error = self.instance.endpoint.locate(Error { kind: ErrorKind::Closed(fate), ..closed() });
            pending.finish(Err(error), &self.instance.endpoint.stats);
        }
    }
}

impl Running for Client {
    fn endpoint(&self) -> &Endpoint {
        &self.instance.endpoint
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let mut stats = self.instance.endpoint.stats.snapshot();
        stats.retain(|(name, _)| COUNTED.contains(name));
        stats.push(("open_calls", self.calls.len() as u64));
        stats
    }

    fn has_stopped(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.instance.endpoint.connector.closing().begin();
        self.end_all();
        self.writer.close();
        self.instance.endpoint.stop.stop();
        self.reader.read_cancel.end();
        join(self.reader_thread.lock().take());
        let left = self
            .instance
            .open()
            .and_then(|mut connection| connection.run(redis::cmd("DEL").arg(self.reply_to())));
        if let Err(error) = left {
            self.instance.endpoint.report_redis(&error);
        }
        self.instance.endpoint.reports.close();
        self.wakes.close();
    }
}

impl Drop for Client {
    /// A client that was not closed lets its threads end by themselves.
    fn drop(&mut self) {
        self.writer.stop();
        self.instance.endpoint.stop.stop();
        self.reader.read_cancel.end();
        self.instance.endpoint.reports.close();
        self.wakes.close();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed(Fate::NotSent), "the client was disconnected")
}
