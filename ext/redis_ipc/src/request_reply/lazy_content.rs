//! Content that is parsed on first use.

use crate::codec::decode;
use crate::ruby::gc_pressure::GcPressure;
use crate::ruby::memo::Memo;
use magnus::{Error, Ruby, Value, gc};
use redis_ipc_core::request_reply::Content;
use std::cell::Cell;

/// The Ruby object of a [`Content`], made on first use. Each content has exactly one of these. Its holder must mark it.
pub struct LazyContent {
    object: Memo,
    weight: Cell<Option<GcPressure>>,
}

impl LazyContent {
    /// Creates one for `content`, and tells the garbage collector how large that is.
    pub fn new(ruby: &Ruby, content: &Content) -> Self {
        Self { object: Memo::default(), weight: Cell::new(GcPressure::of(ruby, content.size())) }
    }

    /// Returns the Ruby object, always the same. The first call parses the text and releases it.
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
