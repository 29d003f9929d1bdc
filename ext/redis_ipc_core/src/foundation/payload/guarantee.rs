//! The guarantee that a request is run at least once, or at most once.

use crate::error::Error;
use crate::foundation::payload::option_reader::OptionReader;

/// How often a request is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// It is kept in Redis until it is answered. It may run again if its process dies.
    AtLeastOnce,
    /// It is gone from Redis before it runs. It never runs twice, and may be lost with its process.
    AtMostOnce,
}

impl Guarantee {
    const ALL: [(&str, Self); 2] = [("at_least_once", Self::AtLeastOnce), ("at_most_once", Self::AtMostOnce)];

    /// Reads the option `name`; at least once, unless it is given.
    ///
    /// # Errors
    ///
    /// It is another word.
    pub fn read(section: &mut OptionReader, name: &'static str) -> Result<Self, Error> {
        Ok(section.word(name, &Self::ALL)?.unwrap_or(Self::AtLeastOnce))
    }

    /// Returns the name, as it is in the options.
    pub fn name(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at_least_once",
            Self::AtMostOnce => "at_most_once",
        }
    }
}
