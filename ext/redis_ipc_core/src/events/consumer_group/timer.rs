//! The timer thread of a consumer. It runs retries, leases, take-over and cleanup.

use crate::error::{Error, ErrorKind};
use crate::events::common::in_flight::InFlight;
use crate::events::consumer_group::admission::Admission;
use crate::foundation::redis::group_consumer::admission::Admission as _;
use crate::foundation::redis::group_consumer::consumer::{Delivered, GroupConsumer};
use crate::foundation::redis::group_consumer::take_over::TakeOver;
use crate::foundation::redis::master_watch::{self, MasterWatch};
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::news::News;
use redis::RedisError;
use std::collections::HashSet;
use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often Redis's clock is read.
const CLOCK: Duration = Duration::from_secs(10);
/// How often the consumers of dead processes are deleted.
const SWEEP: Duration = Duration::from_secs(60);
/// The time between finishing a suspect and taking over the next one.
const SOON: Duration = Duration::from_millis(10);
/// If a lease is long, how often the thread checks for events that others gave back.
const RELEASED: Duration = Duration::from_secs(1);
/// How often the thread checks whether the stream has lost entries that were not delivered to the group.
const LOSSES: Duration = Duration::from_secs(1);
/// The pause before another attempt to record a retry in Redis.
const LATER: Duration = Duration::from_secs(1);

/// The state of the timer thread.
pub struct Timer {
    /// The consumer.
    pub consumer: Arc<GroupConsumer>,
    /// The admission and its state.
    pub admission: Arc<Admission>,
    /// The leases.
    pub take_over: TakeOver<Admission>,
    /// The length of a lease.
    pub lease: Duration,
    /// Cancels the blocking read.
    pub reading: Arc<ReadCancel>,
    /// The check for a new master.
    pub master_watch: MasterWatch,
    /// The last reported failure.
    pub news: News,
}

struct Task {
    every: Duration,
    due: Instant,
    needed: fn(&Timer) -> bool,
    work: fn(&Timer) -> Result<(), Error>,
}

impl Task {
    fn new(every: Duration, work: fn(&Timer) -> Result<(), Error>) -> Self {
        Self { every, due: Instant::now() + every, needed: |_| true, work }
    }
}

impl Timer {
    /// Runs the timer thread until the consumer closes.
    pub fn run(&self) {
        let mut tasks = self.tasks();
        loop {
            let due = tasks.iter().filter(|task| (task.needed)(self)).map(|task| task.due);
            let Admission { retries, finished, writer, .. } = &*self.admission;
            let next = due.chain(retries.next_due()).chain(finished.due()).min().unwrap_or_else(Instant::now);
            let pause = next.saturating_duration_since(Instant::now());
            if self.consumer.endpoint.stop.pause_or(pause, retries.added()) {
                return;
            }
            failpoint::point();
            finished.send_due(writer);
            for task in tasks.iter_mut().filter(|task| task.due <= Instant::now()) {
                if (task.needed)(self) {
                    self.perform(task);
                }
            }
            // This comes after the leases, which must not wait for many retries.
            self.try_again();
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let lease = self.lease;
        let suspects = |timer: &Self| timer.take_over.are_suspects_left();
        let mut tasks = vec![
            Task::new(lease / 3, |timer| timer.take_over.renew()),
            Task::new(lease / 3, Self::take_over),
            Task { needed: suspects, ..Task::new(SOON, Self::take_over_suspects) },
            Task { due: Instant::now(), ..Task::new(RELEASED.min(lease / 3), Self::take_released) },
            Task::new(lease / 4, Self::release_stuck),
            Task::new(LATER, Self::report_full),
            Task::new(CLOCK, |timer| timer.consumer.read_clock()),
            Task::new(SWEEP, |timer| timer.admission.group.sweep()),
            Task::new(LOSSES, Self::check_losses),
        ];
        if self.consumer.endpoint.connector.has_sentinels() {
            tasks.push(Task::new(master_watch::INTERVAL, Self::follow_master));
        }
        tasks
    }

    fn perform(&self, task: &mut Task) {
        let started = Instant::now();
        let result = (task.work)(self);
        if result.is_err() || started.elapsed() > self.lease / 3 {
            self.take_over.note_stall();
        }
        match result {
            Err(error) if is_no_group(&error) => self.join_again(),
            Err(error) => self.consumer.endpoint.report_news(error, &self.news),
            Ok(()) => {}
        }
        task.due = Instant::now() + task.every;
    }

    fn check_losses(&self) -> Result<(), Error> {
        if !self.admission.losses.check(&self.admission.group)? {
            self.join_again();
        }
        Ok(())
    }

    /// Creates the group again if it is gone. The reader notices that only while it reads.
    fn join_again(&self) {
        let GroupConsumer { stream, connections, endpoint, .. } = &*self.consumer;
        let joined = connections.with(stream, |connection| self.admission.prepare(connection));
        if let Err(error) = joined {
            endpoint.report(error);
        }
    }

    /// Takes over the events of processes whose leases ran out. All consumers of a group must have the same lease.
    fn take_over(&self) -> Result<(), Error> {
        if self.admission.pause().is_some() { Ok(()) } else { self.take_over.run(|| Ok(self.lease)) }
    }

    /// Takes over events that others gave back, because they stopped or because someone retried a dead letter.
    fn take_released(&self) -> Result<(), Error> {
        if self.admission.pause().is_some() { Ok(()) } else { self.take_over.run_released() }
    }

    fn take_over_suspects(&self) -> Result<(), Error> {
        if self.take_over.holds_suspect() { Ok(()) } else { self.take_over() }
    }

    /// Gives back events that have waited too long for a worker, because another process may have a free one.
    fn release_stuck(&self) -> Result<(), Error> {
        let (age, queue) = (self.lease / 4, &self.admission.queue);
        let stuck = queue.remove(|event| event.is_queued() && event.taken.elapsed() >= age);
        if stuck.is_empty() {
            return Ok(());
        }
        queue.note_stuck(age);
        self.consumer.release(&stuck.iter().map(|event| event.given_back(false)).collect::<Vec<_>>())
    }

    fn follow_master(&self) -> Result<(), Error> {
        if let Some(master) = self.master_watch.moved(&self.consumer.endpoint.connector) {
            self.consumer.connections.close_idle();
            self.reading.end_unless_at(&master);
        }
        Ok(())
    }

    /// Queues the events that are due for their next try. First it records in Redis how many tries there were, so that
    /// they count even after a crash. If the consumer takes no more events, gives them back to the group instead.
    fn try_again(&self) {
        let due = self.admission.retries.take_due();
        if due.is_empty() {
            return;
        }
        let queue = &self.admission.queue;
        if queue.is_closed() {
            return self.give_back(&due);
        }
        let again: Vec<Arc<InFlight>> = due.iter().map(|event| Arc::new(event.again())).collect();
        let counted: Vec<Delivered> = again.iter().map(|event| event.given_back(false)).collect();
        if self.consumer.count(&counted).is_err() {
            let later = Instant::now() + LATER;
            due.into_iter().for_each(|event| self.admission.retries.add(event, later));
            return;
        }
        let unwanted = due.into_iter().zip(again).filter(|(_, again)| !queue.replace(Arc::clone(again)));
        let unwanted: Vec<Arc<InFlight>> = unwanted.map(|(event, _)| event).collect();
        self.give_back(&unwanted);
    }

    fn give_back(&self, events: &[Arc<InFlight>]) {
        if events.is_empty() {
            return;
        }
        let back: Vec<Delivered> = events.iter().map(|event| event.given_back(true)).collect();
        if let Err(error) = self.consumer.release(&back) {
            self.consumer.endpoint.report(error);
        }
        let ids: HashSet<_> = events.iter().map(|event| event.id).collect();
        self.admission.queue.remove(|held| ids.contains(&held.id));
    }

    /// Reports once that no events are taken, because too many wait for their next try.
    fn report_full(&self) -> Result<(), Error> {
        if self.admission.retries.are_full() {
            let message = "too many events have failed and wait for their next try: no more events are taken until \
                           some of them are tried";
            self.consumer.endpoint.report_news(Error::new(ErrorKind::Overloaded, message), &self.news);
        }
        Ok(())
    }
}

fn is_no_group(error: &Error) -> bool {
    let refusal = error.source().and_then(|source| source.downcast_ref::<RedisError>());
    refusal.and_then(RedisError::code) == Some("NOGROUP")
}
