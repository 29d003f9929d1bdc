//! The queries that an observer sends: read commands only.

use crate::error::Error;
use crate::events::observing as events;
use crate::foundation::payload::key_part;
use crate::foundation::payload::stream_entry::StreamId;
use crate::json_rpc::observing::Names;
use crate::observer::answer::Shape;
use crate::request_reply::observing::Keys;
use redis::Cmd;
use std::time::Duration;

/// The most rows of a list of instances that are read, because any client that may show presence can add any number.
const MOST_ROWS: usize = 50_000;
/// The most entries of an inbox that are counted as taken.
const MOST_TAKEN: usize = 500;
/// The most requests that one tap returns.
const MOST_TAPPED: usize = 100;

/// Returns about the inbox KEYS[1] and its group ARGV[1], without sending an entry:
///
/// - how many entries it has,
/// - how many of them were taken and not given back (by an idle time of a week), or -1 if these are more than ARGV[2],
/// - how many ids are pending, of which some may be gone from the inbox,
/// - the id of the oldest entry that waits, or nil,
/// - and whether the group has ever been there.
///
/// Redis's own `lag` is no substitute: it is nil once an entry was deleted, and an answered request is.
const INBOX: &str = r"
local length = redis.call('XLEN', KEYS[1])
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then return {length, 0, 0, false, 0} end
local group
for _, flat in ipairs(groups) do
  local facts = {}
  for i = 1, #flat, 2 do facts[flat[i]] = flat[i + 1] end
  if facts.name == ARGV[1] then group = facts end
end
local taken, from = 0, '-'
if group and length > 0 then
  from = '(' .. group['last-delivered-id']
  taken = #redis.call('XRANGE', KEYS[1], '-', group['last-delivered-id'], 'COUNT', tonumber(ARGV[2]) + 1)
end
local oldest = length > 0 and redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 1)[1]
if taken > 0 then
  local back = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', 604800000, '-', '+', 100)
  for i = #back, 1, -1 do
    local entry = redis.call('XRANGE', KEYS[1], back[i][1], back[i][1])[1]
    if entry then taken, oldest = taken - 1, entry end
  end
end
if taken > tonumber(ARGV[2]) then taken = -1 end
return {length, taken, group and group.pending or 0, oldest and oldest[1], group and 1 or 0}
";

/// Returns entries of the inbox KEYS[1] from ARGV[1] on, at most ARGV[2]: the id of each, and who sent it and when it
/// expires, without its content, which may have megabytes.
const REQUESTS: &str = r"
local wanted, found, from, left = {id = 1, source_group = 1, ttl = 1}, {}, ARGV[1], tonumber(ARGV[2])
while left > 0 do
  local page = math.min(left, 10)
  local rows = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', page)
  for _, row in ipairs(rows) do
    local fields = {}
    for i = 1, #row[2], 2 do
      if wanted[row[2][i]] then
        fields[#fields + 1] = row[2][i]
        fields[#fields + 1] = string.sub(row[2][i + 1], 1, 1024)
      end
    end
    found[#found + 1] = {row[1], fields}
  end
  if #rows < page then break end
  from, left = '(' .. rows[#rows][1], left - page
end
return found
";

/// The server that a query goes to.
#[derive(Debug, Clone)]
pub enum Place {
    /// The server of this key.
    Key(String),
    /// The server at this address, one of [`crate::observer::Observer::nodes`].
    Node(String),
}

/// What is read: one command.
#[derive(Debug, Clone)]
pub enum Form {
    /// A command whose reply has a shape.
    Reply(Shape),
    /// A command that replies with entries.
    Entries,
    /// The values of these keys, which may be on several nodes.
    Values(Vec<String>),
}

/// One question to Redis. Each is one read command.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) place: Place,
    pub(super) command: Cmd,
    pub(super) form: Form,
}

fn command(words: &[&str]) -> Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}

impl Query {
    fn plain(key: &str, words: &[&str]) -> Self {
        Self::of(key, command(words))
    }

    fn of(key: &str, command: Cmd) -> Self {
        Self { place: Place::Key(key.to_owned()), command, form: Form::Reply(Shape::Plain) }
    }

    fn shaped(self, shape: Shape) -> Self {
        Self { form: Form::Reply(shape), ..self }
    }

    fn entries(self) -> Self {
        Self { form: Form::Entries, ..self }
    }

    /// The instances that show that they are alive.
    ///
    /// # Errors
    ///
    /// The name of the stream is not valid. The same holds for every other query that names one.
    pub fn instances(stream: &str) -> Result<Self, Error> {
        let key = Keys::new(stream)?.instances();
        let words =
            ["ZRANGE", &key, "-inf", "+inf", "BYSCORE", "LIMIT", "0", &MOST_ROWS.to_string(), "WITHSCORES"];
        Ok(Self::plain(&key, &words).shaped(Shape::Instances))
    }

    /// The groups and instances of a stream or a queue that have, or had, a record.
    pub fn known(stream: &str) -> Self {
        let key = format!("{stream}:stats");
        let words =
            ["ZRANGE", &key, "-inf", "+inf", "BYSCORE", "LIMIT", "0", &MOST_ROWS.to_string(), "WITHSCORES"];
        Self::plain(&key, &words).shaped(Shape::Known)
    }

    /// The record of an instance. The group of a server of a queue is empty.
    pub fn record(stream: &str, group: &str, instance: &str) -> Self {
        let key = record_key(stream, group, instance);
        Self::plain(&key, &["GET", &key])
    }

    /// Records of instances, and what groups are told to do (those without an instance). `None` if none is wanted.
    pub fn records(stream: &str, wanted: &[(String, Option<String>)]) -> Option<Self> {
        let key = |(group, instance): &(String, Option<String>)| match instance {
            Some(instance) => record_key(stream, group, instance),
            None => control_key(stream, group),
        };
        let keys: Vec<String> = wanted.iter().map(key).collect();
        let first = keys.first()?.clone();
        let mut command = redis::cmd("MGET");
        command.arg(&keys);
        Some(Self { form: Form::Values(keys), ..Self::of(&first, command) })
    }

    /// The queries that ask for each value alone, if this one asks for several.
    pub(super) fn apart(&self) -> Option<Vec<Self>> {
        let Form::Values(keys) = &self.form else { return None };
        Some(keys.iter().map(|key| Self::plain(key, &["GET", key])).collect())
    }

    /// What the members of a group are told to do.
    pub fn control(stream: &str, group: &str) -> Self {
        let key = control_key(stream, group);
        Self::plain(&key, &["GET", &key])
    }

    /// How many requests wait in the inbox of a group, and since when.
    ///
    /// # Errors
    ///
    /// As [`Query::instances`].
    pub fn inbox(stream: &str, group: &str) -> Result<Self, Error> {
        let key = Keys::new(stream)?.inbox(group);
        Ok(Self::plain(&key, &["EVAL_RO", INBOX, "1", &key, group, &MOST_TAKEN.to_string()]))
    }

    /// The requests of the inbox of a group after the id `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// As [`Query::instances`].
    pub fn requests(stream: &str, group: &str, after: Option<StreamId>, count: usize) -> Result<Self, Error> {
        let key = Keys::new(stream)?.inbox(group);
        Ok(Self::plain(&key, &["EVAL_RO", REQUESTS, "1", &key, &from(after), &count.to_string()]))
    }

    /// The requests that are added to the inbox of a group after the id `after`. Redis waits for one for up to `wait`.
    ///
    /// # Errors
    ///
    /// As [`Query::instances`].
    pub(super) fn tap(
        stream: &str,
        group: &str,
        after: StreamId,
        wait: Duration,
    ) -> Result<(String, Cmd), Error> {
        let key = Keys::new(stream)?.inbox(group);
        let wait = wait.as_millis().max(1).to_string();
        let (most, after) = (MOST_TAPPED.to_string(), after.to_string());
        let read = command(&["XREAD", "COUNT", &most, "BLOCK", &wait, "STREAMS", &key, &after]);
        Ok((key, read))
    }

    /// The ids that were taken and not acknowledged, after the id `after`: id, holder, idle time in ms and deliveries.
    ///
    /// # Errors
    ///
    /// As [`Query::instances`].
    pub fn taken(stream: &str, group: &str, after: Option<StreamId>, count: usize) -> Result<Self, Error> {
        let key = Keys::new(stream)?.inbox(group);
        Ok(Self::pending(&key, group, after, count))
    }

    /// How many dead letters a group has.
    pub fn dead(stream: &str, group: &str) -> Self {
        let key = dead_key(stream, group);
        Self::plain(&key, &["XLEN", &key])
    }

    /// The dead letters of a group before the id `before`, the newest first.
    pub fn dead_letters(stream: &str, group: &str, before: Option<StreamId>, count: usize) -> Self {
        let key = dead_key(stream, group);
        let from = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
        Self::plain(&key, &["XREVRANGE", &key, &from, "-", "COUNT", &count.to_string()]).entries()
    }

    /// One dead letter of a group.
    pub fn dead_letter(stream: &str, group: &str, id: StreamId) -> Self {
        let key = dead_key(stream, group);
        let id = id.to_string();
        Self::plain(&key, &["XRANGE", &key, &id, &id]).entries()
    }

    /// How many requests a queue has.
    ///
    /// # Errors
    ///
    /// The name of the queue is not valid. The same holds for every other query that names one.
    pub fn queue(queue: &str) -> Result<Self, Error> {
        Ok(Self::plain(Names::new(queue)?.queue(), &["LLEN", queue]))
    }

    /// The request of a queue that is taken next.
    ///
    /// # Errors
    ///
    /// As [`Query::queue`].
    pub fn next_in_queue(queue: &str) -> Result<Self, Error> {
        Ok(Self::plain(Names::new(queue)?.queue(), &["LINDEX", queue, "-1"]))
    }

    /// The servers of a queue, with the time of their last sign of life.
    ///
    /// # Errors
    ///
    /// As [`Query::queue`].
    pub fn servers(queue: &str) -> Result<Self, Error> {
        let key = Names::new(queue)?.servers();
        Ok(Self::plain(&key, &["ZRANGE", &key, "0", &MOST_ROWS.to_string(), "WITHSCORES"]))
    }

    /// How many requests a server of a queue holds.
    ///
    /// # Errors
    ///
    /// As [`Query::queue`].
    pub fn processing(queue: &str, server: &str) -> Result<Self, Error> {
        let key = Names::new(queue)?.processing(server);
        Ok(Self::plain(&key, &["LLEN", &key]))
    }

    /// How many requests of a queue were given up on.
    ///
    /// # Errors
    ///
    /// As [`Query::queue`].
    pub fn queue_dead(queue: &str) -> Result<Self, Error> {
        let key = Names::new(queue)?.dead();
        Ok(Self::plain(&key, &["LLEN", &key]))
    }

    /// The requests of a queue that were given up on, from the place `first` on, the newest first.
    ///
    /// # Errors
    ///
    /// As [`Query::queue`].
    pub fn queue_dead_letters(queue: &str, first: usize, count: usize) -> Result<Self, Error> {
        let key = Names::new(queue)?.dead();
        let last = (first + count).saturating_sub(1);
        Ok(Self::plain(&key, &["LRANGE", &key, &first.to_string(), &last.to_string()]))
    }

    /// What is known of a stream of events without reading its entries.
    pub fn event_stream(stream: &str) -> Self {
        Self::of(stream, events::facts(stream))
    }

    /// The consumer groups of a stream.
    pub fn event_groups(stream: &str) -> Self {
        Self::plain(stream, &["XINFO", "GROUPS", stream])
    }

    /// The consumers of a group of a stream of events.
    pub fn event_consumers(stream: &str, group: &str) -> Self {
        Self::plain(stream, &["XINFO", "CONSUMERS", stream, group])
    }

    /// How many events are still to be delivered to a group.
    pub fn event_lag(stream: &str, group: &str) -> Self {
        Self::of(stream, events::lag(stream, group))
    }

    /// How far a group of a stream of events has come.
    pub fn event_progress(stream: &str, group: &str) -> Self {
        Self::of(stream, events::progress(stream, group))
    }

    /// The id of the first entry of a stream after the id `after`.
    pub fn event_after(stream: &str, after: StreamId) -> Self {
        Self::of(stream, events::first_after(stream, after))
    }

    /// The hash that the processes of an ordered consumer share.
    pub fn event_lanes(stream: &str, group: &str) -> Self {
        let key = events::key(stream, group);
        Self::plain(&key, &["HGETALL", &key])
    }

    /// The events that were delivered and not acknowledged, after the id `after`, as [`Query::taken`].
    pub fn event_pending(stream: &str, group: &str, after: Option<StreamId>, count: usize) -> Self {
        Self::pending(stream, group, after, count)
    }

    /// A section of what a node says about itself.
    pub fn info(node: &str) -> Self {
        Self::at_node(node, &["INFO"])
    }

    /// Settings of a node.
    pub fn settings(node: &str) -> Self {
        Self::at_node(node, &["CONFIG", "GET", "maxmemory-policy", "notify-keyspace-events"])
    }

    /// The clients of a node.
    pub fn clients(node: &str) -> Self {
        Self::at_node(node, &["CLIENT", "LIST"])
    }

    /// The user that the observer is.
    pub fn user(node: &str) -> Self {
        Self::at_node(node, &["ACL", "WHOAMI"])
    }

    /// The names of the users of a node.
    pub fn users(node: &str) -> Self {
        Self::at_node(node, &["ACL", "USERS"])
    }

    /// Whether the rules of `user` allow a command.
    pub fn is_allowed(node: &str, user: &str, words: &[&str]) -> Self {
        let mut query = Self::at_node(node, &["ACL", "DRYRUN", user]);
        query.command.arg(words);
        query
    }

    /// Keys whose names begin with those of a stream, a page of them from `cursor` on.
    pub fn keys(node: &str, stream: &str, cursor: &str) -> Self {
        let pattern = format!("{}:*", escaped(stream));
        Self::at_node(node, &["SCAN", cursor, "MATCH", &pattern, "COUNT", "1000"])
    }

    /// Keys of streams that somebody is alive on, a page of them from `cursor` on.
    pub fn streams(node: &str, cursor: &str) -> Self {
        Self::at_node(node, &["SCAN", cursor, "MATCH", "*:instances", "TYPE", "zset", "COUNT", "1000"])
    }

    /// In how many ms a key expires; -1 if never.
    pub fn expiry(key: &str) -> Self {
        Self::plain(key, &["PTTL", key])
    }

    fn at_node(node: &str, words: &[&str]) -> Self {
        let form = Form::Reply(Shape::Plain);
        Self { place: Place::Node(node.to_owned()), command: command(words), form }
    }

    fn pending(key: &str, group: &str, after: Option<StreamId>, count: usize) -> Self {
        Self::plain(key, &["XPENDING", key, group, &from(after), "+", &count.to_string()])
    }
}

fn record_key(stream: &str, group: &str, instance: &str) -> String {
    format!("{stream}:stats:{}:{}", key_part::encode(group), key_part::encode(instance))
}

/// Returns the key that tells the members of a group what to do.
pub fn control_key(stream: &str, group: &str) -> String {
    format!("{stream}:control:{}", key_part::encode(group))
}

fn dead_key(stream: &str, group: &str) -> String {
    format!("{stream}:dead:{}", key_part::encode(group))
}

fn from(after: Option<StreamId>) -> String {
    after.map_or_else(|| "-".to_owned(), |id| format!("({id}"))
}

/// Returns a pattern that only `name` matches.
fn escaped(name: &str) -> String {
    let special = |character| matches!(character, '*' | '?' | '[' | ']' | '\\' | '^');
    name.chars()
        .flat_map(|character| special(character).then_some('\\').into_iter().chain([character]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_stream_may_have_are_asked_for() {
        assert!(Query::instances("house:inbox").is_err());
        assert!(Query::queue("jobs:dead").is_err());
        let query = Query::inbox("house", "a:b").unwrap();
        assert!(matches!(query.place, Place::Key(key) if key == "house:inbox:a%3Ab"));
        assert_eq!(control_key("house", "a:b"), "house:control:a%3Ab");
    }

    #[test]
    fn a_name_is_a_pattern_of_itself_only() {
        assert_eq!(escaped("a*b[c]?"), r"a\*b\[c\]\?");
        assert_eq!(escaped("house"), "house");
    }
}
