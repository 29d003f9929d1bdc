//! The options of an observer.

use crate::error::Error;
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::redis::redis_options::RedisOptions;
use serde_json::Value;

/// The options of one observer.
#[derive(Debug, Clone)]
pub struct ObserverOptions {
    /// How to reach Redis.
    pub redis: RedisOptions,
    /// How it names its connections: `redis_ipc:observer:<name>:work`.
    pub name: String,
}

impl ObserverOptions {
    /// Reads options as nested JSON. `environment_url` is the value of `REDIS_URL`.
    ///
    /// # Errors
    ///
    /// An option is unknown or has a wrong type or value (a [`crate::ErrorKind::Configuration`] error).
    ///
    /// # Examples
    ///
    /// ```
    /// use redis_ipc_core::observer::ObserverOptions;
    ///
    /// let options = ObserverOptions::parse(serde_json::json!({}), Some("redis://localhost:6379")).unwrap();
    /// assert_eq!(options.redis.redacted(), "redis://localhost:6379/0");
    /// ```
    pub fn parse(value: Value, environment_url: Option<&str>) -> Result<Self, Error> {
        let mut top = OptionReader::new("", Some(value))?;
        let redis = RedisOptions::parse(top.section("redis_options")?, environment_url)?;
        let name = top.string("name")?.unwrap_or_else(|| "admin".to_owned());
        top.finish()?;
        Ok(Self { redis, name })
    }
}
