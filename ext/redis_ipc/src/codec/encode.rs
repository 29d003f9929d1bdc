//! Converts Ruby objects to JSON text (RFC 8259).

use crate::ruby::errors;
use crate::ruby::gvl::{read_bytes, symbol_name};
use magnus::encoding::{self, Coderange, EncodingCapable};
use magnus::prelude::*;
use magnus::r_hash::ForEach;
use magnus::rb_sys::AsRawValue;
use magnus::value::{Fixnum, LazyId, ReprValue};
use magnus::{Error, Float, Integer, RArray, RHash, RModule, RString, Ruby, Symbol, Value};
use redis_ipc_core::json::{self, MAX_NESTING};
use std::ops::Range;

/// An Integer with more bits has more digits than [`json::MAX_NUMBER_LENGTH`], because a digit takes 3.32 bits.
/// Counting bits is cheap; writing such a number in decimal, only to count its digits, could take minutes.
const MAX_BITS: usize = json::MAX_NUMBER_LENGTH * 10 / 3;

/// After this many values other threads may run and this thread can be interrupted.
const SLICE: usize = 1_024;

/// Converts `value` to JSON text. Raises ContentError in these cases:
///
/// - JSON has no form for it: NaN, Infinity, a binary String, a cycle.
/// - The receiver would refuse it: nesting deeper than 100, more than a million values, a number of more than 4096
///   digits.
/// - A Hash has two keys with the same text ("a" and :a).
/// - An object has neither `as_json` nor `to_json` of its own.
pub fn to_json(ruby: &Ruby, value: Value) -> Result<Vec<u8>, Error> {
    Ok(to_json_within(ruby, value, usize::MAX)?.unwrap_or_default())
}

/// Like [`to_json`], but returns `None` as soon as the text exceeds `limit` bytes.
pub fn to_json_within(ruby: &Ruby, value: Value, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let out = Vec::with_capacity(128);
    let mut encoder = Encoder { ruby, out, values: 0, keys: Vec::new(), limit, is_over: false };
    let written = encoder.counted(value, 0).and_then(|()| encoder.check_size(0));
    if encoder.is_over {
        return Ok(None);
    }
    written.map(|()| Some(encoder.out))
}

/// The most characters of a key that an error message shows.
const MOST_SHOWN: usize = 100;

/// The kinds of keys in a Hash. Two keys of one kind that differ in Ruby also differ in JSON. There are two exceptions:
/// a Hash may compare Strings by identity, and nothing is known about keys of the kind `OTHER`.
const SYMBOLS: u8 = 1;
const STRINGS: u8 = 2;
const FIXNUMS: u8 = 4;
const OTHER: u8 = 8;

/// Up to this many keys, comparing each key with each other key is faster than sorting.
const FEW: usize = 12;

static COMPARE_BY_IDENTITY: LazyId = LazyId::new("compare_by_identity?");

struct Encoder<'r> {
    ruby: &'r Ruby,
    out: Vec<u8>,
    values: usize,
    /// The ranges of `out` that hold the keys of the Hashes that are being written. Those of the innermost Hash come
    /// last.
    keys: Vec<Range<usize>>,
    /// The most bytes that `out` may have, and whether the text exceeds them.
    limit: usize,
    is_over: bool,
}

impl Encoder<'_> {
    fn counted(&mut self, value: Value, depth: usize) -> Result<(), Error> {
        self.values += 1;
        if self.values > json::MAX_VALUES {
            return Err(self.refused(json::JsonError::TooMany));
        }
        self.check_size(0)?;
        if self.values.is_multiple_of(SLICE) {
            self.ruby.thread_check_ints()?;
        }
        self.value(value, depth)
    }

    /// Fails if `out` has no room for `more` bytes.
    fn check_size(&mut self, more: usize) -> Result<(), Error> {
        self.is_over |= self.out.len().saturating_add(more) > self.limit;
        if self.is_over {
            Err(errors::content(self.ruby, "the content is too large".to_owned()))
        } else {
            Ok(())
        }
    }

    fn refused(&self, why: json::JsonError) -> Error {
        errors::content(self.ruby, format!("the content is refused: {why}"))
    }

    fn value(&mut self, value: Value, depth: usize) -> Result<(), Error> {
        if let Some(string) = RString::from_value(value) {
            return self.string(string);
        }
        if let Some(symbol) = Symbol::from_value(value) {
            return self.symbol(symbol).map(drop);
        }
        if let Some(hash) = RHash::from_value(value) {
            return self.hash(hash, depth);
        }
        if let Some(array) = RArray::from_value(value) {
            return self.array(array, depth);
        }
        if let Some(integer) = Integer::from_value(value) {
            return self.integer(integer);
        }
        if let Some(float) = Float::from_value(value) {
            return self.float(float.to_f64());
        }
        // Compares by identity, because an object may define `==` to return true for anything.
        let literal: &[u8] = if value.is_nil() {
            b"null"
        } else if value.as_raw() == self.ruby.qtrue().as_raw() {
            b"true"
        } else if value.as_raw() == self.ruby.qfalse().as_raw() {
            b"false"
        } else {
            return self.object(value, depth);
        };
        self.out.extend_from_slice(literal);
        Ok(())
    }

    fn hash(&mut self, hash: RHash, depth: usize) -> Result<(), Error> {
        self.check_depth(depth)?;
        self.out.push(b'{');
        let outer = self.keys.len();
        let mut kinds = 0;
        hash.foreach(|key: Value, value: Value| {
            if self.keys.len() > outer {
                self.out.push(b',');
            }
            let start = self.out.len();
            kinds |= self.key(key)?;
            self.keys.push(start..self.out.len());
            self.out.push(b':');
            self.counted(value, depth + 1)?;
            Ok(ForEach::Continue)
        })?;
        self.out.push(b'}');
        match kinds {
            0 | SYMBOLS | FIXNUMS => {}
            STRINGS if hash.len() > FEW && !hash.funcall::<_, _, bool>(*COMPARE_BY_IDENTITY, ())? => {}
            _ => self.refuse_double_keys(outer)?,
        }
        self.keys.truncate(outer);
        Ok(())
    }

    /// Raises ContentError if two keys of a Hash are the same in JSON: one of their values would be lost.
    fn refuse_double_keys(&self, outer: usize) -> Result<(), Error> {
        let own = self.keys.get(outer..).unwrap_or_default();
        let Some(double) = find_double(own.iter().filter_map(|place| self.out.get(place.clone()))) else {
            return Ok(());
        };
        let shown: String = String::from_utf8_lossy(double).chars().take(MOST_SHOWN).collect();
        let message = format!("the content holds a Hash with two keys that are {shown} in JSON");
        Err(errors::content(self.ruby, message))
    }

    /// Writes the key, and returns its kind.
    fn key(&mut self, key: Value) -> Result<u8, Error> {
        if let Some(symbol) = Symbol::from_value(key) {
            return self.symbol(symbol);
        }
        if let Some(string) = RString::from_value(key) {
            let encoding = string.enc_get();
            self.string_in(string, encoding)?;
            // A subclass may define equality so that equal texts differ.
            let is_plain = string.class().as_raw() == self.ruby.class_string().as_raw();
            return Ok(if is_plain && self.is_utf8(encoding) { STRINGS } else { OTHER });
        }
        self.string(key.funcall("to_s", ())?)?;
        Ok(if Fixnum::from_value(key).is_some() { FIXNUMS } else { OTHER })
    }

    /// Writes the Symbol, and returns its kind as a key.
    fn symbol(&mut self, symbol: Symbol) -> Result<u8, Error> {
        let name = symbol_name(symbol)?;
        let encoding = name.enc_get();
        self.string_in(name, encoding)?;
        Ok(if self.is_utf8(encoding) { SYMBOLS } else { OTHER })
    }

    /// Whether text in this encoding is UTF-8 as it is. US-ASCII is a subset of UTF-8.
    fn is_utf8(&self, encoding: encoding::Index) -> bool {
        encoding == self.ruby.utf8_encindex() || encoding == self.ruby.usascii_encindex()
    }

    fn array(&mut self, array: RArray, depth: usize) -> Result<(), Error> {
        self.check_depth(depth)?;
        self.out.push(b'[');
        // Reads by index, because a method of an element may change the array.
        let mut index = 0;
        while index < array.len() {
            if index > 0 {
                self.out.push(b',');
            }
            self.counted(array.entry(index as isize)?, depth + 1)?;
            index += 1;
        }
        self.out.push(b']');
        Ok(())
    }

    fn check_depth(&self, depth: usize) -> Result<(), Error> {
        if depth < MAX_NESTING {
            return Ok(());
        }
        Err(errors::content(
            self.ruby,
            format!("the content is nested deeper than {MAX_NESTING}, or contains itself"),
        ))
    }

    fn integer(&mut self, integer: Integer) -> Result<(), Error> {
        match integer.to_i64() {
            Ok(number) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Err(_) => {
                let bits: usize = integer.funcall("bit_length", ())?;
                let digits: String =
                    if bits > MAX_BITS { String::new() } else { integer.funcall("to_s", ())? };
                if bits > MAX_BITS || digits.len() > json::MAX_NUMBER_LENGTH {
                    return Err(self.refused(json::JsonError::LongNumber));
                }
                self.out.extend_from_slice(digits.as_bytes());
            }
        }
        Ok(())
    }

    fn float(&mut self, number: f64) -> Result<(), Error> {
        if !number.is_finite() {
            let name = if number.is_nan() { "NaN" } else { "Infinity" };
            return Err(errors::content(self.ruby, format!("the content holds {name}, which JSON cannot")));
        }
        // Debug formatting gives the shortest text that reads back as the same double, and always has a point or an
        // exponent.
        self.out.extend_from_slice(format!("{number:?}").as_bytes());
        Ok(())
    }

    fn string(&mut self, string: RString) -> Result<(), Error> {
        self.string_in(string, string.enc_get())
    }

    fn string_in(&mut self, string: RString, encoding: encoding::Index) -> Result<(), Error> {
        match string.enc_coderange_scan() {
            // ASCII characters have the same bytes in each of these encodings.
            Coderange::SevenBit => self.bytes_of(string, string),
            Coderange::Broken => Err(self.unreadable(string)),
            _ if encoding == self.ruby.ascii8bit_encindex() => Err(self.unreadable(string)),
            _ if self.is_utf8(encoding) => self.bytes_of(string, string),
            _ => {
                let converted: Result<RString, Error> = string.funcall("encode", ("UTF-8",));
                self.bytes_of(converted.map_err(|_| self.unreadable(string))?, string)
            }
        }
    }

    /// Writes `utf8`, the text of `string` in UTF-8.
    fn bytes_of(&mut self, utf8: RString, string: RString) -> Result<(), Error> {
        self.check_size(utf8.len())?;
        let out = &mut self.out;
        let is_written =
            read_bytes(utf8, |bytes| std::str::from_utf8(bytes).is_ok_and(|text| write_text(out, text)));
        if is_written { Ok(()) } else { Err(self.unreadable(string)) }
    }

    fn unreadable(&self, string: RString) -> Error {
        let encoding = string.funcall::<_, _, Value>("encoding", ()).map(|encoding| encoding.to_string());
        let message = format!(
            "the content holds a binary or broken String ({}, {} bytes), which JSON cannot; encode it first, \
             for example as Base64",
            encoding.unwrap_or_default(),
            string.len()
        );
        errors::content(self.ruby, message)
    }

    /// Writes an object of any other class by its `as_json` or `to_json`.
    fn object(&mut self, value: Value, depth: usize) -> Result<(), Error> {
        self.check_depth(depth)?;
        let module: RModule =
            self.ruby.class_object().const_get::<_, RModule>("RedisIPC")?.const_get("Content")?;
        let (is_text, plain): (bool, Value) = module.funcall("simplify", (value,))?;
        if !is_text {
            return self.value(plain, depth + 1);
        }
        let text = RString::try_convert(plain)?.to_string()?;
        // The object has already been counted as one value.
        self.values = json::check_part(text.as_bytes(), depth, self.values - 1).map_err(|why| match why {
            json::JsonError::Invalid(_) => {
                let what = format!("to_json of {} returned no JSON: {why}", class_name(value));
                errors::content(self.ruby, what)
            }
            why => self.refused(why),
        })?;
        self.check_size(text.len())?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Writes a JSON string. Returns false if it cannot be written.
fn write_text(out: &mut Vec<u8>, text: &str) -> bool {
    out.reserve(text.len() + 2);
    if !is_plain(text) {
        return serde_json::to_writer(out, text).is_ok();
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    true
}

/// Whether `text` needs no escaping in JSON. This looks at many bytes at once; serde_json looks at one after the other.
fn is_plain(text: &str) -> bool {
    let needs_escape = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    !text
        .as_bytes()
        .chunks(64)
        .any(|chunk| chunk.iter().fold(false, |found, byte| found | needs_escape(byte)))
}

/// Returns a key that occurs twice.
fn find_double<'k>(keys: impl Iterator<Item = &'k [u8]> + Clone) -> Option<&'k [u8]> {
    if keys.clone().count() <= FEW {
        let mut rest = keys;
        while let Some(key) = rest.next() {
            if rest.clone().any(|other| other == key) {
                return Some(key);
            }
        }
        return None;
    }
    let mut keys: Vec<&[u8]> = keys.collect();
    keys.sort_unstable();
    keys.iter().zip(keys.iter().skip(1)).find_map(|(key, next)| (key == next).then_some(*key))
}

fn class_name(value: Value) -> String {
    value.class().to_string()
}
