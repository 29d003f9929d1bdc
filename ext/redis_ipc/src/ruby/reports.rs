//! What the core reports, as Ruby objects.

use crate::ruby::errors;
use crate::ruby::gvl::wait_for_message;
use magnus::prelude::*;
use magnus::{Error, RHash, Ruby, Value};
use redis_ipc_core::{Fetched, Report, Reports};

/// The next of `reports`: an exception for on_error, the id of a watched call that has ended, or the seconds of an
/// outage that is over; nil at the end. Waits for it.
pub fn fetch(ruby: &Ruby, reports: &Reports) -> Result<Value, Error> {
    let report = wait_for_message(ruby, |interrupted| match reports.fetch(interrupted) {
        Fetched::Report(report) => Some(Some(report)),
        Fetched::Closed => Some(None),
        Fetched::Interrupted => None,
    })?;
    Ok(match report {
        None => ruby.qnil().as_value(),
        Some(Report::Failure(error)) => errors::exception(ruby, &error)?.as_value(),
        Some(Report::Settled(id)) => ruby.str_new(&id.to_string()).as_value(),
        Some(Report::Reconnected(outage)) => ruby.float_from_f64(outage.as_secs_f64()).as_value(),
    })
}

/// Counters as a Hash.
pub fn counters(ruby: &Ruby, counters: Vec<(&'static str, u64)>) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (name, count) in counters {
        hash.aset(ruby.to_symbol(name), count)?;
    }
    Ok(hash)
}
