//! What the error codes of Redis mean for a command that was refused. Streams and JSON-RPC decide by this one table.

/// What helps a command that Redis refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// This server cannot serve now. Another one may (a new master), so a new connection is made first.
    Reconnect,
    /// This server serves, but refuses such commands for now: the same connection takes them later.
    Wait,
    /// Nothing does: the command itself is refused.
    None,
}

/// What helps a command that was refused with `code`.
///
/// Where a key has moved in a cluster (`MOVED`, `ASK`) is decided by [`crate::foundation::redis::connector`], which
/// knows the map.
pub fn remedy(code: &str) -> Remedy {
    match code {
        // Data is being loaded; a replica; a replica without a master; a cluster without a quorum; a slot on the move;
        // a key that left during a blocking read; too few replicas are connected.
        "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNBLOCKED" | "NOREPLICAS" => {
            Remedy::Reconnect
        }
        // maxmemory is reached; a snapshot could not be saved, so writes are refused; a script or function runs.
        "OOM" | "MISCONF" | "BUSY" => Remedy::Wait,
        _ => Remedy::None,
    }
}

/// Whether a refusal says that this server cannot serve now, rather than that the command is wrong.
pub fn is_passing(code: &str) -> bool {
    remedy(code) == Remedy::Reconnect
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_pass_are_told_from_wrong_commands() {
        for code in ["LOADING", "READONLY", "CLUSTERDOWN", "NOREPLICAS"] {
            assert_eq!(remedy(code), Remedy::Reconnect, "{code}");
        }
        for code in ["OOM", "MISCONF", "BUSY"] {
            assert_eq!(remedy(code), Remedy::Wait, "{code}");
            assert!(!is_passing(code));
        }
        for code in ["ERR", "WRONGTYPE", "NOPERM", "BUSYGROUP", "BUSYKEY", "MOVED", ""] {
            assert_eq!(remedy(code), Remedy::None, "{code}");
        }
    }
}
