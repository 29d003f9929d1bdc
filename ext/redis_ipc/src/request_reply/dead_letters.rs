//! The methods of `RedisIPC::Native::Engine` about dead letters.

use crate::codec::decode::{self, entry_id};
use crate::request_reply::engine::NativeEngine;
use crate::ruby::errors;
use magnus::{Error, RArray, RHash, Ruby};
use redis_ipc_core::RawEntry;
use redis_ipc_core::request_reply::{HOLDERS, SUSPECT};
use std::time::Duration;

/// Returns up to `count` dead letters of `group` after the id `after`, each as a Hash.
pub fn page(
    ruby: &Ruby,
    rb_self: &NativeEngine,
    group: String,
    after: Option<String>,
    count: usize,
) -> Result<RArray, Error> {
    let after = after.map(|id| entry_id(ruby, &id)).transpose()?;
    let letters = rb_self.0.inquire(ruby, move |engine| engine.dead_letters(&group).page(after, count))?;
    ruby.ary_try_from_iter(letters.into_iter().map(|letter| row(ruby, &letter)))
}

pub fn count(ruby: &Ruby, rb_self: &NativeEngine, group: String) -> Result<u64, Error> {
    rb_self.0.inquire(ruby, move |engine| engine.dead_letters(&group).count())
}

pub fn retry(
    ruby: &Ruby,
    rb_self: &NativeEngine,
    group: String,
    id: String,
    ttl: Option<f64>,
) -> Result<bool, Error> {
    let id = entry_id(ruby, &id)?;
    let ttl = ttl.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
    rb_self.0.inquire(ruby, move |engine| engine.dead_letters(&group).retry(id, ttl))
}

pub fn discard(ruby: &Ruby, rb_self: &NativeEngine, group: String, id: String) -> Result<bool, Error> {
    let id = entry_id(ruby, &id)?;
    rb_self.0.inquire(ruby, move |engine| engine.dead_letters(&group).discard(id))
}

/// Converts a dead letter to a Hash. A value is nil if its field is missing or unreadable, because any client of Redis
/// may have written the fields.
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
    row.aset(ruby.to_symbol("suspect"), find(SUSPECT).is_some())?;
    let holders = find(HOLDERS).map(|json| decode::from_json(ruby, json)).transpose();
    row.aset(ruby.to_symbol("holders"), holders.ok().flatten())?;
    let content = find("content");
    let object = match content.map(|text| decode::from_json(ruby, text)).transpose() {
        Err(error) if errors::is_content(ruby, &error) => None,
        object => object?,
    };
    row.aset(ruby.to_symbol("content"), object)?;
    row.aset(ruby.to_symbol("raw_content"), content.map(|text| ruby.str_from_slice(text)))?;
    Ok(row)
}
