//! Resolves host names to addresses.

use crate::foundation::net::attempt::Attempt;
use crate::foundation::runtime::sync::{Condvar, Mutex};
use crate::foundation::runtime::threads::NoThread;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

/// The most look-ups that run at the same time. One that hangs keeps its thread until the system gives up, which can
/// take minutes.
const MOST: usize = 8;

type Place = (String, u16);
type Find = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Resolves host names. The system's look-up cannot be interrupted, so it runs in a thread that an attempt to connect
/// can abandon. The next attempt waits for the same look-up.
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    find: Find,
    running: Mutex<HashMap<Place, Arc<Lookup>>>,
    /// The address of each name that last worked.
    worked: Mutex<HashMap<Place, SocketAddr>>,
}

#[derive(Debug, Default)]
struct Lookup {
    found: Mutex<Option<Found>>,
    done: Condvar,
}

/// The result of a look-up. Several threads may wait for one, and an `io::Error` cannot be cloned.
type Found = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

impl Default for Resolver {
    fn default() -> Self {
        Self::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }
}

impl Resolver {
    fn new(find: Find) -> Self {
        Self(Arc::new(Inner { find, running: Mutex::default(), worked: Mutex::default() }))
    }

    /// Returns the addresses of `host`. The one that last worked comes first.
    ///
    /// # Errors
    ///
    /// Those of the system, or the system does not answer within `attempt`.
    pub fn resolve(&self, host: &str, port: u16, attempt: &Attempt) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let place = (host.to_owned(), port);
        let lookup = self.look_up(&place)?;
        let mut found = lookup.found.lock();
        let mut addresses = loop {
            match &*found {
                Some(Ok(addresses)) => break addresses.clone(),
                Some(Err((kind, why))) => {
                    return Err(io::Error::new(
                        *kind,
                        format!("the host name {host:?} has no address: {why}"),
                    ));
                }
                None => {}
            }
            let slice = attempt.slice(None).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => io::Error::other(format!(
                    "the address of {host:?} was not found within connect_timeout: is the name server reachable?"
                )),
                _ => error,
            })?;
            found = lookup.done.wait_until(found, Instant::now() + slice);
        };
        drop(found);
        if let Some(worked) = self.0.worked.lock().get(&place) {
            addresses.sort_by_key(|address| address != worked);
        }
        Ok(addresses)
    }

    /// Records that connecting to `address` of `host` succeeded.
    pub fn worked(&self, host: &str, port: u16, address: SocketAddr) {
        self.0.worked.lock().insert((host.to_owned(), port), address);
    }

    /// Returns the look-up that runs, or starts one.
    fn look_up(&self, place: &Place) -> io::Result<Arc<Lookup>> {
        let mut running = self.0.running.lock();
        if let Some(lookup) = running.get(place) {
            return Ok(Arc::clone(lookup));
        }
        if running.len() >= MOST {
            return Err(io::Error::other(format!("{MOST} look-ups of other host names hang")));
        }
        let lookup = Arc::new(Lookup::default());
        let (inner, own, key) = (Arc::clone(&self.0), Arc::clone(&lookup), place.clone());
        let find = move || {
            let found = (inner.find)(&key.0, key.1).map_err(|error| (error.kind(), error.to_string()));
            // A later call starts another look-up.
            inner.running.lock().remove(&key);
            *own.found.lock() = Some(found);
            own.done.notify_all();
        };
        std::thread::Builder::new().name("ipc-resolver".to_owned()).spawn(find).map_err(NoThread::io)?;
        running.insert(place.clone(), Arc::clone(&lookup));
        Ok(lookup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::net::attempt::Closing;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn attempt(ms: u64) -> Attempt {
        Attempt::new(Duration::from_millis(ms), &Closing::default())
    }

    #[test]
    fn attempts_that_do_not_wait_for_a_hanging_look_up_share_one_and_there_are_few() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        static HELD: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let resolver = Resolver::new(|_, port| {
            STARTED.fetch_add(1, Ordering::SeqCst);
            drop(HELD.lock());
            Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)])
        });
        let held = HELD.lock().unwrap();
        for _ in 0..3 {
            let refused = resolver.resolve("slow", 1, &attempt(20)).unwrap_err().to_string();
            assert!(refused.contains("\"slow\" was not found within connect_timeout"), "{refused}");
        }
        for port in 2..=20 {
            resolver.resolve("slow", port, &attempt(1)).unwrap_err();
        }
        assert!(STARTED.load(Ordering::SeqCst) <= MOST);
        // An address needs no name server.
        assert_eq!(resolver.resolve("::1", 5, &attempt(20)).unwrap()[0].port(), 5);
        drop(held);
        assert_eq!(resolver.resolve("slow", 1, &attempt(10_000)).unwrap()[0].port(), 1);
    }

    #[test]
    fn the_address_that_worked_comes_first() {
        let resolver = Resolver::new(|_, port| {
            Ok((1..=3).map(|last| SocketAddr::new([127, 0, 0, last].into(), port)).collect())
        });
        let before = resolver.resolve("name", 1, &attempt(10_000)).unwrap();
        resolver.worked("name", 1, before[2]);
        let after = resolver.resolve("name", 1, &attempt(10_000)).unwrap();
        assert_eq!(after, [before[2], before[0], before[1]]);
        assert_eq!(resolver.resolve("name", 2, &attempt(10_000)).unwrap()[0].port(), 2);
    }

    #[test]
    fn a_name_without_an_address_is_named() {
        let resolver = Resolver::new(|_, _| Err(io::Error::other("unknown")));
        let refused = resolver.resolve("nowhere", 1, &attempt(10_000)).unwrap_err();
        assert_eq!(refused.to_string(), "the host name \"nowhere\" has no address: unknown");
    }
}
