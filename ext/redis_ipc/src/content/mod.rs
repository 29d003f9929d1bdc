//! Content: Ruby objects to JSON text and back, without a copy in between.

pub mod decode;
pub mod encode;
pub mod once;
