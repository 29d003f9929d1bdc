//! The one timer thread: renews leases, takes over, ends overdue calls, shows signs of life.

use crate::calls::Calls;
use crate::consumer_queue::ConsumerQueue;
use crate::dispatcher::Dispatcher;
use crate::error::Error;
use crate::lease;
use crate::member::Member;
use crate::presence;
use crate::reception::Reception;
use crate::service::Service;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the dead are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// Everything the timer looks after.
pub struct Housekeeper {
    /// This instance.
    pub member: Arc<Member>,
    /// The calls made here.
    pub calls: Arc<Calls>,
    /// The requests served here.
    pub service: Arc<Service>,
    /// The reader of answers.
    pub dispatcher: Arc<Dispatcher>,
    /// The requests held.
    pub queue: Arc<ConsumerQueue>,
    /// Where requests taken over go.
    pub reception: Arc<Reception>,
    /// Whether this instance serves.
    pub serves: bool,
}

struct Task {
    every: Duration,
    due: Instant,
    work: fn(&Housekeeper) -> Result<(), Error>,
}

impl Housekeeper {
    /// Its thread: until the engine stops.
    pub fn run(&self) {
        let mut tasks = self.tasks();
        loop {
            let next = tasks.iter().map(|task| task.due).min().unwrap_or_else(Instant::now);
            if self.member.stop.pause(next.saturating_duration_since(Instant::now())) {
                return;
            }
            for task in tasks.iter_mut().filter(|task| task.due <= Instant::now()) {
                // What fails here is Redis out of reach, which the links report, or a right that is missing.
                if let Err(error) = (task.work)(self)
                    && self.member.links.are_up()
                    && !self.member.stop.is_stopped()
                {
                    self.member.reporter.failure(self.member.locate(error));
                }
                task.due = Instant::now() + task.every;
            }
        }
    }

    fn tasks(&self) -> Vec<Task> {
        let options = &self.member.options;
        let lease = options.consumer.lease;
        let task = |every, work| Task { every, due: Instant::now() + every, work };
        let mut tasks = vec![
            task(options.ledger.cleanup_interval, Self::end_overdue),
            task(presence::HEARTBEAT, Self::heartbeat),
            task(SWEEP, Self::sweep),
        ];
        if self.serves {
            let mut take_over = task(lease * 3 / 5, Self::take_over);
            take_over.due = Instant::now();
            tasks.extend([task(lease / 3, Self::renew), task(lease / 4, Self::release_stuck), take_over]);
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
        lease::take_over(&self.member, &self.queue, &self.reception)
    }

    fn heartbeat(&self) -> Result<(), Error> {
        if presence::heartbeat(&self.member)? {
            self.dispatcher.restart();
        }
        Ok(())
    }

    fn sweep(&self) -> Result<(), Error> {
        presence::sweep(&self.member)
    }
}
