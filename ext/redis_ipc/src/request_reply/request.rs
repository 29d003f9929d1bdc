//! `RedisIPC::Native::Request`: a request that was taken, read when it is looked at.

use crate::request_reply::lazy_content::LazyContent;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use magnus::prelude::*;
use magnus::{DataTypeFunctions, Error, RModule, Ruby, TypedData, Value, gc, method};
use redis_ipc_core::request_reply::{Answered, InFlight};
use std::sync::Arc;

/// A request that is held by the core.
#[derive(TypedData)]
#[magnus(class = "RedisIPC::Native::Request", free_immediately, mark, size)]
pub struct NativeRequest {
    /// The request.
    pub held: Arc<InFlight>,
    content: LazyContent,
}

impl DataTypeFunctions for NativeRequest {
    fn mark(&self, marker: &gc::Marker) {
        self.content.mark(marker);
    }
}

impl NativeRequest {
    /// What stands for `held`.
    pub fn new(ruby: &Ruby, held: Arc<InFlight>) -> Self {
        let content = LazyContent::new(ruby, &held.request.content);
        Self { held, content }
    }

    fn content(ruby: &Ruby, rb_self: &Self) -> Result<Value, Error> {
        rb_self.content.read(ruby, &rb_self.held.request.content)
    }

    /// The handler has returned.
    fn leave(&self) {
        self.held.leave();
    }

    fn id(&self) -> &str {
        &self.held.request.id
    }

    fn redis_id(&self) -> String {
        self.held.request.redis_id.to_string()
    }

    fn instance_id(&self) -> &str {
        &self.held.request.instance_id
    }

    fn source_group(&self) -> &str {
        &self.held.request.source_group
    }

    fn destination_group(&self) -> &str {
        &self.held.request.destination_group
    }

    fn since_ms(&self) -> u64 {
        self.held.request.since
    }

    fn deadline_ms(&self) -> u64 {
        self.held.request.deadline()
    }

    fn deliveries(&self) -> u32 {
        self.held.request.deliveries
    }

    fn traceparent(&self) -> Option<&str> {
        self.held.request.context.traceparent.as_deref()
    }

    fn correlation_id(&self) -> Option<&str> {
        self.held.request.context.correlation_id.as_deref()
    }

    /// How it was answered: "fulfilled" or "rejected", or "dropped" if that was too late; nil if it was not, yet.
    fn answered(&self) -> Option<&'static str> {
        self.held.answered().map(|answered| match answered {
            Answered::InTime(status) => status.name(),
            Answered::TooLate => "dropped",
        })
    }

    fn redelivered(&self) -> bool {
        self.held.request.may_have_run()
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Request", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("leave", method!(entry::getter(NativeRequest::leave), 0))?;
    class.define_method("content", method!(entry::method0(NativeRequest::content), 0))?;
    class.define_method("id", method!(entry::getter(NativeRequest::id), 0))?;
    class.define_method("redis_id", method!(entry::getter(NativeRequest::redis_id), 0))?;
    class.define_method("instance_id", method!(entry::getter(NativeRequest::instance_id), 0))?;
    class.define_method("source_group", method!(entry::getter(NativeRequest::source_group), 0))?;
    class.define_method("destination_group", method!(entry::getter(NativeRequest::destination_group), 0))?;
    class.define_method("since_ms", method!(entry::getter(NativeRequest::since_ms), 0))?;
    class.define_method("deadline_ms", method!(entry::getter(NativeRequest::deadline_ms), 0))?;
    class.define_method("deliveries", method!(entry::getter(NativeRequest::deliveries), 0))?;
    class.define_method("traceparent", method!(entry::getter(NativeRequest::traceparent), 0))?;
    class.define_method("correlation_id", method!(entry::getter(NativeRequest::correlation_id), 0))?;
    class.define_method("answered", method!(entry::getter(NativeRequest::answered), 0))?;
    class.define_method("redelivered?", method!(entry::getter(NativeRequest::redelivered), 0))?;
    settle_class::<NativeRequest>(ruby);
    Ok(())
}
