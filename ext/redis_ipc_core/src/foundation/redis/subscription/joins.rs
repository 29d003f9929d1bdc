//! Channels that a subscription takes on while it reads.

use crate::foundation::net::socket::Socket;
use crate::foundation::redis::subscription::displaced::Displaced;
use crate::foundation::runtime::open_sockets::OpenSockets;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waker::{WaitEnd, Waker};
use std::io;
use std::time::{Duration, Instant};

/// Channels that a subscription is to take on. Any thread may offer them; the one that reads takes them.
pub struct Joins {
    /// `None` once no more are taken.
    waiting: Mutex<Option<Vec<Displaced>>>,
    waker: Waker,
}

impl Joins {
    /// Creates an empty list.
    ///
    /// # Errors
    ///
    /// There are no more descriptors.
    pub fn new(sockets: &OpenSockets) -> io::Result<Self> {
        Ok(Self { waiting: Mutex::new(Some(Vec::new())), waker: Waker::new(sockets)? })
    }

    /// Hands channels to the subscription. Returns them if it has ended.
    pub fn offer(&self, displaced: Displaced) -> Option<Displaced> {
        match &mut *self.waiting.lock() {
            Some(waiting) => waiting.push(displaced),
            None => return Some(displaced),
        }
        self.waker.wake();
        None
    }

    /// Returns what was offered since the last time.
    pub fn take(&self) -> Vec<Displaced> {
        self.waiting.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes no more. Returns what was offered since the last time.
    pub fn close(&self) -> Vec<Displaced> {
        self.waiting.lock().take().unwrap_or_default()
    }

    /// Waits until there is something to read, or something was offered. Returns true if there may be something to
    /// read: where that cannot be known without reading (TLS), at once.
    pub fn wait(&self, socket: &Socket, time: Duration) -> io::Result<bool> {
        let Some(descriptor) = socket.awaited() else { return Ok(true) };
        let end = self.waker.wait(descriptor, Instant::now() + time)?;
        if end == WaitEnd::Waker {
            self.waker.clear();
        }
        Ok(end == WaitEnd::Socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::net::address::Address;
    use crate::foundation::net::attempt::{Attempt, Closing};
    use crate::foundation::redis::subscription::window::Known;
    use std::os::unix::net::UnixStream;

    fn displaced(names: &[&str]) -> Displaced {
        let before = Known::new(1, Address::Unix("".into()), None);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Displaced::by_slot(names, &before, false, true).remove(0)
    }

    #[test]
    fn what_is_offered_ends_a_wait_and_is_taken_once() {
        let sockets = OpenSockets::default();
        let joins = Joins::new(&sockets).unwrap();
        let (own, _other) = UnixStream::pair().unwrap();
        let attempt = Attempt::new(Duration::from_secs(10), &Closing::default());
        let socket = Socket::new(own.into(), attempt, &sockets);
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(joins.offer(displaced(&["a"])).is_none()));
            assert!(!joins.wait(&socket, Duration::from_secs(60)).unwrap());
        });
        let names = |taken: Vec<Displaced>| taken.into_iter().flat_map(|one| one.names).collect::<Vec<_>>();
        assert_eq!(names(joins.take()), ["a"]);
        assert!(joins.take().is_empty());
        assert!(joins.offer(displaced(&["b{x}", "c{x}"])).is_none());
        assert_eq!(names(joins.close()), ["b{x}", "c{x}"]);
        assert_eq!(names(joins.offer(displaced(&["d"])).into_iter().collect()), ["d"], "it has ended");
    }
}
