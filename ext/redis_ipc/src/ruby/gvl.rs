//! Waiting without Ruby's global VM lock (GVL), in a way that Ruby can interrupt. And what magnus has no safe function
//! for.
//!
//! This is the only file with `unsafe` in it.
#![allow(unsafe_code)]

use crate::ruby::errors;
use crossbeam_channel::{Receiver, SendError, bounded, select_biased};
use magnus::rb_sys::{AsRawValue, FromRawValue};
use magnus::{Error, RString, Ruby, Symbol, TryConvert, Value};
use redis_ipc_core::{Interrupt, Taken};
use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Runs `wait` without the GVL until it returns something. It returns `None` when `unblock` made it: then Ruby's
/// interrupts are handled (a signal, `Thread#raise`, `Thread#kill`, `Timeout`), and unless one of them raises, it
/// waits again.
///
/// `unblock` is called by another Ruby thread, any number of times, and must make a running `wait` return soon.
pub fn wait_without_gvl<T>(
    ruby: &Ruby,
    mut wait: impl FnMut() -> Option<T>,
    unblock: impl Fn() + Sync,
) -> Result<T, Error> {
    loop {
        match call_without_gvl(&mut wait, &unblock) {
            Called::Returned(value) => return Ok(value),
            Called::Interrupted => ruby.thread_check_ints()?,
            Called::Panicked(panic) => return Err(errors::from_panic(ruby, &*panic)),
        }
    }
}

/// As [`wait_without_gvl`], with a `wait` that returns `None` soon after there is something in the channel it is given.
pub fn wait_for_message<T>(
    ruby: &Ruby,
    mut wait: impl FnMut(&Receiver<()>) -> Option<T>,
) -> Result<T, Error> {
    let (interrupt, interrupted) = bounded(1);
    let unblock = || {
        let _ = interrupt.try_send(());
    };
    wait_without_gvl(ruby, || wait(&interrupted), unblock)
}

/// Runs `work` in a thread of its own and waits for it as above; an interrupt leaves it running, and what it returns
/// goes to `unclaimed`. If the process may have no more threads, `work` runs in this one, and an interrupt waits for
/// it.
pub fn wait_for_thread<T: Send + 'static>(
    ruby: &Ruby,
    work: impl FnOnce() -> T + Send + 'static,
    unclaimed: impl FnOnce(T) + Send + 'static,
) -> Result<T, Error> {
    // Without room: a result is either received or comes back to the thread that sends it.
    let (sender, receiver) = bounded(0);
    // Whoever runs it takes it from here: a thread that cannot be started would take it along.
    let (handed, job) = bounded(1);
    let _ = handed.send((work, unclaimed));
    let run = {
        let job = job.clone();
        move || {
            let Ok((work, unclaimed)) = job.try_recv() else { return };
            if let Err(SendError(Ok(value))) = sender.send(catch_unwind(AssertUnwindSafe(work))) {
                unclaimed(value);
            }
        }
    };
    let result = if std::thread::Builder::new().spawn(run).is_ok() {
        let wait = |interrupted: &Receiver<()>| {
            select_biased! {
                recv(receiver) -> result => result.ok(),
                recv(interrupted) -> _ => None,
            }
        };
        wait_for_message(ruby, wait)?
    } else {
        let here = || job.try_recv().ok().map(|(work, _)| catch_unwind(AssertUnwindSafe(work)));
        wait_without_gvl(ruby, here, || {})?
    };
    result.map_err(|panic| errors::from_panic(ruby, &*panic))
}

/// Waits in `wait`, which returns `None` once its interrupt is set; `wake` wakes it to look.
pub fn wait_interruptibly<T>(
    ruby: &Ruby,
    mut wait: impl FnMut(&Interrupt) -> Option<T>,
    wake: impl Fn() + Sync,
) -> Result<T, Error> {
    let interrupt = Interrupt::default();
    let unblock = || {
        interrupt.set();
        wake();
    };
    wait_without_gvl(ruby, || wait(&interrupt), unblock)
}

/// As [`wait_interruptibly`], for the next piece of work; `None` once no more comes. What is `at_hand` is not waited for,
/// so the GVL is not given up.
pub fn wait_for_work<T>(
    ruby: &Ruby,
    at_hand: Option<Arc<T>>,
    mut take: impl FnMut(&Interrupt) -> Taken<T>,
    wake: impl Fn() + Sync,
) -> Result<Option<Arc<T>>, Error> {
    if at_hand.is_some() {
        return Ok(at_hand);
    }
    let wait = |interrupt: &Interrupt| match take(interrupt) {
        Taken::Request(held) => Some(Some(held)),
        Taken::Closed => Some(None),
        Taken::Interrupted => None,
    };
    wait_interruptibly(ruby, wait, wake)
}

/// In how many seconds `due` is.
pub fn seconds_until(due: Instant) -> f64 {
    due.saturating_duration_since(Instant::now()).as_secs_f64()
}

/// Runs `work`; a panic becomes an InternalError (magnus would make it `fatal`, which ends the process).
pub fn guarded<T>(ruby: &Ruby, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(errors::from_panic(ruby, &*panic)))
}

/// The name of `symbol`, which lives as long as the symbol does. `StaticSymbol::name` ends at the first NUL.
pub fn symbol_name(symbol: Symbol) -> Result<RString, Error> {
    // SAFETY: rb_sym2str takes any Symbol, neither raises nor calls Ruby code, and returns a Ruby object: a String.
    RString::try_convert(unsafe { Value::from_raw(rb_sys::rb_sym2str(symbol.as_raw())) })
}

/// The id of this process. It is asked for at every call of Ruby, and the system call for it takes longer than much of
/// what these do. So it is remembered, and a fork forgets it.
pub fn process_id() -> u32 {
    static KNOWN: AtomicU32 = AtomicU32::new(0);
    static FORGETS: OnceLock<bool> = OnceLock::new();
    unsafe extern "C" fn forget() {
        KNOWN.store(0, Ordering::Relaxed);
    }
    let known = KNOWN.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: the function has this signature in POSIX. What it registers runs in each child right after the fork, while
    // that has one thread, and stores a number.
    let forgets = *FORGETS.get_or_init(|| unsafe { pthread_atfork(None, None, Some(forget)) } == 0);
    let id = std::process::id();
    if forgets {
        KNOWN.store(id, Ordering::Relaxed);
    }
    id
}

unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> std::ffi::c_int;
}

/// The one frozen String of its text, as a key of a Hash is. It is made only if there is none.
pub fn interned(ruby: &Ruby, text: &str) -> Result<RString, Error> {
    let length = text.len().try_into().map_err(|_| errors::content(ruby, "a key is too long"))?;
    // SAFETY: rb_enc_interned_str reads so many bytes at the pointer, keeps none of them by reference, and returns a
    // String. It raises only if there is no memory left, as every function that makes an object does.
    let string =
        unsafe { rb_sys::rb_enc_interned_str(text.as_ptr().cast(), length, rb_sys::rb_utf8_encoding()) };
    // SAFETY: what it has returned is a Ruby object.
    RString::try_convert(unsafe { Value::from_raw(string) })
}

/// Calls `read` with the bytes of `string`, without a copy. `read` must not call Ruby, which could change or free them.
pub fn read_bytes<T>(string: RString, read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: `string` is a parameter, so the garbage collector finds it, and the thread holds the GVL: nobody can
    // change the String while `read` runs.
    read(unsafe { string.as_slice() })
}

enum Called<T> {
    Returned(T),
    Interrupted,
    Panicked(Box<dyn Any + Send>),
}

/// What the function without the GVL works on.
struct Frame<'a, T> {
    wait: &'a mut dyn FnMut() -> Option<T>,
    result: Option<Result<Option<T>, Box<dyn Any + Send>>>,
}

unsafe extern "C" fn run<T>(frame: *mut c_void) -> *mut c_void {
    // SAFETY: `frame` is the Frame<T> that `call_without_gvl` keeps on its stack until this function has returned,
    // and nobody else uses it meanwhile.
    let frame = unsafe { &mut *frame.cast::<Frame<'_, T>>() };
    // No panic may cross the C frames above.
    frame.result = Some(catch_unwind(AssertUnwindSafe(&mut frame.wait)));
    std::ptr::null_mut()
}

unsafe extern "C" fn unblock<F: Fn() + Sync>(callback: *mut c_void) {
    // SAFETY: `callback` is the F that `call_without_gvl` borrows for as long as Ruby may call this function; F is
    // Sync and only shared references are made of it.
    let callback = unsafe { &*callback.cast::<F>() };
    // A panic must not reach Ruby's C code; there is nobody to tell, and the wait ends at its deadline.
    let _ = catch_unwind(AssertUnwindSafe(callback));
}

fn call_without_gvl<T, F: Fn() + Sync>(wait: &mut dyn FnMut() -> Option<T>, callback: &F) -> Called<T> {
    let mut frame = Frame { wait, result: None };
    // SAFETY: the caller is a Ruby thread that holds the GVL (it was called from Ruby, as its callers' `&Ruby`
    // shows). `run` touches no Ruby value: `wait` is made of owned Rust data (see the callers). Both pointers stay
    // valid during the call. This variant never raises: it returns on an interrupt, so no frame is jumped over.
    unsafe {
        rb_sys::rb_thread_call_without_gvl2(
            Some(run::<T>),
            std::ptr::from_mut(&mut frame).cast(),
            Some(unblock::<F>),
            std::ptr::from_ref(callback).cast_mut().cast(),
        );
    }
    match frame.result {
        Some(Ok(Some(value))) => Called::Returned(value),
        Some(Err(panic)) => Called::Panicked(panic),
        // Not run at all: an interrupt was pending.
        Some(Ok(None)) | None => Called::Interrupted,
    }
}
