//! A redis-server for tests.

use crate::foundation::payload::option_reader::OptionReader;
use crate::foundation::redis::client_name::ClientNames;
use crate::foundation::redis::connector::Connector;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::redis_options::RedisOptions;
use redis::{Cmd, Value};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A redis-server with a folder of its own, which ends with it.
pub struct LiveServer {
    process: Child,
    folder: PathBuf,
    /// What a user gives to connect to it.
    pub redis_options: serde_json::Value,
    connections: Pool,
}

impl LiveServer {
    /// Starts a server, and waits until it is ready.
    pub fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("redis_ipc_live{}.{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", ""])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis_options = json!({ "path": folder.join("redis.sock") });
        let reader = OptionReader::new("", Some(redis_options.clone())).unwrap();
        let options = RedisOptions::parse(reader, None).unwrap();
        let connections = Pool::new(Arc::new(Connector::new(&options, ClientNames::new("live", "test"))), 1);
        let started = Self { process, folder, redis_options, connections };
        let deadline = Instant::now() + Duration::from_secs(20);
        while started.connections.run("", &redis::cmd("PING")).is_err() {
            assert!(Instant::now() < deadline, "redis-server did not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        started
    }

    /// Runs a command.
    pub fn run(&self, command: &Cmd) -> Value {
        self.connections.run("", command).unwrap()
    }
}

impl Drop for LiveServer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}
