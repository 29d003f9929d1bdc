//! How much was done in each of the last periods: what a chart shows.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;

/// The length of a period.
pub const PERIOD: Duration = Duration::from_secs(10);
/// How many periods are kept: those of ten minutes.
const KEPT: usize = 60;

/// What an instance has done since it was connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls that it made.
    pub asked: u64,
    /// Requests that it answered, or events that it handled.
    pub answered: u64,
    /// What went wrong of both.
    pub failed: u64,
    /// How long its handlers ran, in ms.
    pub run_ms: u64,
}

impl Totals {
    fn since(self, before: Self) -> Self {
        Self {
            asked: self.asked.saturating_sub(before.asked),
            answered: self.answered.saturating_sub(before.answered),
            failed: self.failed.saturating_sub(before.failed),
            run_ms: self.run_ms.saturating_sub(before.run_ms),
        }
    }
}

/// How the totals changed in each of the last periods.
#[derive(Debug, Default)]
pub struct Series {
    last: Totals,
    periods: VecDeque<Totals>,
}

impl Series {
    /// Ends a period, at the end of which the totals are these.
    pub fn end_period(&mut self, totals: Totals) {
        if self.periods.len() == KEPT {
            self.periods.pop_front();
        }
        self.periods.push_back(totals.since(self.last));
        self.last = totals;
    }

    /// Returns the periods as JSON, the oldest first.
    pub fn to_json(&self) -> Value {
        let column = |of: fn(&Totals) -> u64| self.periods.iter().map(of).collect::<Vec<u64>>();
        json!({
            "every": PERIOD.as_millis() as u64,
            "asked": column(|period| period.asked),
            "answered": column(|period| period.answered),
            "failed": column(|period| period.failed),
            "run_ms": column(|period| period.run_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_has_what_came_in_it() {
        let mut series = Series::default();
        for total in [3, 3, 10] {
            series.end_period(Totals { asked: total, answered: 2 * total, failed: 0, run_ms: total });
        }
        let expected = json!({"every": 10_000, "asked": [3, 0, 7], "answered": [6, 0, 14], "failed": [0, 0, 0],
                              "run_ms": [3, 0, 7]});
        assert_eq!(series.to_json(), expected);
    }

    #[test]
    fn the_last_ten_minutes_are_kept() {
        let mut series = Series::default();
        (1..=100).for_each(|total| series.end_period(Totals { asked: total * total, ..Totals::default() }));
        let found = series.to_json();
        assert_eq!(found["asked"].as_array().map(Vec::len), Some(KEPT));
        assert_eq!(found["asked"][KEPT - 1], 100 * 100 - 99 * 99);
    }
}
