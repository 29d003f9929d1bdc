//! `RedisIPC::Native::Answer`: an answer that arrived, read when it is looked at.

use crate::request_reply::lazy_content::LazyContent;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use magnus::prelude::*;
use magnus::{DataTypeFunctions, Error, RModule, Ruby, TypedData, Value, gc, method};
use redis_ipc_core::request_reply::{Answer, Status};
use std::sync::Arc;

/// An answer of the core.
#[derive(TypedData)]
#[magnus(class = "RedisIPC::Native::Answer", free_immediately, mark, size)]
pub struct NativeAnswer {
    answer: Arc<Answer>,
    content: LazyContent,
}

impl DataTypeFunctions for NativeAnswer {
    fn mark(&self, marker: &gc::Marker) {
        self.content.mark(marker);
    }
}

impl NativeAnswer {
    /// What stands for `answer`.
    pub fn new(ruby: &Ruby, answer: Arc<Answer>) -> Self {
        let content = LazyContent::new(ruby, &answer.content);
        Self { answer, content }
    }

    fn status(&self) -> &'static str {
        self.answer.status.name()
    }

    fn is_fulfilled(&self) -> bool {
        self.answer.status == Status::Fulfilled
    }

    fn content(ruby: &Ruby, rb_self: &Self) -> Result<Value, Error> {
        rb_self.content.read(ruby, &rb_self.answer.content)
    }

    fn error(&self) -> Option<&str> {
        self.answer.error.as_deref()
    }

    fn id(&self) -> &str {
        &self.answer.id
    }

    fn redis_id(&self) -> String {
        self.answer.redis_id.to_string()
    }

    fn instance_id(&self) -> &str {
        &self.answer.instance_id
    }

    fn source_group(&self) -> &str {
        &self.answer.source_group
    }

    fn destination_group(&self) -> &str {
        &self.answer.destination_group
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Answer", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("status", method!(entry::getter(NativeAnswer::status), 0))?;
    class.define_method("fulfilled?", method!(entry::getter(NativeAnswer::is_fulfilled), 0))?;
    class.define_method("content", method!(entry::method0(NativeAnswer::content), 0))?;
    class.define_method("error", method!(entry::getter(NativeAnswer::error), 0))?;
    class.define_method("id", method!(entry::getter(NativeAnswer::id), 0))?;
    class.define_method("redis_id", method!(entry::getter(NativeAnswer::redis_id), 0))?;
    class.define_method("instance_id", method!(entry::getter(NativeAnswer::instance_id), 0))?;
    class.define_method("source_group", method!(entry::getter(NativeAnswer::source_group), 0))?;
    class.define_method("destination_group", method!(entry::getter(NativeAnswer::destination_group), 0))?;
    settle_class::<NativeAnswer>(ruby);
    Ok(())
}
