//! Threads that a panic does not end.

use crate::error::{Error, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The pause before a thread that panicked is started again.
const AFTER_PANIC: Duration = Duration::from_millis(100);

/// Who is told of a panic.
pub trait Guard: Send + Sync + 'static {
    /// Reports the panic that `error` describes.
    fn panicked(&self, error: Error);

    /// Waits for `time`; true if the thread is to end.
    fn pause(&self, time: Duration) -> bool;
}

/// Starts a thread that a panic does not end: it is reported, and the thread goes on from its beginning.
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
        .map_err(|error| Error::new(ErrorKind::Internal, format!("no thread could be started: {error}")))
}

/// Waits for the end of a thread.
pub fn join(thread: Option<JoinHandle<()>>) {
    // Its panics were caught and reported.
    let _ = thread.map(JoinHandle::join);
}

/// What a panic said.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
