//! The server of a queue. It starts its parts, connects them, and stops them in order.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::writer::Writer;
use crate::foundation::redis::record::control::Control;
use crate::foundation::redis::record::keys::RecordKeys;
use crate::foundation::redis::record::writer::RecordWriter;
use crate::foundation::redis::running::Running;
use crate::foundation::runtime::handling::Handling;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::work_queue::Taken;
use crate::json_rpc::heartbeat::{Heartbeat, beat};
use crate::json_rpc::housekeeper::Housekeeper;
use crate::json_rpc::in_flight::InFlight;
use crate::json_rpc::instance::{CLOCK_CHECK, Instance};
use crate::json_rpc::names::Names;
use crate::json_rpc::options::ServerOptions;
use crate::json_rpc::outgoing_answer::{AnswerContext, OutgoingAnswer};
use crate::json_rpc::portrait::{COUNTED, Portrait};
use crate::json_rpc::queue_reader::{self, QueueReader};
use crate::json_rpc::request_queue::RequestQueue;
use redis::RedisResult;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// A connected server of a queue.
pub struct Server {
    instance: Arc<Instance>,
    queue: Arc<RequestQueue>,
    queue_reader: Arc<QueueReader>,
    writer: Arc<Writer<OutgoingAnswer>>,
    heartbeat: Arc<Heartbeat>,
    options: ServerOptions,
    handling: Arc<Handling<InFlight>>,
    control: Arc<Control>,
    queue_reader_thread: Mutex<Option<JoinHandle<()>>>,
    housekeeper_thread: Mutex<Option<JoinHandle<()>>>,
    quiet: AtomicBool,
    closed: AtomicBool,
}

impl Server {
    /// Connects to the list `queue`. Returns when the server is ready.
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
    /// use redis_ipc_core::json_rpc::{Server, ServerOptions};
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// let options = ServerOptions::parse(serde_json::json!({}), Some("redis://localhost:6379"))?;
    /// let server = Server::start("calculator", options)?;
    /// assert!(server.is_connected());
    /// server.close();
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(queue: &str, options: ServerOptions) -> Result<Self, Error> {
        let instance = Arc::new(Instance::new(Names::new(queue)?, &options.redis)?);
        let heartbeat = Arc::new(Heartbeat::new(options.lease));
        let holds = options.guarantee == Guarantee::AtLeastOnce;
        let wait = queue_reader::wait(&instance, &options);
        let (control, handling) = (Arc::new(Control::default()), Arc::<Handling<InFlight>>::default());
        let keys = RecordKeys::new(instance.names.queue(), "", &instance.id);
        let endpoint = Arc::clone(&instance.endpoint);
        let record = RecordWriter::new(endpoint, keys, Arc::clone(&control), options.lease);
        let portrait = Portrait {
            instance: Arc::clone(&instance),
            options: options.clone(),
            handling: Arc::clone(&handling),
        };
        let show = |first: &mut Connection| {
            // Before the first request is taken: the queue may be paused.
            record.write(&portrait, first);
            if holds { first.run(&beat(&instance, &heartbeat)).map(drop) } else { Ok(()) }
        };
        let (first, second) = instance
            .open_both(Purpose::Reader, instance.names.queue(), wait, show)
            .map_err(|error| instance.endpoint.explain(&error, Fate::NotSent))?;
        let queue = Arc::new(RequestQueue::new(options.threads));
        let context = AnswerContext {
            instance: Arc::clone(&instance),
            queue: Arc::clone(&queue),
            processing: holds.then(|| instance.names.processing(&instance.id)),
            expiry: options.answer_expiry,
        };
        let server = Self {
            queue_reader: Arc::new(QueueReader::new(
                Arc::clone(&instance),
                Arc::clone(&queue),
                &options,
                Arc::clone(&heartbeat),
                Arc::clone(&control),
            )),
            writer: Arc::new(Writer::new(context, first)),
            handling,
            control,
            instance,
            queue,
            heartbeat,
            options,
            queue_reader_thread: Mutex::default(),
            housekeeper_thread: Mutex::default(),
            quiet: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        let record = Arc::new(record);
        server.start_threads(second, Arc::clone(&record), portrait).map_err(|error| {
            // The thread that removes it may be missing. Nothing depends on it: records end by themselves.
            let _ = server.instance.open().map(|mut connection| record.remove(&mut connection));
            server.close();
            server.instance.endpoint.locate(error)
        })?;
        Ok(server)
    }

    fn start_threads(
        &self,
        second: Connection,
        record: Arc<RecordWriter>,
        portrait: Portrait,
    ) -> Result<(), Error> {
        self.writer.start()?;
        let (queue_reader, second) = (Arc::clone(&self.queue_reader), Mutex::new(Some(second)));
        *self.queue_reader_thread.lock() = Some(spawn("rpc-requests", &self.instance.endpoint, move || {
            queue_reader.run(second.lock().take())
        })?);
        let housekeeper = Housekeeper {
            instance: Arc::clone(&self.instance),
            queue: Arc::clone(&self.queue),
            options: self.options.clone(),
            heartbeat: Arc::clone(&self.heartbeat),
            flooded: AtomicBool::new(false),
            record,
            portrait,
            queue_reader: Arc::clone(&self.queue_reader),
        };
        *self.housekeeper_thread.lock() =
            Some(spawn("rpc-house", &self.instance.endpoint, move || housekeeper.run())?);
        Ok(())
    }

    /// Takes the next request, if one is queued. It does not wait.
    pub fn try_take(&self) -> Option<Arc<InFlight>> {
        self.queue.try_take().inspect(|held| held.start(&self.handling, self.options.lease))
    }

    /// Waits for the next request and takes it.
    pub fn take(&self, interrupt: &Interrupt) -> Taken<InFlight> {
        let taken = self.queue.take(interrupt);
        if let Taken::Request(held) = &taken {
            held.start(&self.handling, self.options.lease);
        }
        taken
    }

    /// Wakes the threads that wait for a request, so that they notice an interrupt.
    pub fn wake(&self) {
        self.queue.wake();
    }

    /// Finishes a request, with an answer (the list it goes to, and its text) or without. No call waits for the
    /// answer after `deadline` (ms on Redis's clock). Returns false if the list is not one for answers of this queue.
    /// Then nothing is sent there.
    ///
    /// # Errors
    ///
    /// The request was answered before.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use redis_ipc_core::json_rpc::{Server, ServerOptions, scan_envelopes};
    /// use redis_ipc_core::{Interrupt, Taken};
    ///
    /// # fn main() -> Result<(), redis_ipc_core::Error> {
    /// # let options = ServerOptions::parse(serde_json::json!({}), None)?;
    /// let server = Server::start("calculator", options)?;
    /// while let Taken::Request(held) = server.take(&Interrupt::default()) {
    ///     let envelope = scan_envelopes(&held.text).into_iter().next().unwrap_or_default();
    ///     let id = envelope.number();
    ///     let answer = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": 3}).to_string();
    ///     server.finish(&held, envelope.reply_to.map(|list| (list, answer.into_bytes())), None)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn finish(
        &self,
        held: &Arc<InFlight>,
        reply: Option<(String, Vec<u8>)>,
        deadline: Option<u64>,
    ) -> Result<bool, Error> {
        let Some(ran) = held.answer() else {
            let message = "the request has been answered already";
            return Err(self.instance.endpoint.locate(Error::new(ErrorKind::AlreadyAnswered, message)));
        };
        self.queue.note_run(ran);
        let wanted = reply.is_some();
        let reply = reply.filter(|(key, _)| self.is_reply(key));
        let sent = reply.is_some();
        if wanted && !sent {
            self.instance.endpoint.stats.answers_dropped.increment();
        }
        let left = match deadline {
            Some(deadline) => self.instance.endpoint.clock.until(deadline).unwrap_or_default(),
            None => self.options.answer_expiry,
        };
        let until = Instant::now() + left.min(self.options.answer_expiry);
        if let Some(answer) = OutgoingAnswer::new(held, reply, until, self.writer.context()) {
            self.writer.send(answer);
        }
        Ok(sent || !wanted)
    }

    /// Whether answers of this queue may go to `key`.
    pub fn is_reply(&self, key: &str) -> bool {
        self.instance.names.is_reply(key)
    }

    /// Whether `deadline` (ms on Redis's clock) seems to have passed.
    pub fn is_past(&self, deadline: u64) -> bool {
        self.instance.endpoint.clock.until(deadline).is_none()
    }

    /// Whether the last reading of Redis's clock is too old.
    pub fn is_clock_due(&self) -> bool {
        self.instance.endpoint.clock.is_due(CLOCK_CHECK)
    }

    /// Reads Redis's clock on a connection of its own. If Redis cannot be reached, other parts report it.
    pub fn read_clock(&self) {
        let _ = self
            .instance
            .open()
            .and_then(|mut connection| self.instance.endpoint.clock.read(&mut connection));
    }

    /// Whether `deadline` (ms on Redis's clock) has passed. If so, the request is counted as expired. After a step
    /// back of Redis's clock every request looks expired until the clock is read again.
    pub fn has_expired(&self, deadline: u64) -> bool {
        let expired = self.is_past(deadline);
        if expired {
            self.instance.endpoint.stats.expired.increment();
        }
        expired
    }

    fn put_back(&self, mut unstarted: Vec<Vec<u8>>) -> RedisResult<()> {
        let processing = self.writer.context().processing.as_ref();
        if unstarted.is_empty() && processing.is_none() {
            return Ok(());
        }
        let mut connection = self.instance.open()?;
        if processing.is_some() {
            unstarted = self.queue_reader.unheld(&mut connection)?;
        }
        // It puts the newest back first, so that the oldest is served next.
        for text in unstarted.iter().rev() {
            let mut commands = vec![redis::cmd("MULTI")];
            if let Some(processing) = processing {
                commands.push(redis::cmd("LREM").arg(processing).arg(1).arg(text.as_slice()).clone());
            }
            commands.push(redis::cmd("RPUSH").arg(self.instance.names.queue()).arg(text.as_slice()).clone());
            commands.push(redis::cmd("EXEC"));
            let replies = connection.run_all(&commands)?;
            if let Some(redis::Value::ServerError(error)) = replies.into_iter().next_back() {
                return Err(error.into());
            }
        }
        self.instance.endpoint.stats.released.add(unstarted.len() as u64);
        Ok(())
    }

    /// Removes this server from the list of servers, unless it still holds a request or may still get one on a broken
    /// connection. In the first case other servers take the request over when the lease ends. In the second they
    /// forget this server when that cannot happen any more.
    fn leave(&self) -> RedisResult<()> {
        let Some(processing) = &self.writer.context().processing else { return Ok(()) };
        if !self.queue_reader.takes_nothing() {
            return Ok(());
        }
        let mut connection = self.instance.open()?;
        if connection.run(redis::cmd("LLEN").arg(processing))? == redis::Value::Int(0) {
            connection.run(redis::cmd("ZREM").arg(self.instance.names.servers()).arg(&self.instance.id))?;
        }
        Ok(())
    }
}

impl Running for Server {
    fn endpoint(&self) -> &Endpoint {
        &self.instance.endpoint
    }

    fn stats(&self) -> Vec<(&'static str, u64)> {
        let mut stats = self.instance.endpoint.stats.snapshot();
        stats.retain(|(name, _)| COUNTED.contains(name));
        stats.push(("held_requests", self.queue.len() as u64));
        stats.push(("paused", u64::from(self.control.is_paused())));
        stats
    }

    fn details(&self) -> Value {
        let (wait, run) = (self.handling.wait.to_json(), self.handling.run.to_json());
        json!({ "histograms": { "wait": wait, "run": run } })
    }

    fn has_stopped(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    /// Takes no more requests, and puts the unstarted ones back on the list.
    fn quiet(&self) {
        if self.quiet.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut unstarted: Vec<Vec<u8>> = Vec::new();
        let queued = self.queue.close();
        unstarted.extend(queued.iter().filter(|held| !held.given_up).map(|held| held.text.clone()));
        self.queue_reader.stop();
        join(self.queue_reader_thread.lock().take());
        unstarted.extend(self.queue_reader.refused());
        if let Err(error) =
            self.instance.endpoint.connector.closing().with_short_limit(|| self.put_back(unstarted))
        {
            self.instance.endpoint.report_redis(&error);
        }
    }

    /// Sends what is queued, removes this server from the queue's keys, and closes.
    fn close(&self) {
        self.quiet();
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.instance.endpoint.connector.closing().begin();
        self.writer.close();
        self.instance.endpoint.stop.stop();
        join(self.housekeeper_thread.lock().take());
        if let Err(error) = self.leave() {
            self.instance.endpoint.report_redis(&error);
        }
        self.instance.endpoint.reports.close();
    }
}

impl Drop for Server {
    /// A server that was not closed lets its threads end by themselves.
    fn drop(&mut self) {
        self.queue.close();
        self.queue_reader.interrupt();
        self.writer.stop();
        self.instance.endpoint.stop.stop();
        self.instance.endpoint.reports.close();
    }
}
