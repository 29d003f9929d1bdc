//! A living instance as Ruby sees it.

use magnus::{Error, RHash, Ruby};
use redis_ipc_core::request_reply::Presence;

/// Converts what an instance shows of itself to a Hash.
///
/// # Errors
///
/// Ruby refuses to change the Hash.
pub fn row(ruby: &Ruby, presence: Presence) -> Result<RHash, Error> {
    let row = ruby.hash_new();
    row.aset(ruby.to_symbol("group"), presence.group)?;
    row.aset(ruby.to_symbol("instance_id"), presence.instance)?;
    row.aset(ruby.to_symbol("host"), presence.host)?;
    row.aset(ruby.to_symbol("pid"), presence.pid)?;
    row.aset(ruby.to_symbol("seen_ms"), presence.seen)?;
    Ok(row)
}
