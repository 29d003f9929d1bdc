//! `RedisIPC::Native::StreamEvent`: a taken event, whose fields are converted on demand.

use crate::codec::decode;
use crate::events::row;
use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::errors;
use crate::ruby::gc_pressure::GcPressure;
use crate::ruby::gvl::read_bytes;
use crate::ruby::reports::loss_row;
use magnus::encoding::RbEncoding;
use magnus::prelude::*;
use magnus::{Error, RArray, RHash, RModule, RString, Ruby, Value, method};
use redis_ipc_core::events::InFlight;
use std::sync::Arc;

/// An event that the core holds.
#[magnus::wrap(class = "RedisIPC::Native::StreamEvent", free_immediately, frozen_shareable, size)]
pub struct NativeStreamEvent {
    pub held: Arc<InFlight>,
    _weight: Option<GcPressure>,
}

impl NativeStreamEvent {
    /// Wraps `held`.
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

    /// Returns the epoch of the lane's owner. Returns nil if the consumer has no order.
    fn fence(&self) -> Option<u64> {
        self.held.spot.map(|spot| spot.epoch)
    }

    fn lane(&self) -> Option<u64> {
        self.held.spot.map(|spot| u64::from(spot.lane))
    }

    /// Returns a hash of the key that the event is ordered by. Returns nil if the consumer has no order.
    fn key_hash(&self) -> Option<u64> {
        self.held.key_hash()
    }

    /// Returns the address of the server that a live event came from. Returns nil for other events.
    fn node(ruby: &Ruby, rb_self: &Self) -> Result<Option<RString>, Error> {
        Ok(rb_self.held.node.as_deref().map(|node| text(ruby, node.as_bytes())))
    }

    /// Returns what may be missing at this place of the sequence. Returns nil if this is an event.
    fn loss(ruby: &Ruby, rb_self: &Self) -> Result<Option<RHash>, Error> {
        rb_self.held.loss.as_ref().map(|loss| loss_row(ruby, loss)).transpose()
    }

    fn received_ms(&self) -> u64 {
        self.held.received_ms
    }

    fn fields(ruby: &Ruby, rb_self: &Self) -> Result<RHash, Error> {
        hash(ruby, rb_self.held.all_fields())
    }

    /// The number of the table of a row in a log. Nil for all other events.
    fn table_number(&self) -> Option<u64> {
        self.held.table.as_ref().map(|table| table.number)
    }

    /// The row in a field, by the names of its columns. Nil if there is no such field.
    fn row(
        ruby: &Ruby,
        rb_self: &Self,
        field: RString,
        names: RArray,
        codes: RString,
    ) -> Result<Option<RHash>, Error> {
        let row = read_bytes(field, |field| rb_self.held.row(field));
        row.map(|row| row::hash(ruby, row, names, codes)).transpose()
    }

    /// Returns the value of a field, or nil if there is no such field. The last of several fields with the same name
    /// counts.
    fn field(ruby: &Ruby, rb_self: &Self, name: RString) -> Option<RString> {
        named(rb_self, name).map(|value| text(ruby, value))
    }

    /// Parses the JSON in a field. Without a name this is the data of an event that our publishers wrote; any other
    /// event gives all its fields.
    ///
    /// # Errors
    ///
    /// ContentError if there is no such field, or if it holds no JSON.
    fn decoded(ruby: &Ruby, rb_self: &Self, name: Option<RString>) -> Result<Value, Error> {
        let value = match name {
            Some(name) => named(rb_self, name),
            None => match rb_self.held.own_data() {
                None => return Ok(Self::fields(ruby, rb_self)?.as_value()),
                data => data,
            },
        };
        let value = value.ok_or_else(|| errors::content(ruby, "there is no such field"))?;
        // jiter accepts invalid UTF-8 where it need not decode it.
        if std::str::from_utf8(value).is_err() {
            return Err(errors::content(ruby, "the content is no UTF-8"));
        }
        decode::from_json_frozen(ruby, value)
    }
}

fn named(event: &NativeStreamEvent, name: RString) -> Option<&[u8]> {
    read_bytes(name, |name| event.held.field(name))
}

/// Converts fields to a frozen Hash of Strings. The last of several fields with the same name counts.
pub fn hash<'a>(ruby: &Ruby, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    for (name, value) in fields {
        hash.aset(text(ruby, name), text(ruby, value))?;
    }
    hash.freeze();
    Ok(hash)
}

/// Makes a frozen String: in UTF-8 if the bytes are valid UTF-8, otherwise binary.
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
    class.define_method("row", method!(entry::method3(NativeStreamEvent::row), 3))?;
    class.define_method("table_number", method!(entry::getter(NativeStreamEvent::table_number), 0))?;
    class.define_method("fields", method!(entry::method0(NativeStreamEvent::fields), 0))?;
    settle_class::<NativeStreamEvent>(ruby);
    Ok(())
}
