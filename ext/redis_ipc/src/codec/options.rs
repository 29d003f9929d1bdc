//! Options, from Ruby objects.

use crate::ruby::errors;
use crate::ruby::gvl::symbol_name;
use magnus::prelude::*;
use magnus::r_hash::ForEach;
use magnus::rb_sys::AsRawValue;
use magnus::{Error, Float, Integer, RArray, RHash, RString, Ruby, Symbol, Value};
use redis_ipc_core::json::MAX_NESTING;
use redis_ipc_core::{Error as CoreError, ErrorKind};
use serde_json::{Map, Number, Value as Json};

/// Options as nested values, and REDIS_URL.
///
/// # Errors
///
/// ConfigurationError, with the name of the option, for what no option can be: NaN, Infinity, a String that is no text,
/// an object that lib/redis_ipc/runtime/settings.rb has not made plain, a name that is there twice.
pub fn options_value(ruby: &Ruby, options: RHash) -> Result<(Json, Option<String>), Error> {
    let values = Reader { ruby, path: Vec::new() }.hash(options)?;
    Ok((values, std::env::var("REDIS_URL").ok()))
}

struct Reader<'r> {
    ruby: &'r Ruby,
    /// The names that lead to what is being read.
    path: Vec<String>,
}

impl Reader<'_> {
    fn value(&mut self, value: Value) -> Result<Json, Error> {
        if let Some(string) = RString::from_value(value) {
            return self.text(string).map(Json::String);
        }
        if let Some(symbol) = Symbol::from_value(value) {
            return self.text(symbol_name(symbol)?).map(Json::String);
        }
        if let Some(hash) = RHash::from_value(value) {
            return self.hash(hash);
        }
        if let Some(array) = RArray::from_value(value) {
            return self.array(array);
        }
        if let Some(integer) = Integer::from_value(value) {
            return self.integer(integer);
        }
        if let Some(float) = Float::from_value(value) {
            return self.float(float.to_f64());
        }
        self.literal(value)
    }

    fn hash(&mut self, hash: RHash) -> Result<Json, Error> {
        let mut values = Map::new();
        hash.foreach(|key: Value, value: Value| {
            let name = match Symbol::from_value(key) {
                Some(symbol) => self.text(symbol_name(symbol)?)?,
                None => self.text(key.funcall("to_s", ())?)?,
            };
            let value = self.below(name.clone(), value)?;
            if values.contains_key(&name) {
                return Err(self.refusal(&format!("has two names that are {name:?}")));
            }
            values.insert(name, value);
            Ok(ForEach::Continue)
        })?;
        Ok(Json::Object(values))
    }

    fn array(&mut self, array: RArray) -> Result<Json, Error> {
        let mut values = Vec::with_capacity(array.len());
        while values.len() < array.len() {
            let index = values.len();
            values.push(self.below(index.to_string(), array.entry(index as isize)?)?);
        }
        Ok(Json::Array(values))
    }

    /// What stands under `name` in the Hash or the Array that is being read.
    fn below(&mut self, name: String, value: Value) -> Result<Json, Error> {
        self.path.push(name);
        if self.path.len() > MAX_NESTING {
            return Err(self.refusal("is nested too deep, or contains itself"));
        }
        let value = self.value(value)?;
        self.path.pop();
        Ok(value)
    }

    /// The text may be a password: the refusal does not show it.
    fn text(&self, string: RString) -> Result<String, Error> {
        string
            .to_string()
            .map_err(|_| self.refusal("is a String that is no text (binary, or in a broken encoding)"))
    }

    fn integer(&self, integer: Integer) -> Result<Json, Error> {
        match (integer.to_u64(), integer.to_i64()) {
            (Ok(number), _) => Ok(number.into()),
            (_, Ok(number)) => Ok(number.into()),
            // Beyond any option's range.
            _ => self.float(integer.funcall("to_f", ())?),
        }
    }

    fn float(&self, number: f64) -> Result<Json, Error> {
        Number::from_f64(number).map(Json::Number).ok_or_else(|| self.refusal(&format!("is {number}")))
    }

    /// By identity: an object may say of itself that it equals anything.
    fn literal(&self, value: Value) -> Result<Json, Error> {
        if value.is_nil() {
            Ok(Json::Null)
        } else if value.as_raw() == self.ruby.qtrue().as_raw() {
            Ok(Json::Bool(true))
        } else if value.as_raw() == self.ruby.qfalse().as_raw() {
            Ok(Json::Bool(false))
        } else {
            Err(self.refusal("is no nil, true, false, number, String, Symbol, Array or Hash"))
        }
    }

    fn refusal(&self, why: &str) -> Error {
        let name = if self.path.is_empty() { "the Hash of options".to_owned() } else { self.path.join(".") };
        let message = format!("an option cannot be read: {name} {why}");
        errors::raise(self.ruby, &CoreError::new(ErrorKind::Configuration, message))
    }
}
