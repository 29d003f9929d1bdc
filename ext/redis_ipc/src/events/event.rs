//! `RedisIPC::Native::StreamEvent`: an event that was taken, whose fields are read when they are looked at.

use crate::codec::decode;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gc_pressure::GcPressure;
use crate::ruby::gvl::read_bytes;
use crate::ruby::reports::loss_row;
use magnus::encoding::RbEncoding;
use magnus::prelude::*;
use magnus::{Error, RHash, RModule, RString, Ruby, Value, method};
use redis_ipc_core::Fields;
use redis_ipc_core::events::InFlight;
use std::sync::Arc;

/// An event that is held by the core.
#[magnus::wrap(class = "RedisIPC::Native::StreamEvent", free_immediately, frozen_shareable, size)]
pub struct NativeStreamEvent {
    /// The event.
    pub held: Arc<InFlight>,
    _weight: Option<GcPressure>,
}

impl NativeStreamEvent {
    /// What stands for `held`.
    pub fn new(ruby: &Ruby, held: Arc<InFlight>) -> Self {
        let weight = GcPressure::of(ruby, held.fields.size());
        Self { held, _weight: weight }
    }

    fn id(&self) -> String {
        self.held.id.to_string()
    }

    fn ms(&self) -> u64 {
        self.held.id.ms
    }

    fn deliveries(&self) -> u32 {
        self.held.deliveries
    }

    fn is_redelivered(&self) -> bool {
        self.held.is_redelivered()
    }

    /// The epoch of the lane's owner; nil without an order.
    fn fence(&self) -> Option<u64> {
        self.held.spot.map(|spot| spot.epoch)
    }

    fn lane(&self) -> Option<u64> {
        self.held.spot.map(|spot| u64::from(spot.lane))
    }

    /// What tells one key of an order from another; nil without an order.
    fn key_hash(&self) -> Option<u64> {
        self.held.key_hash()
    }

    /// The address of the server that a live event came from; else nil.
    fn node(ruby: &Ruby, rb_self: &Self) -> Result<Option<RString>, Error> {
        Ok(rb_self.held.node.as_deref().map(|node| text(ruby, node.as_bytes())))
    }

    /// What it tells in the place of an event: what may be missing there, by name. Nil of an event.
    fn loss(ruby: &Ruby, rb_self: &Self) -> Result<Option<RHash>, Error> {
        rb_self.held.loss.as_ref().map(|loss| loss_row(ruby, loss)).transpose()
    }

    fn received_ms(&self) -> u64 {
        self.held.received_ms
    }

    fn fields(ruby: &Ruby, rb_self: &Self) -> Result<RHash, Error> {
        hash(ruby, &rb_self.held.fields)
    }

    /// What the field holds; nil if there is none. Of fields with the same name the last one counts.
    fn field(ruby: &Ruby, rb_self: &Self, name: RString) -> Option<RString> {
        named(rb_self, name).map(|value| text(ruby, value))
    }

    /// What the JSON in the field stands for. Without a name it is that of our publishers, or all fields if the event is
    /// none of theirs.
    ///
    /// # Errors
    ///
    /// ContentError if there is no such field, or no JSON in it.
    fn decoded(ruby: &Ruby, rb_self: &Self, name: Option<RString>) -> Result<Value, Error> {
        let value = match name {
            Some(name) => named(rb_self, name),
            None => match rb_self.held.own_data() {
                None => return Ok(Self::fields(ruby, rb_self)?.as_value()),
                data => data,
            },
        };
        let value = value.ok_or_else(|| errors::content(ruby, "there is no such field"))?;
        // jiter takes text that is no UTF-8 for JSON where it need not look into it.
        if std::str::from_utf8(value).is_err() {
            return Err(errors::content(ruby, "the content is no UTF-8"));
        }
        decode::from_json_frozen(ruby, value)
    }
}

fn named(event: &NativeStreamEvent, name: RString) -> Option<&[u8]> {
    read_bytes(name, |name| event.held.fields.get_last(name))
}

/// Fields as a frozen Hash of Strings; of fields with the same name the last one counts.
pub fn hash(ruby: &Ruby, fields: &Fields) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (name, value) in fields.iter() {
        hash.aset(text(ruby, name), text(ruby, value))?;
    }
    hash.freeze();
    Ok(hash)
}

/// UTF-8 where it is that, else binary.
fn text(ruby: &Ruby, bytes: &[u8]) -> RString {
    let encoding: RbEncoding =
        if std::str::from_utf8(bytes).is_ok() { ruby.utf8_encoding() } else { ruby.ascii8bit_encoding() };
    let string = ruby.enc_str_new(bytes, encoding);
    string.freeze();
    string
}

/// Defines the class.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("StreamEvent", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("id", method!(entry::getter(NativeStreamEvent::id), 0))?;
    class.define_method("ms", method!(entry::getter(NativeStreamEvent::ms), 0))?;
    class.define_method("deliveries", method!(entry::getter(NativeStreamEvent::deliveries), 0))?;
    class.define_method("redelivered?", method!(entry::getter(NativeStreamEvent::is_redelivered), 0))?;
    class.define_method("fence", method!(entry::getter(NativeStreamEvent::fence), 0))?;
    class.define_method("lane", method!(entry::getter(NativeStreamEvent::lane), 0))?;
    class.define_method("key_hash", method!(entry::getter(NativeStreamEvent::key_hash), 0))?;
    class.define_method("received_ms", method!(entry::getter(NativeStreamEvent::received_ms), 0))?;
    class.define_method("own?", method!(entry::getter(|it: &NativeStreamEvent| it.held.is_own()), 0))?;
    class.define_method("field", method!(entry::method1(NativeStreamEvent::field), 1))?;
    class.define_method("decoded", method!(entry::method1(NativeStreamEvent::decoded), 1))?;
    class.define_method("node", method!(entry::method0(NativeStreamEvent::node), 0))?;
    class.define_method("loss", method!(entry::method0(NativeStreamEvent::loss), 0))?;
    class.define_method("fields", method!(entry::method0(NativeStreamEvent::fields), 0))?;
    settle_class::<NativeStreamEvent>(ruby);
    Ok(())
}
