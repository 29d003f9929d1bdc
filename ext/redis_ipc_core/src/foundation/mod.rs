//! What every feature is built on. Nothing in here imports a feature.
//!
//! The folders import only what stands before them in this list: [`crate::error`], [`payload`], [`runtime`], [`redis`].

pub mod payload;
pub mod redis;
pub mod runtime;
