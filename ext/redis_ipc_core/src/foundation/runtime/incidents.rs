//! The last incidents of an instance: what a person wants to read first when something is wrong.

use crate::foundation::runtime::sync::Mutex;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many are kept.
const KEPT: usize = 16;
/// The most bytes of a text that are kept.
const LONGEST: usize = 400;

/// The kind of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incident {
    /// Work of an instance that died or hung was taken over.
    TakeOver,
    /// An answer could not be delivered.
    AnswerLost,
    /// An outage has ended.
    Reconnected,
    /// Events may be missing.
    Loss,
    /// A handler runs on after the deadline of its request.
    Overrun,
    /// Redis refused a command.
    Refused,
    /// An entry was moved to the dead letters.
    DeadLetter,
}

impl Incident {
    /// Returns its name in the record.
    fn name(self) -> &'static str {
        match self {
            Self::TakeOver => "take_over",
            Self::AnswerLost => "answer_lost",
            Self::Reconnected => "reconnected",
            Self::Loss => "loss",
            Self::Overrun => "overrun",
            Self::Refused => "refused",
            Self::DeadLetter => "dead_letter",
        }
    }
}

#[derive(Debug)]
struct Noted {
    at: u64,
    kind: Incident,
    text: String,
}

/// The last incidents.
#[derive(Debug, Default)]
pub struct Incidents {
    last: Mutex<VecDeque<Noted>>,
    count: AtomicU64,
}

impl Incidents {
    /// Notes an incident at the time `at` (ms since 1970). If it repeats the last one, only the time changes, so that it
    /// does not displace the others.
    pub fn note(&self, at: u64, kind: Incident, text: &str) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let text = shortened(text);
        let mut last = self.last.lock();
        match last.back_mut() {
            Some(noted) if noted.kind == kind && noted.text == text => noted.at = at,
            _ => {
                if last.len() == KEPT {
                    last.pop_front();
                }
                last.push_back(Noted { at, kind, text: text.to_owned() });
            }
        }
    }

    /// Returns how many there have been.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the last ones as JSON, the oldest first.
    pub fn to_json(&self) -> Value {
        let last = self.last.lock();
        last.iter()
            .map(|noted| json!({"at": noted.at, "kind": noted.kind.name(), "text": noted.text}))
            .collect()
    }
}

/// Returns as much of `text` as is kept.
fn shortened(text: &str) -> &str {
    let end = (0..=text.len().min(LONGEST)).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_one_that_repeats_is_kept_once() {
        let incidents = Incidents::default();
        (0..20).for_each(|at| incidents.note(at, Incident::Refused, &format!("refusal {at}")));
        (20..40).for_each(|at| incidents.note(at, Incident::Overrun, "a handler"));
        let found = incidents.to_json();
        assert_eq!((incidents.count(), found.as_array().map(Vec::len)), (40, Some(KEPT)));
        assert_eq!(found[0], json!({"at": 5, "kind": "refused", "text": "refusal 5"}));
        assert_eq!(found[15], json!({"at": 39, "kind": "overrun", "text": "a handler"}));
    }

    #[test]
    fn a_long_text_ends_between_two_characters() {
        let incidents = Incidents::default();
        incidents.note(1, Incident::Loss, &"\u{e4}".repeat(LONGEST));
        assert_eq!(incidents.to_json()[0]["text"], "\u{e4}".repeat(LONGEST / 2));
        incidents.note(1, Incident::Loss, &format!("x{}", "\u{e4}".repeat(LONGEST)));
        assert_eq!(incidents.to_json()[1]["text"], format!("x{}", "\u{e4}".repeat(LONGEST / 2 - 1)));
    }
}
