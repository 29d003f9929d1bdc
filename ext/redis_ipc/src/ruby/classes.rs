//! The classes of the objects that are defined here.

use magnus::{Ruby, TypedData};

/// magnus looks the class of a wrapped type up on first use, in Ruby and under a lock that does not know the GVL: two
/// threads that come first together wait for each other for ever (seen). Here there is one thread yet.
pub fn settle_class<T: TypedData>(ruby: &Ruby) {
    T::class(ruby);
}
