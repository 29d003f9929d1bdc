//! The instances that had a request, as a dead letter tells them.

use crate::request_reply::membership::presence::Presence;
use serde_json::{Value, json};

/// The most instances that a dead letter names.
const MOST: usize = 16;

/// An instance that had a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub instance: String,
    /// Its host, if that is known.
    pub host: Option<String>,
    /// Its process, if that is known.
    pub pid: Option<u32>,
    /// Which delivery it got.
    pub delivery: u32,
}

impl Holder {
    /// Creates the holder `instance`, with what `known` tells of it.
    pub fn of(instance: &str, delivery: u32, known: &[Presence]) -> Self {
        let found = known.iter().find(|presence| presence.instance == instance);
        Self {
            instance: instance.to_owned(),
            host: found.map(|presence| presence.host.clone()),
            pid: found.map(|presence| presence.pid),
            delivery,
        }
    }

    fn read(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name)?.as_u64().and_then(|number| u32::try_from(number).ok());
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let (host, pid) = (text("host"), number("pid"));
        Some(Self { instance: text("instance")?, host, pid, delivery: number("delivery")? })
    }

    fn to_value(&self) -> Value {
        json!({ "instance": self.instance, "host": self.host, "pid": self.pid, "delivery": self.delivery })
    }

    fn describe(&self) -> String {
        match (&self.host, self.pid) {
            (Some(host), Some(pid)) => format!("the process {pid} on {host:?}"),
            _ => format!("the instance {:?}", self.instance),
        }
    }
}

/// The instances that had one request, the earliest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders(Vec<Holder>);

impl Holders {
    /// Reads them. Text that is not of this protocol has none.
    pub fn parse(json: &str) -> Self {
        let all: Vec<Value> = serde_json::from_str(json).unwrap_or_default();
        Self(all.iter().filter_map(Holder::read).collect())
    }

    /// Adds a holder, unless its id is not known, or it is the last one already. The earliest beyond [`MOST`] is
    /// removed.
    pub fn add(&mut self, holder: Holder) {
        if holder.instance.is_empty() || self.0.last().is_some_and(|last| last.instance == holder.instance) {
            return;
        }
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(holder);
    }

    /// Writes them.
    pub fn to_json(&self) -> String {
        Value::Array(self.0.iter().map(Holder::to_value).collect()).to_string()
    }

    /// Returns why their request is marked.
    pub fn reason(&self) -> String {
        let all: Vec<String> = self.0.iter().map(Holder::describe).collect();
        format!(
            "not answered when it was delivered again, so it may crash its processes; taken by {}",
            all.join(", then by ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(instance: &str, pid: u32) -> Presence {
        let (group, host) = ("child".to_owned(), "web-7".to_owned());
        Presence { group, instance: instance.to_owned(), host, pid, seen: 0, serves: true, lease: None }
    }

    #[test]
    fn the_instances_that_had_a_request_are_named_as_far_as_they_are_known() {
        let known = [known("a", 1), known("b", 2)];
        let mut holders = Holders::default();
        for (delivery, instance) in [(0, ""), (1, "a"), (1, "a"), (2, "b"), (3, "c")] {
            holders.add(Holder::of(instance, delivery, &known));
        }
        let json = json!([
            { "instance": "a", "host": "web-7", "pid": 1, "delivery": 1 },
            { "instance": "b", "host": "web-7", "pid": 2, "delivery": 2 },
            { "instance": "c", "host": null, "pid": null, "delivery": 3 },
        ]);
        assert_eq!(
            (holders.to_json(), Holders::parse(&json.to_string())),
            (json.to_string(), holders.clone())
        );
        assert_eq!(
            holders.reason().split_once("; ").unwrap().1,
            r#"taken by the process 1 on "web-7", then by the process 2 on "web-7", then by the instance "c""#
        );
        assert_eq!([Holders::parse("{"), Holders::parse("[1]")], [Holders::default(), Holders::default()]);
    }

    #[test]
    fn only_the_latest_are_named() {
        let mut holders = Holders::default();
        (0..40).for_each(|delivery| holders.add(Holder::of(&format!("i{delivery}"), delivery, &[])));
        assert_eq!((holders.0.len(), holders.0[0].delivery), (MOST, 24));
    }
}
