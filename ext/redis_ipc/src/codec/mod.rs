//! Content and options: Ruby objects to JSON text and back, without a copy in between.

pub mod decode;
pub mod encode;
pub mod options;
