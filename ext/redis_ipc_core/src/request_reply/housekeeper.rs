//! The one timer thread. It renews leases, takes over requests, ends overdue calls, and sends heartbeats.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::group_consumer::take_over::TakeOver;
use crate::foundation::redis::master_watch::{self, MasterWatch};
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::redis::record::writer::{self, RecordWriter};
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::nudge::Nudge;
use crate::request_reply::asking::calls::Calls;
use crate::request_reply::membership::arrivals;
use crate::request_reply::membership::inbox::Inbox;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::presence;
use crate::request_reply::membership::registry::Registry;
use crate::request_reply::membership::reply_stream::ReplyStream;
use crate::request_reply::portrait::Portrait;
use crate::request_reply::sending::explainer::Explainer;
use crate::request_reply::serving::admission::Admission;
use crate::request_reply::serving::service::Service;
use crate::request_reply::serving::suspect_marks::SuspectMarks;
use crate::request_reply::tracking::suspects::Suspects;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The state of the timer thread.
pub struct Housekeeper {
    /// This instance.
    pub instance: Arc<Instance>,
    /// The living instances.
    pub registry: Arc<Registry>,
    /// The stream of this instance's answers.
    pub replies: Arc<ReplyStream>,
    /// The group's consumer of this instance.
    pub consumer: Arc<GroupConsumer>,
    /// The calls made here.
    pub calls: Arc<Calls>,
    /// The requests served here.
    pub service: Arc<Service>,
    /// Whether this instance takes requests. Otherwise the tasks about the inbox and the leases have nothing to do.
    pub serves: bool,
    /// The inbox.
    pub inbox: Arc<Inbox>,
    /// The leases.
    pub take_over: TakeOver<Admission>,
    /// The blocking reads of this instance.
    pub blocking_reads: Vec<Arc<ReadCancel>>,
    /// Explains timeouts.
    pub explainer: Arc<Explainer>,
    /// The requests held here that may crash this process.
    pub suspects: Arc<Suspects>,
    /// Their marks among the dead letters.
    pub marks: Arc<SuspectMarks>,
    /// Wakes this thread.
    pub nudge: Arc<Nudge>,
    /// The check for a new master.
    pub master_watch: MasterWatch,
    /// The last reported failure, and when it was reported.
    pub news: News,
    /// Writes the record, also while handlers hang.
    pub record: Arc<RecordWriter>,
    /// What the record says.
    pub portrait: Portrait,
}

/// How often the reply stream is checked while calls are open. If it is deleted, they lose their answers.
const WATCH: Duration = Duration::from_millis(300);
/// How soon after a suspect is answered the next one is taken over.
const SOON: Duration = Duration::from_millis(10);

struct Task {
    every: Duration,
    /// Whether the task has work to do.
    needed: fn(&Housekeeper) -> bool,
    due: Instant,
    work: fn(&Housekeeper) -> Result<(), Error>,
}

impl Task {
    fn new(every: Duration, work: fn(&Housekeeper) -> Result<(), Error>) -> Self {
        Self { every, needed: |_| true, due: Instant::now() + every, work }
    }

    /// Makes the task due at once, and then as often as before.
    fn at_once(self) -> Self {
        Self { due: Instant::now(), ..self }
    }

    fn if_needed(self, needed: fn(&Housekeeper) -> bool) -> Self {
        Self { needed, ..self }
    }
}

impl Housekeeper {
    /// Runs the timer thread until the engine stops.
    pub fn run(&self) {
        let mut tasks = self.tasks();
        loop {
            let needed = tasks.iter().filter(|task| (task.needed)(self));
            let next = needed.map(|task| task.due).min().unwrap_or_else(Instant::now);
            let pause = next.saturating_duration_since(Instant::now());
            if self.instance.endpoint.stop.pause_or(pause, self.nudge.receiver()) {
                return self.explainer.end();
            }
            self.explainer.run();
            self.clear_marks();
            for task in tasks.iter_mut().filter(|task| task.due <= Instant::now()) {
                if (task.needed)(self) {
                    self.perform(task);
                }
            }
        }
    }

    fn perform(&self, task: &mut Task) {
        failpoint::point();
        let started = Instant::now();
        let result = (task.work)(self);
        if result.is_err() || started.elapsed() > self.instance.options.consumer.lease / 3 {
            self.take_over.note_stall();
        }
        if let Err(error) = result {
            self.instance.endpoint.report_news(error, &self.news);
        }
        task.due = Instant::now() + task.every;
    }

    fn tasks(&self) -> Vec<Task> {
        let mut tasks = vec![
            Task::new(self.instance.options.ledger.cleanup_interval, Self::end_overdue),
            Task::new(self.registry.heartbeat_interval(), |house| house.registry.heartbeat()),
            Task::new(presence::RENEWAL, Self::renew_expiries),
            Task::new(WATCH, Self::watch_replies),
            Task::new(self.registry.heartbeat_interval().max(writer::SOONEST), Self::write_record_in_trouble),
            Task::new(writer::EVERY, Self::write_record),
            Task::new(self.registry.dead_after(), |house| house.registry.sweep()),
        ];
        if self.instance.endpoint.connector.has_sentinels() {
            tasks.push(Task::new(master_watch::INTERVAL, Self::follow_master));
        }
        if self.serves {
            tasks.extend(self.serving_tasks());
        }
        tasks
    }

    fn serving_tasks(&self) -> [Task; 7] {
        let lease = self.instance.options.consumer.lease;
        [
            Task::new(self.registry.dead_after(), Self::renew_ids).at_once(),
            Task::new(WATCH, Self::renew_ids).if_needed(|house| house.inbox.is_exhausted()),
            Task::new(lease / 3, Self::renew_leases),
            Task::new(lease / 4, |house| house.service.release_stuck()),
            Task::new(lease * 9 / 10, Self::take_over).at_once(),
            Task::new(SOON, Self::take_over_suspects)
                .if_needed(|house| house.take_over.are_suspects_left() && !house.portrait.is_paused()),
            Task::new(arrivals::READ_EVERY, |house| house.inbox.read_last_id())
                .if_needed(|house| house.inbox.is_watched()),
        ]
    }

    fn end_overdue(&self) -> Result<(), Error> {
        self.calls.end_overdue();
        self.service.drop_overdue();
        Ok(())
    }

    fn renew_leases(&self) -> Result<(), Error> {
        let now = Instant::now();
        self.take_over.renew()?;
        self.suspects.renewed(now, || self.service.queue.pick(|held| Some(held.id())));
        Ok(())
    }

    fn clear_marks(&self) {
        if let Err(error) = self.marks.clear() {
            self.instance.endpoint.report_news(error, &self.news);
        }
    }

    /// Writes the record. Nothing depends on it, so that its failure is only reported.
    fn write_record(&self) -> Result<(), Error> {
        self.record.end_period(&self.portrait);
        self.obey(self.record.write(&self.portrait, &mut self.connections()));
        Ok(())
    }

    fn write_record_in_trouble(&self) -> Result<(), Error> {
        self.service.look_at_slow();
        self.obey(self.record.write_in_trouble(&self.portrait, &mut self.connections()));
        Ok(())
    }

    fn connections(&self) -> Arc<Pool> {
        Arc::clone(&self.instance.connections)
    }

    /// Ends a read that is blocked and would still take a request, if this instance is to pause from now on.
    fn obey(&self, is_to_pause: bool) {
        if is_to_pause {
            self.service.reader.iter().for_each(|reader| reader.renew());
        }
    }

    fn take_over(&self) -> Result<(), Error> {
        if self.portrait.is_paused() {
            return Ok(());
        }
        self.take_over.run(|| self.registry.group_lease())
    }

    /// Takes over the next suspect as soon as the one before it is answered.
    fn take_over_suspects(&self) -> Result<(), Error> {
        if self.take_over.holds_suspect() { Ok(()) } else { self.take_over() }
    }

    fn renew_expiries(&self) -> Result<(), Error> {
        self.consumer.read_clock()?;
        self.restore_replies()
    }

    fn watch_replies(&self) -> Result<(), Error> {
        if self.calls.ledger.is_empty() { Ok(()) } else { self.restore_replies() }
    }

    fn restore_replies(&self) -> Result<(), Error> {
        if self.replies.restore()? {
            let evicted = self.instance.endpoint.connector.eviction().map(|by| format!(". {}", by.cause()));
            self.tell(&format!(
                "the reply stream was gone (deleted, flushed or evicted) and has been made again: answers that \
                 arrived in between are lost{}",
                evicted.unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Leaves a server that is no longer the master. Once a reader has left, the writer leaves too.
    fn follow_master(&self) -> Result<(), Error> {
        if let Some(master) = self.master_watch.moved(&self.instance.endpoint.connector) {
            self.instance.connections.close_idle();
            self.blocking_reads.iter().for_each(|reading| reading.end_unless_at(&master));
        }
        Ok(())
    }

    fn renew_ids(&self) -> Result<(), Error> {
        if self.inbox.renew_ids()? {
            let message = "the inbox had used up its ids (a client added an entry with the last possible id) and has \
                           been made again with its entries; requests could not be sent meanwhile";
            self.tell(message);
        }
        Ok(())
    }

    fn tell(&self, message: &str) {
        let endpoint = &self.instance.endpoint;
        let error = Error::new(ErrorKind::Command(Fate::Unknown), message);
        endpoint.report(error.address(endpoint.connector.address()));
    }
}
