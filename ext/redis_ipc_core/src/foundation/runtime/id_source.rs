//! New ids from the operating system's random numbers.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::id::Id;
use crate::foundation::runtime::sync::Mutex;

const BLOCK: usize = 1024;

/// Hands out ids from a block of random bytes, so most ids cost no system call.
///
/// An id source belongs to one engine. A forked child starts an engine of its own and can never repeat its parent's
/// ids.
pub struct IdSource {
    block: Mutex<(Box<[u8; BLOCK]>, usize)>,
}

impl Default for IdSource {
    /// Creates an empty source. The first id fills it.
    fn default() -> Self {
        Self { block: Mutex::new((Box::new([0; BLOCK]), BLOCK)) }
    }
}

impl IdSource {
    /// Returns the next id.
    ///
    /// # Errors
    ///
    /// The operating system has no random numbers to give.
    pub fn next(&self) -> Result<Id, Error> {
        let mut block = self.block.lock();
        let (bytes, used) = &mut *block;
        if *used + 16 > BLOCK {
            getrandom::fill(&mut bytes[..]).map_err(|error| {
                Error::new(
                    ErrorKind::Internal,
                    format!("the operating system has no random numbers: {error}"),
                )
                .because(error)
            })?;
            *used = 0;
        }
        let taken = &mut bytes[*used..*used + 16];
        let mut id = [0; 16];
        id.copy_from_slice(taken);
        taken.fill(0);
        *used += 16;
        Ok(Id::from_bytes(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_read_back() {
        let source = IdSource::default();
        let ids: Vec<Id> = (0..500).map(|_| source.next().unwrap()).collect();
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        for id in ids {
            assert_eq!(Id::parse(id.to_string().as_bytes()), Some(id));
        }
    }
}
