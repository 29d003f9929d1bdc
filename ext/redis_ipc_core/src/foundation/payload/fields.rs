//! The fields of a stream entry.

use crate::foundation::payload::limits::MAX_KEY;
use bytes::Bytes;
use std::fmt;
use std::io::Write;
use std::ops::Range;

/// The most fields that an entry may have. An entry with more is malformed.
pub const MAX_FIELDS: usize = 64;
/// The most bytes of the names and texts of an entry, beside the content.
const TEXTS: usize = 64 << 10;

/// How much of an entry is kept when it is read. The rest is skipped, so an entry costs no more memory than this,
/// whatever its size in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The most bytes of one value. It is one more than is acceptable, so that a truncated value is never acceptable.
    pub value: usize,
    /// The most bytes of all names and values.
    pub bytes: usize,
    /// The most fields.
    pub fields: usize,
}

impl Room {
    /// Creates the room for an entry whose content has at most `limit` bytes.
    pub fn for_content(limit: usize) -> Self {
        Self { value: limit.max(MAX_KEY) + 1, bytes: limit.saturating_add(TEXTS), fields: MAX_FIELDS }
    }

    /// Adds room for this many more fields.
    #[must_use]
    pub fn and_fields(self, more: usize) -> Self {
        Self { fields: self.fields + more, ..self }
    }
}

/// The size of an entry in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The number of fields.
    pub fields: usize,
    /// The bytes of all names and values.
    pub bytes: u64,
}

/// Names and values as they are in Redis, one after the other in one allocation. One allocation for each took most of
/// the time of reading an entry.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Fields {
    bytes: Bytes,
    /// The end of each name and each value.
    ends: Vec<usize>,
    /// The size of the whole entry, if only a part was kept.
    cut_from: Option<Extent>,
}

impl Fields {
    /// Creates fields that take no more memory than they need.
    pub fn exactly(pairs: &[(&[u8], &[u8])]) -> Self {
        let size = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        let (mut bytes, mut ends) = (Vec::with_capacity(size), Vec::with_capacity(2 * pairs.len()));
        for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(part);
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends, cut_from: None }
    }

    /// Returns the size of the whole entry, if it exceeded its [`Room`]. The fields here are a part of it.
    pub fn cut_from(&self) -> Option<Extent> {
        self.cut_from
    }

    /// Returns how many bytes the whole entry has in Redis.
    pub fn whole_size(&self) -> usize {
        self.cut_from.map_or(self.size(), |whole| usize::try_from(whole.bytes).unwrap_or(usize::MAX))
    }

    /// Returns how many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many bytes the kept names and values have.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Iterates over the names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len())
            .map(|index| (&self.bytes[self.range(2 * index)], &self.bytes[self.range(2 * index + 1)]))
    }

    /// Returns the value of the first field with that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(field, _)| *field == name.as_bytes()).map(|(_, value)| value)
    }

    /// Returns the value of the last field with that name.
    pub fn get_last(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.iter().filter(|(field, _)| *field == name.as_ref()).last().map(|(_, value)| value)
    }

    /// Returns the value of the first field with that name. It shares the memory of all fields.
    pub fn share(&self, name: &str) -> Option<Bytes> {
        self.get(name).map(|value| self.bytes.slice_ref(value))
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name.escape_ascii(), value.escape_ascii())))
            .finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(fields: T) -> Self {
        let mut builder = FieldsBuilder::with_capacity(8);
        for (name, value) in fields {
            builder.push(name.as_ref());
            builder.push(value.as_ref());
        }
        builder.finish()
    }
}

/// Builds fields while they are read.
pub struct FieldsBuilder {
    /// The bytes read so far. [`FieldsBuilder::end`] marks the end of a name or a value.
    pub bytes: Vec<u8>,
    ends: Vec<usize>,
    cut_from: Option<Extent>,
}

impl FieldsBuilder {
    /// Creates a builder for this many fields of a usual size.
    pub fn with_capacity(fields: usize) -> Self {
        Self { bytes: Vec::with_capacity(64 * fields), ends: Vec::with_capacity(2 * fields), cut_from: None }
    }

    /// Creates a builder for this many fields, whose names and values have this many bytes.
    pub fn with_room(fields: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(2 * fields), cut_from: None }
    }

    /// Marks the end of a name or a value.
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Adds a name and a value that is written out.
    pub fn write(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.push(name.as_bytes());
        // A Vec takes all that is written to it.
        let _ = self.bytes.write_fmt(value);
        self.end();
    }

    /// Adds a name and a value.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.push(name.as_bytes());
        self.push(value);
    }

    /// Adds a name or a value.
    pub fn push(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        self.end();
    }

    /// Records that the entry is larger than what is kept of it.
    pub fn cut(&mut self, whole: Extent) {
        self.cut_from = Some(whole);
    }

    /// Returns the fields. A name without a value is left out.
    pub fn finish(mut self) -> Fields {
        self.ends.truncate(self.ends.len() / 2 * 2);
        Fields { bytes: self.bytes.into(), ends: self.ends, cut_from: self.cut_from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_a_name_counts() {
        let fields: Fields = [("a", "1"), ("b", ""), ("a", "2")].into_iter().collect();
        assert_eq!(
            (fields.get("a"), fields.get("b"), fields.get("c")),
            (Some(&b"1"[..]), Some(&b""[..]), None)
        );
        assert_eq!(fields.share("a").unwrap(), b"1"[..]);
        assert_eq!((fields.get_last("a"), fields.get_last("c")), (Some(&b"2"[..]), None));
        assert_eq!((fields.len(), fields.size()), (3, 5));
        assert!(Fields::default().is_empty());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(fields: Vec<(Vec<u8>, Vec<u8>)>) {
            let kept: Fields = fields.iter().map(|(name, value)| (name, value)).collect();
            let found: Vec<(Vec<u8>, Vec<u8>)> = kept.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(&found, &fields);
            let pairs: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (&name[..], &value[..])).collect();
            prop_assert_eq!(Fields::exactly(&pairs), kept);
        }
    }
}
