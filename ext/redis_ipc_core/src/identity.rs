//! Unguessable names: 128 bits from the operating system, written as 32 hexadecimal digits.

use crate::error::{Error, ErrorKind};
use crate::sync::Mutex;

/// An id nobody can guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(u128);

impl Id {
    /// Reads the 32 lower-case hexadecimal digits that [`Id`]'s `Display` writes; anything else is `None`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        text.iter()
            .try_fold(0u128, |sum, byte| {
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'f' => byte - b'a' + 10,
                    _ => return None,
                };
                Some(sum << 4 | u128::from(digit))
            })
            .map(Self)
    }

    /// Its digits.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        digits
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Not unguessable: for what never leaves the process.
impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

const BLOCK: usize = 1024;

/// Hands out ids from a block of the operating system's randomness, so most cost no system call.
///
/// It belongs to one engine: a forked child starts its own and can never repeat its parent's ids.
pub struct IdSource {
    block: Mutex<(Box<[u8; BLOCK]>, usize)>,
}

impl IdSource {
    /// An empty source: the first id fills it.
    pub fn new() -> Self {
        Self { block: Mutex::new((Box::new([0; BLOCK]), BLOCK)) }
    }

    /// The next id. Fails only where the operating system has no randomness to give.
    pub fn next(&self) -> Result<Id, Error> {
        let mut block = self.block.lock();
        let (bytes, used) = &mut *block;
        if *used + 16 > BLOCK {
            getrandom::fill(&mut bytes[..]).map_err(|error| {
                Error::new(ErrorKind::Internal, format!("the operating system gives no randomness: {error}"))
            })?;
            *used = 0;
        }
        let taken = &mut bytes[*used..*used + 16];
        let id = taken.iter().fold(0u128, |sum, byte| sum << 8 | u128::from(*byte));
        taken.fill(0);
        *used += 16;
        Ok(Id(id))
    }
}

impl Default for IdSource {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_what_is_displayed() {
        let id = IdSource::new().next().unwrap();
        assert_eq!(id.digits(), id.to_string().as_bytes());
        assert_eq!(Id::parse(&id.digits()), Some(id));
    }

    #[test]
    fn ids_differ_and_read_back() {
        let source = IdSource::new();
        let ids: Vec<Id> = (0..500).map(|_| source.next().unwrap()).collect();
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        for id in ids {
            assert_eq!(Id::parse(id.to_string().as_bytes()), Some(id));
        }
    }

    #[test]
    fn only_its_own_form_is_read() {
        for text in ["", "12", "0000000000000000000000000000000G", "0000000000000000000000000000000A"] {
            assert_eq!(Id::parse(text.as_bytes()), None, "{text}");
        }
    }
}
