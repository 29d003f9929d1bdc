//! Whether a consumer pauses: while the application or the control key says so, until it takes nothing more.

use crate::foundation::redis::record::control::Control;
use crate::foundation::runtime::sync::Mutex;

/// Pauses a consumer, and lets it go on.
#[derive(Debug, Default)]
pub struct Pausing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether the application pauses the consumer.
    by_application: bool,
    /// What the consumer was told last.
    is_paused: bool,
    /// The consumer takes nothing more. A pause would only keep its workers from learning that.
    is_over: bool,
}

impl Pausing {
    /// Records what the application says.
    pub fn set(&self, is_paused: bool) {
        self.0.lock().by_application = is_paused;
    }

    /// Tells the consumer by `pause` whether it pauses, if that has changed. Several threads may do so: the last word is
    /// the right one.
    pub fn apply(&self, control: &Control, pause: impl FnOnce(bool)) {
        let mut state = self.0.lock();
        let is_to_pause = state.by_application || control.is_paused();
        if is_to_pause != state.is_paused && !state.is_over {
            state.is_paused = is_to_pause;
            pause(is_to_pause);
        }
    }

    /// Tells the consumer nothing more.
    pub fn end(&self) {
        self.0.lock().is_over = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;
    use std::cell::RefCell;

    #[test]
    fn a_consumer_is_told_what_has_changed_until_it_takes_nothing_more() {
        let (pausing, control, told) = (Pausing::default(), Control::default(), RefCell::new(Vec::new()));
        let apply = || {
            (0..2).for_each(|_| pausing.apply(&control, |is_paused| told.borrow_mut().push(is_paused)));
            told.take()
        };
        assert!(apply().is_empty());
        pausing.set(true);
        assert_eq!(apply(), [true]);
        control.learn(&Value::BulkString(br#"{"v":1,"paused":true}"#.to_vec()), "a").unwrap();
        pausing.set(false);
        assert!(apply().is_empty(), "the group pauses");
        control.learn(&Value::Nil, "a").unwrap();
        assert_eq!(apply(), [false]);
        pausing.end();
        pausing.set(true);
        assert!(apply().is_empty());
    }
}
