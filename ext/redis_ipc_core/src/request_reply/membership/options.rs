//! Every option of `connect`, with its default, its range and its errors.

use crate::error::{Error, ErrorKind};
use crate::foundation::payload::fields::Room;
use crate::foundation::payload::guarantee::Guarantee;
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::redis::group_consumer::dead_letters::Limits;
use crate::foundation::redis::redis_options::RedisOptions;
use serde_json::Value;
use std::time::Duration;

/// The longest deadline, unless configured otherwise.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The options of one engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// How to reach Redis.
    pub redis: RedisOptions,
    /// The number of pooled connections, for everything but the blocking reads and the writer.
    pub pool_size: u32,
    /// The most connections to which the pool may grow under load.
    pub max_pool_size: Option<u32>,
    /// The most bytes of JSON in one request or answer.
    pub max_content_size: usize,
    /// The options of open calls.
    pub ledger: LedgerOptions,
    /// The options of serving requests.
    pub consumer: ConsumerOptions,
    /// The number of threads that handle reports: ends of watched calls, and errors.
    pub dispatchers: usize,
    /// Limits on the dead letters of a group.
    pub dead_letters: Limits,
}

/// Options of the ledger of open calls.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// The deadline of a call that has none of its own.
    pub entry_timeout: Duration,
    /// How often overdue calls are ended for which no thread waits.
    pub cleanup_interval: Duration,
    /// The longest deadline that a call may have. Older requests are trimmed from inboxes.
    pub max_timeout: Duration,
    /// The most calls that may be open at the same time.
    pub max_open_calls: Option<usize>,
    /// Whether a caller that waits alone polls for its answer before it sleeps.
    pub busy_poll: bool,
}

/// Options of the side that serves requests.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// The number of threads that run the handler.
    pub pool_size: usize,
    /// The delivery guarantee.
    pub delivery: Guarantee,
    /// How long a request stays with an instance that no longer renews its lease.
    pub lease: Duration,
    /// The number of deliveries after which a request is given up on.
    pub max_deliveries: u32,
    /// Whether a consumer that waits alone polls for a request before it sleeps.
    pub busy_poll: bool,
}

impl Options {
    /// Reads options as nested JSON. `environment_url` is the value of `REDIS_URL`. `elsewhere` names the options
    /// that the caller handles, so that an error can list them.
    ///
    /// # Errors
    ///
    /// An option is unknown or has a wrong type or value (a [`crate::ErrorKind::Configuration`] error).
    ///
    /// # Examples
    ///
    /// ```
    /// use redis_ipc_core::ErrorKind;
    /// use redis_ipc_core::request_reply::Options;
    ///
    /// let options = serde_json::json!({"ledger": {"entry_timeout": 2.5}, "consumer": {"pool_size": 4}});
    /// let options = Options::parse(options, Some("redis://localhost:6379"), &[]).unwrap();
    /// assert_eq!(options.consumer.pool_size, 4);
    ///
    /// let unknown = Options::parse(serde_json::json!({"ledgr": 1}), None, &[]).unwrap_err();
    /// assert_eq!(unknown.kind, ErrorKind::Configuration);
    /// ```
    pub fn parse(
        value: Value,
        environment_url: Option<&str>,
        elsewhere: &[&'static str],
    ) -> Result<Self, Error> {
        let mut top = OptionReader::new("", Some(value))?;
        top.ignore(elsewhere);
        let redis = RedisOptions::parse(top.section("redis_options")?, environment_url)?;
        let pool_size = top.integer("pool_size", 1..=1_000)?.unwrap_or(10) as u32;
        let max_pool_size = top.integer("max_pool_size", 1..=1_000)?.map(|size| size as u32);
        if max_pool_size.is_some_and(|most| most < pool_size) {
            return Err(top.refuse("max_pool_size", "at least pool_size"));
        }
        let options = Self {
            redis,
            pool_size,
            max_pool_size,
            max_content_size: top.integer("max_content_size", 1..=512 << 20)?.unwrap_or(16 << 20) as usize,
            ledger: LedgerOptions::parse(top.section("ledger")?)?,
            consumer: ConsumerOptions::parse(top.section("consumer")?)?,
            dispatchers: dispatchers(top.section("dispatcher")?)?,
            dead_letters: Limits::parse(top.section("dead_letters")?)?,
        };
        top.finish()?;
        Ok(options)
    }

    /// Returns how much of an entry is kept when it is read.
    pub fn room(&self) -> Room {
        Room::for_content(self.max_content_size)
    }

    /// Returns how long an unused inbox outlives its last use, which is also the greatest age of a request: past the
    /// longest deadline no request is alive. It is at least that of the default deadline, because other instances may
    /// use that.
    pub fn inbox_lifetime(&self) -> Duration {
        self.longest_ttl() + Duration::from_secs(60)
    }

    /// Returns the longest deadline that a request may have for this instance. Older requests are trimmed.
    pub fn longest_ttl(&self) -> Duration {
        self.ledger.max_timeout.max(MAX_TIMEOUT)
    }
}

impl LedgerOptions {
    /// Checks that a request may have this timeout, and returns it.
    ///
    /// # Errors
    ///
    /// The timeout is out of range (a [`crate::ErrorKind::Argument`] error).
    pub fn check_timeout(&self, timeout: Duration) -> Result<Duration, Error> {
        if !timeout.is_zero() && timeout <= self.max_timeout {
            return Ok(timeout);
        }
        let most = self.max_timeout.as_secs_f64();
        let message = format!("the timeout must be over 0 and at most {most} s (ledger.max_timeout)");
        Err(Error::new(ErrorKind::Argument, message))
    }

    fn parse(mut section: OptionReader) -> Result<Self, Error> {
        let max_timeout = section.seconds("max_timeout", 7 * DAY)?.unwrap_or(MAX_TIMEOUT);
        let entry_timeout = section.seconds("entry_timeout", max_timeout)?.unwrap_or(Duration::from_secs(5));
        let options = Self {
            max_timeout,
            max_open_calls: section.integer("max_open_calls", 1..=1_000_000_000)?.map(|most| most as usize),
            busy_poll: section.boolean("busy_poll")?.unwrap_or(true),
            entry_timeout: entry_timeout.min(max_timeout),
            cleanup_interval: section
                .seconds("cleanup_interval", Duration::from_secs(60))?
                .unwrap_or(Duration::from_secs(1))
                .max(Duration::from_millis(10)),
        };
        section.finish()?;
        Ok(options)
    }
}

impl ConsumerOptions {
    fn parse(mut section: OptionReader) -> Result<Self, Error> {
        let options = Self {
            pool_size: section.integer("pool_size", 1..=1_000)?.unwrap_or(3) as usize,
            delivery: Guarantee::read(&mut section, "delivery")?,
            lease: section.lease(DAY)?,
            max_deliveries: section.integer("max_deliveries", 1..=1_000)?.unwrap_or(5) as u32,
            busy_poll: section.boolean("busy_poll")?.unwrap_or(true),
        };
        execution_interval(&mut section)?;
        section.finish()?;
        Ok(options)
    }
}

/// Reads how many threads handle reports.
fn dispatchers(mut section: OptionReader) -> Result<usize, Error> {
    let threads = section.integer("pool_size", 1..=100)?.unwrap_or(2) as usize;
    execution_interval(&mut section)?;
    section.finish()?;
    Ok(threads)
}

/// Reads an option that is accepted for compatibility and not used: reads block, so there is nothing to poll for.
fn execution_interval(section: &mut OptionReader) -> Result<(), Error> {
    section.seconds("execution_interval", Duration::from_secs(60)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refusal(value: Value) -> String {
        let error = Options::parse(value, None, &[]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Configuration);
        error.message
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let options = Options::parse(json!({}), None, &[]).unwrap();
        assert_eq!((options.pool_size, options.max_pool_size), (10, None));
        assert_eq!(options.max_content_size, 16 * 1024 * 1024);
        assert_eq!(options.ledger.entry_timeout, Duration::from_secs(5));
        assert_eq!(options.ledger.cleanup_interval, Duration::from_secs(1));
        assert_eq!(options.ledger.max_timeout, Duration::from_secs(3_600));
        assert!(options.ledger.busy_poll && options.consumer.busy_poll);
        assert_eq!((options.consumer.pool_size, options.consumer.max_deliveries), (3, 5));
        assert_eq!(options.consumer.lease, Duration::from_secs(2));
        assert_eq!(options.consumer.delivery, Guarantee::AtLeastOnce);
        assert_eq!(options.dispatchers, 2);
        assert_eq!(options.dead_letters.keep, Duration::from_secs(604_800));
        assert_eq!(options.dead_letters.max_size, 128 << 20);
    }

    #[test]
    fn sections_merge_over_the_defaults() {
        let options =
            Options::parse(json!({"ledger": {"entry_timeout": 0.5}, "consumer": null}), None, &[]).unwrap();
        assert_eq!(options.ledger.entry_timeout, Duration::from_millis(500));
        assert_eq!(options.ledger.cleanup_interval, Duration::from_secs(1));
        assert_eq!(options.consumer.pool_size, 3);
    }

    #[test]
    fn refusals_name_the_key_and_the_expectation() {
        assert_eq!(
            refusal(json!({"consumer": {"pool_size": "three"}})),
            "the option consumer.pool_size must be an Integer from 1 to 1000, got \"three\""
        );
        assert_eq!(
            refusal(json!({"ledger": {"entry_timeut": 3}})),
            "unknown option ledger.entry_timeut; known here: max_timeout, entry_timeout, max_open_calls, busy_poll, cleanup_interval"
        );
        assert!(refusal(json!({"pool": 1})).starts_with("unknown option pool;"));
        assert!(refusal(json!({"ledger": 5})).contains("ledger must be a Hash, got 5"));
        assert!(refusal(json!({"pool_size": 5, "max_pool_size": 4})).contains("max_pool_size"));
        assert!(
            refusal(json!({"consumer": {"delivery": "twice"}})).contains(":at_least_once or :at_most_once")
        );
        assert!(refusal(json!({"consumer": {"lease": 0.01}})).contains("at least 0.1"));
        for bad in [json!(0), json!(-1), json!("5"), json!(true), json!([])] {
            assert!(refusal(json!({"ledger": {"entry_timeout": bad}})).contains("ledger.entry_timeout"));
        }
    }

    proptest! {
        #[test]
        fn any_pool_size_is_kept_or_refused(size in any::<i64>()) {
            match Options::parse(json!({"pool_size": size}), None, &[]) {
                Ok(options) => prop_assert_eq!(i64::from(options.pool_size), size),
                Err(error) => {
                    prop_assert!(!(1..=1_000).contains(&size));
                    prop_assert!(error.message.contains("pool_size"));
                }
            }
        }
    }
}
