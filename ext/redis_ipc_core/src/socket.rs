//! A socket to a server: TCP, TLS or a unix socket, and how it is opened.

use crate::open_sockets::{Listed, OpenSockets};
use crate::redis_options::{Address, RedisOptions};
use crate::tls;
use redis::{ErrorKind, RedisError, RedisResult};
use rustix::net::{SendFlags, send};
use rustls::{ClientConnection, Stream};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// A peer that stops answering without closing is noticed within about this long while data is on its way.
const USER_TIMEOUT: Duration = Duration::from_secs(3);

/// A write to a closed connection must fail, and must not raise SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;
/// socket2 sets `SO_NOSIGPIPE` there.
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

/// A connected socket.
pub struct Socket {
    raw: Arc<Raw>,
    tls: Option<Box<ClientConnection>>,
}

/// The socket of the operating system. It is closed when its last owner drops it.
#[derive(Debug)]
struct Raw {
    // Before the socket: fields are dropped in this order.
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

/// Closes a connection from another thread: a blocked read on it returns at once.
pub struct Closer {
    address: Address,
    raw: Arc<Raw>,
}

impl Closer {
    /// Where the connection goes to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Shuts the socket down both ways.
    pub fn close(&self) {
        // An error means it is closed already.
        let _ = self.raw.socket.shutdown(Shutdown::Both);
    }
}

impl Socket {
    /// Connects to `address`.
    pub fn open(address: &Address, options: &RedisOptions, sockets: &OpenSockets) -> RedisResult<Self> {
        let (host, port) = match address {
            Address::Unix(path) => return Ok(Self::new(UnixStream::connect(path)?.into(), sockets)),
            Address::Tcp(host, port) => (host, *port),
        };
        let mut socket = Self::new(connect_tcp(host, port, options.connect_timeout)?.into(), sockets);
        if let Some(tls) = &options.tls {
            let client = tls::client(tls, host).map_err(|error| {
                RedisError::from((ErrorKind::InvalidClientConfig, "TLS", error.to_string()))
            })?;
            socket.tls = Some(Box::new(client));
        }
        Ok(socket)
    }

    fn new(socket: socket2::Socket, sockets: &OpenSockets) -> Self {
        let listed = sockets.list(socket.as_raw_fd());
        Self { raw: Arc::new(Raw { _listed: listed, socket }), tls: None }
    }

    /// A handle that closes it from another thread.
    pub fn closer(&self, address: Address) -> Closer {
        Closer { address, raw: Arc::clone(&self.raw) }
    }

    /// How long reading and writing may be stuck.
    pub fn set_timeouts(&self, read: Duration, write: Duration) -> io::Result<()> {
        self.raw.socket.set_read_timeout(Some(read))?;
        self.raw.socket.set_write_timeout(Some(write))
    }

    /// What a thread can wait for that is not to be stuck in reading. Not with TLS: what can be read may have come from
    /// the socket before.
    pub fn awaited(&self) -> Option<BorrowedFd<'_>> {
        if self.tls.is_some() { None } else { Some(self.raw.socket.as_fd()) }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut raw = &*self.raw;
        match &mut self.tls {
            None => raw.read(buffer),
            Some(tls) => Stream::new(&mut **tls, &mut raw).read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut raw = &*self.raw;
        match &mut self.tls {
            None => raw.write(bytes),
            Some(tls) => Stream::new(&mut **tls, &mut raw).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut raw = &*self.raw;
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => Stream::new(&mut **tls, &mut raw).flush(),
        }
    }
}

/// Tries every address the name has until one answers.
fn connect_tcp(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                let reference = socket2::SockRef::from(&socket);
                let probes = socket2::TcpKeepalive::new()
                    .with_time(Duration::from_secs(2))
                    .with_interval(Duration::from_secs(1))
                    .with_retries(2);
                reference.set_tcp_keepalive(&probes)?;
                #[cfg(target_os = "linux")]
                reference.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
