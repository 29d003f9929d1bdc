//! Checks whether a server is new enough, and whether it is a node of a cluster.

use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::resp::replies;
use redis::{RedisResult, Value};

/// Opens the first connection, for `purpose` and to the server of `key`, and checks that server. A node of a cluster is
/// told to `connector`.
pub fn open_checked(connector: &Connector, purpose: Purpose, key: &str) -> RedisResult<Connection> {
    let mut first = connector.opener(purpose).open_for(key)?;
    if check_server(&mut first)? {
        connector.is_node_of_cluster();
    }
    connector.note_eviction(&mut first);
    Ok(first)
}

/// Refuses a server that is too old: XAUTOCLAIM's list of deleted ids and PEXPIRE's NX and GT need Redis 7.0. Returns
/// true if the server is a node of a cluster.
pub fn check_server(connection: &mut Connection) -> RedisResult<bool> {
    let Ok(Value::Array(facts)) = connection.run(&redis::cmd("HELLO")) else { return Ok(false) };
    let fact = |wanted: &[u8]| match replies::fact(&facts, wanted) {
        Some(Value::BulkString(fact)) => Some(String::from_utf8_lossy(fact).into_owned()),
        _ => None,
    };
    let version = fact(b"version").unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 7) {
        return Err(redis::RedisError::from((
            redis::ErrorKind::InvalidClientConfig,
            "Redis 7.0 or newer (or Valkey) is needed",
            format!("this server is {version}"),
        )));
    }
    Ok(fact(b"mode").as_deref() == Some("cluster"))
}
