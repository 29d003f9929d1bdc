//! Writes commands to Redis in as few round trips as possible, on one connection, or on one to each node of a
//! cluster.
//!
//! The thread that sends a lone command writes it, so it waits for no other thread. The thread that sends the next
//! command reads the reply, or the pipeline's own thread does after a while. During a round trip further commands
//! queue up, and are written together in the next one.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::{Connection, is_close};
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::link::is_refusal;
use crate::foundation::redis::pipeline::batch::{Batch, Remains, Server};
use crate::foundation::redis::pipeline::carried::{Carried, Context, Leftover};
use crate::foundation::redis::pipeline::outgoing::{closes_connection, too_large};
use crate::foundation::redis::pipeline::server_pipeline::{
    ConnectionState, Offered, Pipeline, PipelineConnection, Work,
};
use crate::foundation::runtime::backoff::Backoff;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::health::{Health, STABLE};
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads;
use redis::{RedisError, RedisResult, Value};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The pause before an item that Redis refuses for now is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// How many connection attempts the remaining items get at the end.
const LAST_CHANCES: u32 = 2;

/// The writer of one instance's commands.
pub struct Writer<T: Carried> {
    context: Arc<T::Context>,
    /// The pipeline to the only server. A cluster has pipelines on demand.
    only: Option<Arc<Pipeline<T>>>,
    pipelines: Mutex<Pipelines<T>>,
    closed: AtomicBool,
}

struct Pipelines<T: Carried> {
    to_nodes: HashMap<Route, Arc<Pipeline<T>>>,
    threads: Vec<JoinHandle<()>>,
}

/// A connection that a thread has taken from a pipeline. Dropping this returns it, so a panic counts as a broken
/// connection.
struct Borrowed<'a, T: Carried> {
    pipeline: &'a Pipeline<T>,
    back: Option<ConnectionState<T>>,
    /// The written command is a lone one, and no thread waits for its replies.
    lone: bool,
}

impl<'a, T: Carried> Borrowed<'a, T> {
    fn from(pipeline: &'a Pipeline<T>) -> Self {
        Self { pipeline, back: None, lone: false }
    }
}

impl<T: Carried> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        let panicked = || Error::new(ErrorKind::Internal, "a thread panicked while it wrote to Redis");
        match self.back.take() {
            Some(ConnectionState::Written(open, batch)) if self.lone => self.pipeline.put_unread(open, batch),
            Some(connection) => self.pipeline.put(connection),
            None => self.pipeline.put(ConnectionState::Broken(Vec::new(), Some(panicked()))),
        }
    }
}

/// Counts the connection as lost while its thread makes another. When that ends, also by a panic, the next loss
/// counts for itself.
struct Loss<'a>(Option<&'a Health>);

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.0 {
            health.restored();
        }
    }
}

/// The pace at which a pipeline's thread reconnects.
struct Pace {
    connected: Instant,
    backoff: Backoff,
    /// How many attempts are left once it is to stop.
    chances: u32,
}

impl<T: Carried> Writer<T> {
    /// Creates a writer that writes on `connection`. Without one it writes to the nodes of a cluster.
    pub fn new(context: T::Context, connection: Option<Connection>) -> Self {
        let only = connection.map(|connection| {
            let (route, health) = (Route::Server, &context.endpoint().health);
            let open = PipelineConnection::new(connection, health, health.losses());
            let is_shared = context.shares_server(&route);
            Arc::new(Pipeline::new(route, is_shared, ConnectionState::Idle(open)))
        });
        let pipelines = Mutex::new(Pipelines { to_nodes: HashMap::new(), threads: Vec::new() });
        Self { context: Arc::new(context), only, pipelines, closed: AtomicBool::new(false) }
    }

    /// Starts the writer's thread. In a cluster each node gets a thread when it is first written to.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn start(self: &Arc<Self>) -> Result<(), Error> {
        if let Some(pipeline) = &self.only {
            let thread = self.spawn(pipeline)?;
            self.pipelines.lock().threads.push(thread);
        }
        Ok(())
    }

    fn spawn(self: &Arc<Self>, pipeline: &Arc<Pipeline<T>>) -> Result<JoinHandle<()>, Error> {
        let (writer, pipeline) = (Arc::clone(self), Arc::clone(pipeline));
        threads::spawn(T::Context::THREAD, self.context.endpoint(), move || writer.run(&pipeline))
    }

    /// Returns the state that all items share.
    pub fn context(&self) -> &T::Context {
        &self.context
    }

    /// Sends `carried`: at once if the connection is free, and otherwise with the next batch. It never waits for
    /// Redis. Returns false if the item failed because the writer is closed.
    pub fn send(self: &Arc<Self>, carried: T) -> bool {
        if self.closed.load(Ordering::SeqCst) {
            carried.fail(&self.context.closed(), &self.context);
            return false;
        }
        self.try_forward(carried)
    }

    fn forward(self: &Arc<Self>, carried: T) {
        self.try_forward(carried);
    }

    fn try_forward(self: &Arc<Self>, carried: T) -> bool {
        let Some(pipeline) = &self.only else {
            self.distribute(carried);
            return true;
        };
        let refused = self.bring(pipeline, carried);
        let taken = refused.is_none();
        if let Some(carried) = refused {
            carried.fail(&self.context.closed(), &self.context);
        }
        taken
    }

    /// Offers an item to a pipeline. Returns it if the pipeline is closed.
    fn bring(self: &Arc<Self>, pipeline: &Pipeline<T>, carried: T) -> Option<T> {
        match pipeline.offer(carried, self.health()) {
            Offered::Direct(open, carried) => self.write_lone(Borrowed::from(pipeline), open, carried),
            Offered::Unread(open, batch, carried) => self.read_and_write(pipeline, open, batch, carried),
            Offered::Queued => {}
            Offered::Refused(carried) => return Some(carried),
        }
        None
    }

    /// Offers an item to the pipeline of the node that serves its key.
    fn distribute(self: &Arc<Self>, carried: T) {
        let mut undelivered = Some(carried);
        while let Some(carried) = undelivered {
            let route = self.connector().known_route(&carried.key(&self.context));
            let pipeline = self.pipelines.lock().to_nodes.get(&route).cloned();
            undelivered = match pipeline {
                None => self.open_pipeline(route, carried),
                Some(pipeline) => self.bring(&pipeline, carried).inspect(|_| self.forget(&pipeline)),
            };
        }
    }

    /// Creates a pipeline that begins with `carried`. Returns an item that is still to be delivered: `carried` itself
    /// if another thread was faster, or the item to send all the same if no thread could be started.
    fn open_pipeline(self: &Arc<Self>, route: Route, carried: T) -> Option<T> {
        let mut pipelines = self.pipelines.lock();
        if pipelines.to_nodes.contains_key(&route) {
            return Some(carried);
        }
        let is_shared = self.context.shares_server(&route);
        let pipeline =
            Arc::new(Pipeline::new(route.clone(), is_shared, ConnectionState::Broken(Vec::new(), None)));
        pipeline.queue(vec![carried]);
        if self.closed.load(Ordering::SeqCst) {
            pipeline.stop();
        }
        match self.spawn(&pipeline) {
            Ok(thread) => {
                pipelines.threads.retain(|thread| !thread.is_finished());
                pipelines.threads.push(thread);
                pipelines.to_nodes.insert(route, pipeline);
            }
            Err(failure) => {
                drop(pipelines);
                let mut failed = pipeline.abandon().into_iter();
                return failed.find_map(|carried| carried.fail(&failure, &self.context));
            }
        }
        None
    }

    fn forget(&self, ended: &Pipeline<T>) {
        let mut pipelines = self.pipelines.lock();
        if pipelines.to_nodes.get(&ended.route).is_some_and(|it| std::ptr::eq(&**it, ended)) {
            pipelines.to_nodes.remove(&ended.route);
        }
    }

    fn write_lone(
        self: &Arc<Self>,
        mut borrowed: Borrowed<'_, T>,
        open: Box<PipelineConnection<T>>,
        carried: T,
    ) {
        borrowed.lone = true;
        self.write(borrowed, open, vec![carried]);
    }

    /// Reads the replies to the previous lone command, if they have arrived, and writes the next one.
    fn read_and_write(
        self: &Arc<Self>,
        pipeline: &Pipeline<T>,
        mut open: Box<PipelineConnection<T>>,
        batch: Batch<T>,
        carried: T,
    ) {
        let mut borrowed = Borrowed::from(pipeline);
        let connection = match open.connection.receive_arrived(batch.replies) {
            Ok(Some(replies)) => self.settle(pipeline, open, batch, &replies),
            Ok(None) => ConnectionState::Written(open, batch),
            Err(error) => self.break_off(pipeline, batch, &[], usize::MAX, &error),
        };
        match connection {
            ConnectionState::Idle(open) if pipeline.trusts(&open, self.health()) => {
                self.write_lone(borrowed, open, carried);
            }
            connection => {
                borrowed.back = Some(connection);
                pipeline.queue(vec![carried]);
            }
        }
    }

    fn write(
        self: &Arc<Self>,
        mut borrowed: Borrowed<'_, T>,
        mut open: Box<PipelineConnection<T>>,
        all: Vec<T>,
    ) {
        let pipeline = borrowed.pipeline;
        failpoint::point();
        if open.connection.is_gone() {
            borrowed.back = Some(ConnectionState::Broken(all, None));
            return;
        }
        let mut bytes = std::mem::take(&mut open.buffer);
        let server = Server { route: &pipeline.route, connection: open.number };
        let batch = Batch::encode(all, &mut bytes, server, &mut open.remembered, &self.context);
        borrowed.back = Some(if bytes.is_empty() {
            ConnectionState::Idle(open)
        } else {
            let written = open.connection.send_counting(&bytes);
            open.keep(bytes);
            match written {
                Ok(()) => {
                    borrowed.lone &= !batch.is_awaited();
                    ConnectionState::Written(open, batch)
                }
                Err(failure) => {
                    let replies = open.connection.receive_left(batch.replies);
                    let error = open.connection.lost(failure.error.into());
                    self.break_off(pipeline, batch, &replies, failure.written, &error)
                }
            }
        });
    }

    /// Writes the queued items, except those that another node has come to serve meanwhile.
    fn write_queued(self: &Arc<Self>, pipeline: &Pipeline<T>, open: Box<PipelineConnection<T>>, all: Vec<T>) {
        let borrowed = Borrowed::from(pipeline);
        let (own, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|carried| self.belongs(carried, pipeline));
        self.write(borrowed, open, own);
        others.into_iter().for_each(|carried| self.forward(carried));
    }

    fn belongs(&self, carried: &T, pipeline: &Pipeline<T>) -> bool {
        self.only.is_some() || self.connector().known_route(&carried.key(&self.context)) == pipeline.route
    }

    fn endpoint(&self) -> &Endpoint {
        self.context.endpoint()
    }

    fn connector(&self) -> &Connector {
        &self.endpoint().connector
    }

    fn health(&self) -> &Health {
        &self.endpoint().health
    }

    /// Runs a pipeline's thread. It returns once it is to stop and every queued item is written, or after a long idle
    /// time.
    fn run(self: &Arc<Self>, pipeline: &Pipeline<T>) {
        let mut pace = Pace { connected: Instant::now(), backoff: Backoff::default(), chances: LAST_CHANCES };
        loop {
            match pipeline.next_work(self.health()) {
                Work::Read(open, batch) => self.read(pipeline, open, batch),
                Work::Write(open, all) => self.write_queued(pipeline, open, all),
                Work::Connect(all, error) => self.connect(pipeline, all, error, &mut pace),
                Work::Stop => return self.forget(pipeline),
            }
        }
    }

    fn read(self: &Arc<Self>, pipeline: &Pipeline<T>, mut open: Box<PipelineConnection<T>>, batch: Batch<T>) {
        let mut borrowed = Borrowed::from(pipeline);
        failpoint::point();
        let mut replies = Vec::with_capacity(batch.replies);
        while replies.len() < batch.replies {
            match open.connection.receive() {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    borrowed.back = Some(self.break_off(pipeline, batch, &replies, usize::MAX, &error));
                    return;
                }
            }
        }
        borrowed.back = Some(self.settle(pipeline, open, batch, &replies));
    }

    /// Handles a connection that broke during a batch: handles the replies that arrived, and decides in which order
    /// the rest is sent again.
    fn break_off(
        self: &Arc<Self>,
        pipeline: &Pipeline<T>,
        batch: Batch<T>,
        replies: &[Value],
        written: usize,
        error: &RedisError,
    ) -> ConnectionState<T> {
        let Remains { leftover, broken, culprit } = batch.settle_broken(replies, written, &self.context);
        self.follow_up(pipeline, leftover);
        let convicted = pipeline.take_back(broken, is_close(error)).into_iter().map(|carried| {
            let error = too_large(carried.content_size(), None);
            (carried, error)
        });
        let instead = convicted
            .chain(culprit)
            .filter_map(|(carried, failure)| carried.refuse_large(&failure, &self.context));
        let error = self.connector().explain(error, Fate::Unknown);
        ConnectionState::Broken(instead.collect(), Some(error))
    }

    /// Handles the replies to a batch. Returns the new state of the connection.
    fn settle(
        self: &Arc<Self>,
        pipeline: &Pipeline<T>,
        open: Box<PipelineConnection<T>>,
        batch: Batch<T>,
        replies: &[Value],
    ) -> ConnectionState<T> {
        if replies.iter().any(closes_connection) {
            return self.break_off(pipeline, batch, replies, usize::MAX, &open.connection.closed());
        }
        let mut leftover = batch.settle(replies, &self.context);
        let (again, refusal) = (std::mem::take(&mut leftover.again), leftover.refusal.take());
        self.follow_up(pipeline, leftover);
        match refusal {
            Some(error) => ConnectionState::Broken(again, Some(error)),
            None => ConnectionState::Idle(open),
        }
    }

    /// Sends the items that remain after the replies, each at its time and to its server.
    fn follow_up(self: &Arc<Self>, pipeline: &Pipeline<T>, leftover: Leftover<T>) {
        self.pass_on(pipeline, leftover.follow);
        // They are not tried again while stopping, because what Redis waits for may take long.
        let hopeless = pipeline.delay(leftover.later, RETRY);
        if let Some(error) = leftover.deferral {
            let rest = hopeless.into_iter().filter_map(|carried| carried.fail(&error, &self.context));
            self.pass_on(pipeline, rest.collect());
        }
        self.redirect(pipeline, leftover.elsewhere, leftover.pause);
    }

    fn pass_on(self: &Arc<Self>, pipeline: &Pipeline<T>, all: Vec<T>) {
        if self.only.is_some() {
            pipeline.queue(all);
        } else {
            all.into_iter().for_each(|carried| self.forward(carried));
        }
    }

    /// Sends items to the nodes that they were redirected to, after a pause.
    fn redirect(self: &Arc<Self>, pipeline: &Pipeline<T>, all: Vec<T>, pause: Duration) {
        let now = if pause.is_zero() { all } else { pipeline.delay(all, pause) };
        now.into_iter().for_each(|carried| self.forward(carried));
    }

    /// Connects, and gives up on items that have waited longer than connecting may take.
    fn connect(self: &Arc<Self>, pipeline: &Pipeline<T>, all: Vec<T>, error: Option<Error>, pace: &mut Pace) {
        pipeline.requeue(all);
        let (endpoint, mut borrowed, mut loss) = (self.endpoint(), Borrowed::from(pipeline), Loss(None));
        if let Some(error) = error {
            self.connector().mark_stale(&pipeline.route);
            self.give_up(pipeline, &error);
            endpoint.link_lost(error);
            loss.0 = Some(self.health());
            if pace.connected.elapsed() >= STABLE {
                pace.backoff.reset();
            } else {
                endpoint.stop.pause(pace.backoff.pause());
            }
        }
        loop {
            if pipeline.is_stopping() {
                if pace.chances == 0 {
                    borrowed.back = Some(ConnectionState::Closed);
                    // The loss ends with the instance: no connection is up again.
                    loss.0 = None;
                    return self.abandon(pipeline, &self.context.closed());
                }
                pace.chances -= 1;
            }
            if self.hand_over(pipeline) {
                borrowed.back = Some(ConnectionState::Closed);
                return;
            }
            match self.open(&pipeline.route) {
                Ok(open) => {
                    if loss.0.take().is_some() {
                        endpoint.link_restored();
                    }
                    pace.connected = Instant::now();
                    borrowed.back = Some(ConnectionState::Idle(open));
                    return;
                }
                Err(error) => {
                    let explained = self.connector().explain(&error, Fate::Unknown);
                    self.give_up(pipeline, &explained);
                    if loss.0.is_none() {
                        endpoint.link_lost(explained);
                        loss.0 = Some(self.health());
                    } else if is_refusal(&error) {
                        endpoint.link_refused(explained);
                    }
                }
            }
            endpoint.stop.pause(pace.backoff.pause());
        }
    }

    fn open(&self, route: &Route) -> RedisResult<Box<PipelineConnection<T>>> {
        let losses = self.health().losses();
        let mut connection = self.connector().opener(T::Context::PURPOSE).open(route)?;
        self.context.connected(route, &mut connection)?;
        Ok(PipelineConnection::new(connection, self.health(), losses))
    }

    /// Moves items to the nodes that serve them now. Returns true if those were all, and the pipeline has ended.
    fn hand_over(self: &Arc<Self>, pipeline: &Pipeline<T>) -> bool {
        if self.only.is_some() {
            return false;
        }
        // If this fails, the next attempt asks for the map again.
        let _ = self.connector().refresh_cluster();
        let others = pipeline.remove(|carried| !self.belongs(carried, pipeline));
        others.into_iter().for_each(|carried| self.forward(carried));
        pipeline.end_if_idle()
    }

    /// Fails the items that have waited for Redis too long.
    fn give_up(&self, pipeline: &Pipeline<T>, error: &Error) {
        let patience = self.connector().patience();
        let given_up = pipeline.remove(|carried| carried.is_hopeless(patience, &self.context));
        let rest = given_up.into_iter().filter_map(|carried| carried.fail(error, &self.context));
        pipeline.requeue(rest.collect());
    }

    /// Closes a pipeline and fails its queued items.
    fn abandon(&self, pipeline: &Pipeline<T>, error: &Error) {
        for carried in pipeline.abandon() {
            carried.fail(error, &self.context);
        }
    }

    /// Accepts no more items, and lets the threads end once every queued item is written.
    pub fn stop(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let pipelines = self.pipelines.lock();
        self.only.iter().chain(pipelines.to_nodes.values()).for_each(|pipeline| pipeline.stop());
    }

    /// Runs [`Writer::stop`], and waits for the threads to end.
    pub fn close(&self) {
        self.stop();
        loop {
            // The last item of a thread may open another pipeline.
            let threads = std::mem::take(&mut self.pipelines.lock().threads);
            if threads.is_empty() {
                return;
            }
            threads.into_iter().for_each(|thread| threads::join(Some(thread)));
        }
    }
}
