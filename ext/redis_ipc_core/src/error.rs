//! The one error type of the core. It says what happened, where it happened, and what a caller may conclude from it.

use redis::RedisError;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

/// The state of a request whose caller gave up on it, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The request never reached Redis. It did not run and never will.
    NotSent,
    /// The request was withdrawn before an instance took it. It did not run and never will.
    Unclaimed,
    /// An instance took the request and has not answered, or Redis cannot be asked. The request may have run.
    Unknown,
}

impl Fate {
    /// Returns the name that the Ruby API shows as a Symbol.
    pub fn name(self) -> &'static str {
        match self {
            Fate::NotSent => "not_sent",
            Fate::Unclaimed => "unclaimed",
            Fate::Unknown => "unknown",
        }
    }
}

/// The kind of failure that an [`Error`] reports. Each kind is one Ruby class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An argument is never valid (a blank group, a timeout below zero).
    Argument,
    /// An option is unknown or has the wrong type.
    Configuration,
    /// JSON or the limits do not allow the content.
    Content,
    /// Redis, or PostgreSQL, cannot be reached.
    Connection(Fate),
    /// Redis, or PostgreSQL, answered with an error.
    Command(Fate),
    /// The deadline passed.
    Timeout(Fate),
    /// The stream was disconnected, or was never connected.
    Closed(Fate),
    /// Too many calls are open, so this call was not made; or too many events that failed wait for their next try.
    Overloaded,
    /// The request has been answered before, or this instance does not hold it.
    AlreadyAnswered,
    /// An entry does not conform to this protocol.
    Malformed,
    /// A handler returned without an answer, and no other code answered the request later.
    Unanswered,
    /// A request was moved to the dead letters after too many deliveries.
    DeadLettered,
    /// The operating system could not start a thread: the process, its user, its service or its container has reached
    /// a limit.
    ThreadLimit(Fate),
    /// This library has a defect: a panic was caught.
    Internal,
}

impl ErrorKind {
    /// Returns the kind of the error that a call fails with when an error of this kind occurs. `fate` is what is
    /// known of the call's request.
    #[must_use]
    pub fn of_call(self, fate: Fate) -> Self {
        match self {
            Self::Closed(_) => Self::Closed(fate),
            Self::Command(_) => Self::Command(fate),
            Self::ThreadLimit(_) => Self::ThreadLimit(fate),
            _ => Self::Connection(fate),
        }
    }
}

/// The place where an error happened. Every part is safe to print.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The name of the stream.
    pub stream: Option<String>,
    /// The group concerned. For a call this is the destination group.
    pub group: Option<String>,
    /// The id of the request, or the Redis id of the stream entry.
    pub entry_id: Option<String>,
    /// The address of the server, without credentials.
    pub address: Option<String>,
}

/// An error of the core. Equality compares kind, message and place, and not the cause.
#[derive(Debug, Clone)]
pub struct Error {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// What happened and what to do about it, for a person to read.
    pub message: String,
    /// The place where it happened.
    pub place: Box<Place>,
    /// The cause.
    pub(crate) source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error that names no place yet.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: Box::default(), source: None }
    }

    /// Whether Redis refused a command for want of a right.
    pub(crate) fn is_missing_right(&self) -> bool {
        let behind = self.source.as_deref().and_then(|source| source.downcast_ref::<redis::RedisError>());
        behind.is_some_and(|error| error.code() == Some("NOPERM"))
    }

    /// Keeps the error that is behind this one, for [`std::error::Error::source`].
    #[must_use]
    pub fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Adds the stream and the group to the error's place.
    #[must_use]
    pub fn at(mut self, stream: &str, group: &str) -> Self {
        self.place.stream = Some(stream.to_owned());
        self.place.group = Some(group.to_owned());
        self
    }

    /// Adds the entry's id to the error's place.
    #[must_use]
    pub fn entry(mut self, id: impl fmt::Display) -> Self {
        self.place.entry_id = Some(id.to_string());
        self
    }

    /// Adds the server's address, which holds no credentials, to the error's place.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.place.address = Some(address.to_owned());
        self
    }

    /// Marks the error as one of an attempt to connect: no request was sent.
    #[must_use]
    pub fn of_connecting(mut self) -> Self {
        self.kind = match self.kind {
            ErrorKind::Connection(_) => ErrorKind::Connection(Fate::NotSent),
            ErrorKind::Command(_) => ErrorKind::Command(Fate::NotSent),
            ErrorKind::ThreadLimit(_) => ErrorKind::ThreadLimit(Fate::NotSent),
            kind => kind,
        };
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let place = &self.place;
        let parts = [
            ("stream", &place.stream),
            ("group", &place.group),
            ("entry", &place.entry_id),
            ("redis", &place.address),
        ];
        let mut open = false;
        for (name, value) in parts {
            if let Some(value) = value {
                f.write_str(if open { ", " } else { " (" })?;
                write!(f, "{name}: {value}")?;
                open = true;
            }
        }
        if open { f.write_str(")") } else { Ok(()) }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.message, &self.place) == (other.kind, &other.message, &other.place)
    }
}

impl Eq for Error {}

/// Returns the error of the operating system that an error of the `redis` crate wraps, if it wraps one.
pub(crate) fn io_error_behind(error: &RedisError) -> Option<&io::Error> {
    let shared = error.source()?.downcast_ref::<Arc<dyn StdError + Send + Sync>>()?;
    shared.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_is_behind_it() {
        let behind = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let error = Error::new(ErrorKind::Connection(Fate::Unknown), "lost").because(behind);
        assert_eq!(error.source().map(ToString::to_string), Some("broken pipe".to_owned()));
        assert_eq!(error, Error::new(ErrorKind::Connection(Fate::Unknown), "lost"));
    }
}
