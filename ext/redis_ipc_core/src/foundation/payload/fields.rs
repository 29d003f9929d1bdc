//! The fields of an entry.

use crate::foundation::payload::limits::MAX_KEY;
use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// The most fields an entry may have; a stranger's entry with more is malformed.
pub const MAX_FIELDS: usize = 64;
/// The bytes that the names and the texts of an entry may have, beside the content.
const TEXTS: usize = 64 << 10;

/// How much of an entry is kept when it is read. The rest is read past, so an entry costs no more memory than this,
/// whatever its size in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The most bytes of one value. One more than is acceptable, so that a value that was cut is never acceptable.
    pub value: usize,
    /// The most bytes of all names and values.
    pub bytes: usize,
    /// The most fields.
    pub fields: usize,
}

impl Room {
    /// For an entry whose content has at most `limit` bytes.
    pub fn for_content(limit: usize) -> Self {
        Self { value: limit.max(MAX_KEY) + 1, bytes: limit.saturating_add(TEXTS), fields: MAX_FIELDS }
    }

    /// The same, with room for so many more fields.
    #[must_use]
    pub fn and_fields(self, more: usize) -> Self {
        Self { fields: self.fields + more, ..self }
    }
}

/// The size that an entry has in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Fields.
    pub fields: usize,
    /// Bytes of all names and values.
    pub bytes: u64,
}

/// Names and values as they stand in Redis, one after the other in one piece of memory. Most of an entry's time went
/// into a piece for each.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Fields {
    bytes: Bytes,
    /// Where each name and each value ends.
    ends: Vec<usize>,
    /// The size of the whole entry, if not all of it was kept.
    cut_from: Option<Extent>,
}

impl Fields {
    /// The size of the whole entry, if it exceeded its [`Room`]: the fields here are a part of it.
    pub fn cut_from(&self) -> Option<Extent> {
        self.cut_from
    }

    /// How many bytes the whole entry has in Redis.
    pub fn whole_size(&self) -> usize {
        self.cut_from.map_or(self.size(), |whole| usize::try_from(whole.bytes).unwrap_or(usize::MAX))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many bytes all names and values have that were kept.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Name and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len())
            .map(|index| (&self.bytes[self.range(2 * index)], &self.bytes[self.range(2 * index + 1)]))
    }

    /// The value of the first field of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(field, _)| *field == name.as_bytes()).map(|(_, value)| value)
    }

    /// The value of the first field of that name, to keep: it shares the memory of all fields.
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

/// Fields that are being read.
pub struct FieldsBuilder {
    /// What was read so far; [`FieldsBuilder::end`] says that a name or a value is complete.
    pub bytes: Vec<u8>,
    ends: Vec<usize>,
    cut_from: Option<Extent>,
}

impl FieldsBuilder {
    /// For so many fields of a usual size.
    pub fn with_capacity(fields: usize) -> Self {
        Self { bytes: Vec::with_capacity(64 * fields), ends: Vec::with_capacity(2 * fields), cut_from: None }
    }

    /// A name or a value ends here.
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Adds a name or a value.
    pub fn push(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        self.end();
    }

    /// The entry is larger than what is kept of it.
    pub fn cut(&mut self, whole: Extent) {
        self.cut_from = Some(whole);
    }

    /// The fields; a name without a value is left out.
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
        assert_eq!((fields.len(), fields.size()), (3, 5));
        assert!(Fields::default().is_empty());
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(fields: Vec<(Vec<u8>, Vec<u8>)>) {
            let kept: Fields = fields.iter().map(|(name, value)| (name, value)).collect();
            let found: Vec<(Vec<u8>, Vec<u8>)> = kept.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(found, fields);
        }
    }
}
