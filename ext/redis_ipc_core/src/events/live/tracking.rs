//! What Redis tells clients that cache keys: invalidations (client-side caching).
//!
//! A client that has asked for it (`CLIENT TRACKING` with `BCAST`) is told of every key under its prefixes that
//! changes, expires or is deleted. In RESP2 the server sends that to a connection that subscribes, and that connection
//! can name itself: so no other connection can be lost while this one stands.

use crate::events::common::live_options::LiveOptions;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::resp::push::INVALIDATIONS;
use crate::foundation::redis::subscription::topics::{TopicKind, Topics};
use redis::RedisResult;

/// Returns the subscription to all invalidations that the connection has asked for. No server counts them.
pub fn topics() -> Topics {
    let names = vec![String::from_utf8_lossy(INVALIDATIONS).into_owned()];
    Topics { kind: TopicKind::Channel, names, counts: Vec::new(), is_late: true }
}

/// Asks for the invalidations of the keys of `live`. They come once the connection subscribes.
///
/// # Errors
///
/// The connection breaks, or the server refuses.
pub fn ask(connection: &mut Connection, live: &LiveOptions) -> RedisResult<()> {
    let own: i64 = connection.query(redis::cmd("CLIENT").arg("ID"))?;
    let mut tracking = redis::cmd("CLIENT");
    tracking.arg("TRACKING").arg("ON").arg("REDIRECT").arg(own).arg("BCAST");
    // Without a prefix, or with an empty one, it is told of all keys.
    for prefix in live.prefixes() {
        tracking.arg("PREFIX").arg(prefix);
    }
    connection.run(&tracking)?;
    Ok(())
}
