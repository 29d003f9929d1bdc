//! `RedisIPC::Native::Request`: a taken request, whose content is parsed on first use.

use crate::request_reply::lazy_content::LazyContent;
use crate::ruby::classes::class;
use magnus::prelude::*;
use magnus::{DataTypeFunctions, Error, RModule, Ruby, TypedData, Value, gc};
use redis_ipc_core::request_reply::{Answered, InFlight};
use std::sync::Arc;

/// A request that the core holds.
#[derive(TypedData)]
#[magnus(class = "RedisIPC::Native::Request", free_immediately, mark, size)]
pub struct NativeRequest {
    pub held: Arc<InFlight>,
    content: LazyContent,
}

impl DataTypeFunctions for NativeRequest {
    fn mark(&self, marker: &gc::Marker) {
        self.content.mark(marker);
    }
}

impl NativeRequest {
    /// Wraps `held`.
    pub fn new(ruby: &Ruby, held: Arc<InFlight>) -> Self {
        let content = LazyContent::new(ruby, &held.request.content);
        Self { held, content }
    }

    fn content(ruby: &Ruby, rb_self: &Self) -> Result<Value, Error> {
        rb_self.content.read(ruby, &rb_self.held.request.content)
    }

    /// Notes where the handler is, and the name of the event that it runs, for the record.
    fn note_frame(
        _ruby: &Ruby,
        rb_self: &Self,
        frame: Option<String>,
        event: Option<String>,
    ) -> Result<(), Error> {
        rb_self.held.note_frame(frame, event);
        Ok(())
    }

    /// Returns "fulfilled" or "rejected" if the answer was in time, "dropped" if it was too late, and nil if there is
    /// none yet.
    fn answered(&self) -> Option<&'static str> {
        self.held.answered().map(|answered| match answered {
            Answered::InTime(status) => status.name(),
            Answered::TooLate => "dropped",
        })
    }
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Request": NativeRequest {
        // Records that the handler has returned.
        get "leave" => |it| it.held.leave();
        // Records that the thread of the handler was killed.
        get "vanish" => |it| it.held.vanish();
        get "id" => |it| &*it.held.request.id;
        get "redis_id" => |it| it.held.request.redis_id.to_string();
        get "instance_id" => |it| &*it.held.request.instance_id;
        get "source_group" => |it| &*it.held.request.source_group;
        get "destination_group" => |it| &*it.held.request.destination_group;
        get "since_ms" => |it| it.held.request.since;
        get "deadline_ms" => |it| it.held.request.deadline();
        get "deliveries" => |it| it.held.request.deliveries;
        get "traceparent" => |it| it.held.request.context.traceparent.as_deref();
        get "correlation_id" => |it| it.held.request.context.correlation_id.as_deref();
        get "answered" => |it| it.answered();
        get "redelivered?" => |it| it.held.request.may_have_run();
        "content", 0 => method0(NativeRequest::content);
        "note_frame", 2 => method2(NativeRequest::note_frame);
    });
    Ok(())
}
