//! Deciding which requests run, handing them to consumers, and giving them back. The reading, the leases and the
//! taking over are those of any consumer group: [`crate::foundation::redis::group_consumer`].

pub mod admission;
pub mod dead_letters;
pub mod hand_on;
pub mod service;
