//! The access to Redis: options, sockets, TLS, login, connections and their pool, Sentinel, Cluster, the clock of the
//! server, and the health of connections.

pub mod client_name;
pub mod clock;
pub mod cluster;
pub mod connection;
pub mod connector;
pub mod endpoint;
pub mod error_codes;
pub mod eviction;
pub mod group_consumer;
pub mod link;
#[cfg(test)]
#[cfg(feature = "live-tests")]
pub mod live_server;
pub mod logins;
pub mod master_watch;
pub mod opener;
pub mod pace;
pub mod pipeline;
pub mod pool;
pub mod read_cancel;
pub mod read_size;
pub mod record;
pub mod redis_options;
pub mod resp;
pub mod rights;
pub mod running;
pub mod sentinels;
pub mod server_check;
pub mod slots;
pub mod subscription;

#[cfg(test)]
pub mod fake_server;
