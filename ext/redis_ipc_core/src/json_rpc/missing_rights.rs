//! Rights that the user lacks for commands whose refusal ends no call and no connection.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::runtime::sync::Mutex;
use redis::Value;
use std::collections::BTreeSet;

/// The consequence for a client that may not ask what became of its requests.
pub const UNEXPLAINED: &str = "a TimeoutError cannot say what became of the request";

/// The rights that were missing so far.
#[derive(Debug, Default)]
pub struct MissingRights(Mutex<BTreeSet<String>>);

impl MissingRights {
    /// Tells the user once that `rule` is missing, and so `consequence`, if `reply` is a refusal for want of a right.
    pub fn note(&self, reply: &Value, rule: String, consequence: &str, endpoint: &Endpoint) {
        if matches!(reply, Value::ServerError(error) if error.code() == "NOPERM") {
            self.report(rule, consequence, endpoint);
        }
    }

    /// Tells the user once that `rule` is missing, and so `consequence`.
    pub fn report(&self, rule: String, consequence: &str, endpoint: &Endpoint) {
        let message = format!("{consequence}: the user needs ({rule})");
        if self.0.lock().insert(rule) {
            endpoint.report(Error::new(ErrorKind::Command(Fate::Unknown), message));
        }
    }
}
