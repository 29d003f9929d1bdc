//! Converts errors of the core to Ruby exceptions. lib/redis_ipc/errors.rb defines the classes.

use magnus::prelude::*;
use magnus::{Error, Exception, ExceptionClass, KwArgs, RModule, Ruby};
use redis_ipc_core::panic_message;
use redis_ipc_core::{Error as CoreError, ErrorKind, Fate};

/// Converts `error` to an exception that a method can raise.
pub fn raise(ruby: &Ruby, error: &CoreError) -> Error {
    match exception(ruby, error) {
        Ok(exception) => Error::from(exception),
        Err(error) => error,
    }
}

/// Converts `error` to an instance of its Ruby class.
pub fn exception(ruby: &Ruby, error: &CoreError) -> Result<Exception, Error> {
    let (name, fate) = class_of(error.kind);
    if error.kind == ErrorKind::Argument {
        return ruby.exception_arg_error().new_instance((error.to_string(),));
    }
    let details = ruby.hash_new();
    let place = &error.place;
    let parts = [
        ("stream", &place.stream),
        ("group", &place.group),
        ("entry_id", &place.entry_id),
        ("redis", &place.address),
    ];
    for (key, value) in parts {
        if let Some(value) = value {
            details.aset(ruby.to_symbol(key), value.as_str())?;
        }
    }
    if let Some(fate) = fate {
        details.aset(ruby.to_symbol("outcome"), ruby.to_symbol(fate.name()))?;
    }
    class(ruby, name)?.new_instance((error.to_string(), KwArgs(details)))
}

/// Converts a caught panic to an InternalError.
pub fn from_panic(ruby: &Ruby, panic: &(dyn std::any::Any + Send)) -> Error {
    internal(ruby, &format!("a defect of redis_ipc (please report it): {}", panic_message(panic)))
}

/// Makes an InternalError.
pub fn internal(ruby: &Ruby, message: &str) -> Error {
    raise(ruby, &CoreError::new(ErrorKind::Internal, message))
}

/// Makes the error for a forked child that uses an object of its parent.
pub fn forked(ruby: &Ruby, message: &str) -> Error {
    raise(ruby, &CoreError::new(ErrorKind::Closed(Fate::NotSent), message))
}

/// Makes a ContentError.
pub fn content(ruby: &Ruby, message: impl Into<String>) -> Error {
    raise(ruby, &CoreError::new(ErrorKind::Content, message))
}

/// Whether `error` is a ContentError. Any other error may be an interrupt, and then must be raised again.
pub fn is_content(ruby: &Ruby, error: &Error) -> bool {
    class(ruby, class_of(ErrorKind::Content).0).is_ok_and(|class| error.is_kind_of(class))
}

/// Makes a MalformedEntryError for an unreadable answer.
pub fn malformed(ruby: &Ruby, why: &str) -> Error {
    raise(ruby, &CoreError::new(ErrorKind::Malformed, format!("the answer cannot be read: {why}")))
}

fn class_of(kind: ErrorKind) -> (&'static str, Option<Fate>) {
    match kind {
        ErrorKind::Argument => ("ArgumentError", None),
        ErrorKind::Configuration => ("ConfigurationError", None),
        ErrorKind::Content => ("ContentError", None),
        ErrorKind::Connection(fate) => ("ConnectionError", Some(fate)),
        ErrorKind::Command(fate) => ("CommandError", Some(fate)),
        ErrorKind::Timeout(fate) => ("TimeoutError", Some(fate)),
        ErrorKind::Closed(fate) => ("NotConnectedError", Some(fate)),
        ErrorKind::Overloaded => ("OverloadedError", Some(Fate::NotSent)),
        ErrorKind::AlreadyAnswered => ("AlreadyAnsweredError", None),
        ErrorKind::Malformed => ("MalformedEntryError", None),
        ErrorKind::Unanswered => ("UnansweredError", None),
        ErrorKind::DeadLettered => ("DeadLetteredError", None),
        ErrorKind::ThreadLimit(fate) => ("ThreadLimitError", Some(fate)),
        ErrorKind::Internal => ("InternalError", None),
    }
}

fn class(ruby: &Ruby, name: &str) -> Result<ExceptionClass, Error> {
    let module: RModule = ruby.class_object().const_get("RedisIPC")?;
    module.const_get(name)
}
