//! `RedisIPC::Native::Answer`: an answer that arrived, read when it is looked at.

use crate::content::decode;
use crate::settle_class;
use magnus::prelude::*;
use magnus::{Error, RModule, Ruby, Value, method};
use redis_ipc_core::entry::{Answer, Status};
use std::sync::Arc;

/// An answer of the core.
#[magnus::wrap(class = "RedisIPC::Native::Answer", free_immediately, size)]
pub struct NativeAnswer(pub Arc<Answer>);

impl NativeAnswer {
    fn status(&self) -> &'static str {
        self.0.status.name()
    }

    fn is_fulfilled(&self) -> bool {
        self.0.status == Status::Fulfilled
    }

    fn content(ruby: &Ruby, rb_self: &Self) -> Result<Value, Error> {
        decode::from_json(ruby, &rb_self.0.content)
    }

    fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }

    fn id(&self) -> &str {
        &self.0.id
    }

    fn redis_id(&self) -> String {
        self.0.redis_id.to_string()
    }

    fn instance_id(&self) -> &str {
        &self.0.instance_id
    }

    fn source_group(&self) -> &str {
        &self.0.source_group
    }

    fn destination_group(&self) -> &str {
        &self.0.destination_group
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Answer", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("status", method!(NativeAnswer::status, 0))?;
    class.define_method("fulfilled?", method!(NativeAnswer::is_fulfilled, 0))?;
    class.define_method("content", method!(NativeAnswer::content, 0))?;
    class.define_method("error", method!(NativeAnswer::error, 0))?;
    class.define_method("id", method!(NativeAnswer::id, 0))?;
    class.define_method("redis_id", method!(NativeAnswer::redis_id, 0))?;
    class.define_method("instance_id", method!(NativeAnswer::instance_id, 0))?;
    class.define_method("source_group", method!(NativeAnswer::source_group, 0))?;
    class.define_method("destination_group", method!(NativeAnswer::destination_group, 0))?;
    settle_class::<NativeAnswer>(ruby);
    Ok(())
}
