//! Content that is read when it is first looked at.

use crate::codec::decode;
use crate::ruby::gc_pressure::GcPressure;
use crate::ruby::memo::Memo;
use magnus::{Error, Ruby, Value, gc};
use redis_ipc_core::request_reply::Content;
use std::cell::Cell;

/// The Ruby object made of a [`Content`], once it has been looked at. There is one of these for each content, and
/// whatever holds it must mark it.
pub struct LazyContent {
    object: Memo,
    weight: Cell<Option<GcPressure>>,
}

impl LazyContent {
    /// For `content`, which nobody has looked at.
    pub fn new(ruby: &Ruby, content: &Content) -> Self {
        Self { object: Memo::default(), weight: Cell::new(GcPressure::of(ruby, content.size())) }
    }

    /// The Ruby object: always the same. The text it was made of is let go of.
    pub fn read(&self, ruby: &Ruby, content: &Content) -> Result<Value, Error> {
        if let Some(object) = self.object.get(ruby) {
            return Ok(object);
        }
        let object = self.object.keep(ruby, decode::from_json(ruby, &content.share())?);
        content.release();
        self.weight.take();
        Ok(object)
    }

    /// Marks the Ruby object.
    pub fn mark(&self, marker: &gc::Marker) {
        self.object.mark(marker);
    }
}
