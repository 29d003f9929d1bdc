//! Passes options from Ruby to the core as JSON.

use crate::codec::encode;
use crate::ruby::errors;
use magnus::prelude::*;
use magnus::{Error, RHash, Ruby};
use redis_ipc_core::Error as CoreError;
use serde_json::Value as Json;

/// Returns the options as JSON, and the environment variable REDIS_URL. lib/redis_ipc/runtime/settings.rb has already
/// turned them into plain values.
///
/// # Errors
///
/// ContentError if a value has no form in JSON.
pub fn options_value(ruby: &Ruby, options: RHash) -> Result<(Json, Option<String>), Error> {
    let text = encode::to_json(ruby, options.as_value())?;
    let values = serde_json::from_slice(&text).map_err(|error| errors::content(ruby, error.to_string()))?;
    Ok((values, std::env::var("REDIS_URL").ok()))
}

/// Reads the options with `parse`, a function of the core.
///
/// # Errors
///
/// Those of [`options_value`], and those of `parse`.
pub fn parse<T>(
    ruby: &Ruby,
    options: RHash,
    parse: impl FnOnce(Json, Option<&str>) -> Result<T, CoreError>,
) -> Result<T, Error> {
    let (values, environment) = options_value(ruby, options)?;
    parse(values, environment.as_deref()).map_err(|error| errors::raise(ruby, &error))
}
