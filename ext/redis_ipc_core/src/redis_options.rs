//! How to reach Redis, in redis-rb's names.

use crate::error::{Error, ErrorKind};
use crate::section::Section;
use redis::IntoConnectionInfo;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_URL: &str = "redis://127.0.0.1:6379/0";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3_600);

/// redis-rb's options that mean nothing to this client; accepted so that one hash can serve both.
const NOT_OURS: [&str; 8] = [
    "driver",
    "id",
    "protocol",
    "reconnect_attempts",
    "inherit_socket",
    "custom",
    "middlewares",
    "circuit_breaker",
];

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A user name and a password; neither is ever printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` is the default user.
    pub username: Option<String>,
    /// The password; `None` means no AUTH is sent.
    pub password: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "[FILTERED]" } else { "none" })
    }
}

/// TLS settings, in the names of Ruby's `ssl_params`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate: PEM text or a file's path.
    pub cert: Option<Pem>,
    /// The client's key: PEM text or a file's path.
    pub key: Option<Pem>,
    /// Whether the certificate must name the host.
    pub verify_hostname: bool,
    /// Whether the certificate is checked at all.
    pub verify: bool,
}

/// PEM text, or the file it is in. Its content is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// The text itself.
    Text(String),
    /// A file to read when connecting.
    File(PathBuf),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[FILTERED]")
    }
}

/// The servers to ask for the master's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelOptions {
    /// Sentinels, tried in turn.
    pub addresses: Vec<(String, u16)>,
    /// The master's name.
    pub name: String,
    /// The sentinels' own credentials.
    pub credentials: Credentials,
}

/// How to reach Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// Where it listens, unless `sentinel` is asked.
    pub address: Address,
    /// The database number.
    pub db: i64,
    /// How to log in.
    pub credentials: Credentials,
    /// TLS, if wanted.
    pub tls: Option<TlsOptions>,
    /// Sentinels, if used.
    pub sentinel: Option<SentinelOptions>,
    /// How long connecting may take, and how long a call tries to reach Redis before it gives up.
    pub connect_timeout: Duration,
    /// How long Redis may take to answer a command that does not block.
    pub read_timeout: Duration,
    /// How long writing may be stuck.
    pub write_timeout: Duration,
}

impl RedisOptions {
    /// Reads redis-rb's options; `environment_url` (REDIS_URL) counts where neither url, host nor path is given.
    pub fn parse(mut section: Section, environment_url: Option<&str>) -> Result<Self, Error> {
        let url = section.string("url")?;
        let host = section.string("host")?;
        let path = section.string("path")?;
        let given = url.or_else(|| {
            let by_parts = host.is_some() || path.is_some();
            environment_url.filter(|url| !by_parts && !url.is_empty()).map(str::to_owned)
        });
        let from_url = FromUrl::parse(given.as_deref().unwrap_or(DEFAULT_URL), &section)?;
        let FromUrl { address, db, credentials, tls } = from_url;

        let port = section.integer("port", 1..=65_535)?.map(|port| port as u16);
        let address = match (path, address) {
            (Some(path), _) => Address::Unix(path.into()),
            (None, Address::Tcp(url_host, url_port)) => {
                Address::Tcp(host.unwrap_or(url_host), port.unwrap_or(url_port))
            }
            (None, unix) => unix,
        };
        let credentials = Credentials {
            username: section.string("username")?.or(credentials.username),
            password: section.string("password")?.or(credentials.password),
        };
        let ssl = section.boolean("ssl")?;
        let tls_options = TlsOptions::parse(section.section("ssl_params")?)?;
        let timeout = timeout(&mut section, "timeout")?;
        let options = Self {
            address,
            credentials,
            db: section.integer("db", 0..=100_000)?.map_or(db, |db| db as i64),
            tls: ssl.unwrap_or(tls).then_some(tls_options),
            sentinel: SentinelOptions::parse(&mut section)?,
            connect_timeout: self::timeout(&mut section, "connect_timeout")?
                .or(timeout)
                .unwrap_or(DEFAULT_TIMEOUT),
            read_timeout: self::timeout(&mut section, "read_timeout")?.or(timeout).unwrap_or(DEFAULT_TIMEOUT),
            write_timeout: self::timeout(&mut section, "write_timeout")?
                .or(timeout)
                .unwrap_or(DEFAULT_TIMEOUT),
        };
        section.ignore(&NOT_OURS);
        section.finish()?;
        Ok(options)
    }

    /// The address as a URL with no credentials in it, for errors and logs.
    pub fn redacted(&self) -> String {
        if let Some(sentinel) = &self.sentinel {
            let hosts: Vec<String> =
                sentinel.addresses.iter().map(|(host, port)| format!("{host}:{port}")).collect();
            return format!("sentinel {} at {}", sentinel.name, hosts.join(", "));
        }
        match &self.address {
            Address::Unix(path) => format!("unix://{}?db={}", path.display(), self.db),
            tcp => format!("{}://{tcp}/{}", if self.tls.is_some() { "rediss" } else { "redis" }, self.db),
        }
    }
}

fn timeout(section: &mut Section, name: &'static str) -> Result<Option<Duration>, Error> {
    section.seconds(name, LONGEST_TIMEOUT)
}

struct FromUrl {
    address: Address,
    db: i64,
    credentials: Credentials,
    tls: bool,
}

impl FromUrl {
    fn parse(url: &str, section: &Section) -> Result<Self, Error> {
        // redis-rs is asked for the parts only, so TLS can be left to us.
        let plain = url.strip_prefix("rediss://").map(|rest| format!("redis://{rest}"));
        let tls = plain.is_some();
        let info = plain.as_deref().unwrap_or(url).into_connection_info();
        let info = info.map_err(|_| section.refuse("url", "a redis://, rediss:// or unix:// URL"))?;
        let address = match info.addr() {
            redis::ConnectionAddr::Tcp(host, port) => Address::Tcp(host.clone(), *port),
            redis::ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            _ => return Err(section.refuse("url", "a redis://, rediss:// or unix:// URL")),
        };
        let settings = info.redis_settings();
        let credentials = Credentials {
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
        };
        Ok(Self { address, db: settings.db(), credentials, tls })
    }
}

impl TlsOptions {
    fn parse(mut section: Section) -> Result<Self, Error> {
        let pem = |text: String| {
            if text.contains("-----BEGIN") { Pem::Text(text) } else { Pem::File(text.into()) }
        };
        // OpenSSL's VERIFY_NONE is 0 and VERIFY_PEER is 1.
        let verify = section.integer("verify_mode", 0..=15)?.is_none_or(|mode| mode != 0);
        let options = Self {
            ca_file: section.string("ca_file")?.map(PathBuf::from),
            cert: section.string("cert")?.map(pem),
            key: section.string("key")?.map(pem),
            verify_hostname: section.boolean("verify_hostname")?.unwrap_or(true),
            verify,
        };
        if options.cert.is_some() != options.key.is_some() {
            return Err(section.refuse("cert", "given together with key"));
        }
        section.finish()?;
        Ok(options)
    }
}

impl SentinelOptions {
    fn parse(section: &mut Section) -> Result<Option<Self>, Error> {
        let list = section.value("sentinels");
        let name = section.string("name")?;
        let credentials = Credentials {
            username: section.string("sentinel_username")?,
            password: section.string("sentinel_password")?,
        };
        // A replica cannot take a write, so nothing here can run on one.
        section.word("role", &[("master", ()), ("primary", ())])?;
        let Some(list) = list else { return Ok(None) };
        let expected = "an Array of {host:, port:} Hashes";
        let Value::Array(list) = list else { return Err(section.refuse("sentinels", expected)) };
        let addresses = list
            .into_iter()
            .map(|item| {
                let mut item = Section::new("redis_options.sentinels", Some(item))?;
                let host = item.string("host")?.ok_or_else(|| section.refuse("sentinels", expected))?;
                let port = item.integer("port", 1..=65_535)?.unwrap_or(26_379) as u16;
                item.finish()?;
                Ok((host, port))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        if addresses.is_empty() {
            return Err(section.refuse("sentinels", expected));
        }
        let name = name.ok_or_else(|| {
            Error::new(
                ErrorKind::Configuration,
                "the option redis_options.name must name the sentinels' master",
            )
        })?;
        Ok(Some(Self { addresses, name, credentials }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<RedisOptions, Error> {
        RedisOptions::parse(Section::new("redis_options", Some(value)).unwrap(), None)
    }

    #[test]
    fn a_url_is_taken_apart() {
        let options = parse(json!({"url": "rediss://ann:p%40ss@example.org:7000/3"})).unwrap();
        assert_eq!(options.address, Address::Tcp("example.org".into(), 7000));
        assert_eq!(options.db, 3);
        assert_eq!(options.credentials.username.as_deref(), Some("ann"));
        assert_eq!(options.credentials.password.as_deref(), Some("p@ss"));
        assert!(options.tls.as_ref().is_some_and(|tls| tls.verify && tls.verify_hostname));
        assert_eq!(options.redacted(), "rediss://example.org:7000/3");
    }

    #[test]
    fn parts_override_the_url() {
        let options =
            parse(json!({"url": "redis://a:1/2", "host": "b", "port": 5, "db": 0, "password": "x", "timeout": 3, "read_timeout": 0.5}))
                .unwrap();
        assert_eq!(options.redacted(), "redis://b:5/0");
        assert_eq!(options.connect_timeout, Duration::from_secs(3));
        assert_eq!(options.read_timeout, Duration::from_millis(500));
        assert_eq!(parse(json!({"path": "/tmp/r.sock"})).unwrap().redacted(), "unix:///tmp/r.sock?db=0");
    }

    #[test]
    fn redis_url_is_the_default_and_no_more() {
        let section = |value| Section::new("redis_options", Some(value)).unwrap();
        let environment = Some("redis://env:1/4");
        let options = RedisOptions::parse(section(json!({"db": 2})), environment).unwrap();
        assert_eq!(options.redacted(), "redis://env:1/2");
        let options = RedisOptions::parse(section(json!({"host": "own"})), environment).unwrap();
        assert_eq!(options.redacted(), "redis://own:6379/0");
    }

    #[test]
    fn secrets_are_never_shown() {
        let options = parse(
            json!({"url": "redis://:hunter2@h", "ssl_params": {"cert": "-----BEGIN x", "key": "-----BEGIN hunter2"}}),
        );
        assert!(!format!("{:?}", options.unwrap()).contains("hunter2"));
        for value in
            [json!({"password": ["hunter2"]}), json!({"url": "http://hunter2"}), json!({"port": "hunter2"})]
        {
            let error = parse(value).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Configuration);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn sentinels_need_a_name() {
        let list = json!([{"host": "s1", "port": 26000}, {"host": "s2"}]);
        let options = parse(json!({"sentinels": list, "name": "mymaster", "role": "master"})).unwrap();
        assert_eq!(options.redacted(), "sentinel mymaster at s1:26000, s2:26379");
        assert!(parse(json!({"sentinels": list})).unwrap_err().message.contains("name"));
        assert!(parse(json!({"sentinels": [{"port": 1}], "name": "m"})).is_err());
        assert!(parse(json!({"role": "replica"})).is_err());
    }
}
