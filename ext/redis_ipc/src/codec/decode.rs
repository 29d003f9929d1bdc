//! Converts JSON text to Ruby objects. Hash keys become Symbols, or Strings if the objects are frozen.

use crate::ruby::errors;
use crate::ruby::gvl::interned;
use jiter::{Jiter, JiterError, Peek};
use magnus::prelude::*;
use magnus::{Error, Ruby, Value};
use redis_ipc_core::json::MAX_NESTING;
use redis_ipc_core::{Error as CoreError, ErrorKind, StreamId};

/// After this many values other threads may run and this thread can be interrupted, as Ruby code can after each method.
/// A million values take seconds.
const SLICE: usize = 1_024;

/// Converts JSON text to a Ruby object. Raises ContentError if the text is not JSON. The core has already checked text
/// that came from Redis, so this concerns text from elsewhere. Any other error is an interrupt, because other threads
/// run from time to time.
pub fn from_json(ruby: &Ruby, text: &[u8]) -> Result<Value, Error> {
    read(ruby, Decoder::new(ruby, text))
}

/// Like [`from_json`], for the data of events: hash keys are Strings, and all objects are frozen.
pub fn from_json_frozen(ruby: &Ruby, text: &[u8]) -> Result<Value, Error> {
    read(ruby, Decoder { frozen: true, ..Decoder::new(ruby, text) })
}

/// Like [`from_json`], for JSON-RPC. If a request has two members of the same name, the value of that member is a
/// Symbol, which JSON has no other use for. Nobody can know which of the two was meant, and two readers that chose
/// differently would disagree on the request. A request is the object at the top, or an object in an array at the top.
pub fn from_requests(ruby: &Ruby, text: &[u8]) -> Result<Value, Error> {
    let mut decoder = Decoder::new(ruby, text);
    let is_array = decoder.json.peek().is_ok_and(|peek| peek == Peek::Array);
    decoder.marked_depth = Some(usize::from(is_array));
    read(ruby, decoder)
}

fn read(ruby: &Ruby, mut decoder: Decoder<'_, '_>) -> Result<Value, Error> {
    let peek = decoder.json.peek().map_err(|error| malformed(ruby, &error))?;
    let value = decoder.value(peek, 0)?;
    decoder.json.finish().map_err(|error| malformed(ruby, &error))?;
    Ok(value)
}

struct Decoder<'r, 'j> {
    ruby: &'r Ruby,
    json: Jiter<'j>,
    /// At this depth, duplicate members of objects are marked.
    marked_depth: Option<usize>,
    /// Whether keys are Strings and all values are frozen.
    frozen: bool,
    /// How many values have been made.
    values: usize,
}

impl<'r, 'j> Decoder<'r, 'j> {
    fn new(ruby: &'r Ruby, text: &'j [u8]) -> Self {
        Self { ruby, json: Jiter::new(text), marked_depth: None, frozen: false, values: 0 }
    }

    fn value(&mut self, peek: Peek, depth: usize) -> Result<Value, Error> {
        let ruby = self.ruby;
        self.values += 1;
        if self.values.is_multiple_of(SLICE) {
            ruby.thread_check_ints()?;
        }
        let failed = |error: JiterError| malformed(ruby, &error);
        match peek {
            Peek::String => {
                let text = ruby.str_new(self.json.known_str().map_err(failed)?);
                Ok(self.finished(text.as_value()))
            }
            Peek::Object => self.object(depth),
            Peek::Array => self.array(depth),
            Peek::Null => self.json.known_null().map(|()| ruby.qnil().as_value()).map_err(failed),
            Peek::True | Peek::False => {
                let truth = self.json.known_bool(peek).map_err(failed)?;
                Ok(if truth { ruby.qtrue().as_value() } else { ruby.qfalse().as_value() })
            }
            _ => self.number(peek),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Error> {
        self.check_depth(depth)?;
        let ruby = self.ruby;
        let failed = |error: JiterError| malformed(ruby, &error);
        let (hash, frozen) = (ruby.hash_new(), self.frozen);
        // Keys that are Strings are interned, because the events of a stream have the same keys.
        let key_of = |key: &str| match frozen {
            true => interned(ruby, key).map(|key| key.as_value()),
            false => Ok(ruby.to_symbol(key).as_value()),
        };
        let mut key = self.json.known_object().map_err(failed)?.map(key_of).transpose()?;
        while let Some(name) = key {
            let peek = self.json.peek().map_err(failed)?;
            let value = self.value(peek, depth + 1)?;
            let twice = self.marked_depth == Some(depth) && hash.get(name).is_some();
            hash.aset(name, if twice { ruby.to_symbol("duplicate").as_value() } else { value })?;
            key = self.json.next_key().map_err(failed)?.map(key_of).transpose()?;
        }
        Ok(self.finished(hash.as_value()))
    }

    fn array(&mut self, depth: usize) -> Result<Value, Error> {
        self.check_depth(depth)?;
        let ruby = self.ruby;
        let failed = |error: JiterError| malformed(ruby, &error);
        let array = ruby.ary_new();
        let mut next = self.json.known_array().map_err(failed)?;
        while let Some(peek) = next {
            array.push(self.value(peek, depth + 1)?)?;
            next = self.json.array_step().map_err(failed)?;
        }
        Ok(self.finished(array.as_value()))
    }

    fn finished(&self, value: Value) -> Value {
        if self.frozen {
            value.freeze();
        }
        value
    }

    fn number(&mut self, peek: Peek) -> Result<Value, Error> {
        let ruby = self.ruby;
        let bytes = self.json.known_number_bytes(peek).map_err(|error| malformed(ruby, &error))?;
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if bytes.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            let number: f64 = text.parse().map_err(|_| errors::content(ruby, "a number cannot be read"))?;
            return Ok(ruby.float_from_f64(number).as_value());
        }
        match text.parse::<i64>() {
            Ok(number) => Ok(ruby.integer_from_i64(number).as_value()),
            Err(_) => ruby.str_new(text).funcall("to_i", ()),
        }
    }

    fn check_depth(&self, depth: usize) -> Result<(), Error> {
        if depth < MAX_NESTING {
            return Ok(());
        }
        Err(errors::content(self.ruby, format!("the content is nested deeper than {MAX_NESTING}")))
    }
}

/// Parses the id of an entry.
///
/// # Errors
///
/// ArgumentError if `text` is not an id.
pub fn entry_id(ruby: &Ruby, text: &str) -> Result<StreamId, Error> {
    StreamId::parse(text.as_bytes()).ok_or_else(|| {
        let message = format!("{text:?} is not the id of an entry");
        errors::raise(ruby, &CoreError::new(ErrorKind::Argument, message))
    })
}

fn malformed(ruby: &Ruby, error: &JiterError) -> Error {
    errors::content(ruby, format!("the content is not JSON: {}", error.error_type))
}
