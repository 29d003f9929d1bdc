//! The values that go over the wire (ids, texts, JSON, the fields of an entry), their limits, and the reading of
//! options.

pub mod fields;
pub mod guarantee;
pub mod id;
pub mod json;
pub mod key_part;
pub mod limits;
pub mod loss;
pub mod option_reader;
pub mod stream_entry;
pub mod text;
