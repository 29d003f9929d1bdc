//! Memory outside of Ruby's heap that a Ruby object keeps.

use magnus::Ruby;

/// Smaller amounts hardly matter: the collector already counts the objects themselves.
const SMALL: usize = 4 << 10;
/// A String of this capacity is too large to be embedded in its object, so Ruby allocates memory for it.
const NOT_EMBEDDED: usize = 1 << 10;

/// Adds to the memory that Ruby's garbage collector counts, until it is dropped. Otherwise objects that keep megabytes
/// would pile up as if each took 40 bytes.
pub struct GcPressure(isize);

impl GcPressure {
    /// Creates one for `bytes` bytes. Returns `None` if they are few.
    pub fn of(ruby: &Ruby, bytes: usize) -> Option<Self> {
        let weight = isize::try_from(bytes).ok().filter(|_| bytes >= SMALL)?;
        ruby.gc_adjust_memory_usage(weight);
        // The call above only counts. Ruby decides whether to collect when it allocates memory itself.
        let _ = ruby.str_with_capacity(NOT_EMBEDDED);
        Some(Self(weight))
    }
}

impl Drop for GcPressure {
    /// May run during a collection, so it only changes a count.
    fn drop(&mut self) {
        if let Ok(ruby) = Ruby::get() {
            ruby.gc_adjust_memory_usage(-self.0);
        }
    }
}
