//! A Ruby object that another one keeps once it was made.

use magnus::value::Opaque;
use magnus::{Ruby, Value, gc};
use std::cell::Cell;

/// None at first, then always the same. Whatever holds this must mark it.
#[derive(Default)]
pub struct Memo(Cell<Option<Opaque<Value>>>);

impl Memo {
    /// The object, if there is one.
    pub fn get(&self, ruby: &Ruby) -> Option<Value> {
        self.0.get().map(|object| ruby.get_inner(object))
    }

    /// Keeps `made`, unless another thread was faster: Ruby may have run one while it was made. The one that is kept.
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
