//! Threads that run work for Ruby threads, which wait for it in a way that Ruby can interrupt.
//!
//! To start a thread for each piece of work costs more than to publish an event does.

use crate::ruby::errors;
use crate::ruby::gvl::{wait_for_message, wait_without_gvl};
use crossbeam_channel::{Receiver, Sender, bounded, select_biased};
use magnus::{Error, Ruby};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long a helper waits for more work.
const IDLE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// Helper threads, as many as there is work at the same time. They end when they are idle.
pub struct Helpers {
    jobs: Sender<Job>,
    idle: Receiver<Job>,
}

impl Helpers {
    /// Starts no thread yet.
    pub fn new() -> Self {
        // Without room: a job is taken by a helper that waits, or by nobody.
        let (jobs, idle) = bounded(0);
        Self { jobs, idle }
    }

    /// Runs `work` in a helper, and waits for it. An interrupt leaves it running.
    pub fn run<T: Send + 'static>(
        &self,
        ruby: &Ruby,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = bounded(1);
        let job: Job = Box::new(move || {
            // After an interrupt nobody waits for it.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
        if let Err(refused) = self.jobs.try_send(job) {
            // Whoever runs it takes it from here: a thread that cannot be started would take it along.
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
                // The process may have no more threads, so this one does it, and an interrupt waits for it.
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
