//! Which transactions a snapshot of the database sees.

/// How many transactions have ids of 32 bits.
const EPOCH: u64 = 1 << 32;

/// Which transactions a snapshot of the database sees: those that were committed when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visibility {
    /// Every transaction before it had ended.
    oldest: u64,
    /// No transaction from it on had ended.
    next: u64,
    /// Those in between that had not ended, in order.
    running: Vec<u64>,
}

impl Visibility {
    /// Reads what `pg_current_snapshot()` tells, such as `10:20:10,14,15`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let oldest = parts.next()?.parse().ok()?;
        let next = parts.next()?.parse().ok()?;
        let running = parts.next()?.split(',').filter(|id| !id.is_empty());
        let mut running = running.map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
        running.sort_unstable();
        Some(Self { oldest, next, running })
    }

    /// Whether it sees what a transaction has written that is committed by now. The log tells the lower 32 bits of an
    /// id only, so this holds for transactions that are less than 2^31 away.
    pub fn sees(&self, xid: u32) -> bool {
        let near = self.next - self.next % EPOCH + u64::from(xid);
        let id = if near > self.next + EPOCH / 2 {
            near.saturating_sub(EPOCH)
        } else if near + EPOCH / 2 < self.next {
            near + EPOCH
        } else {
            near
        };
        id < self.oldest || (id < self.next && self.running.binary_search(&id).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(snapshot: &str, ids: &[u32]) -> Vec<bool> {
        let snapshot = Visibility::parse(snapshot).unwrap();
        ids.iter().map(|id| snapshot.sees(*id)).collect()
    }

    #[test]
    fn what_was_committed_is_seen() {
        assert_eq!(
            seen("10:20:10,14", &[9, 10, 11, 14, 19, 20, 21]),
            [true, false, true, false, true, false, false]
        );
        assert_eq!(seen("10:10:", &[9, 10]), [true, false]);
    }

    #[test]
    fn ids_go_round() {
        let next = 7 * EPOCH + 5;
        let snapshot = format!("{}:{next}:{}", next - 10, next - 8);
        let before = |count: u64| (next - count) as u32;
        assert_eq!(
            seen(&snapshot, &[before(11), before(8), before(7), 4, 5, 6]),
            [true, false, true, true, false, false]
        );
        let snapshot = format!("{0}:{0}:", 8 * EPOCH - 2);
        assert_eq!(
            seen(&snapshot, &[u32::MAX - 2, u32::MAX - 1, u32::MAX, 0, 1]),
            [true, false, false, false, false]
        );
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "1", "1:2", "a:2:", "1:2:x"] {
            assert_eq!(Visibility::parse(text), None, "{text}");
        }
    }
}
