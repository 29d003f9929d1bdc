//! Threads that run work for Ruby threads. A Ruby thread waits for its work in a way that Ruby can interrupt.
//!
//! The threads are reused, because starting one costs more than publishing an event.

use crate::ruby::errors;
use crate::ruby::gvl::{wait_for_message, wait_without_gvl};
use crossbeam_channel::{Receiver, Sender, bounded, select_biased};
use magnus::{Error, Ruby};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long an idle helper waits for more work before it ends.
const IDLE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// Helper threads: as many as there are pieces of work at the same time. Idle ones end.
pub struct Helpers {
    jobs: Sender<Job>,
    idle: Receiver<Job>,
}

impl Helpers {
    /// Creates the pool, without any thread.
    pub fn new() -> Self {
        // The channel has no buffer: a job goes to an idle helper, or is refused.
        let (jobs, idle) = bounded(0);
        Self { jobs, idle }
    }

    /// Runs `work` in a helper thread, and waits for it. An interrupt ends the wait but not the work.
    pub fn run<T: Send + 'static>(
        &self,
        ruby: &Ruby,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = bounded(1);
        let job: Job = Box::new(move || {
            // Nobody receives the result after an interrupt.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
        if let Err(refused) = self.jobs.try_send(job) {
            // The thread that runs the job takes it from this channel. If the closure held it, it would be lost when no
            // thread can be started.
            let (handed, first) = bounded(1);
            let _ = handed.send(refused.into_inner());
            let (mine, idle) = (first.clone(), self.idle.clone());
            let help = move || {
                let next = || idle.recv_timeout(IDLE).ok();
                let mut job = mine.try_recv().ok();
                while let Some(work) = job {
                    work();
                    job = next();
                }
            };
            if std::thread::Builder::new().spawn(help).is_err() {
                // The process may start no more threads. This thread runs the job, and an interrupt is handled after
                // it.
                wait_without_gvl(ruby, || first.try_recv().ok().map(|work| work()), || {})?;
            }
        }
        let wait = |interrupted: &Receiver<()>| {
            select_biased! {
                recv(receiver) -> result => result.ok(),
                recv(interrupted) -> _ => None,
            }
        };
        wait_for_message(ruby, wait)?.map_err(|panic| errors::from_panic(ruby, &*panic))
    }
}
