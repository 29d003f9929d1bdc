//! Prevents reports of a failure each time that it repeats.

use crate::foundation::runtime::sync::Mutex;
use std::time::{Duration, Instant};

/// The time after which a repeated failure is reported again.
const REPEAT: Duration = Duration::from_secs(60);

/// The last failure that was reported, and when.
#[derive(Debug, Default)]
pub struct News(Mutex<Option<(String, Instant)>>);

impl News {
    /// Returns whether to report a failure with this message: the message differs from the last one, or [`REPEAT`] has
    /// passed.
    pub fn is_new(&self, message: &str) -> bool {
        let mut last = self.0.lock();
        let is_new = last.as_ref().is_none_or(|(before, at)| before != message || at.elapsed() >= REPEAT);
        if is_new {
            *last = Some((message.to_owned(), Instant::now()));
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_repeats_is_new_once() {
        let news = News::default();
        let seen = ["a", "a", "b", "b", "a"].map(|message| news.is_new(message));
        assert_eq!(seen, [true, false, true, false, true]);
    }
}
