//! The fields of an entry.

use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// Names and values as they stand in Redis, one after the other in one piece of memory. Most of an entry's time went
/// into a piece for each.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Fields {
    bytes: Bytes,
    /// Where each name and each value ends.
    ends: Vec<usize>,
}

impl Fields {
    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many bytes all names and values have.
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
        let mut reading = FieldsBuilder::with_capacity(8);
        for (name, value) in fields {
            reading.push(name.as_ref());
            reading.push(value.as_ref());
        }
        reading.finish()
    }
}

/// Fields that are being read.
pub struct FieldsBuilder {
    /// What was read so far; [`FieldsBuilder::end`] says that a name or a value is complete.
    pub bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl FieldsBuilder {
    /// For so many fields of a usual size.
    pub fn with_capacity(fields: usize) -> Self {
        Self { bytes: Vec::with_capacity(64 * fields), ends: Vec::with_capacity(2 * fields) }
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

    /// The fields; a name without a value is left out.
    pub fn finish(mut self) -> Fields {
        self.ends.truncate(self.ends.len() / 2 * 2);
        Fields { bytes: self.bytes.into(), ends: self.ends }
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
