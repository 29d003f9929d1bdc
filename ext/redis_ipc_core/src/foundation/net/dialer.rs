//! Opens sockets, within the time of an attempt.

use crate::foundation::net::address::Address;
use crate::foundation::net::attempt::{Attempt, Closing};
use crate::foundation::net::resolver::Resolver;
use crate::foundation::net::socket::Socket;
use crate::foundation::runtime::open_sockets::OpenSockets;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// Data that a peer has not acknowledged for this long breaks the connection, so a peer that vanished is noticed.
const USER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one address of a name is tried alone before the next is tried as well (RFC 8305, "Connection Attempt
/// Delay").
const HEAD_START: Duration = Duration::from_millis(250);
/// The pause before a unix socket whose backlog is full is tried again.
const BACKLOG_FULL: Duration = Duration::from_millis(5);

/// Opens the sockets of one engine.
#[derive(Debug, Clone, Default)]
pub struct Dialer {
    /// The open sockets.
    pub sockets: OpenSockets,
    /// The limit on attempts while the engine is being closed.
    pub closing: Closing,
    resolver: Resolver,
}

impl Dialer {
    /// Connects to `address`. Until [`Socket::is_ready`] the socket is bound to `attempt`.
    ///
    /// # Errors
    ///
    /// Those of the system, or nothing answers within `attempt`.
    pub fn dial(&self, address: &Address, attempt: &Attempt) -> io::Result<Socket> {
        let socket = match address {
            Address::Unix(path) => dial_unix(path, attempt)?,
            Address::Tcp(host, port) => self.dial_tcp(host, *port, attempt)?,
        };
        Ok(Socket::new(socket, attempt.clone(), &self.sockets))
    }

    fn dial_tcp(&self, host: &str, port: u16, attempt: &Attempt) -> io::Result<socket2::Socket> {
        let addresses = self.resolver.resolve(host, port, attempt)?;
        let (socket, address) = dial_any(&addresses, attempt)?;
        if addresses.len() > 1 {
            self.resolver.worked(host, port, address);
        }
        socket.set_tcp_nodelay(true)?;
        let probes = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(2))
            .with_interval(Duration::from_secs(1))
            .with_retries(2);
        socket.set_tcp_keepalive(&probes)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(socket)
    }
}

/// Connects to the first of `addresses` that answers. Each has a head start over the next.
fn dial_any(addresses: &[SocketAddr], attempt: &Attempt) -> io::Result<(socket2::Socket, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    let (mut untried, mut dialled, mut next) = (addresses.iter(), Vec::new(), None);
    loop {
        if (dialled.is_empty() || next.is_some_and(|next| Instant::now() >= next))
            && let Some(address) = untried.next()
        {
            match begin(address) {
                Ok(socket) => dialled.push((socket, *address)),
                Err(error) => last = error,
            }
            next = (untried.len() > 0).then(|| Instant::now() + HEAD_START);
            continue;
        }
        if dialled.is_empty() {
            return Err(last);
        }
        if let Some(ready) = first_ready(&dialled, next, attempt)? {
            let (socket, address) = dialled.swap_remove(ready);
            match socket.take_error()? {
                None => return Ok((socket, address)),
                Some(error) => last = error,
            }
        }
    }
}

fn first_ready(
    dialled: &[(socket2::Socket, SocketAddr)],
    soonest: Option<Instant>,
    attempt: &Attempt,
) -> io::Result<Option<usize>> {
    let watch = dialled.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::OUT));
    let mut watched: Vec<PollFd<'_>> = watch.collect();
    attempt.wait_any(&mut watched, soonest)?;
    Ok(watched.iter().position(|watched| !watched.revents().is_empty()))
}

fn begin(address: &SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&(*address).into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Ok(socket),
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error())
        || error.kind() == io::ErrorKind::Interrupted
}

/// Connects to a unix socket. It connects at once, or must wait for a place in the server's backlog; then connecting
/// fails with EAGAIN.
fn dial_unix(path: &Path, attempt: &Attempt) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    loop {
        match socket.connect(&address) {
            Ok(()) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => attempt.pause(BACKLOG_FULL)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn attempt(ms: u64) -> Attempt {
        Attempt::new(Duration::from_millis(ms), &Closing::default())
    }

    /// Returns an address that never answers, because its backlog is full.
    fn silent() -> (socket2::Socket, Vec<socket2::Socket>, SocketAddr) {
        let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let waiting = (0..8).map(|_| begin(&address).unwrap()).collect();
        (listener, waiting, address)
    }

    #[test]
    fn an_address_that_does_not_answer_does_not_keep_the_next_from_being_tried() {
        let (_listener, _waiting, silent) = silent();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = server.local_addr().unwrap();
        let (_, address) = dial_any(&[silent, good], &attempt(10_000)).unwrap();
        assert_eq!(address, good);
        let started = Instant::now();
        assert_eq!(dial_any(&[silent], &attempt(50)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn an_address_that_refuses_is_left_at_once() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = server.local_addr().unwrap();
        let (_, address) = dial_any(&[closed, good], &attempt(10_000)).unwrap();
        assert_eq!(address, good);
        let refused = dial_any(&[closed], &attempt(10_000)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(dial_any(&[], &attempt(10)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
