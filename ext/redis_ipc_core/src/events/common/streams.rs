//! The streams of one name: a single stream, or its partitions.

use crate::foundation::redis::slots;

/// Returns the lane, or the partition, of a key: its CRC16 (XMODEM), as Redis Cluster computes it of a key without a
/// hash tag, modulo their number.
pub fn lane(key: &[u8], lanes: u16) -> u16 {
    slots::crc16(key) % lanes
}

/// The streams of a consumer. With partitions these are `S:0`, `S:1` and so on, and each partition is a lane.
#[derive(Debug, Clone)]
pub struct Streams {
    name: String,
    /// Empty if there is a single stream.
    partitions: Vec<String>,
}

impl Streams {
    /// Creates the streams of `name`: this many partitions, or a single stream.
    pub fn new(name: &str, partitions: Option<u16>) -> Self {
        let partitions = (0..partitions.unwrap_or(0)).map(|number| format!("{name}:{number}")).collect();
        Self { name: name.to_owned(), partitions }
    }

    /// Returns their common name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether these are partitions.
    pub fn are_partitions(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// Returns the stream that holds the events of a lane.
    pub fn of(&self, lane: u16) -> &str {
        self.partitions.get(usize::from(lane)).unwrap_or(&self.name)
    }

    /// Returns each stream once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let one = if self.are_partitions() { None } else { Some(self.name.as_str()) };
        one.into_iter().chain(self.partitions.iter().map(String::as_str))
    }

    /// Returns the name of the stream that the next partition would have.
    pub fn beyond(&self) -> Option<String> {
        self.are_partitions().then(|| format!("{}:{}", self.name, self.partitions.len()))
    }

    /// Returns the number of the partition with this stream.
    pub fn partition(&self, stream: &[u8]) -> Option<u16> {
        let number = self.partitions.iter().position(|name| name.as_bytes() == stream)?;
        u16::try_from(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_have_streams_of_their_own() {
        let streams = Streams::new("orders", Some(3));
        assert_eq!(streams.iter().collect::<Vec<_>>(), ["orders:0", "orders:1", "orders:2"]);
        assert_eq!((streams.of(2), streams.partition(b"orders:2")), ("orders:2", Some(2)));
        assert_eq!(streams.partition(b"orders"), None);
        assert_eq!(streams.beyond().as_deref(), Some("orders:3"));
    }

    #[test]
    fn lanes_are_in_one_stream() {
        let streams = Streams::new("orders", None);
        assert_eq!(streams.iter().collect::<Vec<_>>(), ["orders"]);
        assert_eq!((streams.of(2), streams.are_partitions()), ("orders", false));
    }
}
