//! The border between Ruby and the Rust core of the redis_ipc gem. No other crate knows Ruby. Only lib/redis_ipc may
//! use what this crate defines under `RedisIPC::Native`.

// The crate's interface is what it defines in Ruby; magnus's generated entry point has no docs.
#![allow(missing_docs)]

mod codec;
mod events;
mod json_rpc;
mod observer;
mod request_reply;
mod ruby;

use crate::ruby::entry;
use magnus::prelude::*;
use magnus::{Error, RString, Ruby, Value, function};

fn dump(ruby: &Ruby, value: Value) -> Result<RString, Error> {
    let text = codec::encode::to_json(ruby, value)?;
    Ok(ruby.enc_str_new(&text, ruby.utf8_encoding()))
}

/// Like `dump`, but returns nil if the text has more than `limit` bytes.
fn dump_within(ruby: &Ruby, value: Value, limit: usize) -> Result<Option<RString>, Error> {
    let text = codec::encode::to_json_within(ruby, value, limit)?;
    Ok(text.map(|text| ruby.enc_str_new(&text, ruby.utf8_encoding())))
}

fn load(ruby: &Ruby, text: String) -> Result<Value, Error> {
    codec::decode::from_json(ruby, text.as_bytes())
}

/// Like `load`, but hash keys are Strings, and all objects are frozen.
fn load_frozen(ruby: &Ruby, text: String) -> Result<Value, Error> {
    codec::decode::from_json_frozen(ruby, text.as_bytes())
}

/// Raises LoadError if this library was built for another version of Ruby. Such a library can be loaded, but it would
/// read objects by the other version's layout. The check is Ruby code, because evaluating code passes no object whose
/// layout matters.
fn check_version(ruby: &Ruby) -> Result<(), Error> {
    let built_for = format!("{}.{}", rb_sys::RUBY_API_VERSION_MAJOR, rb_sys::RUBY_API_VERSION_MINOR);
    let check = format!(
        "RUBY_VERSION.start_with?('{built_for}.') or raise LoadError, \
         \"a library of redis_ipc was built for Ruby {built_for}, and this is Ruby #{{RUBY_VERSION}}. To have it built for \
         this one: gem pristine redis_ipc --extensions, or in a checkout: rake compile\""
    );
    ruby.eval::<Value>(&check).map(drop)
}

#[magnus::init]
fn init(ruby: &Ruby) -> Result<(), Error> {
    check_version(ruby)?;
    // Registers the fork handler while no other thread can fork. A child forked during the first call would wait for
    // ever for that call to end.
    ruby::gvl::process_id();
    let native = ruby.define_module("RedisIPC")?.define_module("Native")?;
    native.define_singleton_method("dump", function!(entry::function1(dump), 1))?;
    native.define_singleton_method("dump_within", function!(entry::function2(dump_within), 2))?;
    native.define_singleton_method("load", function!(entry::function1(load), 1))?;
    native.define_singleton_method("load_frozen", function!(entry::function1(load_frozen), 1))?;
    ruby::logins::init(ruby, native)?;
    ruby::reports::init(ruby, native)?;
    request_reply::answer::init(ruby, native)?;
    request_reply::call::init(ruby, native)?;
    request_reply::context::init(ruby, native)?;
    request_reply::engine::init(ruby, native)?;
    request_reply::request::init(ruby, native)?;
    events::consumer::init(ruby, native)?;
    events::event::init(ruby, native)?;
    events::publisher::init(ruby, native)?;
    json_rpc::client::init(ruby, native)?;
    json_rpc::server::init(ruby, native)?;
    observer::observer::init(ruby, native)
}
