//! Options, from Ruby objects.

use crate::codec::encode;
use crate::ruby::errors;
use magnus::prelude::*;
use magnus::{Error, RHash, Ruby};
use redis_ipc_core::{Error as CoreError, ErrorKind};

/// Options as nested JSON, and REDIS_URL.
pub fn options_value(ruby: &Ruby, options: RHash) -> Result<(serde_json::Value, Option<String>), Error> {
    let text = encode::to_json(ruby, options.as_value())?;
    let value = serde_json::from_slice(&text)
        .map_err(|error| errors::raise(ruby, &CoreError::new(ErrorKind::Configuration, error.to_string())))?;
    Ok((value, std::env::var("REDIS_URL").ok()))
}
