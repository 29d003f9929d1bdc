//! Histograms of durations with exponential buckets: OpenTelemetry's exponential histogram, which is Prometheus's native
//! histogram, at scale 3. Each bucket is 2^(1/8) times as wide as the one before it, so a percentile that is read from
//! it is off by at most 9 %. Histograms of the same scale merge by adding their buckets.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SCALE: u32 = 3;
/// How many buckets there are between a number and its double.
const STEPS: i32 = 1 << SCALE;
/// The lower bounds of the buckets between 1 and 2: 2^(n/8).
const BOUNDS: [f64; STEPS as usize] = [
    1.0,
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
];
/// The shortest time over 0 in ns. A shorter one counts as this long.
const SHORTEST: u64 = 1_000;
/// The index of the first bucket, in which the shortest time is.
const FIRST: i32 = -160;
/// The number of buckets. The last one ends at 2^20 s, which is 12 days, and has what is longer, too.
const BUCKETS: usize = 320;

/// A histogram of durations. Recording takes no lock.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    zero: AtomicU64,
    /// In ns, as are the shortest and the longest time.
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    /// Creates an empty histogram.
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            zero: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds a duration.
    pub fn record(&self, time: Duration) {
        self.record_many(time, 1);
    }

    /// Adds a duration `count` times.
    pub fn record_many(&self, time: Duration, count: u64) {
        let time = match u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) {
            0 => 0,
            some => some.max(SHORTEST),
        };
        if time == 0 {
            self.zero.fetch_add(count, Ordering::Relaxed);
        } else if let Some(bucket) = self.buckets.get(place(time)) {
            bucket.fetch_add(count, Ordering::Relaxed);
            self.sum.fetch_add(time.saturating_mul(count), Ordering::Relaxed);
        }
        // Most times are neither, and only read.
        if time < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(time, Ordering::Relaxed);
        }
        if time > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(time, Ordering::Relaxed);
        }
    }

    /// Returns the sum of all durations, in ms.
    pub fn sum_ms(&self) -> u64 {
        self.sum.load(Ordering::Relaxed) / 1_000_000
    }

    /// Returns its state as JSON (docs/protocol.md, "The record").
    pub fn to_json(&self) -> Value {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let zero = self.zero.load(Ordering::Relaxed);
        let count = zero + counts.iter().sum::<u64>();
        let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let end = counts.iter().rposition(|count| *count > 0).map_or(first, |last| last + 1);
        let used = counts.get(first..end).unwrap_or_default();
        let offset = if used.is_empty() { 0 } else { FIRST + first as i32 };
        let seconds = |time: &AtomicU64| (count > 0).then(|| time.load(Ordering::Relaxed) as f64 / 1e9);
        json!({
            "scale": SCALE, "unit": "s", "count": count, "sum": self.sum.load(Ordering::Relaxed) as f64 / 1e9,
            "min": seconds(&self.min), "max": seconds(&self.max), "zero": zero, "offset": offset, "buckets": used,
        })
    }
}

/// Returns the place of the bucket for a time in ns. Bucket `index` has the times over 2^(index/8) s, up to 2^((index +
/// 1)/8) s.
fn place(time: u64) -> usize {
    let seconds = time as f64 / 1e9;
    let bits = seconds.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1_023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1_023 << 52));
    let passed = BOUNDS.iter().filter(|bound| **bound < mantissa).count() as i32;
    let index = exponent * STEPS + passed - 1;
    usize::try_from(index - FIRST).unwrap_or(0).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn recorded(times: &[Duration]) -> Value {
        let histogram = Histogram::default();
        times.iter().for_each(|time| histogram.record(*time));
        histogram.to_json()
    }

    #[test]
    fn an_empty_one_has_no_extremes() {
        let expected = json!({"scale": 3, "unit": "s", "count": 0, "sum": 0.0, "min": null, "max": null, "zero": 0,
                              "offset": 0, "buckets": []});
        assert_eq!(recorded(&[]), expected);
    }

    #[test]
    fn a_power_of_two_is_the_upper_bound_of_its_bucket() {
        for (seconds, index) in [(1, -1), (2, 7), (4, 15)] {
            assert_eq!(recorded(&[Duration::from_secs(seconds)])["offset"], index);
            assert_eq!(recorded(&[Duration::from_nanos(seconds * 1_000_000_000 + 1)])["offset"], index + 1);
        }
    }

    #[test]
    fn zero_is_counted_apart_and_what_is_out_of_range_in_the_outermost_buckets() {
        let found = recorded(&[Duration::ZERO, Duration::from_nanos(3), Duration::from_secs(1 << 30)]);
        assert_eq!(
            (&found["count"], &found["zero"], &found["offset"]),
            (&json!(3), &json!(1), &json!(FIRST))
        );
        assert_eq!(found["buckets"].as_array().map(Vec::len), Some(BUCKETS));
        assert_eq!((&found["min"], &found["max"]), (&json!(0.0), &json!(f64::from(1 << 30))));
        assert_eq!(recorded(&[Duration::from_nanos(3)])["sum"], json!(1e-6));
    }

    #[test]
    fn threads_record_without_losing_any() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let histogram = &histogram;
                scope
                    .spawn(move || (0..10_000).for_each(|_| histogram.record(Duration::from_millis(thread))));
            }
        });
        assert_eq!((histogram.to_json()["count"].as_u64(), histogram.sum_ms()), (Some(40_000), 100_000));
    }

    proptest! {
        #[test]
        fn each_time_lies_within_its_bucket(nanos in 1_000_u64..1_000_000_000_000_000) {
            let index = f64::from(place(nanos) as i32 + FIRST);
            let seconds = nanos as f64 / 1e9;
            let bound = |index: f64| (index / 8.0).exp2();
            // The bounds themselves are rounded here.
            prop_assert!(bound(index) < seconds * (1.0 + 1e-12), "{seconds} {index}");
            prop_assert!(seconds <= bound(index + 1.0) * (1.0 + 1e-12), "{seconds} {index}");
        }
    }
}
