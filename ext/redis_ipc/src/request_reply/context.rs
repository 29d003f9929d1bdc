//! `RedisIPC::Native::Context`: what a call belongs to, as the asker says.

use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use magnus::prelude::*;
use magnus::{Error, RModule, Ruby, function, method};
use redis_ipc_core::request_reply::Context;

/// The context of a call, which goes with the request.
#[magnus::wrap(class = "RedisIPC::Native::Context", free_immediately, size)]
pub struct NativeContext(Context);

impl NativeContext {
    fn new(_: &Ruby, traceparent: Option<String>, correlation_id: Option<String>) -> Result<Self, Error> {
        Ok(Self(Context { traceparent, correlation_id }))
    }

    /// That of a call with `context`, or without any.
    pub fn of(context: Option<&Self>) -> Context {
        context.map(|context| context.0.clone()).unwrap_or_default()
    }

    fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_deref()
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Context", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(entry::function2(NativeContext::new), 2))?;
    class.define_method("traceparent", method!(entry::getter(NativeContext::traceparent), 0))?;
    class.define_method("correlation_id", method!(entry::getter(NativeContext::correlation_id), 0))?;
    settle_class::<NativeContext>(ruby);
    Ok(())
}
