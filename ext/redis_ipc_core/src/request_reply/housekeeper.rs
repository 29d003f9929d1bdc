//! The one timer thread: renews leases, takes over, ends overdue calls, shows signs of life.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::clock::Step;
use crate::foundation::redis::master_watch::{self, MasterWatch};
use crate::foundation::redis::read_cancel::ReadCancel;
use crate::foundation::runtime::failpoint;
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::asking::calls::Calls;
use crate::request_reply::books::request_queue::RequestQueue;
use crate::request_reply::membership::arrivals;
use crate::request_reply::membership::key_expiry;
use crate::request_reply::membership::member::Member;
use crate::request_reply::membership::presence;
use crate::request_reply::serving::admission::Admission;
use crate::request_reply::serving::lease::{self, Look};
use crate::request_reply::serving::service::Service;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Everything the timer looks after.
pub struct Housekeeper {
    /// This instance.
    pub member: Arc<Member>,
    /// The calls made here.
    pub calls: Arc<Calls>,
    /// The requests served here.
    pub service: Arc<Service>,
    /// The requests held.
    pub queue: Arc<RequestQueue>,
    /// Where requests taken over go.
    pub admission: Arc<Admission>,
    /// The blocking reads of this instance.
    pub readings: Vec<Arc<ReadCancel>>,
    /// Who the master was.
    pub master_watch: MasterWatch,
    /// The last look for requests to take over.
    pub look: Mutex<Look>,
    /// Since when Redis has been answering in time.
    pub steady: Mutex<Steady>,
    /// The last step back of Redis's clock after which leases were begun anew.
    pub restarted: Mutex<Option<Step>>,
    /// The last failure that was reported, and when.
    pub told: Mutex<Option<(String, Instant)>>,
}

/// How often the reply stream is looked after while calls are open: whoever deletes it costs them their answers.
const WATCH: Duration = Duration::from_millis(300);
/// How soon after a suspect is answered the next one is looked for.
const SOON: Duration = Duration::from_millis(10);
/// When a failure that goes on is reported again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Since when Redis has been answering in time. After a stall every lease looks as if it had run out.
pub struct Steady {
    since: Instant,
    losses: usize,
}

impl Steady {
    /// Since now.
    pub fn new() -> Self {
        Self { since: Instant::now(), losses: 0 }
    }
}

impl Default for Steady {
    fn default() -> Self {
        Self::new()
    }
}

struct Task {
    every: Duration,
    /// Whether it has anything to do.
    needed: fn(&Housekeeper) -> bool,
    due: Instant,
    work: fn(&Housekeeper) -> Result<(), Error>,
}

impl Housekeeper {
    /// Its thread: until the engine stops.
    pub fn run(&self) {
        let mut tasks = self.tasks();
        loop {
            let needed = tasks.iter().filter(|task| (task.needed)(self));
            let next = needed.map(|task| task.due).min().unwrap_or_else(Instant::now);
            if self.member.stop.pause(next.saturating_duration_since(Instant::now())) {
                return;
            }
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
        if result.is_err() || started.elapsed() > self.member.options.consumer.lease / 3 {
            self.steady.lock().since = Instant::now();
        }
        // What fails here is Redis out of reach, which the links report, or a right that is missing.
        if let Err(error) = result
            && self.member.health.are_up()
            && !self.member.stop.is_stopped()
            && self.is_news(&error)
        {
            self.member.reporter.failure(self.member.locate(error));
        }
        task.due = Instant::now() + task.every;
    }

    /// The same failure at every beat is told once a minute.
    fn is_news(&self, error: &Error) -> bool {
        let mut told = self.told.lock();
        let news =
            told.as_ref().is_none_or(|(message, at)| *message != error.message || at.elapsed() >= TELL_AGAIN);
        if news {
            *told = Some((error.message.clone(), Instant::now()));
        }
        news
    }

    /// Whether leases can be believed: Redis has answered in time, on unbroken connections, for as long as one lasts.
    fn is_steady(&self) -> bool {
        let losses = self.member.health.losses();
        let mut steady = self.steady.lock();
        if steady.losses != losses {
            *steady = Steady { since: Instant::now(), losses };
        }
        let lease = self.member.group_lease();
        steady.since.elapsed() >= lease && !self.member.clock.has_stepped_within(lease)
    }

    fn tasks(&self) -> Vec<Task> {
        let options = &self.member.options;
        let lease = options.consumer.lease;
        let task = |every, work| Task { every, needed: |_| true, due: Instant::now() + every, work };
        let mut tasks = vec![
            task(options.ledger.cleanup_interval, Self::end_overdue),
            task(presence::heartbeat_interval(&self.member), Self::heartbeat),
            task(presence::RENEWAL, Self::renew_expiries),
            task(WATCH, Self::watch_replies),
            task(presence::dead_after(&self.member), Self::sweep),
        ];
        if self.member.connections.connector().has_sentinels() {
            tasks.push(task(master_watch::INTERVAL, Self::follow_master));
        }
        if self.member.serves {
            let mut renew_ids = task(presence::dead_after(&self.member), Self::renew_ids);
            renew_ids.due = Instant::now();
            let mut renew_ids_soon = task(WATCH, Self::renew_ids);
            renew_ids_soon.needed = |housekeeper| housekeeper.member.inbox_exhausted.load(Ordering::SeqCst);
            tasks.extend([renew_ids, renew_ids_soon]);
            let mut take_over = task(lease * 9 / 10, Self::take_over);
            take_over.due = Instant::now();
            let mut suspects = task(SOON, Self::take_over_suspects);
            suspects.needed = |housekeeper| housekeeper.look.lock().left;
            let mut last = task(arrivals::LOOK, Self::look_at_last);
            last.needed = |housekeeper| housekeeper.member.arrivals.are_watched();
            let [renew, release_stuck] = [task(lease / 3, Self::renew), task(lease / 4, Self::release_stuck)];
            tasks.extend([renew, release_stuck, take_over, suspects, last]);
        }
        tasks
    }

    fn end_overdue(&self) -> Result<(), Error> {
        self.calls.end_overdue();
        self.service.drop_overdue();
        Ok(())
    }

    fn renew(&self) -> Result<(), Error> {
        lease::renew(&self.member, &self.queue)
    }

    fn release_stuck(&self) -> Result<(), Error> {
        self.service.release_stuck()
    }

    fn take_over(&self) -> Result<(), Error> {
        self.restart_leases()?;
        if !lease::is_any_idle(&self.member)? {
            *self.look.lock() = Look::default();
            return Ok(());
        }
        presence::look_at_leases(&self.member)?;
        let only_released = !self.is_steady();
        let last = *self.look.lock();
        match lease::take_over(&self.member, &self.queue, &self.admission, last, only_released)? {
            Some(look) => *self.look.lock() = look,
            None => {
                presence::renew(&self.member)?;
                self.steady.lock().since = Instant::now();
            }
        }
        Ok(())
    }

    fn restart_leases(&self) -> Result<(), Error> {
        let step = self.member.clock.step().filter(|step| step.is_back);
        if step.is_some() && *self.restarted.lock() != step {
            lease::restart(&self.member)?;
            *self.restarted.lock() = step;
        }
        Ok(())
    }

    fn look_at_last(&self) -> Result<(), Error> {
        lease::look_at_last(&self.member)
    }

    /// The next one, as soon as the one before it is answered.
    fn take_over_suspects(&self) -> Result<(), Error> {
        if lease::holds_suspect(&self.member, &self.queue) { Ok(()) } else { self.take_over() }
    }

    fn heartbeat(&self) -> Result<(), Error> {
        presence::heartbeat(&self.member)
    }

    fn renew_expiries(&self) -> Result<(), Error> {
        presence::renew(&self.member)?;
        self.restore_replies()
    }

    fn watch_replies(&self) -> Result<(), Error> {
        if self.calls.open() == 0 { Ok(()) } else { self.restore_replies() }
    }

    fn restore_replies(&self) -> Result<(), Error> {
        if key_expiry::restore_replies(&self.member)? {
            let message = "the reply stream was gone (deleted, flushed or evicted) and has been made again: \
                           answers that came in between are lost";
            self.tell(message);
        }
        Ok(())
    }

    /// Leaves a master that is none any more. What the sender has to say goes elsewhere once a reader has left.
    fn follow_master(&self) -> Result<(), Error> {
        if let Some(master) = self.master_watch.moved(self.member.connections.connector()) {
            self.member.connections.close_idle();
            self.readings.iter().for_each(|reading| reading.end_unless_at(&master));
        }
        Ok(())
    }

    fn renew_ids(&self) -> Result<(), Error> {
        if key_expiry::renew_ids(&self.member)? {
            let message = "the inbox had used up its ids (somebody added an entry with the last possible id) and has been \
                           made again with what was in it; requests could not be sent meanwhile";
            self.tell(message);
        }
        Ok(())
    }

    fn tell(&self, message: &str) {
        let error = self.member.error(ErrorKind::Command(Fate::Unknown), message, &self.member.group);
        self.member.reporter.failure(error.address(self.member.connections.connector().address()));
    }

    fn sweep(&self) -> Result<(), Error> {
        presence::sweep(&self.member)
    }
}
