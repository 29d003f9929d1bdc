//! Failpoints: places where a test can make a thread of the core panic in the middle of its work. Other builds have
//! none.

/// Panics if a test has chosen this thread.
#[cfg(not(all(test, feature = "live-tests")))]
#[inline]
pub fn point() {}

/// Panics if a test has chosen followers, which read a connection lent to them.
#[cfg(not(all(test, feature = "live-tests")))]
#[inline]
pub fn follower() {}

#[cfg(test)]
#[cfg(feature = "live-tests")]
pub use chosen::{CHOSEN, FOLLOWER, follower, point};

#[cfg(test)]
#[cfg(feature = "live-tests")]
mod chosen {
    use crate::foundation::runtime::sync::Mutex;
    use std::sync::LazyLock;

    /// The name of the thread that is to panic once.
    pub static CHOSEN: LazyLock<Mutex<Option<String>>> = LazyLock::new(Mutex::default);

    /// The name that chooses any follower.
    pub const FOLLOWER: &str = "a follower";

    /// Panics once in the chosen thread.
    pub fn point() {
        if let Some(name) = std::thread::current().name() {
            panic_if_chosen(name);
        }
    }

    /// Panics once, if [`FOLLOWER`] is chosen.
    pub fn follower() {
        panic_if_chosen(FOLLOWER);
    }

    fn panic_if_chosen(name: &str) {
        let mut chosen = CHOSEN.lock();
        if chosen.as_deref() == Some(name) {
            *chosen = None;
            drop(chosen);
            panic!("a failpoint");
        }
    }
}
