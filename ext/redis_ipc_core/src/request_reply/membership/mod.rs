//! One instance of a group on a stream: what its parts need to know of it, the keys it keeps alive, and its presence.

pub mod arrivals;
pub mod inbox;
pub mod instance;
pub mod options;
pub mod presence;
pub mod registry;
pub mod reply_stream;
