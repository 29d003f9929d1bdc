//! Wakes a thread that waits for a socket.

use crate::foundation::runtime::busy_poll::BusyPoll;
use crate::foundation::runtime::open_sockets::{Listed, OpenSockets};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long a thread waits for the rest of a reply when it should leave.
const LAST_WAIT: Duration = Duration::from_millis(100);
const LEFT: &str = "the thread that read a reply could not wait for the rest of it";

/// The reason why a wait for a socket ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// There is something to read, or the connection has ended.
    Socket,
    /// The waker was woken.
    Waker,
    /// The time is over, and nothing happened.
    TimeUp,
}

/// Lets one thread wait for a socket or for a wake-up from another thread.
#[derive(Debug)]
pub struct Waker {
    // This field stands before the sockets because fields are dropped in this order.
    _listed: [Listed; 2],
    sender: UnixStream,
    receiver: UnixStream,
}

impl Waker {
    /// Creates a waker without a pending wake-up. Its descriptors are listed among `sockets`.
    pub fn new(sockets: &OpenSockets) -> io::Result<Self> {
        let (sender, receiver) = UnixStream::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        let _listed = [sockets.list(sender.as_raw_fd()), sockets.list(receiver.as_raw_fd())];
        Ok(Self { _listed, sender, receiver })
    }

    /// Ends the wait that runs now, or the next one.
    pub fn wake(&self) {
        // If the socket's buffer is full, a wake-up is pending already.
        let _ = (&self.sender).write(&[1]);
    }

    /// Clears the pending wake-ups.
    pub fn clear(&self) {
        let mut wakes = [0; 64];
        while matches!((&self.receiver).read(&mut wakes), Ok(count) if count == wakes.len()) {}
    }

    /// Waits until `socket` is readable or the waker is woken, at most until `until`.
    pub fn wait(&self, socket: BorrowedFd<'_>, until: Instant) -> io::Result<WaitEnd> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.poll(socket, left) {
                Err(Errno::INTR) => {}
                end => return Ok(end?.unwrap_or(WaitEnd::TimeUp)),
            }
        }
    }

    /// Waits like [`Waker::wait`], but polls before it sleeps, while that pays.
    pub fn wait_polling(
        &self,
        busy_poll: &mut BusyPoll,
        socket: BorrowedFd<'_>,
        until: Instant,
    ) -> io::Result<WaitEnd> {
        let began = Instant::now();
        let end = match busy_poll.poll(|| self.poll_once(socket))? {
            Some(end) => end,
            None => self.wait(socket, until)?,
        };
        if end == WaitEnd::Socket {
            busy_poll.note(began.elapsed());
        }
        Ok(end)
    }

    fn poll_once(&self, socket: BorrowedFd<'_>) -> io::Result<Option<WaitEnd>> {
        match self.poll(socket, Duration::ZERO) {
            Err(Errno::INTR) => Ok(None),
            end => Ok(end?),
        }
    }

    fn poll(&self, socket: BorrowedFd<'_>, time: Duration) -> Result<Option<WaitEnd>, Errno> {
        let mut watched =
            [PollFd::from_borrowed_fd(socket, PollFlags::IN), PollFd::new(&self.receiver, PollFlags::IN)];
        Ok(match poll(&mut watched, Some(&timespec(time)))? {
            0 => None,
            _ if !watched[1].revents().is_empty() => Some(WaitEnd::Waker),
            _ => Some(WaitEnd::Socket),
        })
    }

    /// Returns a function that waits for the rest of a reply that has begun to arrive. A reader runs it before each
    /// further read. In total it waits a little past `until`, or a little past the moment when `leaves` returns true:
    /// a reader avoids abandoning a partly read reply, because the connection would be of no more use.
    pub fn wait_for_rest<'a>(
        &'a self,
        until: Instant,
        leaves: impl Fn() -> bool + 'a,
    ) -> impl Fn(BorrowedFd<'_>) -> io::Result<()> + 'a {
        let last = Cell::new(until.max(Instant::now()) + LAST_WAIT);
        move |socket| {
            loop {
                let now = Instant::now();
                if leaves() {
                    last.set(last.get().min(now + LAST_WAIT));
                }
                // A reply that keeps arriving must not hold the thread any longer either.
                let end = if now < last.get() { self.wait(socket, last.get())? } else { WaitEnd::TimeUp };
                match end {
                    WaitEnd::Socket => return Ok(()),
                    WaitEnd::Waker => self.clear(),
                    WaitEnd::TimeUp => return Err(io::Error::new(io::ErrorKind::TimedOut, LEFT)),
                }
            }
        }
    }
}

/// Waits until `socket` is readable or its connection has ended, at most until `until`. Returns whether it is.
pub fn is_readable(socket: BorrowedFd<'_>, until: Instant) -> io::Result<bool> {
    let left = until.saturating_duration_since(Instant::now());
    match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], Some(&timespec(left))) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Converts a time to one for `poll`.
pub(crate) fn timespec(time: Duration) -> Timespec {
    // A day is as good as for ever here.
    let time = time.min(Duration::from_secs(86_400));
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_wait_ends_by_the_socket_the_bell_or_the_clock() {
        let waker = Waker::new(&OpenSockets::default()).unwrap();
        let (mut there, here) = UnixStream::pair().unwrap();
        let wait = |ms| waker.wait(here.as_fd(), Instant::now() + Duration::from_millis(ms)).unwrap();
        assert_eq!(wait(0), WaitEnd::TimeUp);
        std::thread::scope(|scope| {
            scope.spawn(|| waker.wake());
            assert_eq!(wait(10_000), WaitEnd::Waker);
        });
        (0..1_000).for_each(|_| waker.wake());
        waker.clear();
        assert_eq!(wait(0), WaitEnd::TimeUp);
        there.write_all(b"x").unwrap();
        assert_eq!(wait(10_000), WaitEnd::Socket);
    }

    #[test]
    fn the_end_of_the_socket_ends_a_wait() {
        let waker = Waker::new(&OpenSockets::default()).unwrap();
        let (there, here) = UnixStream::pair().unwrap();
        drop(there);
        let end = waker.wait(here.as_fd(), Instant::now() + Duration::from_secs(10)).unwrap();
        assert_eq!(end, WaitEnd::Socket);
    }
}
