//! Acts on the dead requests of a queue from outside of its servers.

use crate::error::Error;
use crate::foundation::redis::pool::Pool;
use crate::json_rpc::names::Names;
use redis::Value;

/// Removes the request ARGV[1] from the list KEYS[1] of dead requests, and puts it where it is taken next: into the list
/// KEYS[2]. Returns 0 if it is not there any more.
const RETRY: &str = r"
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
";

/// Puts a dead request into its queue again. Returns false if someone else retried or discarded it.
///
/// # Errors
///
/// Redis cannot be reached or refuses.
pub fn retry(connections: &Pool, names: &Names, text: &[u8]) -> Result<bool, Error> {
    let mut retry = redis::cmd("EVAL");
    retry.arg(RETRY).arg(2).arg(names.dead()).arg(names.queue()).arg(text);
    Ok(connections.run(&names.dead(), &retry)? == Value::Int(1))
}

/// Deletes a dead request. Returns false if someone else retried or discarded it.
///
/// # Errors
///
/// Redis cannot be reached or refuses.
pub fn discard(connections: &Pool, names: &Names, text: &[u8]) -> Result<bool, Error> {
    let mut remove = redis::cmd("LREM");
    remove.arg(names.dead()).arg(1).arg(text);
    Ok(connections.run(&names.dead(), &remove)? == Value::Int(1))
}
