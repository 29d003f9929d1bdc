//! Threads that restart after a panic, and the error of a thread that could not be started.

use crate::error::{Error, ErrorKind, Fate, io_error_behind};
use redis::RedisError;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The pause before a thread that panicked restarts.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// The error of a thread that could not be started.
#[derive(Debug, thiserror::Error)]
#[error(
    "no thread could be started: {0}. The user, the service or the container has reached its thread limit: raise that \
     limit (ulimit -u, TasksMax= of systemd, pids.max of the cgroup), or run fewer threads"
)]
pub struct NoThread(#[source] Arc<io::Error>);

impl NoThread {
    /// Wraps the error of starting a thread on the way to a connection, for `map_err`. [`NoThread::behind`] finds it
    /// again.
    pub fn io(error: io::Error) -> io::Error {
        io::Error::other(Self(Arc::new(error)))
    }

    /// Returns the `NoThread` that caused an error of connecting, if one did.
    pub fn behind(error: &RedisError) -> Option<&Self> {
        io_error_behind(error)?.get_ref()?.downcast_ref()
    }

    /// Converts it to an error of the core.
    pub fn explain(&self, fate: Fate) -> Error {
        Error::new(ErrorKind::ThreadLimit(fate), self.to_string()).because(Arc::clone(&self.0))
    }
}

/// The receiver of panics.
pub trait Guard: Send + Sync + 'static {
    /// Reports the panic that `error` describes.
    fn panicked(&self, error: Error);

    /// Waits for `time`. Returns true if the thread is to end.
    fn pause(&self, time: Duration) -> bool;
}

/// Starts a thread that restarts after a panic. The panic is reported, and the thread runs `work` from its beginning
/// again.
pub fn spawn(
    name: &str,
    guard: &Arc<impl Guard>,
    body: impl Fn() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let guard = Arc::clone(guard);
    let guarded = move || {
        while let Err(panic) = catch_unwind(AssertUnwindSafe(&body)) {
            let message =
                format!("a thread of the core panicked and was started again: {}", panic_message(&*panic));
            guard.panicked(Error::new(ErrorKind::Internal, message));
            if guard.pause(AFTER_PANIC) {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(guarded)
        .map_err(|error| NoThread(Arc::new(error)).explain(Fate::NotSent))
}

/// Waits for a thread to end.
pub fn join(thread: Option<JoinHandle<()>>) {
    // Its panics were caught and reported.
    let _ = thread.map(JoinHandle::join);
}

/// Returns the message of a panic.
///
/// # Examples
///
/// ```
/// use redis_ipc_core::panic_message;
///
/// let panic = std::panic::catch_unwind(|| panic!("out of cheese")).unwrap_err();
/// assert_eq!(panic_message(&*panic), "out of cheese");
/// ```
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_could_not_be_started_is_found_behind_an_error_of_connecting() {
        let error = RedisError::from(NoThread::io(io::ErrorKind::WouldBlock.into()));
        assert!(!error.is_timeout());
        let explained = NoThread::behind(&error).unwrap().explain(Fate::Unknown);
        assert_eq!(explained.kind, ErrorKind::ThreadLimit(Fate::Unknown));
        assert!(explained.message.contains("ulimit -u"), "{explained}");
        let others = [io::ErrorKind::WouldBlock.into(), io::Error::other("x")].map(RedisError::from);
        assert!(others.iter().all(|error| NoThread::behind(error).is_none()));
    }
}
