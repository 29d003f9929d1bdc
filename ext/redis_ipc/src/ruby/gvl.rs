//! Waiting without Ruby's global VM lock (GVL) so that Ruby can interrupt it, and calls for which magnus has no safe
//! function.
//!
//! `unsafe` is allowed in this file only.
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

/// Runs `wait` without the GVL until it returns a value. `wait` returns `None` after `unblock` was called. Then this
/// function handles Ruby's interrupts (a signal, `Thread#raise`, `Thread#kill`, `Timeout`). Unless one of them raises,
/// it waits again.
///
/// Another Ruby thread may call `unblock` any number of times. Each call must make a running `wait` return soon.
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

/// Like [`wait_without_gvl`], for a `wait` on channels. It must return `None` soon after the channel that it is given
/// has a message.
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

/// Runs `work` in a thread of its own, and waits for it. An interrupt ends the wait but not the work, whose result then
/// goes to `unclaimed`. If the process may start no more threads, `work` runs in this thread, and an interrupt is
/// handled after it.
pub fn wait_for_thread<T: Send + 'static>(
    ruby: &Ruby,
    work: impl FnOnce() -> T + Send + 'static,
    unclaimed: impl FnOnce(T) + Send + 'static,
) -> Result<T, Error> {
    // The channel has no buffer: a result is either received, or returned to the thread that sends it.
    let (sender, receiver) = bounded(0);
    // The thread that runs the work takes it from this channel. If the closure held it, it would be lost when no thread
    // can be started.
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

/// Runs `wait` without the GVL. It must return `None` once its interrupt is set; `wake` makes it look.
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

/// Like [`wait_interruptibly`], for the next piece of work. Returns `None` once no more comes. If there is work
/// `at_hand`, returns it at once and keeps the GVL.
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

/// Returns in how many seconds `due` is. A time in the past gives 0.
pub fn seconds_until(due: Instant) -> f64 {
    due.saturating_duration_since(Instant::now()).as_secs_f64()
}

/// Runs `work`, and turns a panic into an InternalError. (magnus would raise `fatal`, which ends the process.)
pub fn guarded<T>(ruby: &Ruby, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(errors::from_panic(ruby, &*panic)))
}

/// Returns the name of `symbol`, which lives as long as the symbol. `StaticSymbol::name` would end it at the first NUL.
pub fn symbol_name(symbol: Symbol) -> Result<RString, Error> {
    // SAFETY: rb_sym2str accepts any Symbol. It neither raises nor calls Ruby code. It returns a Ruby object, a String.
    RString::try_convert(unsafe { Value::from_raw(rb_sys::rb_sym2str(symbol.as_raw())) })
}

/// Returns the id of this process. Every call from Ruby needs it, and the system call would take longer than much of
/// the work that follows. So it is cached, and a fork handler clears the cache in the child.
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
    // SAFETY: POSIX declares the function with this signature. The registered handler runs in each child right after
    // the fork, while the child has one thread, and only stores a number.
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

/// Returns the interned frozen String of `text`: the same object each time, as for the keys of a Hash.
pub fn interned(ruby: &Ruby, text: &str) -> Result<RString, Error> {
    let length = text.len().try_into().map_err(|_| errors::content(ruby, "a key is too long"))?;
    // SAFETY: rb_enc_interned_str reads `length` bytes at the pointer, keeps no reference to them, and returns a
    // String. It raises only if memory runs out, as every function that creates an object does.
    let string =
        unsafe { rb_sys::rb_enc_interned_str(text.as_ptr().cast(), length, rb_sys::rb_utf8_encoding()) };
    // SAFETY: the value that it returned is a Ruby object.
    RString::try_convert(unsafe { Value::from_raw(string) })
}

/// Calls `read` with the bytes of `string`, without copying them. `read` must not call Ruby, which could change or free
/// them.
pub fn read_bytes<T>(string: RString, read: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: `string` is a parameter, so the garbage collector finds it. The thread holds the GVL, so no other thread
    // can change the String while `read` runs.
    read(unsafe { string.as_slice() })
}

enum Called<T> {
    Returned(T),
    Interrupted,
    Panicked(Box<dyn Any + Send>),
}

/// The arguments and the result of the function that runs without the GVL.
struct Frame<'a, T> {
    wait: &'a mut dyn FnMut() -> Option<T>,
    result: Option<Result<Option<T>, Box<dyn Any + Send>>>,
}

unsafe extern "C" fn run<T>(frame: *mut c_void) -> *mut c_void {
    // SAFETY: `frame` is the Frame<T> that `call_without_gvl` keeps on its stack until this function has returned.
    // Nothing else uses it meanwhile.
    let frame = unsafe { &mut *frame.cast::<Frame<'_, T>>() };
    // A panic must not unwind through the C frames above.
    frame.result = Some(catch_unwind(AssertUnwindSafe(&mut frame.wait)));
    std::ptr::null_mut()
}

unsafe extern "C" fn unblock<F: Fn() + Sync>(callback: *mut c_void) {
    // SAFETY: `callback` is the F that `call_without_gvl` borrows for as long as Ruby may call this function. F is
    // Sync, and only shared references to it are made.
    let callback = unsafe { &*callback.cast::<F>() };
    // A panic must not reach Ruby's C code. There is nobody to report it to. The wait then goes on until its own end.
    let _ = catch_unwind(AssertUnwindSafe(callback));
}

fn call_without_gvl<T, F: Fn() + Sync>(wait: &mut dyn FnMut() -> Option<T>, callback: &F) -> Called<T> {
    let mut frame = Frame { wait, result: None };
    // SAFETY: this thread is a Ruby thread that holds the GVL: Ruby called it, as the `&Ruby` of the callers shows.
    // `run` touches no Ruby value, because `wait` consists of owned Rust data (see the callers). Both pointers stay
    // valid during the call. This variant of the function never raises: it returns on an interrupt, so it jumps over no
    // frame.
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
        // If there is no result, `run` was not called, because an interrupt was pending.
        Some(Ok(None)) | None => Called::Interrupted,
    }
}
