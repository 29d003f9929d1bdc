//! Content that is read when it is first looked at.

use crate::content::decode;
use crate::weight::Weight;
use magnus::value::Opaque;
use magnus::{Error, Ruby, Value, gc};
use redis_ipc_core::content::Content;
use std::cell::Cell;

/// The Ruby object made of a [`Content`], once it has been looked at. Whatever holds this must mark it.
pub struct ReadOnce {
    object: Cell<Option<Opaque<Value>>>,
    weight: Cell<Option<Weight>>,
}

impl ReadOnce {
    /// For `content`, which nobody has looked at.
    pub fn new(ruby: &Ruby, content: &Content) -> Self {
        Self { object: Cell::default(), weight: Cell::new(Weight::of(ruby, content.size())) }
    }

    /// The Ruby object: always the same. The text it was made of is let go of.
    pub fn read(&self, ruby: &Ruby, content: &Content) -> Result<Value, Error> {
        if let Some(object) = self.object.get() {
            return Ok(ruby.get_inner(object));
        }
        // Ruby may run another thread meanwhile, which reads it too. The first to be done counts.
        let object = decode::from_json(ruby, &content.share())?;
        if let Some(object) = self.object.get() {
            return Ok(ruby.get_inner(object));
        }
        self.object.set(Some(object.into()));
        content.release();
        self.weight.take();
        Ok(object)
    }

    /// Marks the Ruby object.
    pub fn mark(&self, marker: &gc::Marker) {
        if let Some(object) = self.object.get() {
            marker.mark(object);
        }
    }
}
