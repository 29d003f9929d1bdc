//! Decides which requests run, hands them to consumers, and gives them back. Reading, leases and take-over are those
//! of any consumer group: [`crate::foundation::redis::group_consumer`].

pub mod admission;
pub mod dead_letters;
pub mod hand_on;
pub mod service;
