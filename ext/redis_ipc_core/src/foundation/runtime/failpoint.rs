//! Failpoints: places where a test can have a thread of the core panic in the midst of its work. Other builds have
//! none.

/// Panics if a test wants this thread to.
#[cfg(not(test))]
#[inline]
pub fn point() {}

/// Panics if a test wants the thread to that reads a connection lent to it.
#[cfg(not(test))]
#[inline]
pub fn visit() {}

#[cfg(test)]
pub use chosen::{CHOSEN, VISITOR, point, visit};

#[cfg(test)]
mod chosen {
    use crate::foundation::runtime::sync::Mutex;
    use std::sync::LazyLock;

    /// The name of the thread that is to panic, once.
    pub static CHOSEN: LazyLock<Mutex<Option<String>>> = LazyLock::new(Mutex::default);

    /// What stands for whoever has a connection that was lent.
    pub const VISITOR: &str = "a visitor";

    /// Panics once, in the thread that is chosen.
    pub fn point() {
        if let Some(name) = std::thread::current().name() {
            panic_if_chosen(name);
        }
    }

    /// Panics once, if [`VISITOR`] is chosen.
    pub fn visit() {
        panic_if_chosen(VISITOR);
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
