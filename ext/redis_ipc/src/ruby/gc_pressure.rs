//! Memory that a Ruby object keeps and Ruby does not know of.

use magnus::Ruby;

/// What is smaller is little beside the objects themselves, which the collector counts.
const SMALL: usize = 4 << 10;
/// More than a String holds without memory of its own.
const NOT_EMBEDDED: usize = 1 << 10;

/// Tells Ruby's garbage collector of so many bytes until it is dropped. Otherwise it would let objects with megabytes
/// behind them pile up as if each had 40 bytes.
pub struct GcPressure(isize);

impl GcPressure {
    /// That of so many bytes, unless they are few.
    pub fn of(ruby: &Ruby, bytes: usize) -> Option<Self> {
        let weight = isize::try_from(bytes).ok().filter(|_| bytes >= SMALL)?;
        ruby.gc_adjust_memory_usage(weight);
        // Being told only counts. Ruby looks whether it is time to collect when it needs memory of its own.
        let _ = ruby.str_with_capacity(NOT_EMBEDDED);
        Some(Self(weight))
    }
}

impl Drop for GcPressure {
    /// May run during a collection: this changes a count and nothing else.
    fn drop(&mut self) {
        if let Ok(ruby) = Ruby::get() {
            ruby.gc_adjust_memory_usage(-self.0);
        }
    }
}
