//! A socket to a server: TCP, TLS or a unix socket.

use crate::foundation::net::address::Address;
use crate::foundation::net::attempt::Attempt;
use crate::foundation::runtime::open_sockets::{Listed, OpenSockets};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::{ClientConnection, Stream};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// With this flag a write to a closed connection fails and does not raise SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
/// On these systems socket2 sets `SO_NOSIGPIPE`.
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

/// A connected socket.
pub struct Socket {
    raw: Arc<Raw>,
    tls: Option<Box<ClientConnection>>,
    /// The attempt that bounds the socket while it connects.
    attempt: Option<Attempt>,
}

/// The socket of the operating system. It is closed when its owner drops it.
#[derive(Debug)]
struct Raw {
    // This field stands before the socket because fields are dropped in this order.
    _listed: Listed,
    socket: socket2::Socket,
}

impl Read for &Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }
}

impl Write for &Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(&self.socket, bytes, SEND_FLAGS)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads only what has arrived on a socket.
pub struct Arrived<'a>(pub BorrowedFd<'a>);

impl Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = recv(self.0, buffer, RecvFlags::DONTWAIT)?;
        Ok(count)
    }
}

impl Write for Arrived<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SEND_FLAGS | SendFlags::DONTWAIT)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Closes a connection from another thread. A blocked read on it returns at once. The handle does not keep the socket
/// open: if it connected while it was being stopped, the reader has ended and left its closer behind.
pub struct Closer {
    address: Address,
    raw: Weak<Raw>,
}

impl Closer {
    /// Returns the address that the connection goes to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Shuts the socket down in both directions.
    pub fn close(&self) {
        if let Some(raw) = self.raw.upgrade() {
            // An error means that it is closed already.
            let _ = raw.socket.shutdown(Shutdown::Both);
        }
    }
}

impl Socket {
    /// Creates a socket that is connected and does not block. Until [`Socket::is_ready`] it waits no longer than
    /// `attempt`.
    pub fn new(socket: socket2::Socket, attempt: Attempt, sockets: &OpenSockets) -> Self {
        let listed = sockets.list(socket.as_raw_fd());
        Self { raw: Arc::new(Raw { _listed: listed, socket }), tls: None, attempt: Some(attempt) }
    }

    /// Uses TLS from now on.
    pub fn speak_tls(&mut self, client: ClientConnection) {
        self.tls = Some(Box::new(client));
    }

    /// Returns the server's certificate (DER), if the socket speaks TLS and has agreed on it.
    pub fn certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Ends the attempt to connect. From now on reads and writes block, for as long as [`Socket::set_timeouts`]
    /// allows.
    pub fn is_ready(&mut self) -> io::Result<()> {
        self.attempt = None;
        self.raw.socket.set_nonblocking(false)
    }

    /// Returns a handle that closes the socket from another thread.
    pub fn closer(&self, address: Address) -> Closer {
        Closer { address, raw: Arc::downgrade(&self.raw) }
    }

    /// Sets how long a single read and a single write may take.
    pub fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.raw.socket.set_read_timeout(Some(read))?;
        self.raw.socket.set_write_timeout(Some(write))
    }

    /// Reads what has arrived, without waiting.
    pub fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut arrived = Arrived(self.raw.socket.as_fd());
        match &mut self.tls {
            None => arrived.read(buffer),
            Some(tls) => Stream::new(&mut **tls, &mut arrived).read(buffer),
        }
    }

    /// Whether the peer has closed the connection, or has sent something that was not requested, as servers do before
    /// they close.
    pub fn has_ended(&mut self) -> bool {
        let mut byte = [0];
        let peeked = recv(&self.raw.socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        if matches!(peeked, Err(Errno::AGAIN | Errno::INTR)) {
            return false;
        }
        // With TLS the received bytes may be a message of the protocol itself.
        self.tls.is_none()
            || !matches!(self.read_now(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Returns the descriptor.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.raw.socket.as_fd()
    }

    /// Returns the descriptor for a thread that must not block in a read. There is none with TLS, because readable
    /// data may have left the socket already.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        if self.tls.is_some() { None } else { Some(self.raw.socket.as_fd()) }
    }
}

impl Socket {
    /// Runs `work`, which blocks. While connecting it does not block, and is repeated once the socket is ready for
    /// it.
    fn within<T>(
        &mut self,
        plain: PollFlags,
        mut work: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match (work(self), &self.attempt) {
                (Err(error), Some(attempt)) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Either direction of TLS may have to wait for the other.
                    let needed = match &self.tls {
                        Some(tls) if tls.wants_write() => PollFlags::OUT,
                        Some(_) => PollFlags::IN,
                        None => plain,
                    };
                    attempt.wait(self.raw.socket.as_fd(), needed)?;
                }
                (result, _) => return result,
            }
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.within(PollFlags::IN, |socket| {
            let mut raw = &*socket.raw;
            match &mut socket.tls {
                None => raw.read(buffer),
                Some(tls) => Stream::new(&mut **tls, &mut raw).read(buffer),
            }
        })
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.within(PollFlags::OUT, |socket| {
            let mut raw = &*socket.raw;
            match &mut socket.tls {
                None => raw.write(bytes),
                Some(tls) => Stream::new(&mut **tls, &mut raw).write(bytes),
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.within(PollFlags::OUT, |socket| {
            let mut raw = &*socket.raw;
            match &mut socket.tls {
                None => Ok(()),
                Some(tls) => Stream::new(&mut **tls, &mut raw).flush(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::net::attempt::Closing;
    use std::os::unix::net::UnixStream;

    /// Returns a socket, its closer, and its peer, which never waits.
    fn connected(sockets: &OpenSockets) -> (Socket, Closer, UnixStream) {
        let (own, other) = UnixStream::pair().unwrap();
        let attempt = Attempt::new(Duration::from_secs(1), &Closing::default());
        let socket = Socket::new(own.into(), attempt, sockets);
        let closer = socket.closer(Address::Unix("redis.sock".into()));
        other.set_nonblocking(true).unwrap();
        (socket, closer, other)
    }

    #[test]
    fn a_closer_keeps_no_socket_open() {
        let sockets = OpenSockets::default();
        let (socket, closer, mut other) = connected(&sockets);
        assert_eq!(other.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(socket);
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
        assert!(sockets.inherited().is_empty());
        closer.close();
    }

    #[test]
    fn a_closer_ends_the_reads_of_both_sides() {
        let (mut socket, closer, mut other) = connected(&OpenSockets::default());
        socket.is_ready().unwrap();
        closer.close();
        assert_eq!(socket.read(&mut [0]).unwrap(), 0);
        assert_eq!(other.read(&mut [0]).unwrap(), 0);
    }
}
