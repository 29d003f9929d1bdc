//! Converts what an observer was told to Ruby objects.

use crate::observer::query::Asked;
use crate::request_reply::presence;
use crate::ruby::errors;
use magnus::prelude::*;
use magnus::{Error, RArray, RHash, RString, Ruby, Value};
use redis_ipc_core::observer::{Answer, Known, Reply};
use redis_ipc_core::request_reply::Presence;
use redis_ipc_core::{Error as CoreError, Fields, RawEntry};

/// Of an entry in a list, longer values are left out.
const SHOWN: usize = 4_096;
/// The fields with what an entry says. In a list they are left out.
const CONTENTS: [&[u8]; 2] = [b"content", b"data"];

/// The fields that say nothing of the content.
const ABOUT: [&[u8]; 8] = [
    b"dead_id",
    b"dead_reason",
    b"dead_stream",
    b"id",
    b"source_group",
    b"instance_id",
    b"type",
    b"correlation_id",
];

/// Converts an answer. A refusal is the exception, which is not raised.
///
/// # Errors
///
/// Ruby refuses to make an object.
pub fn object(ruby: &Ruby, asked: &Asked, told: Result<Answer, CoreError>) -> Result<Value, Error> {
    Ok(match told {
        Err(error) => errors::exception(ruby, &error)?.as_value(),
        Ok(Answer::Reply(answer)) => reply(ruby, answer)?,
        Ok(Answer::Instances(found)) => {
            ruby.ary_try_from_iter(found.into_iter().map(|one| instance(ruby, one)))?.as_value()
        }
        Ok(Answer::Known(found)) => {
            ruby.ary_try_from_iter(found.into_iter().map(|one| known(ruby, one)))?.as_value()
        }
        Ok(Answer::Entries(found)) => {
            ruby.ary_try_from_iter(found.iter().map(|one| entry(ruby, asked, one)))?.as_value()
        }
    })
}

/// An instance as [`presence::row`] has it, with its lease and after how long without a sign of life it counts as dead.
fn instance(ruby: &Ruby, found: Presence) -> Result<RHash, Error> {
    let (lease, dead_after) = (found.lease, found.dead_after());
    let row = presence::row(ruby, found)?;
    row.aset(ruby.to_symbol("lease_ms"), lease)?;
    row.aset(ruby.to_symbol("dead_after_ms"), dead_after.as_millis() as u64)?;
    Ok(row)
}

fn reply(ruby: &Ruby, answer: Reply) -> Result<Value, Error> {
    Ok(match answer {
        Reply::Nil => ruby.qnil().as_value(),
        Reply::Number(number) => ruby.integer_from_i64(number).as_value(),
        Reply::Text(bytes) => text(ruby, &bytes).as_value(),
        Reply::List(items) => {
            let list = ruby.ary_new_capa(items.len());
            for item in items {
                list.push(reply(ruby, item)?)?;
            }
            list.as_value()
        }
    })
}

fn text(ruby: &Ruby, bytes: &[u8]) -> RString {
    ruby.enc_str_new(bytes, ruby.utf8_encoding())
}

/// A row of the index: group, instance or nil, and until when it is kept.
fn known(ruby: &Ruby, known: Known) -> Result<RArray, Error> {
    let row = ruby.ary_new_capa(3);
    row.push(known.group)?;
    row.push(known.instance)?;
    row.push(known.until)?;
    Ok(row)
}

/// An entry: its id, and all of its fields or nil.
///
/// # Errors
///
/// Ruby refuses to make an object.
pub fn whole_entry(ruby: &Ruby, entry: &RawEntry) -> Result<RArray, Error> {
    let row = ruby.ary_new_capa(2);
    row.push(entry.id.to_string())?;
    row.push(entry.fields.as_ref().map(|fields| hash(ruby, fields, true)).transpose()?)?;
    Ok(row)
}

/// An entry: its id and its fields. The fields are nil if they cannot be read, and false if the entry is not wanted.
fn entry(ruby: &Ruby, asked: &Asked, entry: &RawEntry) -> Result<RArray, Error> {
    let row = ruby.ary_new_capa(2);
    row.push(entry.id.to_string())?;
    match &entry.fields {
        None => row.push(ruby.qnil())?,
        Some(fields) if !is_wanted(asked, fields) => row.push(ruby.qfalse())?,
        Some(fields) => row.push(hash(ruby, fields, asked.is_whole)?)?,
    }
    Ok(row)
}

fn is_wanted(asked: &Asked, fields: &Fields) -> bool {
    let Some(wanted) = asked.matching.as_ref().map(String::as_bytes).filter(|wanted| !wanted.is_empty())
    else {
        return true;
    };
    let has_it = |value: &[u8]| value.windows(wanted.len()).any(|part| part == wanted);
    fields.iter().any(|(name, value)| (asked.in_content || ABOUT.contains(&name)) && has_it(value))
}

/// Of a repeated field the first counts.
fn hash(ruby: &Ruby, fields: &Fields, is_whole: bool) -> Result<RHash, Error> {
    let hash = ruby.hash_new();
    let is_shown =
        |name: &[u8], value: &[u8]| is_whole || (value.len() <= SHOWN && !CONTENTS.contains(&name));
    for (name, value) in fields.iter().filter(|(name, value)| is_shown(name, value)) {
        let name = text(ruby, name);
        if hash.get(name).is_none() {
            hash.aset(name, text(ruby, value))?;
        }
    }
    Ok(hash)
}
