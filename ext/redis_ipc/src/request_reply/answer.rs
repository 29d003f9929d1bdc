//! `RedisIPC::Native::Answer`: a received answer, whose content is parsed on first use.

use crate::request_reply::lazy_content::LazyContent;
use crate::ruby::classes::class;
use magnus::prelude::*;
use magnus::{DataTypeFunctions, Error, RModule, Ruby, TypedData, Value, gc};
use redis_ipc_core::request_reply::{Answer, Status};
use std::sync::Arc;

/// An answer from the core.
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
    /// Wraps `answer`.
    pub fn new(ruby: &Ruby, answer: Arc<Answer>) -> Self {
        let content = LazyContent::new(ruby, &answer.content);
        Self { answer, content }
    }

    fn content(ruby: &Ruby, rb_self: &Self) -> Result<Value, Error> {
        rb_self.content.read(ruby, &rb_self.answer.content)
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Answer": NativeAnswer {
        get "status" => |it| it.answer.status.name();
        get "fulfilled?" => |it| it.answer.status == Status::Fulfilled;
        get "error" => |it| it.answer.error.as_deref();
        get "id" => |it| &*it.answer.id;
        get "redis_id" => |it| it.answer.redis_id.to_string();
        get "instance_id" => |it| &*it.answer.instance_id;
        get "source_group" => |it| &*it.answer.source_group;
        get "destination_group" => |it| &*it.answer.destination_group;
        "content", 0 => method0(NativeAnswer::content);
    });
    Ok(())
}
