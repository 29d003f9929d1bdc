//! Converts content between Ruby objects and JSON text, without a tree in between, and reads options.

pub mod decode;
pub mod encode;
pub mod options;
