//! Taking requests, holding them while handlers run, and giving them back.

pub mod admission;
pub mod dead_letters;
pub mod inbox_session;
pub mod intake;
pub mod lease;
pub mod service;
