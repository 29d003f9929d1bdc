//! The last losses of a consumer of events, for the record.

use crate::foundation::payload::loss::Loss;
use crate::foundation::runtime::sync::Mutex;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// How many are kept.
const KEPT: usize = 16;

/// The last losses.
#[derive(Debug, Default)]
pub struct Losses(Mutex<VecDeque<Loss>>);

impl Losses {
    /// Notes a loss.
    pub fn note(&self, loss: &Loss) {
        let mut last = self.0.lock();
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(loss.clone());
    }

    /// Returns them as JSON, the oldest first.
    pub fn rows(&self) -> Vec<Value> {
        self.0.lock().iter().map(row).collect()
    }
}

fn row(loss: &Loss) -> Value {
    let at_least = if loss.is_exact { loss.at_most.unwrap_or(0) } else { 0 };
    json!({
        "at": loss.until_ms,
        "cause": loss.cause.to_string(),
        "at_least": at_least,
        "at_most": loss.at_most,
        "since": loss.since_ms,
        "until": loss.until_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::payload::loss::Cause;

    #[test]
    fn the_last_losses_are_kept() {
        let losses = Losses::default();
        for until_ms in 0..20 {
            let (source, node) = ("orders".to_owned(), "redis:6379".to_owned());
            let (cause, at_most, is_exact) = (Cause::Trimmed, Some(until_ms), until_ms % 2 == 0);
            losses.note(&Loss { source, node, cause, since_ms: None, until_ms, at_most, is_exact });
        }
        let rows = losses.rows();
        assert_eq!((rows.len(), &rows[0]["at"]), (KEPT, &json!(4)));
        assert_eq!(
            (&rows[14]["at_least"], &rows[15]["at_least"], &rows[15]["at_most"]),
            (&json!(18), &json!(0), &json!(19))
        );
    }
}
