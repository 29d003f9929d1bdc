//! The foundation of every feature. No module in it imports a feature.
//!
//! The folders import only those that stand before them in this list: [`crate::error`], [`payload`], [`runtime`],
//! [`redis`].

pub mod payload;
pub mod redis;
pub mod runtime;
