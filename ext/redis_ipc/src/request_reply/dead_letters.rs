//! The methods of `RedisIPC::Native::Engine` about dead letters.

use crate::codec::decode;
use crate::request_reply::engine::NativeEngine;
use crate::ruby::entry;
use crate::ruby::errors;
use magnus::prelude::*;
use magnus::{Error, RArray, RClass, RHash, RModule, Ruby, method};
use redis_ipc_core::{Error as CoreError, ErrorKind};
use redis_ipc_core::{RawEntry, StreamId};
use std::time::Duration;

/// Defines them, once the class is there.
pub fn init(native: RModule) -> Result<(), Error> {
    let class: RClass = native.const_get("Engine")?;
    class.define_method("dead_letters", method!(entry::method3(page), 3))?;
    class.define_method("count_dead_letters", method!(entry::method1(count), 1))?;
    class.define_method("retry_dead_letter", method!(entry::method3(retry), 3))?;
    class.define_method("discard_dead_letter", method!(entry::method2(discard), 2))
}

/// Up to `count` dead letters of `group` after `after`, each a Hash.
fn page(
    ruby: &Ruby,
    rb_self: &NativeEngine,
    group: String,
    after: Option<String>,
    count: usize,
) -> Result<RArray, Error> {
    let after = after.map(|id| parse(ruby, &id)).transpose()?;
    let letters = rb_self.inquire(ruby, move |engine| engine.dead_letters(&group, after, count))?;
    let list = ruby.ary_new_capa(letters.len());
    for letter in letters {
        list.push(row(ruby, &letter)?)?;
    }
    Ok(list)
}

fn count(ruby: &Ruby, rb_self: &NativeEngine, group: String) -> Result<u64, Error> {
    rb_self.inquire(ruby, move |engine| engine.count_dead_letters(&group))
}

fn retry(
    ruby: &Ruby,
    rb_self: &NativeEngine,
    group: String,
    id: String,
    ttl: Option<f64>,
) -> Result<bool, Error> {
    let id = parse(ruby, &id)?;
    let ttl = ttl.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
    rb_self.inquire(ruby, move |engine| engine.retry_dead_letter(&group, id, ttl))
}

fn discard(ruby: &Ruby, rb_self: &NativeEngine, group: String, id: String) -> Result<bool, Error> {
    let id = parse(ruby, &id)?;
    rb_self.inquire(ruby, move |engine| engine.discard_dead_letter(&group, id))
}

fn parse(ruby: &Ruby, id: &str) -> Result<StreamId, Error> {
    StreamId::parse(id.as_bytes()).ok_or_else(|| {
        errors::raise(ruby, &CoreError::new(ErrorKind::Argument, format!("{id:?} is not the id of an entry")))
    })
}

/// Anybody may have written the fields: whatever is missing or unreadable is nil.
fn row(ruby: &Ruby, letter: &RawEntry) -> Result<RHash, Error> {
    let find = |name| letter.fields.as_ref().and_then(|fields| fields.get(name));
    let row = ruby.hash_new();
    row.aset(ruby.to_symbol("id"), letter.id.to_string())?;
    let texts = [
        ("request_id", "id"),
        ("redis_id", "dead_id"),
        ("reason", "dead_reason"),
        ("source_group", "source_group"),
        ("instance_id", "instance_id"),
    ];
    for (key, field) in texts {
        let text = find(field).map(|text| String::from_utf8_lossy(text).into_owned());
        row.aset(ruby.to_symbol(key), text)?;
    }
    for (key, field) in [("deliveries", "dead_deliveries"), ("died_ms", "dead_at")] {
        let number = find(field).and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
        row.aset(ruby.to_symbol(key), number)?;
    }
    let content = find("content");
    let object = match content.map(|text| decode::from_json(ruby, text)).transpose() {
        Err(error) if errors::is_content(ruby, &error) => None,
        object => object?,
    };
    row.aset(ruby.to_symbol("content"), object)?;
    row.aset(ruby.to_symbol("raw_content"), content.map(|text| ruby.str_from_slice(text)))?;
    Ok(row)
}
