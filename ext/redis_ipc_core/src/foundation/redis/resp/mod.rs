//! Redis's protocol (RESP2): [`decode`] reads replies, [`encode`] writes commands, [`replies`] reads the values of
//! replies.

pub mod decode;
pub mod encode;
pub mod replies;
