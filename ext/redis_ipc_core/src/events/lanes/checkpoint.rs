//! The checkpoint of a lane: the record in Redis of what is done.

use crate::foundation::payload::stream_entry::StreamId;
use std::collections::BTreeMap;
use std::fmt;

/// The checkpoint of a lane. All its events up to `position` are done. Those between `position` and `upto` are done,
/// too, except the ones in `left`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Checkpoint {
    /// All events of the lane up to this id are done.
    pub position: StreamId,
    /// How many entries the stream has had up to `position`. `None` if that is not known.
    pub ordinal: Option<u64>,
    /// The id up to which this checkpoint says anything.
    pub upto: StreamId,
    /// The events that are not done, with what is known about their tries. Events beyond `upto` are listed only for
    /// their tries.
    pub left: BTreeMap<StreamId, Tries>,
}

/// What is known about the tries of an event that is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tries {
    /// How often it was begun.
    pub count: u32,
    /// It was given up on, and stops the events of its key until an operator decides about its dead letter.
    pub is_held: bool,
}

impl Checkpoint {
    /// Creates the checkpoint of a lane that begins after `position`.
    pub fn starting_at(position: StreamId, ordinal: Option<u64>) -> Self {
        Self { position, ordinal, upto: position, left: BTreeMap::new() }
    }

    /// Parses what the `Display` of [`Checkpoint`] writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut words = text.split(' ');
        let position = StreamId::parse(words.next()?.as_bytes())?;
        let ordinal = match words.next()? {
            "-" => None,
            number => Some(number.parse().ok()?),
        };
        let upto = StreamId::parse(words.next()?.as_bytes())?;
        Some(Self { position, ordinal, upto, left: words.map(left).collect::<Option<_>>()? })
    }

    /// Whether this checkpoint says that the event is done.
    pub fn is_done(&self, id: StreamId) -> bool {
        id <= self.position || id <= self.upto && !self.left.contains_key(&id)
    }
}

/// The positions at which the lanes of a new consumer begin: one for all lanes, or one for each partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Starts(Vec<Checkpoint>);

impl Starts {
    /// Creates it from the position of each partition, or from one for all lanes.
    pub fn new(starts: Vec<Checkpoint>) -> Self {
        Self(starts)
    }

    /// Parses what `Display` writes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        text.split(|byte| *byte == b',').map(Checkpoint::parse).collect::<Option<_>>().map(Self)
    }

    /// Returns the position at which the lane begins.
    pub fn of(&self, lane: u16) -> Checkpoint {
        self.0.get(usize::from(lane)).or(self.0.first()).cloned().unwrap_or_default()
    }
}

impl Default for Starts {
    /// Begins at the beginning of each stream, because everything may be undone.
    fn default() -> Self {
        Self(vec![Checkpoint::default()])
    }
}

impl fmt::Display for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let starts: Vec<String> = self.0.iter().map(Checkpoint::to_string).collect();
        f.write_str(&starts.join(","))
    }
}

/// Parses `id`, `id*tries` or `id*tries!`.
fn left(word: &str) -> Option<(StreamId, Tries)> {
    let (word, is_held) = word.strip_suffix('!').map_or((word, false), |rest| (rest, true));
    let (id, count) = match word.split_once('*') {
        Some((id, count)) => (id, count.parse().ok()?),
        None => (word, 0),
    };
    Some((StreamId::parse(id.as_bytes())?, Tries { count, is_held }))
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.position)?;
        match self.ordinal {
            Some(ordinal) => write!(f, "{ordinal}")?,
            None => f.write_str("-")?,
        }
        write!(f, " {}", self.upto)?;
        for (id, tries) in &self.left {
            write!(f, " {id}")?;
            if tries.count > 0 || tries.is_held {
                write!(f, "*{}", tries.count)?;
            }
            if tries.is_held {
                f.write_str("!")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    #[test]
    fn the_text_is_the_documented_one() {
        let tries = |count, is_held| Tries { count, is_held };
        let left =
            BTreeMap::from([(id(6), tries(0, false)), (id(8), tries(2, false)), (id(9), tries(5, true))]);
        let checkpoint = Checkpoint { position: id(5), ordinal: Some(41), upto: id(12), left };
        assert_eq!(checkpoint.to_string(), "5-0 41 12-0 6-0 8-0*2 9-0*5!");
        assert_eq!(Checkpoint::parse(b"5-0 41 12-0 6-0 8-0*2 9-0*5!"), Some(checkpoint));
        assert_eq!(Checkpoint::parse(b"0-0 - 0-0"), Some(Checkpoint::default()));
        for bad in ["", "5-0", "5-0 x 6-0", "5-0 1 6-0 ", "5-0 1 6-0 7", "5-0 1 6-0 7-0*x"] {
            assert_eq!(Checkpoint::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lanes_begin_at_one_place_and_partitions_each_at_its_own() {
        let [one, other] = [5, 7].map(|ms| Checkpoint::starting_at(id(ms), Some(ms)));
        let starts = Starts::new(vec![one.clone(), other.clone()]);
        assert_eq!(starts.to_string(), "5-0 5 5-0,7-0 7 7-0");
        assert_eq!(Starts::parse(b"5-0 5 5-0,7-0 7 7-0"), Some(starts.clone()));
        assert_eq!([0, 1].map(|lane| starts.of(lane)), [one.clone(), other]);
        assert_eq!(Starts::new(vec![one.clone()]).of(63), one);
        assert_eq!(Starts::parse(b"5-0 5 5-0,"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            position: u64, ordinal: Option<u64>, upto: u64, left: BTreeMap<u64, (u32, bool)>
        ) {
            let left =
                left.into_iter().map(|(ms, (count, is_held))| (id(ms), Tries { count, is_held })).collect();
            let checkpoint = Checkpoint { position: id(position), ordinal, upto: id(upto), left };
            prop_assert_eq!(Checkpoint::parse(checkpoint.to_string().as_bytes()), Some(checkpoint));
        }
    }
}
