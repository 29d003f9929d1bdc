//! A Ruby object that another object makes once and keeps.

use magnus::value::Opaque;
use magnus::{Ruby, Value, gc};
use std::cell::Cell;

/// Holds the object. It is empty at first, and never changes once it is set. Its holder must mark it.
#[derive(Default)]
pub struct Memo(Cell<Option<Opaque<Value>>>);

impl Memo {
    /// Returns the object, if there is one.
    pub fn get(&self, ruby: &Ruby) -> Option<Value> {
        self.0.get().map(|object| ruby.get_inner(object))
    }

    /// Keeps `made`, and returns the object that is kept. That is another one if another thread was faster: Ruby may
    /// have switched threads while `made` was being made.
    pub fn keep(&self, ruby: &Ruby, made: Value) -> Value {
        if self.0.get().is_none() {
            self.0.set(Some(made.into()));
        }
        self.get(ruby).unwrap_or(made)
    }

    /// Marks the object.
    pub fn mark(&self, marker: &gc::Marker) {
        if let Some(object) = self.0.get() {
            marker.mark(object);
        }
    }
}
