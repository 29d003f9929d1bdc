//! Options in Ruby to JSON, for the core to read.

use crate::codec::encode;
use crate::ruby::errors;
use magnus::prelude::*;
use magnus::{Error, RHash, Ruby};
use redis_ipc_core::Error as CoreError;
use serde_json::Value as Json;

/// The options as JSON, and REDIS_URL of the environment. lib/redis_ipc/runtime/settings.rb has made them plain.
///
/// # Errors
///
/// ContentError if something in them has no form in JSON.
pub fn options_value(ruby: &Ruby, options: RHash) -> Result<(Json, Option<String>), Error> {
    let text = encode::to_json(ruby, options.as_value())?;
    let values = serde_json::from_slice(&text).map_err(|error| errors::content(ruby, error.to_string()))?;
    Ok((values, std::env::var("REDIS_URL").ok()))
}

/// What `parse` makes of the options.
///
/// # Errors
///
/// Those of `parse`.
pub fn parse<T>(
    ruby: &Ruby,
    options: RHash,
    parse: impl FnOnce(Json, Option<&str>) -> Result<T, CoreError>,
) -> Result<T, Error> {
    let (values, environment) = options_value(ruby, options)?;
    parse(values, environment.as_deref()).map_err(|error| errors::raise(ruby, &error))
}
