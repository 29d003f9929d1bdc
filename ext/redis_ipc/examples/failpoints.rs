//! The border's ways with a panic and with an interrupt (entry.rs, gvl.rs), for spec/panic_spec.rb: `Failpoints` has
//! methods that do panic, and one whose work ends as it is interrupted.
// It is made of a part of the border.
#![allow(missing_docs, dead_code, clippy::panic)]

#[path = "../src/ruby/entry.rs"]
mod entry;
#[path = "../src/ruby/errors.rs"]
mod errors;
#[path = "../src/ruby/gvl.rs"]
mod gvl;
/// Where these two look for each other.
mod ruby {
    pub(crate) use crate::{errors, gvl};
}

use magnus::prelude::*;
use magnus::{Error, Ruby, function};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Long enough for another thread to notice something.
const MOMENT: Duration = Duration::from_millis(100);

/// A panic in the method itself.
fn here(_: &Ruby) -> bool {
    panic!("here")
}

/// A panic while the thread waits without the GVL.
fn waiting(ruby: &Ruby) -> Result<(), Error> {
    gvl::wait_without_gvl(ruby, || -> Option<()> { panic!("waiting") }, || ())
}

/// A panic in the thread that is waited for.
fn elsewhere(ruby: &Ruby) -> Result<(), Error> {
    gvl::wait_for_thread(ruby, || -> () { panic!("elsewhere") }, drop)
}

/// A panic in what ends the wait: the wait goes on until its time is up.
fn unblocking(ruby: &Ruby, milliseconds: u64) -> Result<(), Error> {
    let until = std::time::Instant::now() + std::time::Duration::from_millis(milliseconds);
    let wait = || {
        std::thread::sleep(until.saturating_duration_since(std::time::Instant::now()));
        Some(())
    };
    gvl::wait_without_gvl(ruby, wait, || panic!("unblocking"))
}

/// Whether the work of `claim` may end, and how often its result went unclaimed.
static MAY_END: AtomicBool = AtomicBool::new(false);
static UNCLAIMED: AtomicUsize = AtomicUsize::new(0);

/// Waits for work in a thread that ends once it may.
fn claim(ruby: &Ruby) -> Result<(), Error> {
    let work = || {
        while !MAY_END.load(Ordering::SeqCst) {
            std::thread::sleep(MOMENT / 50);
        }
    };
    gvl::wait_for_thread(ruby, work, |()| {
        UNCLAIMED.fetch_add(1, Ordering::SeqCst);
    })
}

/// Lets the work of `claim` end while no other Ruby thread can run.
fn end_claimed(_: &Ruby) {
    std::thread::sleep(MOMENT);
    MAY_END.store(true, Ordering::SeqCst);
    std::thread::sleep(MOMENT);
}

fn unclaimed(_: &Ruby) -> usize {
    UNCLAIMED.load(Ordering::SeqCst)
}

#[magnus::init(name = "failpoints")]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let failpoints = ruby.define_module("Failpoints")?;
    failpoints.define_singleton_method("here", function!(entry::function0(here), 0))?;
    failpoints.define_singleton_method("waiting", function!(waiting, 0))?;
    failpoints.define_singleton_method("elsewhere", function!(elsewhere, 0))?;
    failpoints.define_singleton_method("unblocking", function!(unblocking, 1))?;
    failpoints.define_singleton_method("claim", function!(claim, 0))?;
    failpoints.define_singleton_method("end_claimed", function!(end_claimed, 0))?;
    failpoints.define_singleton_method("unclaimed", function!(unclaimed, 0))
}
