//! Writing many commands before their replies are read.

pub mod outgoing;
