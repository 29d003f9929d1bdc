//! Redis's protocol (RESP2): [`decode`] reads replies, [`encode`] writes commands, [`replies`] reads the values of
//! replies, [`push`] is what a subscriber is sent.

pub mod decode;
pub mod encode;
pub mod push;
pub mod replies;
