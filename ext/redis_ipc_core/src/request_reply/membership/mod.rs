//! One instance of a group on a stream: its state, the keys that it keeps alive, and its presence.

pub mod arrivals;
pub mod inbox;
pub mod instance;
pub mod options;
pub mod presence;
pub mod registry;
pub mod reply_stream;
