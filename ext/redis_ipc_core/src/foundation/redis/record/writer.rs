//! Writes the record of an instance, and reads what its group is told to do.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::record::access::{AboutKey, Access, is_elsewhere};
use crate::foundation::redis::record::agreement::{self, Agreement};
use crate::foundation::redis::record::control::Control;
use crate::foundation::redis::record::keys::RecordKeys;
use crate::foundation::redis::record::subject::{RunningHandler, Subject};
use crate::foundation::redis::resp::replies::refused;
use crate::foundation::runtime::series::{PERIOD, Series};
use crate::foundation::runtime::sync::Mutex;
use redis::{Cmd, Value};
use serde_json::{Map, Value as Json, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How often the record is written.
pub const EVERY: Duration = PERIOD;
/// The shortest time between two records of an instance in trouble.
pub const SOONEST: Duration = Duration::from_secs(1);
/// How long a record outlives its instance.
const KEPT: Duration = Duration::from_secs(600);
/// How long a group is known in which nobody writes records any more.
const GROUP_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// How long an index outlives its last record.
const INDEX_KEPT: Duration = Duration::from_secs(8 * 86_400);
/// How often the record is added to the index, and that is freed of what is over.
const INDEXED: Duration = Duration::from_secs(60);
/// How much later than that it may be.
const SLACK: Duration = Duration::from_secs(10);
/// The most running handlers in a record.
const MOST_RUNNING: usize = 16;

/// Writes the record of one instance.
pub struct RecordWriter {
    endpoint: Arc<Endpoint>,
    keys: RecordKeys,
    control: Arc<Control>,
    /// After this long a handler counts as slow.
    lease: Duration,
    started: OnceLock<u64>,
    state: Mutex<State>,
    agreement: Agreement,
    /// What was last reported of a record that could not be written, of a control key that could not be read, and of
    /// records of others. Each is reported once, because it says the same each time.
    reported: [Mutex<String>; 3],
    /// What the counters of trouble were when the record was last written.
    trouble: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    series: Series,
    /// When the index was last written.
    indexed: Option<Instant>,
}

impl RecordWriter {
    /// Creates the writer of an instance. It counts as started when it first writes. `control` learns what the group is
    /// told to do.
    pub fn new(endpoint: Arc<Endpoint>, keys: RecordKeys, control: Arc<Control>, lease: Duration) -> Self {
        let (reported, trouble, started) = (Default::default(), AtomicU64::new(0), OnceLock::new());
        let (agreement, state) = (Agreement::default(), Mutex::default());
        Self { endpoint, keys, control, lease, started, state, agreement, reported, trouble }
    }

    /// Returns the key of the record.
    pub fn key(&self) -> &str {
        &self.keys.record
    }

    /// Writes the record, and reads the control key. Returns true if the instance is to pause from now on. A failure is
    /// reported, and nothing else depends on it.
    pub fn write(&self, subject: &dyn Subject, by: &mut dyn Access) -> bool {
        self.note_trouble(subject);
        let mut commands = vec![(&self.keys.record, self.set(subject))];
        let indexed = self.state.lock().indexed;
        let mut settings = Map::new();
        let indexes = indexed.is_none_or(|at| at.elapsed() >= INDEXED);
        if indexes {
            commands.extend(self.index(indexed.is_some()).map(|command| (&self.keys.index, command)));
            settings = subject.settings();
        }
        let compares = !settings.is_empty();
        if compares {
            let look = agreement::look(&self.keys, self.endpoint.clock.now() + ms(KEPT) - ms(SLACK));
            commands.insert(0, (&self.keys.index, look));
        }
        let mut replies = match self.run(commands, by) {
            Ok(replies) => replies,
            Err(error) => return self.fail(error),
        };
        if indexes {
            self.state.lock().indexed = Some(Instant::now());
        }
        if compares && !replies.is_empty() {
            let alive = replies.remove(0);
            self.compare(subject.kind(), &settings, &alive, by);
        }
        self.learn(replies)
    }

    /// Runs the commands that write, and reads the control key with them. Returns whether the instance is to pause from
    /// now on.
    fn write_and_learn<'a>(&'a self, commands: Vec<AboutKey<'a>>, by: &mut dyn Access) -> bool {
        self.run(commands, by).map_or_else(|error| self.fail(error), |replies| self.learn(replies))
    }

    fn run<'a>(&'a self, mut commands: Vec<AboutKey<'a>>, by: &mut dyn Access) -> Result<Vec<Value>, Error> {
        let mut look = redis::cmd("GET");
        look.arg(&self.keys.control);
        commands.push((&self.keys.control, look));
        by.run_about(&self.endpoint, &commands)
    }

    /// Tells with whom of those that are `alive` this instance disagrees about settings.
    fn compare(&self, kind: &str, settings: &Map<String, Json>, alive: &Value, by: &mut dyn Access) {
        let others = self.agreement.to_compare(&self.keys, alive);
        let read = |key: &String| {
            let mut get = redis::cmd("GET");
            get.arg(key);
            get
        };
        let reads: Vec<AboutKey<'_>> = others.iter().map(|key| (key, read(key))).collect();
        let records = if reads.is_empty() { Ok(Vec::new()) } else { by.run_about(&self.endpoint, &reads) };
        let Ok(records) = records else { return };
        let replies: Vec<Value> = std::iter::once(alive.clone()).chain(records).collect();
        if let Err(error) = self.check(&replies) {
            let message = format!("settings cannot be compared within the group: {}", error.message);
            let [_, _, reported] = &self.reported;
            self.report_once(Error { message, ..error }, reported);
        }
        let differing = replies.iter().filter_map(|record| self.agreement.compare(kind, settings, record));
        differing.for_each(|error| self.endpoint.report(error));
    }

    /// Ends a period of the record's series. Call it every [`EVERY`], before [`RecordWriter::write`].
    pub fn end_period(&self, subject: &dyn Subject) {
        self.state.lock().series.end_period(subject.totals());
    }

    /// Writes the record before its time, if a handler runs for longer than a lease, a counter of trouble has moved, or
    /// the instance pauses, so that it goes on soon after it may. Returns what [`RecordWriter::write`] does.
    pub fn write_in_trouble(&self, subject: &dyn Subject, by: &mut dyn Access) -> bool {
        let is_slow = subject.longest().is_some_and(|ran| ran >= self.lease);
        let is_needed = self.note_trouble(subject) || is_slow || self.control.is_paused();
        is_needed && self.write_and_learn(vec![(&self.keys.record, self.set(subject))], by)
    }

    /// Removes the record, because the instance leaves in order.
    ///
    /// # Errors
    ///
    /// Redis cannot be reached or refuses.
    pub fn remove(&self, by: &mut dyn Access) -> Result<(), Error> {
        let (mut delete, mut forget) = (redis::cmd("DEL"), redis::cmd("ZREM"));
        delete.arg(&self.keys.record);
        forget.arg(&self.keys.index).arg(&self.keys.member);
        let commands = [(&self.keys.record, delete), (&self.keys.index, forget)];
        by.run_about(&self.endpoint, &commands).map(drop)
    }

    /// Returns whether counters of trouble have moved since the last record.
    fn note_trouble(&self, subject: &dyn Subject) -> bool {
        let now = self.endpoint.incidents.count() + subject.totals().failed;
        self.trouble.swap(now, Ordering::Relaxed) != now
    }

    /// Acts on the replies to a record, of which the last is the value of the control key.
    fn learn(&self, mut replies: Vec<Value>) -> bool {
        let told = replies.pop().unwrap_or(Value::Nil);
        if let Err(error) = self.check(&replies) {
            self.fail(error);
        }
        // While a slot of a cluster moves, the next look finds its way.
        if is_elsewhere(&told) {
            return false;
        }
        let read = match refused(told) {
            Ok(value) => self.control.learn(&value, &self.keys.instance),
            Err(error) => Err(self.endpoint.connector.explain(&error, Fate::Unknown)),
        };
        read.unwrap_or_else(|error| {
            let message =
                format!("the control key {:?} cannot be read: {}", self.keys.control, error.message);
            let [_, reported, _] = &self.reported;
            self.report_once(Error { message, ..error }, reported)
        })
    }

    fn check(&self, replies: &[Value]) -> Result<(), Error> {
        // While a slot of a cluster moves, the next record finds its way.
        let is_refusal = |reply: &&Value| matches!(reply, Value::ServerError(_)) && !is_elsewhere(reply);
        let refusal = replies.iter().filter(is_refusal).cloned().find_map(|reply| refused(reply).err());
        refusal.map_or(Ok(()), |error| Err(self.endpoint.connector.explain(&error, Fate::Unknown)))
    }

    /// Reports that the record could not be written, unless others report why: Redis cannot be reached. Returns false,
    /// because nothing was read either.
    fn fail(&self, error: Error) -> bool {
        if !matches!(error.kind, ErrorKind::Command(_)) {
            return false;
        }
        let message = format!("the record of this instance was not written: {}", error.message);
        let [reported, ..] = &self.reported;
        self.report_once(Error { message, ..error }, reported)
    }

    fn report_once(&self, error: Error, reported: &Mutex<String>) -> bool {
        let before = std::mem::replace(&mut *reported.lock(), error.message.clone());
        if before != error.message && !self.endpoint.stop.is_stopped() {
            self.endpoint.report(error);
        }
        false
    }

    /// Returns the commands that add the record to the index, and free that of what is over. If this instance has
    /// `lasted`, they add the group, too: who comes and goes leaves nothing behind.
    fn index(&self, lasted: bool) -> [Cmd; 3] {
        let now = self.endpoint.clock.now();
        let (mut add, mut remove) = (redis::cmd("ZADD"), redis::cmd("ZREMRANGEBYSCORE"));
        let mut keep = redis::cmd("PEXPIRE");
        add.arg(&self.keys.index).arg(now + ms(KEPT + INDEXED)).arg(&self.keys.member);
        if lasted {
            add.arg(now + ms(GROUP_KEPT)).arg(&self.keys.group_member);
        }
        remove.arg(&self.keys.index).arg("-inf").arg(now);
        keep.arg(&self.keys.index).arg(ms(INDEX_KEPT));
        [add, remove, keep]
    }

    fn set(&self, subject: &dyn Subject) -> Cmd {
        let mut set = redis::cmd("SET");
        set.arg(&self.keys.record).arg(self.record(subject).to_string()).arg("PX").arg(ms(KEPT));
        set
    }

    /// Returns the record (docs/protocol.md, "The record").
    fn record(&self, subject: &dyn Subject) -> Json {
        let (keys, now) = (&self.keys, self.endpoint.clock.now());
        let mut running = subject.running();
        running.sort_by_key(|handler| handler.since);
        let busy = running.len();
        running.truncate(MOST_RUNNING);
        let histograms = subject.histograms().into_iter().map(|(name, found)| (name, found.to_json()));
        let mut record = json!({
            "v": 1,
            "kind": subject.kind(),
            "stream": keys.stream,
            "group": keys.group,
            "instance": keys.instance,
            "host": gethostname::gethostname().to_string_lossy(),
            "pid": std::process::id(),
            "gem": env!("CARGO_PKG_VERSION"),
            "started": self.started.get_or_init(|| now),
            "written": now,
            "settings": subject.settings(),
            "paused": self.control.is_paused(),
            "handlers": subject.handlers(),
            "busy": busy,
            "running": running.iter().map(|handler| row(handler, now)).collect::<Vec<_>>(),
            "counters": subject.counters().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "outcomes": subject.outcomes(),
            "incidents": self.endpoint.incidents.to_json(),
            "series": self.state.lock().series.to_json(),
            "histograms": histograms.collect::<std::collections::BTreeMap<_, _>>(),
        });
        if let Some(events) = subject.events() {
            record["events"] = events;
        }
        record
    }
}

fn row(handler: &RunningHandler, now: u64) -> Json {
    json!({
        "id": handler.id,
        "from": handler.from,
        "event": handler.event,
        "delivery": handler.delivery,
        "since": now.saturating_sub(ms(handler.since.elapsed())),
        "frame": handler.frame,
    })
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(all(test, feature = "live-tests"))]
mod tests {
    use super::*;
    use crate::foundation::redis::fake_server::endpoint_of;
    use crate::foundation::redis::live_server::LiveServer;
    use crate::foundation::redis::pool::Pool;
    use crate::foundation::runtime::histogram::Histogram;
    use crate::foundation::runtime::reports::{Fetched, Report};
    use crate::foundation::runtime::series::Totals;

    #[derive(Default)]
    struct Idle(Map<String, Json>);

    impl Subject for Idle {
        fn kind(&self) -> &'static str {
            "request_reply"
        }

        fn settings(&self) -> Map<String, Json> {
            self.0.clone()
        }

        fn handlers(&self) -> usize {
            0
        }

        fn running(&self) -> Vec<RunningHandler> {
            Vec::new()
        }

        fn counters(&self) -> Vec<(&'static str, u64)> {
            Vec::new()
        }

        fn totals(&self) -> Totals {
            Totals::default()
        }

        fn histograms(&self) -> Vec<(&'static str, &Histogram)> {
            Vec::new()
        }
    }

    /// Replies to all commands but the last, which reads the control key, with OK. Without a reply to that, Redis cannot
    /// be reached.
    #[derive(Default)]
    struct Told {
        control: Option<&'static str>,
        asked: Vec<String>,
    }

    impl Access for Told {
        fn run_about(&mut self, _: &Endpoint, commands: &[AboutKey<'_>]) -> Result<Vec<Value>, Error> {
            let name = |command: &Cmd| match command.args_iter().next() {
                Some(redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
                _ => String::new(),
            };
            self.asked = commands.iter().map(|(_, command)| name(command)).collect();
            let none = || Error::new(ErrorKind::Connection(Fate::Unknown), "no Redis");
            let control = redis::parse_redis_value(self.control.ok_or_else(none)?.as_bytes());
            let mut replies = vec![Value::Okay; commands.len() - 1];
            replies.extend(control);
            Ok(replies)
        }
    }

    fn writer() -> (RecordWriter, Arc<Control>, Arc<Endpoint>) {
        let (endpoint, control) = (endpoint_of(json!({})), Arc::<Control>::default());
        let keys = RecordKeys::new("s", "g", "i");
        let lease = Duration::from_secs(2);
        (RecordWriter::new(Arc::clone(&endpoint), keys, Arc::clone(&control), lease), control, endpoint)
    }

    #[test]
    fn a_control_key_that_is_on_another_node_now_changes_nothing() {
        let (writer, control, endpoint) = writer();
        let write = |told| {
            let is_to_pause =
                writer.write(&Idle::default(), &mut Told { control: Some(told), asked: Vec::new() });
            (is_to_pause, control.is_paused())
        };
        assert_eq!(write("$21\r\n{\"v\":1,\"paused\":true}\r\n"), (true, true));
        for refusal in ["-ASK 1 127.0.0.1:7000\r\n", "-MOVED 1 127.0.0.1:7000\r\n"] {
            assert_eq!(write(refusal), (false, true), "{refusal}");
        }
        assert!(endpoint.reports.drain().is_empty());
        assert_eq!(write("$-1\r\n"), (false, false));
    }

    #[test]
    fn the_index_is_written_with_the_next_record_if_redis_could_not_be_reached() {
        let ((writer, ..), mut redis) = (writer(), Told::default());
        writer.write(&Idle::default(), &mut redis);
        redis.control = Some("$-1\r\n");
        for expected in [&["SET", "ZADD", "ZREMRANGEBYSCORE", "PEXPIRE", "GET"][..], &["SET", "GET"]] {
            writer.write(&Idle::default(), &mut redis);
            assert_eq!(redis.asked, expected);
        }
    }

    #[test]
    fn two_members_that_differ_in_a_setting_both_tell_it_once() {
        let server = LiveServer::start();
        let member = |name: &str, lease: u64| {
            let endpoint = endpoint_of(server.redis_options.clone());
            let pool = Arc::new(Pool::new(Arc::clone(&endpoint.connector), 1));
            let keys = RecordKeys::new("s", "g", name);
            let writer =
                RecordWriter::new(Arc::clone(&endpoint), keys, Arc::default(), Duration::from_secs(2));
            (writer, Idle(Map::from_iter([("lease".to_owned(), json!(lease))])), pool, endpoint)
        };
        let mut members = [member("a", 2_000), member("b", 5_000), member("c", 5_000)];
        for _ in 0..2 {
            for (writer, subject, pool, _) in &mut members {
                writer.state.lock().indexed = None;
                writer.write(subject, pool);
            }
        }
        let told = members.map(|(_, _, _, endpoint)| {
            endpoint.reports.close();
            let (_never, interrupt) = crossbeam_channel::bounded(1);
            let mut told = Vec::new();
            while let Fetched::Message(Report::Failure(error)) = endpoint.reports.fetch(&interrupt) {
                told.push(error.message);
            }
            told
        });
        assert_eq!(told.each_ref().map(Vec::len), [1, 1, 1], "{told:?}");
        assert!(
            told[0][0].contains("lease 2 s and 5 s") && told[1][0].contains("lease 5 s and 2 s"),
            "{told:?}"
        );
    }

    #[test]
    fn a_group_is_known_for_a_while_once_an_instance_of_it_has_lasted() {
        let server = LiveServer::start();
        let endpoint = endpoint_of(server.redis_options.clone());
        let mut pool = Arc::new(Pool::new(Arc::clone(&endpoint.connector), 1));
        let index = || -> Vec<String> {
            let members = server.run(redis::cmd("ZRANGE").arg("s:stats").arg(0).arg(-1));
            redis::from_redis_value(members).unwrap()
        };
        let keys = RecordKeys::new("s", "g", "i");
        let writer = RecordWriter::new(endpoint, keys, Arc::default(), Duration::from_secs(2));
        writer.write(&Idle::default(), &mut pool);
        assert_eq!(index(), ["g:i"]);
        writer.remove(&mut pool).unwrap();
        assert!(index().is_empty());
        writer.write(&Idle::default(), &mut pool);
        assert!(index().is_empty(), "it is written once a minute");
        writer.state.lock().indexed = Instant::now().checked_sub(INDEXED);
        writer.write(&Idle::default(), &mut pool);
        assert_eq!(index(), ["g:i", "g"]);
        writer.remove(&mut pool).unwrap();
        assert_eq!(index(), ["g"]);
        assert_eq!(server.run(redis::cmd("EXISTS").arg("s:stats:g:i")), Value::Int(0));
    }
}
