//! This instance's place in its group: its options and its state, its presence, and the expiry of the keys it uses.

pub mod acceptance;
pub mod arrivals;
pub mod backpressure;
pub mod key_expiry;
pub mod member;
pub mod options;
pub mod presence;
pub mod reply_room;
