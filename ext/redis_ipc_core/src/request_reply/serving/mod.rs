//! Decides which requests run, hands them to consumers, and gives them back. Reading, leases and take-over are those
//! of any consumer group: [`crate::foundation::redis::group_consumer`].

pub mod admission;
pub mod dead_letters;
pub mod hand_on;
pub mod holders;
pub mod service;
pub mod suspect_marks;

#[cfg(test)]
mod suspect_model;
