//! The options for reaching PostgreSQL, under the names of libpq.

use crate::error::{Error, ErrorKind};
use crate::foundation::net::address::Address;
use crate::foundation::net::tls::{Pem, TlsOptions};
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::postgres::settings_url;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const PORT: u16 = 5432;
/// Where the server puts its socket, by default and on Debian.
pub(super) const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The options of libpq that are known, and the environment variables for them.
const NAMES: [(&str, &str); 14] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("application_name", "PGAPPNAME"),
    ("hostaddr", "PGHOSTADDR"),
    ("passfile", "PGPASSFILE"),
    ("channel_binding", "PGCHANNELBINDING"),
];
/// What DATABASE_URL says to Active Record only.
const OF_RAILS: [&str; 14] = [
    "adapter",
    "advisory_locks",
    "checkout_timeout",
    "encoding",
    "idle_timeout",
    "min_messages",
    "pool",
    "prepared_statements",
    "reaping_frequency",
    "schema_search_path",
    "statement_limit",
    "timeout",
    "max_connections",
    "min_connections",
];

/// How much TLS is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// None.
    Disable,
    /// If the server has it.
    Prefer,
    /// Always.
    Require,
    /// Always, with a certificate of a known authority.
    VerifyCa,
    /// Always, with such a certificate that names the host.
    VerifyFull,
}

/// Whether a login by a password must prove that nobody is in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always.
    Require,
}

/// A password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Keeps this one.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[FILTERED]")
    }
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The servers, of which the first that can be written to is taken.
    pub addresses: Vec<Address>,
    /// The user.
    pub user: String,
    /// The password, if there is one.
    pub password: Option<Password>,
    /// Where passwords are looked up if there is none.
    pub password_file: Option<PathBuf>,
    /// The database.
    pub database: String,
    /// How much TLS is wanted.
    pub ssl_mode: SslMode,
    /// What TLS checks.
    pub tls: TlsOptions,
    /// Whether a login must prove that nobody is in between.
    pub channel_binding: ChannelBinding,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// The name that PostgreSQL shows for the connection.
    pub application_name: String,
    /// Whether connections may replicate, for which the user needs a right.
    pub replicates: bool,
}

impl Settings {
    /// Reads the section `connection`: `url`, and options by the names of libpq, which take precedence; `environment` has
    /// the variables that count where neither says anything.
    ///
    /// # Errors
    ///
    /// An option is unknown, or its value makes no sense.
    pub fn parse(mut section: OptionReader) -> Result<Self, Error> {
        let url = section.string("url").map_err(|_| refuse("url must be a String"))?;
        let environment = strings(section.value("environment"));
        let mut given = strings(section.value("options"));
        section.finish()?;
        if let Some(url) = url {
            let said = settings_url::parse(&url).map_err(refuse)?;
            for (name, value) in said.into_iter().filter(|(name, _)| !OF_RAILS.contains(&name.as_str())) {
                given.entry(name).or_insert(value);
            }
        }
        if let Some(name) = given.keys().find(|name| !NAMES.iter().any(|(known, _)| known == name)) {
            let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(refuse(format!("{name} is unknown; known here: {}", known.join(", "))));
        }
        for (name, variable) in NAMES {
            if let Some(value) = environment.get(variable) {
                given.entry(name.to_owned()).or_insert_with(|| value.clone());
            }
        }
        let mut take = |name: &str| given.remove(name).filter(|value| !value.is_empty());
        let user = take("user").or_else(|| environment.get("USER").cloned());
        let user = user.ok_or_else(|| refuse("no user is given: put it into the URL, or set PGUSER"))?;
        let (ssl_mode, tls, channel_binding) = tls(&mut take)?;
        let usual_file = environment.get("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
        Ok(Self {
            addresses: addresses(take("hostaddr").or_else(|| take("host")), take("port"))?,
            password: take("password").map(Password),
            password_file: take("passfile").map(PathBuf::from).or(usual_file),
            database: take("dbname").unwrap_or_else(|| user.clone()),
            user,
            ssl_mode,
            tls,
            channel_binding,
            connect_timeout: timeout(take("connect_timeout"))?,
            application_name: take("application_name").unwrap_or_else(|| "redis_ipc".to_owned()),
            replicates: true,
        })
    }

    /// Returns the servers and the database, without credentials.
    pub fn redacted(&self) -> String {
        let hosts: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        format!("postgres://{}/{}", hosts.join(","), self.database)
    }
}

fn tls(
    take: &mut impl FnMut(&str) -> Option<String>,
) -> Result<(SslMode, TlsOptions, ChannelBinding), Error> {
    let roots = take("sslrootcert");
    let mut mode = match take("sslmode").as_deref() {
        None | Some("prefer" | "allow") => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(_) => {
            return Err(refuse("sslmode must be disable, allow, prefer, require, verify-ca or verify-full"));
        }
    };
    // As libpq has it.
    if mode == SslMode::Require && roots.is_some() {
        mode = SslMode::VerifyCa;
    }
    let file = |path: String| Pem::File(path.into());
    let (cert, key) = (take("sslcert").map(file), take("sslkey").map(file));
    if cert.is_some() != key.is_some() {
        return Err(refuse("sslcert and sslkey must be given together"));
    }
    let ca_file = roots.filter(|path| path != "system").map(PathBuf::from);
    let verify = mode >= SslMode::VerifyCa;
    let binding = match take("channel_binding").as_deref() {
        None | Some("prefer") => ChannelBinding::Prefer,
        Some("disable") => ChannelBinding::Disable,
        Some("require") => ChannelBinding::Require,
        Some(_) => return Err(refuse("channel_binding must be disable, prefer or require")),
    };
    let options = TlsOptions {
        ca_file,
        cert,
        key,
        verify_hostname: mode == SslMode::VerifyFull,
        verify,
        proves_key: binding == ChannelBinding::Require,
    };
    Ok((mode, options, binding))
}

fn addresses(hosts: Option<String>, ports: Option<String>) -> Result<Vec<Address>, Error> {
    let hosts = hosts.unwrap_or_else(|| {
        let folder = SOCKETS.iter().find(|folder| std::path::Path::new(folder).is_dir());
        folder.map_or("localhost", |folder| folder).to_owned()
    });
    let ports: Vec<&str> = ports.as_deref().map_or_else(Vec::new, |ports| ports.split(',').collect());
    let one = |(index, host): (usize, &str)| {
        let port = ports.get(index).or_else(|| ports.first()).filter(|port| !port.is_empty());
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| refuse("port must be a number")))?;
        Ok(match host {
            "" => Address::Tcp("localhost".to_owned(), port),
            path if path.starts_with('/') => Address::Unix(format!("{path}/.s.PGSQL.{port}").into()),
            host => Address::Tcp(host.trim_matches(['[', ']']).to_owned(), port),
        })
    };
    hosts.split(',').enumerate().map(one).collect()
}

fn timeout(given: Option<String>) -> Result<Duration, Error> {
    let Some(given) = given else { return Ok(CONNECT_TIMEOUT) };
    let seconds = given.parse::<u64>().ok().filter(|seconds| *seconds <= 3_600);
    let seconds =
        seconds.ok_or_else(|| refuse("connect_timeout must be a whole number of seconds, at most 3600"))?;
    // To libpq 0 means for ever, which is too long to start or to stop.
    Ok(if seconds == 0 { CONNECT_TIMEOUT } else { Duration::from_secs(seconds) })
}

fn strings(value: Option<Value>) -> HashMap<String, String> {
    let Some(Value::Object(values)) = value else { return HashMap::new() };
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    };
    values.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
}

/// No value is shown: it may hold a password.
fn refuse(why: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Configuration, format!("the connection to PostgreSQL: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(section: Value) -> Result<Settings, String> {
        let reader = OptionReader::new("connection", Some(section)).unwrap();
        Settings::parse(reader).map_err(|error| error.message)
    }

    #[test]
    fn a_url_says_all_of_it() {
        let url = "postgres://me:s%40crt@db.example:6432/app?sslmode=verify-full&sslrootcert=/ca.pem&pool=5";
        let settings = parse(json!({ "url": url, "environment": { "PGDATABASE": "other" } })).unwrap();
        assert_eq!(settings.addresses, [Address::Tcp("db.example".into(), 6432)]);
        assert_eq!((settings.user.as_str(), settings.database.as_str()), ("me", "app"));
        assert_eq!(settings.password.as_ref().map(Password::as_bytes), Some(&b"s@crt"[..]));
        assert_eq!((settings.ssl_mode, settings.tls.verify_hostname), (SslMode::VerifyFull, true));
        assert_eq!(settings.redacted(), "postgres://db.example:6432/app");
        assert!(!format!("{settings:?}").contains("s@crt"));
    }

    #[test]
    fn what_nothing_says_comes_from_the_environment() {
        let environment =
            json!({ "PGHOST": "/run/pg,b", "PGPORT": "5433", "PGUSER": "me", "PGSSLMODE": "disable" });
        let settings = parse(json!({ "environment": environment })).unwrap();
        assert_eq!((settings.password_file, settings.channel_binding), (None, ChannelBinding::Prefer));
        let expected = [Address::Unix("/run/pg/.s.PGSQL.5433".into()), Address::Tcp("b".into(), 5433)];
        assert_eq!(settings.addresses, expected);
        assert_eq!((settings.database.as_str(), settings.ssl_mode), ("me", SslMode::Disable));
        let home = json!({ "USER": "me", "HOME": "/home/me", "PGCHANNELBINDING": "require" });
        let settings = parse(json!({ "environment": home })).unwrap();
        assert_eq!(settings.password_file, Some("/home/me/.pgpass".into()));
        assert!(settings.channel_binding == ChannelBinding::Require && settings.tls.proves_key);
        let options = json!({ "host": "::1", "user": "you", "port": 7 });
        let settings = parse(json!({ "options": options, "environment": environment })).unwrap();
        assert_eq!(settings.addresses, [Address::Tcp("::1".into(), 7)]);
        assert_eq!(settings.user, "you");
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_not_shown() {
        for (section, expected) in [
            (json!({ "options": { "user": "a", "sslmode": "secret" } }), "sslmode must be"),
            (json!({ "options": { "user": "a", "prot": "secret" } }), "prot is unknown"),
            (json!({ "options": { "user": "a", "channel_binding": "secret" } }), "channel_binding must be"),
            (json!({ "options": { "user": "a", "pool": "secret" } }), "pool is unknown"),
            (json!({ "options": { "user": "a", "port": "secret" } }), "port must be a number"),
            (json!({ "options": { "user": "a", "connect_timeout": "secret" } }), "connect_timeout must be"),
            (json!({ "options": { "user": "a", "sslcert": "secret" } }), "given together"),
            (json!({ "url": "http://secret" }), "begin with postgres"),
            (json!({}), "no user is given"),
        ] {
            let message = parse(section).unwrap_err();
            assert!(message.contains(expected) && !message.contains("secret"), "{message}");
        }
    }
}
