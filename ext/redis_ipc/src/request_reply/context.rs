//! `RedisIPC::Native::Context`: the trace and the correlation id that an asker sends with a request.

use crate::ruby::classes::class;
use magnus::prelude::*;
use magnus::{Error, RModule, Ruby};
use redis_ipc_core::request_reply::Context;

/// The context of a call, which is sent with the request.
#[magnus::wrap(class = "RedisIPC::Native::Context", free_immediately, size)]
pub struct NativeContext(Context);

impl NativeContext {
    fn new(_: &Ruby, traceparent: Option<String>, correlation_id: Option<String>) -> Result<Self, Error> {
        Ok(Self(Context { traceparent, correlation_id }))
    }

    /// Returns the context for the core. It is empty if the call has none.
    pub fn of(context: Option<&Self>) -> Context {
        context.map(|context| context.0.clone()).unwrap_or_default()
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Context": NativeContext {
        own "new", 2 => function2(NativeContext::new);
        get "traceparent" => |it| it.0.traceparent.as_deref();
        get "correlation_id" => |it| it.0.correlation_id.as_deref();
    });
    Ok(())
}
