//! Ruby objects to JSON text (RFC 8259).

use crate::errors;
use crate::gvl::guarded;
use magnus::encoding::{self, Coderange, EncodingCapable};
use magnus::prelude::*;
use magnus::r_hash::ForEach;
use magnus::value::ReprValue;
use magnus::{Error, Float, Integer, RArray, RHash, RModule, RString, Ruby, Symbol, Value};
use redis_ipc_core::json::{self, MAX_NESTING};
use std::collections::HashSet;

/// A number of more bits has more digits than [`json::MAX_NUMBER_LENGTH`] (each takes 3.32 bits); to write it in
/// decimal, only to see that, could take minutes.
const MAX_BITS: usize = json::MAX_NUMBER_LENGTH * 10 / 3;

/// The JSON text of `value`. Raises ContentError for what JSON cannot hold: NaN, Infinity, a binary string, a cycle;
/// for what the other side would refuse: nesting over 100, more than a million values, a number of more than 4096
/// digits; for a Hash with two keys that are the same text ("a" and :a); and for objects that have neither `as_json`
/// nor `to_json` of their own.
pub fn to_json(ruby: &Ruby, value: Value) -> Result<Vec<u8>, Error> {
    guarded(ruby, || {
        let mut encoder = Encoder { ruby, out: Vec::with_capacity(128), values: 0 };
        encoder.counted(value, 0)?;
        Ok(encoder.out)
    })
}

/// How much of a key is shown.
const MOST_SHOWN: usize = 100;

/// What a key of a Hash is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Symbol,
    String,
    Integer,
    Other,
}

struct Encoder<'r> {
    ruby: &'r Ruby,
    out: Vec<u8>,
    values: usize,
}

impl Encoder<'_> {
    fn counted(&mut self, value: Value, depth: usize) -> Result<(), Error> {
        self.values += 1;
        if self.values > json::MAX_VALUES {
            return Err(self.refused(json::JsonError::TooMany));
        }
        self.value(value, depth)
    }

    fn refused(&self, why: json::JsonError) -> Error {
        errors::content(self.ruby, format!("the content is refused: {why}"))
    }

    fn value(&mut self, value: Value, depth: usize) -> Result<(), Error> {
        if let Some(string) = RString::from_value(value) {
            return self.string(string);
        }
        if let Some(symbol) = Symbol::from_value(value) {
            return self.symbol(symbol);
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
        if value.is_nil() {
            self.out.extend_from_slice(b"null");
        } else if value.equal(self.ruby.qtrue())? {
            self.out.extend_from_slice(b"true");
        } else if value.equal(self.ruby.qfalse())? {
            self.out.extend_from_slice(b"false");
        } else {
            return self.object(value, depth);
        }
        Ok(())
    }

    fn hash(&mut self, hash: RHash, depth: usize) -> Result<(), Error> {
        self.check_depth(depth)?;
        self.out.push(b'{');
        let mut kinds = None;
        let mut mixed = false;
        hash.foreach(|key: Value, value: Value| {
            let kind = self.kind(key);
            match kinds {
                None => kinds = Some(kind),
                Some(before) => {
                    self.out.push(b',');
                    mixed |= before != kind || kind == KeyKind::Other;
                }
            }
            self.key(key, kind)?;
            self.out.push(b':');
            self.counted(value, depth + 1)?;
            Ok(ForEach::Continue)
        })?;
        self.out.push(b'}');
        // Only Strings can be equal and different keys all the same.
        let by_identity = !mixed
            && kinds == Some(KeyKind::String)
            && hash.len() > 1
            && hash.funcall("compare_by_identity?", ())?;
        if mixed || by_identity { self.refuse_double_keys(hash) } else { Ok(()) }
    }

    /// One of the two values would be lost.
    fn refuse_double_keys(&self, hash: RHash) -> Result<(), Error> {
        let mut seen = HashSet::with_capacity(hash.len());
        hash.foreach(|key: Value, _: Value| {
            let mut writer = Encoder { ruby: self.ruby, out: Vec::new(), values: 0 };
            writer.key(key, KeyKind::Other)?;
            let text = String::from_utf8_lossy(&writer.out).into_owned();
            if seen.contains(&text) {
                let shown: String = text.chars().take(MOST_SHOWN).collect();
                let message = format!("the content holds a Hash with two keys that are {shown} in JSON");
                return Err(errors::content(self.ruby, message));
            }
            seen.insert(text);
            Ok(ForEach::Continue)
        })
    }

    /// Keys of one kind that differ in Ruby differ in JSON too.
    fn kind(&self, key: Value) -> KeyKind {
        if let Some(symbol) = Symbol::from_value(key) {
            return if self.is_utf8(symbol.enc_get()) { KeyKind::Symbol } else { KeyKind::Other };
        }
        if let Some(string) = RString::from_value(key) {
            return if self.is_utf8(string.enc_get()) { KeyKind::String } else { KeyKind::Other };
        }
        if Integer::from_value(key).is_some() { KeyKind::Integer } else { KeyKind::Other }
    }

    fn key(&mut self, key: Value, kind: KeyKind) -> Result<(), Error> {
        if let Some(symbol) = Symbol::from_value(key) {
            return if kind == KeyKind::Symbol { self.text(&symbol.name()?) } else { self.symbol(symbol) };
        }
        match RString::from_value(key) {
            Some(string) => self.string(string),
            None => self.string(key.funcall("to_s", ())?),
        }
    }

    fn symbol(&mut self, symbol: Symbol) -> Result<(), Error> {
        if self.is_utf8(symbol.enc_get()) {
            return self.text(&symbol.name()?);
        }
        // Binary ones are refused as Strings are, others converted.
        self.string(symbol.funcall("name", ())?)
    }

    /// Text in ASCII is the same in UTF-8.
    fn is_utf8(&self, encoding: encoding::Index) -> bool {
        encoding == self.ruby.utf8_encindex() || encoding == self.ruby.usascii_encindex()
    }

    fn array(&mut self, array: RArray, depth: usize) -> Result<(), Error> {
        self.check_depth(depth)?;
        self.out.push(b'[');
        // By index: a method of an element may change the array.
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
        // The shortest text that reads back as the same double, with a point or an exponent in it.
        self.out.extend_from_slice(format!("{number:?}").as_bytes());
        Ok(())
    }

    fn string(&mut self, string: RString) -> Result<(), Error> {
        let binary = string.enc_get() == self.ruby.ascii8bit_encindex();
        match string.enc_coderange_scan() {
            Coderange::Broken => Err(self.unreadable(string)),
            Coderange::Valid if binary => Err(self.unreadable(string)),
            _ if string.is_utf8_compatible_encoding() || binary => {
                let text = string.to_string().map_err(|_| self.unreadable(string))?;
                self.text(&text)
            }
            _ => {
                let converted: Result<RString, Error> = string.funcall("encode", ("UTF-8",));
                let text = converted.and_then(RString::to_string).map_err(|_| self.unreadable(string))?;
                self.text(&text)
            }
        }
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

    fn text(&mut self, text: &str) -> Result<(), Error> {
        self.out.reserve(text.len() + 2);
        if is_plain(text) {
            self.out.push(b'"');
            self.out.extend_from_slice(text.as_bytes());
            self.out.push(b'"');
            return Ok(());
        }
        serde_json::to_writer(&mut self.out, text)
            .map_err(|error| errors::content(self.ruby, error.to_string()))
    }

    /// Anything else says itself what it is in JSON.
    fn object(&mut self, value: Value, depth: usize) -> Result<(), Error> {
        self.check_depth(depth)?;
        let module: RModule =
            self.ruby.class_object().const_get::<_, RModule>("RedisIPC")?.const_get("Content")?;
        let (is_text, plain): (bool, Value) = module.funcall("simplify", (value,))?;
        if !is_text {
            return self.value(plain, depth + 1);
        }
        let text = RString::try_convert(plain)?.to_string()?;
        // It has been counted as one value already.
        self.values = json::check_part(text.as_bytes(), depth, self.values - 1).map_err(|why| match why {
            json::JsonError::Invalid(_) => {
                let what = format!("to_json of {} returned no JSON: {why}", class_name(value));
                errors::content(self.ruby, what)
            }
            why => self.refused(why),
        })?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Whether it stands in JSON as it is. Looks at many bytes at once, where serde_json looks at one after the other.
fn is_plain(text: &str) -> bool {
    let needs_escape = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    !text
        .as_bytes()
        .chunks(64)
        .any(|chunk| chunk.iter().fold(false, |found, byte| found | needs_escape(byte)))
}

fn class_name(value: Value) -> String {
    value.class().to_string()
}
