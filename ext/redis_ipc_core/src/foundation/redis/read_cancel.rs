//! Ends a blocking read from another thread: the thread's end is requested, or the read waits at the wrong server.

use crate::foundation::net::address::Address;
use crate::foundation::net::socket::Closer;
use crate::foundation::redis::connection::Connection;
use crate::foundation::runtime::sync::Mutex;

/// The connection on which one thread reads now, if any.
#[derive(Default)]
pub struct ReadCancel(Mutex<Option<Closer>>);

impl ReadCancel {
    /// Sets the connection to `connection`.
    pub fn on(&self, connection: &Connection) {
        *self.0.lock() = Some(connection.closer());
    }

    /// Ends the current read. The next one starts on a new connection.
    pub fn end(&self) {
        self.end_if(|_| true);
    }

    /// Ends the current read unless it waits at `address`.
    pub fn end_unless_at(&self, address: &Address) {
        self.end_if(|closer| closer.address() != address);
    }

    fn end_if(&self, unwanted: impl Fn(&Closer) -> bool) {
        let mut closer = self.0.lock();
        if closer.as_ref().is_some_and(unwanted)
            && let Some(closer) = closer.take()
        {
            closer.close();
        }
    }
}
