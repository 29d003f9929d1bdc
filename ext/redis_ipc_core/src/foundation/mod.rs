//! The foundation of every feature. No module in it imports a feature.
//!
//! The folders import only those that stand before them in this list: [`crate::error`], [`payload`], [`runtime`],
//! [`net`], [`postgres`] and [`redis`], of which neither imports the other.

pub mod net;
pub mod payload;
pub mod postgres;
pub mod redis;
pub mod runtime;
