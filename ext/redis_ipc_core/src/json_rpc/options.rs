//! Every option of a queue's server and client, with its default, its range and its errors.

use crate::error::Error;
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::redis::redis_options::RedisOptions;
use serde_json::Value;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// The longest timeout of a call.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);
const MAX_SIZE: std::ops::RangeInclusive<u64> = 1..=512 << 20;

/// The options of one server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// How to reach Redis.
    pub redis: RedisOptions,
    /// The number of threads that run the methods.
    pub threads: usize,
    /// The delivery guarantee.
    pub guarantee: Guarantee,
    /// How long requests stay with a server that sends no heartbeat.
    pub lease: Duration,
    /// The number of deliveries after which a request is given up on.
    pub max_deliveries: u32,
    /// How long an answer that is not fetched is kept.
    pub answer_expiry: Duration,
    /// The most bytes of a request.
    pub max_size: usize,
    /// The most bytes of an answer.
    pub max_answer_size: usize,
    /// The most requests in a batch.
    pub max_batch: usize,
}

impl ServerOptions {
    /// Reads options as nested JSON. `environment_url` is the value of `REDIS_URL`.
    ///
    /// # Errors
    ///
    /// An option is unknown or has a wrong type or value (a [`crate::ErrorKind::Configuration`] error).
    ///
    /// # Examples
    ///
    /// ```
    /// use redis_ipc_core::ErrorKind;
    /// use redis_ipc_core::json_rpc::ServerOptions;
    ///
    /// let options = serde_json::json!({"threads": 4});
    /// let options = ServerOptions::parse(options, Some("redis://localhost:6379")).unwrap();
    /// assert_eq!(options.threads, 4);
    ///
    /// let unknown = ServerOptions::parse(serde_json::json!({"thread": 1}), None).unwrap_err();
    /// assert_eq!(unknown.kind, ErrorKind::Configuration);
    /// ```
    pub fn parse(value: Value, environment_url: Option<&str>) -> Result<Self, Error> {
        let mut top = OptionReader::new("", Some(value))?;
        let options = Self {
            redis: RedisOptions::parse(top.section("redis_options")?, environment_url)?,
            threads: top.integer("threads", 1..=1_000)?.unwrap_or(3) as usize,
            guarantee: Guarantee::read(&mut top, "guarantee")?,
            lease: top.lease(HOUR)?,
            max_deliveries: top.integer("max_deliveries", 1..=1_000_000)?.unwrap_or(5) as u32,
            answer_expiry: top.seconds("answer_expiry", DAY)?.unwrap_or(Duration::from_secs(60)),
            max_size: top.integer("max_size", MAX_SIZE)?.unwrap_or(16 << 20) as usize,
            max_answer_size: top.integer("max_answer_size", MAX_SIZE)?.unwrap_or(16 << 20) as usize,
            max_batch: top.integer("max_batch", 1..=1_000_000)?.unwrap_or(1_000) as usize,
        };
        top.finish()?;
        Ok(options)
    }
}

/// The options of one client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How to reach Redis.
    pub redis: RedisOptions,
    /// The deadline of a call that has none of its own.
    pub timeout: Duration,
    /// The most bytes of a request or an answer.
    pub max_size: usize,
    /// The most requests in a batch.
    pub max_batch: usize,
}

impl ClientOptions {
    /// Reads options as nested JSON. `environment_url` is the value of `REDIS_URL`.
    ///
    /// # Errors
    ///
    /// An option is unknown or has a wrong type or value (a [`crate::ErrorKind::Configuration`] error).
    ///
    /// # Examples
    ///
    /// ```
    /// use redis_ipc_core::ErrorKind;
    /// use redis_ipc_core::json_rpc::ClientOptions;
    ///
    /// let options = serde_json::json!({"timeout": 2.5});
    /// let options = ClientOptions::parse(options, Some("redis://localhost:6379")).unwrap();
    /// assert_eq!(options.timeout.as_millis(), 2_500);
    ///
    /// let unknown = ClientOptions::parse(serde_json::json!({"time_out": 1}), None).unwrap_err();
    /// assert_eq!(unknown.kind, ErrorKind::Configuration);
    /// ```
    pub fn parse(value: Value, environment_url: Option<&str>) -> Result<Self, Error> {
        let mut top = OptionReader::new("", Some(value))?;
        let options = Self {
            redis: RedisOptions::parse(top.section("redis_options")?, environment_url)?,
            timeout: top.seconds("timeout", MAX_TIMEOUT)?.unwrap_or(Duration::from_secs(5)),
            max_size: top.integer("max_size", MAX_SIZE)?.unwrap_or(16 << 20) as usize,
            max_batch: top.integer("max_batch", 1..=1_000_000)?.unwrap_or(1_000) as usize,
        };
        top.finish()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_server_has_defaults_and_refuses_what_it_does_not_know() {
        let options = ServerOptions::parse(json!({}), None).unwrap();
        assert_eq!((options.threads, options.guarantee), (3, Guarantee::AtLeastOnce));
        let options = ServerOptions::parse(json!({"guarantee": "at_most_once", "lease": 0.5}), None).unwrap();
        assert_eq!((options.guarantee, options.lease), (Guarantee::AtMostOnce, Duration::from_millis(500)));
        for wrong in [
            json!({"guarantee": "exactly_once"}),
            json!({"threads": 0}),
            json!({"lease": 0.01}),
            json!({"thread": 1}),
        ] {
            assert!(ServerOptions::parse(wrong.clone(), None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_client_has_defaults_and_refuses_what_it_does_not_know() {
        assert_eq!(ClientOptions::parse(json!({}), None).unwrap().timeout, Duration::from_secs(5));
        assert!(ClientOptions::parse(json!({"timeout": -1}), None).is_err());
        assert!(ClientOptions::parse(json!({"threads": 1}), None).is_err());
    }
}
