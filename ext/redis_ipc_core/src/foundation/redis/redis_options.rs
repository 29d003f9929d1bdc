//! The options for reaching Redis, under redis-rb's names.

use crate::error::Error;
use crate::foundation::net::address::Address;
use crate::foundation::net::attempt::Attempt;
use crate::foundation::net::tls::{Pem, TlsOptions};
use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::redis::logins::Logins;
use redis::IntoConnectionInfo;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_URL: &str = "redis://127.0.0.1:6379/0";
const DEFAULT_PORT: u64 = 6379;
const SENTINEL_PORT: u64 = 26_379;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Options of redis-rb that mean nothing to this client. It accepts them so that one hash serves both.
const NOT_OURS: [&str; 15] = [
    "tcp_keepalive",
    "reconnect_delay",
    "reconnect_delay_max",
    "driver",
    "id",
    "protocol",
    "reconnect_attempts",
    "inherit_socket",
    "custom",
    "middlewares",
    "circuit_breaker",
    "replica",
    "replica_affinity",
    "slow_command_timeout",
    "concurrency",
];

impl Address {
    /// Reads a host and a port, as an element of the list `name`; `refuse` tells what is expected there.
    fn parse(item: Value, port: u64, name: &str, refuse: impl Fn() -> Error) -> Result<Self, Error> {
        let mut item = OptionReader::new(&format!("redis_options.{name}"), Some(item))?;
        let host = item.string("host")?.ok_or_else(refuse)?;
        let port = item.integer_or_text("port", 1..=65_535)?.unwrap_or(port) as u16;
        item.finish()?;
        Ok(Self::Tcp(host, port))
    }
}

/// A user name and a password. Neither is ever printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user. `None` is the default user.
    pub username: Option<String>,
    /// The password. With `None` no AUTH is sent.
    pub password: Option<String>,
}

/// A user name or a password, as configured. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The text itself.
    Known(String),
    /// A value that the program supplies at each login.
    Asked,
}

impl Secret {
    /// Reads a String, or the Hash that stands for a value that the program supplies at each login.
    fn parse(section: &mut OptionReader, name: &'static str) -> Result<Option<Self>, Error> {
        match section.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(Secret::Known(text))),
            Some(value) if value == json!({"callable": true}) => Ok(Some(Secret::Asked)),
            Some(_) => Err(section.refuse(name, "a String, or an object that responds to call")),
        }
    }

    fn known(&self) -> Option<&str> {
        match self {
            Secret::Known(text) => Some(text),
            Secret::Asked => None,
        }
    }
}

/// The configured login for a server. It is never printed.
#[derive(Clone, Default)]
pub struct Login {
    /// The names of the options, for errors.
    names: LoginNames,
    username: Option<Secret>,
    password: Option<Secret>,
    logins: Option<Logins>,
}

/// The names of the options for the user and the password.
type LoginNames = (&'static str, &'static str);

const OF_SERVER: LoginNames = ("username", "password");
const OF_SENTINEL: LoginNames = ("sentinel_username", "sentinel_password");

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.password.is_some() { "[FILTERED]" } else { "none" })
    }
}

impl Login {
    /// Reads the options of `names`. `url` holds the values of the URL.
    fn parse(section: &mut OptionReader, names: LoginNames, url: Credentials) -> Result<Self, Error> {
        let (username, password) = names;
        Ok(Self {
            names,
            username: Secret::parse(section, username)?.or(url.username.map(Secret::Known)),
            password: Secret::parse(section, password)?.or(url.password.map(Secret::Known)),
            logins: None,
        })
    }

    /// Returns the credentials to log in with now. It requests them from the program where the options say so.
    ///
    /// # Errors
    ///
    /// The program does not supply them within `attempt`.
    pub fn credentials(&self, attempt: &Attempt) -> io::Result<Credentials> {
        let Some(password) = &self.password else { return Ok(Credentials::default()) };
        let known = self.username.as_ref().and_then(Secret::known);
        let (username_option, password_option) = self.names;
        let mut names = Vec::new();
        names.extend((self.username == Some(Secret::Asked)).then_some(username_option));
        names.extend((*password == Secret::Asked).then_some(password_option));
        let mut asked = match &self.logins {
            _ if names.is_empty() => Vec::new(),
            Some(logins) => logins.ask(&names, known.unwrap_or("default"), attempt)?,
            None => return Err(io::Error::other("no program supplies the password")),
        }
        .into_iter();
        let mut take = |secret: &Secret| secret.known().map(str::to_owned).or_else(|| asked.next());
        Ok(Credentials { username: self.username.as_ref().and_then(&mut take), password: take(password) })
    }
}

/// The sentinels, which are asked for the master's address.
#[derive(Debug, Clone)]
pub struct SentinelOptions {
    /// The sentinels' addresses, tried in turn.
    pub addresses: Vec<Address>,
    /// The master's name.
    pub name: String,
    /// How to log in to the sentinels.
    pub login: Login,
}

/// The nodes of a Redis Cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Nodes that are asked for the others, tried in turn.
    pub seeds: Vec<Address>,
    /// The host name under which every node is reached, instead of those that the cluster tells.
    pub fixed_host: Option<String>,
}

/// The options for reaching Redis.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// The address, unless `sentinel` or `cluster` is used.
    pub address: Address,
    /// The database number.
    pub db: i64,
    /// How to log in.
    pub login: Login,
    /// TLS, if used.
    pub tls: Option<TlsOptions>,
    /// Sentinels, if used.
    pub sentinel: Option<SentinelOptions>,
    /// The cluster, if used.
    pub cluster: Option<ClusterOptions>,
    /// How long connecting may take, and how long a call tries to reach Redis before it gives up.
    pub connect_timeout: Duration,
    /// How long Redis may take to answer a command that does not block.
    pub read_timeout: Duration,
    /// How long a single write may take.
    pub write_timeout: Duration,
}

impl RedisOptions {
    /// Reads redis-rb's options. `environment_url` (REDIS_URL) applies if neither url, host nor path is given.
    pub(crate) fn parse(mut section: OptionReader, environment_url: Option<&str>) -> Result<Self, Error> {
        let nodes = Nodes::parse(&mut section)?;
        let url = section.string("url")?;
        let host = section.string("host")?;
        let path = section.string("path")?;
        if nodes.is_some() && (url.is_some() || host.is_some() || path.is_some()) {
            return Err(section.refuse("cluster", "given without url, host and path"));
        }
        let given = url.or_else(|| {
            let by_parts = host.is_some() || path.is_some() || nodes.is_some();
            environment_url.filter(|url| !by_parts && !url.is_empty()).map(str::to_owned)
        });
        let mut from_url = FromUrl::parse(given.as_deref().unwrap_or(DEFAULT_URL), "url", &section)?;
        let cluster = nodes.map(|nodes| {
            (from_url.credentials, from_url.tls) = (nodes.credentials, nodes.tls);
            nodes.cluster
        });
        let FromUrl { address, db, credentials, tls } = from_url;

        let port = section.integer_or_text("port", 1..=65_535)?.map(|port| port as u16);
        let address = match (path, address) {
            (Some(path), _) => Address::Unix(path.into()),
            (None, Address::Tcp(url_host, url_port)) => {
                Address::Tcp(host.unwrap_or(url_host), port.unwrap_or(url_port))
            }
            (None, unix) => unix,
        };
        let login = Login::parse(&mut section, OF_SERVER, credentials)?;
        let schemes = [("redis", Some(false)), ("rediss", Some(true)), ("unix", None)];
        let scheme = section.word("scheme", &schemes)?.flatten();
        let ssl = section.boolean("ssl")?.or(scheme);
        let tls_options = TlsOptions::parse(section.section("ssl_params")?)?;
        let sentinel = SentinelOptions::parse(&mut section)?;
        let db = section.integer_or_text("db", 0..=100_000)?.map_or(db, |db| db as i64);
        let timeout = section.seconds("timeout", LONGEST_TIMEOUT)?.unwrap_or(DEFAULT_TIMEOUT);
        let mut limit = |name| Ok(section.seconds(name, LONGEST_TIMEOUT)?.unwrap_or(timeout));
        let options = Self {
            address,
            login,
            db,
            tls: ssl.unwrap_or(tls).then_some(tls_options),
            sentinel,
            cluster,
            connect_timeout: limit("connect_timeout")?,
            read_timeout: limit("read_timeout")?,
            write_timeout: limit("write_timeout")?,
        };
        section.ignore(&NOT_OURS);
        if options.cluster.is_some() && options.sentinel.is_some() {
            return Err(section.refuse("cluster", "given without sentinels"));
        }
        if options.cluster.is_some() && options.db != 0 {
            return Err(section.refuse("db", "0: a cluster has no other"));
        }
        section.finish()?;
        Ok(options)
    }

    /// Uses `logins` for the values that the program supplies at each login.
    pub fn ask(&mut self, logins: Logins) {
        let sentinels = self.sentinel.iter_mut().map(|sentinel| &mut sentinel.login);
        sentinels.chain([&mut self.login]).for_each(|login| login.logins = Some(logins.clone()));
    }

    /// Returns the address as a URL without credentials, for errors and logs.
    pub fn redacted(&self) -> String {
        if let Some(sentinel) = &self.sentinel {
            let hosts: Vec<String> = sentinel.addresses.iter().map(Address::to_string).collect();
            return format!("sentinel {} at {}", sentinel.name, hosts.join(", "));
        }
        if let Some(cluster) = &self.cluster {
            let seeds: Vec<String> = cluster.seeds.iter().map(Address::to_string).collect();
            return format!("cluster at {}", seeds.join(", "));
        }
        match &self.address {
            Address::Unix(path) => format!("unix://{}?db={}", path.display(), self.db),
            tcp => format!("{}://{tcp}/{}", if self.tls.is_some() { "rediss" } else { "redis" }, self.db),
        }
    }
}

/// Whether a password in the URL may be cut. What follows `#`, `/` or `?` would be parsed as another part, and a
/// piece of the password as the host, which errors show.
fn has_raw_characters(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    if rest.contains('#') || scheme == "unix" {
        return rest.contains('#');
    }
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    rest.matches('@').count() > authority.matches('@').count().min(1)
}

struct FromUrl {
    address: Address,
    db: i64,
    credentials: Credentials,
    tls: bool,
}

impl FromUrl {
    /// Parses `url`, the value of the option `name`.
    fn parse(url: &str, name: &str, section: &OptionReader) -> Result<Self, Error> {
        if has_raw_characters(url) {
            let expected = "a URL whose user name and password have their special characters percent-encoded \
                            (@ is %40, # is %23, / is %2F, ? is %3F); or give username and password as options";
            return Err(section.refuse(name, expected));
        }
        // redis-rs parses only the parts. TLS is set up here.
        let plain = url.strip_prefix("rediss://").map(|rest| format!("redis://{rest}"));
        let tls = plain.is_some();
        let info = plain.as_deref().unwrap_or(url).into_connection_info();
        let info = info.map_err(|_| section.refuse(name, "a redis://, rediss:// or unix:// URL"))?;
        let address = match info.addr() {
            redis::ConnectionAddr::Tcp(host, port) => Address::Tcp(host.clone(), *port),
            redis::ConnectionAddr::Unix(path) => Address::Unix(path.clone()),
            _ => return Err(section.refuse(name, "a redis://, rediss:// or unix:// URL")),
        };
        let settings = info.redis_settings();
        let credentials = Credentials {
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
        };
        Ok(Self { address, db: settings.db(), credentials, tls })
    }
}

/// The servers of the option `cluster` (in redis-rb 5 `nodes`).
struct Nodes {
    cluster: ClusterOptions,
    credentials: Credentials,
    tls: bool,
}

impl Nodes {
    fn parse(section: &mut OptionReader) -> Result<Option<Self>, Error> {
        let expected = "an Array of redis:// URLs or {host:, port:} Hashes of nodes";
        let (cluster, nodes) = (section.value("cluster"), section.value("nodes"));
        let fixed_host = section.string("fixed_hostname")?;
        let name = if cluster.is_some() { "cluster" } else { "nodes" };
        let Some(list) = cluster.or(nodes) else { return Ok(None) };
        let list = if let Value::Array(list) = list { list } else { vec![list] };
        let mut all = Self {
            cluster: ClusterOptions { seeds: Vec::with_capacity(list.len()), fixed_host },
            credentials: Credentials::default(),
            tls: false,
        };
        for item in list {
            match item {
                Value::String(url) => all.add_url(&url, name, section)?,
                Value::Object(_) => {
                    let seed = Address::parse(item, DEFAULT_PORT, name, || section.refuse(name, expected));
                    all.cluster.seeds.push(seed?);
                }
                _ => return Err(section.refuse(name, expected)),
            }
        }
        if all.cluster.seeds.is_empty() {
            return Err(section.refuse(name, expected));
        }
        Ok(Some(all))
    }

    /// Adds a node. Login and TLS come from the first URL that has them, because all nodes share them.
    fn add_url(&mut self, url: &str, name: &str, section: &OptionReader) -> Result<(), Error> {
        let url = FromUrl::parse(url, name, section)?;
        if url.db != 0 {
            return Err(
                section.refuse(name, "an Array of URLs without a database number: a cluster has only 0")
            );
        }
        self.tls |= url.tls;
        if self.credentials.password.is_none() {
            self.credentials = url.credentials;
        }
        self.cluster.seeds.push(url.address);
        Ok(())
    }
}

impl TlsOptions {
    fn parse(mut section: OptionReader) -> Result<Self, Error> {
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
            proves_key: false,
        };
        if options.cert.is_some() != options.key.is_some() {
            return Err(section.refuse("cert", "given together with key"));
        }
        section.finish()?;
        Ok(options)
    }
}

impl SentinelOptions {
    fn parse(section: &mut OptionReader) -> Result<Option<Self>, Error> {
        let list = section.value("sentinels");
        let name = section.string("name")?;
        let login = Login::parse(section, OF_SENTINEL, Credentials::default())?;
        // A replica cannot accept a write, so this library cannot run on one.
        section.word("role", &[("master", ()), ("primary", ())])?;
        let Some(list) = list else { return Ok(None) };
        let expected = "an Array of {host:, port:} Hashes";
        let Value::Array(list) = list else { return Err(section.refuse("sentinels", expected)) };
        let refuse = || section.refuse("sentinels", expected);
        let one = |item| Address::parse(item, SENTINEL_PORT, "sentinels", refuse);
        let addresses = list.into_iter().map(one).collect::<Result<Vec<_>, Error>>()?;
        if addresses.is_empty() {
            return Err(refuse());
        }
        let name = name.ok_or_else(|| section.refuse("name", "the name of the sentinels' master"))?;
        Ok(Some(Self { addresses, name, login }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::foundation::runtime::reports::{Fetched, Mailbox};
    use serde_json::json;

    fn parse(value: Value) -> Result<RedisOptions, Error> {
        RedisOptions::parse(OptionReader::new("redis_options", Some(value)).unwrap(), None)
    }

    fn attempt() -> Attempt {
        Attempt::new(Duration::from_secs(60), &Default::default())
    }

    fn known(options: &RedisOptions) -> (Option<String>, Option<String>) {
        let credentials = options.login.credentials(&attempt()).unwrap();
        (credentials.username, credentials.password)
    }

    #[test]
    fn special_characters_of_a_password_are_refused_and_not_shown() {
        for url in [
            "redis://:s3cr#t@h:1",
            "redis://:12#t@h:1",
            "redis://ann:77/x@h:1/0",
            "redis://ann:77?x@h:1",
            "redis://:a@b@h:1",
            "redis://:s3cr@h#t@h:1",
            "rediss://s3cr#@h",
            "unix:///s.sock?pass=s3cr#t",
        ] {
            let error = parse(json!({"url": url})).unwrap_err();
            assert!(error.message.starts_with("the option redis_options.url must be a URL whose"), "{error}");
            assert!(!error.message.contains("s3cr"), "{error}");
        }
        for url in ["redis://ann:p%40%23%2Fss@h:1/2?protocol=2", "unix:///run/redis@1/s.sock", "redis://h"] {
            assert!(parse(json!({"url": url})).is_ok(), "{url}");
        }
    }

    #[test]
    fn numbers_may_be_texts_as_the_environment_gives_them() {
        let options = parse(json!({"host": "h", "port": "7000", "db": "3"})).unwrap();
        assert_eq!(options.redacted(), "redis://h:7000/3");
        for wrong in [json!({"port": "0"}), json!({"port": "7000x"}), json!({"db": ""}), json!({"port": 1.5})]
        {
            assert!(parse(wrong).is_err());
        }
    }

    #[test]
    fn the_scheme_says_whether_it_is_tls_unless_ssl_does() {
        let tls = |value| parse(value).unwrap().tls.is_some();
        assert!(tls(json!({"host": "h", "scheme": "rediss"})));
        assert!(!tls(json!({"host": "h", "scheme": "rediss", "ssl": false})));
        assert!(!tls(json!({"path": "/s.sock", "scheme": "unix"})));
        assert!(parse(json!({"scheme": "http"})).is_err());
    }

    #[test]
    fn what_the_program_gives_is_asked_for_at_each_login() {
        let callable = json!({"callable": true});
        let mut options =
            parse(json!({"username": "ann", "password": callable, "name": "m", "sentinels": [{"host": "s"}],
                "sentinel_username": callable, "sentinel_password": callable}))
            .unwrap();
        assert!(options.login.credentials(&attempt()).is_err(), "there is nobody to ask");
        let requests = Mailbox::default();
        let logins = Logins::new(&requests);
        options.ask(logins);
        let answer = |names: &[&str], values: &[&str]| {
            let (_keep, never) = crossbeam_channel::bounded(1);
            let Fetched::Message(request) = requests.fetch(&never) else { panic!("none") };
            assert_eq!(request.names, names);
            request.answer(values.iter().map(|value| (*value).to_owned()).collect());
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                answer(&["password"], &["one"]);
                answer(&["password"], &["two"]);
                answer(&["sentinel_username", "sentinel_password"], &["bob", "three"]);
            });
            assert_eq!(known(&options), (Some("ann".into()), Some("one".into())));
            assert_eq!(known(&options), (Some("ann".into()), Some("two".into())));
            let credentials = options.sentinel.as_ref().unwrap().login.credentials(&attempt()).unwrap();
            assert_eq!(credentials.username.as_deref(), Some("bob"));
            assert_eq!(credentials.password.as_deref(), Some("three"));
        });
        assert!(parse(json!({"password": {"callable": false}})).is_err());
        assert!(!format!("{options:?}").contains("ann"));
    }

    #[test]
    fn a_url_is_taken_apart() {
        let options = parse(json!({"url": "rediss://ann:p%40ss@example.org:7000/3"})).unwrap();
        assert_eq!(options.address, Address::Tcp("example.org".into(), 7000));
        assert_eq!(options.db, 3);
        assert_eq!(known(&options), (Some("ann".into()), Some("p@ss".into())));
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
        let section = |value| OptionReader::new("redis_options", Some(value)).unwrap();
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
    fn the_nodes_of_a_cluster_are_urls_or_hosts() {
        let options =
            parse(json!({"cluster": ["rediss://ann:s3cret@a:7000", {"host": "b", "port": 7001}]})).unwrap();
        let cluster = options.cluster.as_ref().unwrap();
        assert_eq!(cluster.seeds, [Address::Tcp("a".into(), 7000), Address::Tcp("b".into(), 7001)]);
        assert_eq!(known(&options).0.as_deref(), Some("ann"));
        assert!(options.tls.is_some());
        assert_eq!(options.redacted(), "cluster at a:7000, b:7001");
        assert!(parse(json!({"nodes": ["redis://a:7000/0"], "db": 0, "replica": false})).is_ok());
    }

    #[test]
    fn a_cluster_has_one_database_and_no_sentinels() {
        let refused = |value| parse(value).unwrap_err().message;
        assert!(refused(json!({"cluster": ["redis://a:1"], "db": 1})).contains("redis_options.db"));
        assert!(refused(json!({"cluster": ["redis://a:1/2"]})).contains("redis_options.cluster"));
        assert!(refused(json!({"nodes": []})).contains("redis_options.nodes"));
        assert!(refused(json!({"cluster": [7]})).contains("redis_options.cluster"));
        assert!(refused(json!({"cluster": ["redis://a:1"], "url": "redis://b"})).contains("url"));
        let both = json!({"cluster": ["redis://a:1"], "sentinels": [{"host": "s"}], "name": "m"});
        assert!(refused(both).contains("sentinels"));
        let from_environment = RedisOptions::parse(
            OptionReader::new("redis_options", Some(json!({"cluster": ["redis://a:1"]}))).unwrap(),
            Some("redis://x:1/4"),
        );
        assert_eq!(from_environment.unwrap().db, 0);
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
