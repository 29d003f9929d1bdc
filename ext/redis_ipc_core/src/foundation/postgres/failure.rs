//! What can go wrong at a connection to PostgreSQL.

use crate::foundation::postgres::pgoutput::message::Malformed;
use std::io;

/// An error that the server has told.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{message}{} (SQLSTATE {code})", detail.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
pub struct ServerError {
    /// The SQLSTATE.
    pub code: String,
    /// What happened.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
}

/// What can go wrong at a connection to PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server has refused something.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// What came breaks the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(&'static str),
    /// A message is larger than what is read of one.
    #[error(
        "a change in the log has {size} bytes, which is more than max_event_size ({limit}). Raise that option"
    )]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The most that are read.
        limit: usize,
    },
    /// The login cannot go on.
    #[error("{0}")]
    Login(&'static str),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Protocol(malformed.0)
    }
}

impl Failure {
    /// Returns the SQLSTATE of an error of the server.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.code),
            _ => None,
        }
    }

    /// Whether the server was reached, and refuses for a reason that may last until somebody acts.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Io(_) => false,
            // Class 57: it shuts down, or starts. Class 08: the connection. 53300: too many connections.
            Self::Server(error) => !error.code.starts_with("57") && !error.code.starts_with("08"),
            _ => true,
        }
    }
}
