//! Decides which sentinel is asked for the master, and which of them is believed.

use crate::foundation::net::address::Address;
use crate::foundation::redis::redis_options::SentinelOptions;
use crate::foundation::runtime::sync::Mutex;
use redis::{RedisError, RedisResult, Value};

/// The sentinels of one engine, and their answers.
#[derive(Debug)]
pub struct Sentinels {
    /// Where they are, and what they are asked for.
    pub options: SentinelOptions,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The order in which they are asked.
    order: Vec<Address>,
    /// The highest configuration epoch seen. A sentinel with a lower one has missed a failover.
    epoch: u64,
    /// The sentinels that were not believed, or did not answer, since one was last believed.
    left_out: Vec<Address>,
    /// The last server that proved to be a master.
    master: Option<Address>,
    /// The last answer, right or wrong: which sentinel named which master.
    last: Option<(Address, Address)>,
}

/// The master that a sentinel names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its address.
    pub master: Address,
    /// The configuration epoch, which rises with each failover. It is 0 if the sentinel's user may not read it.
    pub epoch: u64,
}

impl Named {
    /// Reads the replies to `SENTINEL GET-MASTER-ADDR-BY-NAME` and `SENTINEL MASTER`.
    ///
    /// # Errors
    ///
    /// The sentinel refused a command, or does not know the master.
    pub fn read(replies: Vec<Value>) -> RedisResult<Self> {
        let mut replies = replies.into_iter();
        let address = match replies.next() {
            Some(Value::ServerError(error)) => return Err(error.into()),
            Some(Value::Array(parts)) => texts(&parts),
            _ => Vec::new(),
        };
        let ([host, port], Some(details)) = (&address[..], replies.next()) else { return Err(unknown()) };
        let port = port.parse().map_err(|_| unknown())?;
        let details = if let Value::Array(details) = &details { texts(details) } else { Vec::new() };
        let epoch = details.chunks(2).find(|pair| pair[0] == "config-epoch");
        let epoch = epoch.and_then(|pair| pair.get(1)?.parse().ok()).unwrap_or(0);
        Ok(Self { master: Address::Tcp(host.clone(), port), epoch })
    }
}

fn texts(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::BulkString(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    };
    values.iter().map(text).collect()
}

fn unknown() -> RedisError {
    std::io::Error::other("the sentinel does not know the master").into()
}

impl State {
    fn leave_out(&mut self, sentinel: &Address) {
        if !self.left_out.contains(sentinel) {
            self.left_out.push(sentinel.clone());
        }
    }

    /// Resets the epoch once no remaining sentinel knows of the latest failover: epochs start anew after `SENTINEL
    /// RESET`. One sentinel that is asked several times does not decide that.
    fn forget_epoch_if_alone(&mut self) {
        if self.order.iter().all(|known| self.left_out.contains(known)) {
            self.epoch = 0;
            self.left_out.clear();
        }
    }
}

impl Sentinels {
    /// Creates the sentinels of `options`, none of which has been asked.
    pub fn new(options: SentinelOptions) -> Self {
        let order = options.addresses.clone();
        let state = State { order, epoch: 0, left_out: Vec::new(), master: None, last: None };
        Self { options, state: Mutex::new(state) }
    }

    /// Returns the sentinels in the order in which to ask them.
    pub fn order(&self) -> Vec<Address> {
        self.state.lock().order.clone()
    }

    /// Records the answer of the sentinel at `sentinel`.
    ///
    /// # Errors
    ///
    /// Another sentinel knows of a later failover.
    pub fn hear(&self, sentinel: &Address, named: &Named) -> RedisResult<()> {
        let mut state = self.state.lock();
        state.last = Some((sentinel.clone(), named.master.clone()));
        if named.epoch < state.epoch {
            state.leave_out(sentinel);
            state.forget_epoch_if_alone();
            return Err(std::io::Error::other("another sentinel knows of a later failover").into());
        }
        state.epoch = named.epoch;
        state.left_out.clear();
        Ok(())
    }

    /// Records that the sentinel at `sentinel` named a true master. It is asked first from now on.
    pub fn was_right(&self, sentinel: &Address, master: &Address) {
        let mut state = self.state.lock();
        state.order.sort_by_key(|known| known != sentinel);
        state.master = Some(master.clone());
    }

    /// Records that the sentinel at `sentinel` did not answer, or named a server that is no master or cannot be
    /// reached. It is asked last from now on.
    pub fn was_wrong(&self, sentinel: &Address) {
        let mut state = self.state.lock();
        state.order.sort_by_key(|known| known == sentinel);
        state.leave_out(sentinel);
    }

    /// Whether `master` differs from the last server that proved to be a master.
    pub fn is_news(&self, master: &Address) -> bool {
        self.state.lock().master.as_ref() != Some(master)
    }

    /// Returns which sentinel last named which master, for errors.
    pub fn last_answer(&self) -> Option<String> {
        let state = self.state.lock();
        let (sentinel, master) = state.last.as_ref()?;
        Some(format!("the sentinel at {sentinel} named {master} as the master"))
    }
}

/// Whether the reply to `ROLE` is that of a master. `None` if the user may not run the command.
pub fn is_master(role: RedisResult<Value>) -> RedisResult<Option<bool>> {
    match role {
        Ok(Value::Array(parts)) => Ok(Some(texts(&parts).first().is_some_and(|role| role == "master"))),
        Ok(_) => Ok(None),
        Err(error) if error.code().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::parse_redis_value;

    fn address(port: u16) -> Address {
        Address::Tcp("s".into(), port)
    }

    fn sentinels() -> Sentinels {
        let list = serde_json::json!({"name": "m", "sentinels": [{"host": "s", "port": 1}, {"host": "s", "port": 2},
            {"host": "s", "port": 3}]});
        let section =
            crate::foundation::payload::option_reader::OptionReader::new("redis_options", Some(list))
                .unwrap();
        Sentinels::new(
            crate::foundation::redis::redis_options::RedisOptions::parse(section, None)
                .unwrap()
                .sentinel
                .unwrap(),
        )
    }

    fn reply(text: &str) -> Value {
        parse_redis_value(text.replace(' ', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn whoever_was_right_is_asked_first_and_whoever_was_wrong_last() {
        let sentinels = sentinels();
        sentinels.was_right(&address(2), &address(9));
        assert_eq!(sentinels.order(), [address(2), address(1), address(3)]);
        sentinels.was_wrong(&address(2));
        assert_eq!(sentinels.order(), [address(1), address(3), address(2)]);
        assert!(!sentinels.is_news(&address(9)) && sentinels.is_news(&address(8)));
    }

    #[test]
    fn who_missed_a_failover_is_not_believed_unless_all_have() {
        let sentinels = sentinels();
        let named = |epoch| Named { master: address(7), epoch };
        assert!(sentinels.hear(&address(1), &named(4)).is_ok());
        for _ in 0..5 {
            assert!(sentinels.hear(&address(2), &named(3)).is_err());
        }
        assert_eq!(sentinels.last_answer().unwrap(), "the sentinel at s:2 named s:7 as the master");
        assert!(sentinels.hear(&address(3), &named(3)).is_err());
        assert!(sentinels.hear(&address(2), &named(3)).is_err(), "the first one may still know of it");
        sentinels.was_wrong(&address(1));
        assert!(sentinels.hear(&address(3), &named(3)).is_err(), "that was the last sign of it");
        assert!(sentinels.hear(&address(2), &named(3)).is_ok());
    }

    #[test]
    fn replies_are_read_with_and_without_the_epoch() {
        let master = || reply("*2 $1 h $4 6379 ");
        let details = reply("*4 $4 name $1 m $12 config-epoch $1 5 ");
        let read = |epoch| Named { master: Address::Tcp("h".into(), 6379), epoch };
        assert_eq!(Named::read(vec![master(), details]).unwrap(), read(5));
        let refused = parse_redis_value(b"-NOPERM no\r\n").unwrap();
        assert_eq!(Named::read(vec![master(), refused.clone()]).unwrap(), read(0));
        assert_eq!(Named::read(vec![refused.clone(), refused]).unwrap_err().code(), Some("NOPERM"));
        assert!(Named::read(vec![reply("*-1 "), reply("*-1 ")]).is_err());
        assert!(Named::read(vec![]).is_err());
        assert_eq!(is_master(Ok(reply("*3 $6 master :0 *0 "))).unwrap(), Some(true));
        assert_eq!(is_master(Ok(reply("*1 $5 slave "))).unwrap(), Some(false));
    }
}
