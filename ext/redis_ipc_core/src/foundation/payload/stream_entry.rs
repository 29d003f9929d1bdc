//! An entry of a stream as Redis has it: its id and its fields.

use crate::foundation::payload::fields::Fields;
use std::fmt;

/// The id that Redis gave a stream entry: a time in ms on its clock, and a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StreamId {
    /// Redis's time when the entry was added, in ms since 1970.
    pub ms: u64,
    /// The sequence number among the entries of the same ms.
    pub seq: u64,
}

impl StreamId {
    /// The last possible id. Redis adds nothing to a stream after it.
    pub const LAST: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// Reads `ms-seq`.
    ///
    /// # Examples
    ///
    /// ```
    /// use redis_ipc_core::StreamId;
    ///
    /// assert_eq!(StreamId::parse(b"1700000000000-1"), Some(StreamId { ms: 1_700_000_000_000, seq: 1 }));
    /// assert_eq!(StreamId::parse(b"now"), None);
    /// ```
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// Returns the largest id before this one.
    #[must_use]
    pub fn previous(self) -> Self {
        match self.seq.checked_sub(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => self.ms.checked_sub(1).map_or(self, |ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Returns the smallest id after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { ms: self.ms, seq },
            None => Self { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// An entry as Redis returned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Its id.
    pub id: StreamId,
    /// Its fields; `None` if the entry was deleted while it was pending.
    pub fields: Option<Fields>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_read_and_write() {
        let id = StreamId { ms: 1_700_000_000_000, seq: 7 };
        assert_eq!(StreamId::parse(id.to_string().as_bytes()), Some(id));
        for text in ["", "1", "1-", "-1", "a-b", "1-2-3", "99999999999999999999-0"] {
            assert_eq!(StreamId::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(StreamId { ms: 1, seq: u64::MAX }.next(), StreamId { ms: 2, seq: 0 });
        assert_eq!(StreamId { ms: 2, seq: 0 }.previous(), StreamId { ms: 1, seq: u64::MAX });
        assert_eq!(StreamId::default().previous(), StreamId::default());
    }
}
