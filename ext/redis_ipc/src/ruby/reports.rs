//! Converts what the core reports to Ruby objects: `RedisIPC::Native::Report`, losses, counters.

use crate::ruby::classes::class;
use crate::ruby::errors;
use crate::ruby::gvl::wait_for_message;
use magnus::prelude::*;
use magnus::{Error, Exception, RHash, RModule, Ruby, StaticSymbol};
use redis_ipc_core::{Fetched, Loss, Mailbox, Report};

/// A report of the core to the user.
#[magnus::wrap(class = "RedisIPC::Native::Report", free_immediately, size)]
pub struct NativeReport(Report);

impl NativeReport {
    /// Waits for the next report. Returns `None` once no more come.
    pub fn fetch(ruby: &Ruby, reports: &Mailbox<Report>) -> Result<Option<Self>, Error> {
        Ok(fetch(ruby, reports)?.map(Self))
    }

    /// Returns the kind of the report: `:failure`, `:settled` (a watched call has ended), `:reconnected` (an outage is
    /// over), `:loss` (events may be missing), `:overrun` (a handler runs on after the deadline of its request) or
    /// `:slow` (a handler runs for long).
    fn kind(ruby: &Ruby, rb_self: &Self) -> Result<StaticSymbol, Error> {
        Ok(ruby.sym_new(match rb_self.0 {
            Report::Failure(_) => "failure",
            Report::Settled(_) => "settled",
            Report::Reconnected(_) => "reconnected",
            Report::Loss(_) => "loss",
            Report::Overrun(_) => "overrun",
            Report::Slow(_) => "slow",
        }))
    }

    /// Returns the exception of a failure, a new object each time. Returns nil for other reports.
    fn error(ruby: &Ruby, rb_self: &Self) -> Result<Option<Exception>, Error> {
        match &rb_self.0 {
            Report::Failure(error) => errors::exception(ruby, error).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns the id of the call that has ended, or of the request or event whose handler is overrun or slow. Returns
    /// nil for other reports.
    fn id(&self) -> Result<Option<String>, Error> {
        Ok(match &self.0 {
            Report::Settled(id) => Some(id.to_string()),
            Report::Overrun(id) => Some(id.clone()),
            Report::Slow(id) => Some(id.clone()),
            _ => None,
        })
    }

    /// Returns how long the outage was, in seconds. Returns nil for other reports.
    fn outage(&self) -> Result<Option<f64>, Error> {
        Ok(match &self.0 {
            Report::Reconnected(outage) => Some(outage.as_secs_f64()),
            _ => None,
        })
    }

    /// Returns the loss as a Hash. Returns nil for other reports.
    fn loss(ruby: &Ruby, rb_self: &Self) -> Result<Option<RHash>, Error> {
        match &rb_self.0 {
            Report::Loss(loss) => loss_row(ruby, loss).map(Some),
            _ => Ok(None),
        }
    }
}

/// Converts a loss to a Hash. Times are in ms since 1970.
pub fn loss_row(ruby: &Ruby, loss: &Loss) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    hash.aset(ruby.to_symbol("source"), loss.source.as_str())?;
    hash.aset(ruby.to_symbol("node"), loss.node.as_str())?;
    hash.aset(ruby.to_symbol("cause"), ruby.to_symbol(loss.cause.to_string()))?;
    hash.aset(ruby.to_symbol("since_ms"), loss.since_ms)?;
    hash.aset(ruby.to_symbol("until_ms"), loss.until_ms)?;
    hash.aset(ruby.to_symbol("at_most"), loss.at_most)?;
    hash.aset(ruby.to_symbol("exact"), loss.is_exact)?;
    Ok(hash)
}

/// Waits for the next message of `mailbox`. Returns `None` once no more come.
pub fn fetch<T>(ruby: &Ruby, mailbox: &Mailbox<T>) -> Result<Option<T>, Error> {
    wait_for_message(ruby, |interrupted| match mailbox.fetch(interrupted) {
        Fetched::Message(message) => Some(Some(message)),
        Fetched::Closed => Some(None),
        Fetched::Interrupted => None,
    })
}

/// Converts counters to a Hash.
pub fn counters(ruby: &Ruby, counters: Vec<(&'static str, u64)>) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (name, count) in counters {
        hash.aset(ruby.to_symbol(name), count)?;
    }
    Ok(hash)
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Report": NativeReport {
        get "id" => |it| it.id();
        get "outage" => |it| it.outage();
        "kind", 0 => method0(NativeReport::kind);
        "error", 0 => method0(NativeReport::error);
        "loss", 0 => method0(NativeReport::loss);
    });
    Ok(())
}
