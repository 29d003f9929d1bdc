//! The list of the sockets that an engine has open, so that a forked child can close its copies of them. Otherwise
//! Redis would take the parent for alive as long as one of its children is.

use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The descriptors of one engine. Each is listed only while it is certainly open.
#[derive(Debug, Clone, Default)]
pub struct OpenSockets(Arc<Mutex<BTreeSet<RawFd>>>);

impl OpenSockets {
    /// Lists a socket until the returned guard is dropped. The guard must be dropped before the socket is closed.
    pub fn list(&self, socket: RawFd) -> Listed {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(socket);
        Listed { sockets: self.clone(), socket }
    }

    /// Returns the sockets that were open when this process was forked. It does not wait for the lock, because the
    /// thread that holds it may not exist in the child; it returns nothing then.
    pub fn inherited(&self) -> Vec<RawFd> {
        self.0.try_lock().map(|sockets| sockets.iter().copied().collect()).unwrap_or_default()
    }
}

/// An entry of the list.
#[derive(Debug)]
pub struct Listed {
    sockets: OpenSockets,
    socket: RawFd,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.sockets.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_listed_while_its_guard_lives() {
        let sockets = OpenSockets::default();
        let one = sockets.list(7);
        let two = sockets.list(9);
        assert_eq!(sockets.inherited(), [7, 9]);
        drop(one);
        assert_eq!(sockets.inherited(), [9]);
        drop(two);
        assert!(sockets.inherited().is_empty());
    }
}
