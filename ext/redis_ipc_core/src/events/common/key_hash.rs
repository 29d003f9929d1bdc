//! The hash that stands for a key, or for what else events are ordered by, within this process.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Returns the hash of a key.
pub fn hash(key: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
