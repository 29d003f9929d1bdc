//! The meaning of Redis's error codes for a command that was refused. Streams and JSON-RPC share this table.

/// The remedy for a command that Redis refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// This server cannot serve now. Another one may (a new master), so the client makes a new connection first.
    Reconnect,
    /// This server refuses such commands for now. The same connection accepts them later.
    Wait,
    /// There is none: the command itself is refused.
    None,
}

/// Returns the remedy for a command that was refused with `code`.
///
/// [`crate::foundation::redis::connector`] decides where a key has moved in a cluster (`MOVED`, `ASK`), because it
/// knows the map.
pub fn remedy(code: &str) -> Remedy {
    match code {
        // In this order: data is being loaded; the server is a replica; it is a replica without a master; its cluster
        // has no quorum; the slot is moving; the key left during a blocking read; too few replicas are connected.
        "LOADING" | "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "UNBLOCKED" | "NOREPLICAS" => {
            Remedy::Reconnect
        }
        // In this order: maxmemory is reached; a snapshot failed, so writes are refused; a script or function is
        // running.
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
