//! Tests of the parts of a group consumer, against a fake Redis.

use crate::foundation::payload::fields::Fields;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::clock::Clock;
use crate::foundation::redis::fake_server::{array, bulk, entry};
use crate::foundation::redis::group_consumer::consumer::AT_ONCE;
use crate::foundation::redis::group_consumer::dead_letters::{DeadLetters, Letter, Limits};
use crate::foundation::redis::group_consumer::fake::{Fixture, Office, delivered};
use crate::foundation::redis::group_consumer::reader::GroupReader;
use crate::foundation::redis::group_consumer::take_over::TakeOver;
use crate::foundation::redis::pool::Pool;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::waker::Waker;
use crate::foundation::runtime::work_queue::{Held, Taken};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// A short lease, for tests that wait until it is over.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(60);
const NONE: Option<&str> = Some("*0");

/// Encodes a row of XPENDING for the entry `1-seq`.
fn row(seq: u64, deliveries: u32) -> String {
    array(&[bulk(&format!("1-{seq}")), bulk("me"), ":0".to_owned(), format!(":{deliveries}")])
}

fn rows(all: &[(u64, u32)]) -> String {
    array(&all.iter().map(|(seq, deliveries)| row(*seq, *deliveries)).collect::<Vec<_>>())
}

fn entries(seqs: &[u64]) -> String {
    array(&seqs.iter().map(|seq| entry(&format!("1-{seq}"), &[("a", "b")])).collect::<Vec<_>>())
}

/// Encodes the reply of XAUTOCLAIM at the end of the list, with the deliveries of each entry and who had it.
fn claimed(all: &[(u64, u32)]) -> String {
    let ids: Vec<String> = all.iter().map(|(seq, _)| bulk(&format!("1-{seq}"))).collect();
    let deliveries: Vec<String> = all.iter().map(|(_, deliveries)| format!(":{deliveries}")).collect();
    let holders = vec![bulk("gone"); all.len()];
    array(&[bulk("0-0"), array(&ids), "*0".to_owned(), array(&deliveries), array(&holders)])
}

fn take_over(fixture: &Fixture, lease: Duration) -> TakeOver<Office> {
    let (consumer, queue, office) =
        (Arc::clone(&fixture.consumer), Arc::clone(&fixture.queue), Arc::clone(&fixture.office));
    TakeOver::new(consumer, queue, office, lease, Some(5))
}

/// Runs `work` while `redis` plays Redis.
fn while_redis<T: Send>(work: impl FnOnce() -> T + Send, redis: impl FnOnce()) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(work);
        redis();
        worker.join().unwrap()
    })
}

#[test]
fn what_is_left_counts_as_not_delivered_and_may_be_taken_at_once() {
    let Fixture { server, consumer, .. } = Fixture::new();
    let left = [delivered(1, 1), delivered(2, 3), delivered(3, 1)];
    while_redis(
        || consumer.release(&left),
        || {
            let idle = format!("IDLE {AT_ONCE} RETRYCOUNT");
            server.expect(&format!("XCLAIM s g me 0 1-1 1-3 {idle} 0 JUSTID"), NONE);
            server.expect(&format!("XCLAIM s g me 0 1-2 {idle} 2 JUSTID"), NONE);
        },
    )
    .unwrap();
    assert_eq!(consumer.endpoint.stats.released.get(), 3);
}

#[test]
fn what_breaks_each_connection_is_told_apart_from_what_does_not() {
    let Fixture { server, consumer, .. } = Fixture::new();
    let fetched = while_redis(
        || consumer.fetch(&[delivered(1, 2), delivered(2, 2)]),
        || {
            // The server closes the connection. From then on one entry is requested at a time.
            server.expect("XCLAIM s g me 0 1-1 1-2 RETRYCOUNT 2", None);
            for _ in 0..3 {
                server.expect("XCLAIM s g me 0 1-1 RETRYCOUNT 2", None);
            }
            server.expect("XCLAIM s g me 0 1-2 RETRYCOUNT 2", Some(&entries(&[2])));
        },
    )
    .unwrap();
    assert_eq!(fetched.unreadable, [delivered(1, 2)]);
    assert_eq!(fetched.entries.iter().map(|entry| entry.id.seq).collect::<Vec<_>>(), [2]);
}

#[test]
fn own_pending_entries_are_read_page_by_page_without_those_that_were_left() {
    let Fixture { server, consumer, .. } = Fixture::new();
    let page: Vec<String> = (0..100).map(|seq| row(seq, 1)).collect();
    let left = array(&[bulk("1-200"), bulk("me"), format!(":{AT_ONCE}"), ":0".to_owned()]);
    let pending = while_redis(
        || consumer.connections.with("s", |connection| consumer.pending(connection)),
        || {
            server.expect("XPENDING s g 0-0", Some(&array(&page)));
            server.expect("XPENDING s g (1-99", Some(&array(&[row(100, 2), left])));
        },
    )
    .unwrap();
    assert_eq!(pending.len(), 101);
    assert_eq!(pending.last(), Some(&delivered(100, 2)));
}

#[test]
fn nothing_is_claimed_where_nothing_is_idle() {
    let fixture = Fixture::new();
    let take_over = take_over(&fixture, SHORT);
    let run = || take_over.run(|| panic!("the group's lease is not needed"));
    while_redis(run, || drop(fixture.server.expect("XPENDING s g IDLE 200 - + 1", NONE))).unwrap();
}

/// Runs one scan, in which Redis says that an entry is idle.
fn scan(fixture: &Fixture, take_over: &TakeOver<Office>, redis: impl FnOnce()) {
    let run = || take_over.run(|| Ok(SHORT * 2));
    while_redis(run, || {
        fixture.server.expect("XPENDING s g IDLE", Some(&rows(&[(1, 1)])));
        redis();
    })
    .unwrap();
}

/// Runs one scan that finds nothing. Returns how long an entry must have been idle to be claimed.
fn idle_of_scan(fixture: &Fixture, take_over: &TakeOver<Office>) -> u64 {
    let mut idle = 0;
    scan(fixture, take_over, || {
        let words = fixture.server.expect("EVAL", Some(&claimed(&[])));
        idle = words[6].parse().unwrap();
    });
    idle
}

/// Creates a take-over for which Redis has answered for longer than the longest lease of the group.
fn steady(fixture: &Fixture) -> TakeOver<Office> {
    let take_over = take_over(fixture, SHORT);
    assert_eq!(idle_of_scan(fixture, &take_over), AT_ONCE, "nothing is known at first");
    thread::sleep(SHORT * 2);
    assert_eq!(idle_of_scan(fixture, &take_over), 400);
    take_over
}

#[test]
fn after_a_stall_only_what_was_given_back_is_taken_for_as_long_as_the_longest_lease() {
    let fixture = Fixture::new();
    let take_over = steady(&fixture);
    take_over.note_stall();
    assert_eq!(idle_of_scan(&fixture, &take_over), AT_ONCE);
}

#[test]
fn after_a_broken_connection_only_what_was_given_back_is_taken() {
    let fixture = Fixture::new();
    let take_over = steady(&fixture);
    fixture.consumer.endpoint.health.lost();
    assert_eq!(idle_of_scan(&fixture, &take_over), AT_ONCE);
}

#[test]
fn what_was_given_back_is_taken_without_waiting_for_a_lease_also_where_leases_can_be_trusted() {
    let fixture = Fixture::new();
    let take_over = steady(&fixture);
    let mut idle = 0;
    while_redis(
        || take_over.run_released(),
        || {
            fixture.server.expect(&format!("XPENDING s g IDLE {AT_ONCE} - + 1"), Some(&rows(&[(1, 1)])));
            idle = fixture.server.expect("EVAL", Some(&claimed(&[])))[6].parse().unwrap();
        },
    )
    .unwrap();
    assert_eq!(idle, AT_ONCE);
    let nothing = format!("XPENDING s g IDLE {AT_ONCE} - + 1");
    while_redis(|| take_over.run_released(), || drop(fixture.server.expect(&nothing, NONE))).unwrap();
}

#[test]
fn nothing_is_taken_where_the_clock_is_not_what_it_should_be_and_then_only_what_was_given_back() {
    let fixture = Fixture::new();
    let take_over = steady(&fixture);
    scan(&fixture, &take_over, || {
        fixture.server.expect("EVAL", Some(":5"));
        let now = fixture.consumer.endpoint.clock.now() / 1_000;
        fixture.server.expect("TIME", Some(&array(&[bulk(&now.to_string()), bulk("0")])));
    });
    assert!(fixture.held().is_empty());
    assert_eq!(idle_of_scan(&fixture, &take_over), AT_ONCE);
}

#[test]
fn once_the_clock_was_set_back_leases_begin_anew_and_only_what_was_given_back_is_taken() {
    let fixture = Fixture::new();
    let take_over = steady(&fixture);
    let clock = &fixture.consumer.endpoint.clock;
    let now = clock.now();
    [now, now - 60_000].iter().for_each(|ms| clock.adjust(*ms, Instant::now()));
    let mut idle = 0;
    let run = || take_over.run(|| Ok(SHORT * 2));
    while_redis(run, || {
        let restart = fixture.server.expect("EVAL", NONE);
        assert!(restart[1].contains("XPENDING"), "{restart:?}");
        fixture.server.expect("XPENDING s g IDLE", Some(&rows(&[(1, 1)])));
        idle = fixture.server.expect("EVAL", Some(&claimed(&[])))[6].parse().unwrap();
    })
    .unwrap();
    assert_eq!(idle, AT_ONCE);
    assert_eq!(idle_of_scan(&fixture, &take_over), AT_ONCE, "once is enough");
}

#[test]
fn of_what_may_have_crashed_its_consumers_one_is_taken_at_a_time() {
    let fixture = Fixture::new();
    let (server, take_over) = (&fixture.server, take_over(&fixture, LONG));
    scan(&fixture, &take_over, || {
        server.expect("EVAL", Some(&claimed(&[(1, 3), (2, 2), (3, 3), (4, 3)])));
        server.expect("XCLAIM s g me 0 1-2 RETRYCOUNT 2", Some(&entries(&[2])));
        server.expect("XCLAIM s g me 0 1-1 1-3 1-4 RETRYCOUNT 3", Some(&entries(&[1, 3, 4])));
        let leave = server.next();
        let said = leave.words.join(" ");
        assert!(said.starts_with("XCLAIM s g me 0 1-3 1-4 IDLE"), "{said}");
        assert!(said.ends_with("RETRYCOUNT 2 JUSTID"), "{said}");
        assert!(fixture.office.admitted.lock().is_empty(), "what is admitted may end the process");
        leave.reply("*0");
    });
    assert_eq!(fixture.held(), [1, 2]);
    assert!(take_over.holds_suspect() && take_over.are_suspects_left());
    let suspect = fixture.queue.held(StreamId { ms: 1, seq: 1 }).unwrap();
    suspect.answered.store(true, Ordering::SeqCst);
    assert!(!take_over.holds_suspect());
}

#[test]
fn a_suspect_that_is_held_here_is_not_given_back() {
    let fixture = Fixture::new();
    let (server, take_over) = (&fixture.server, take_over(&fixture, LONG));
    for deliveries in [3, 4] {
        scan(&fixture, &take_over, || {
            server.expect("EVAL", Some(&claimed(&[(1, deliveries)])));
            server.expect("XCLAIM s g me 0 1-1 RETRYCOUNT", Some(&entries(&[1])));
        });
    }
    assert_eq!(*fixture.office.admitted.lock(), [1]);
}

#[test]
fn what_would_not_run_is_no_suspect() {
    let fixture = Fixture::new();
    let (server, take_over) = (&fixture.server, take_over(&fixture, LONG));
    *fixture.office.ends.lock() = vec![1, 2];
    scan(&fixture, &take_over, || {
        server.expect("EVAL", Some(&claimed(&[(1, 3), (2, 3), (3, 3)])));
        server.expect("XCLAIM s g me 0 1-1 1-2 1-3 RETRYCOUNT 3", Some(&entries(&[1, 2, 3])));
    });
    assert_eq!(*fixture.office.admitted.lock(), [1, 2, 3]);
    assert!(!take_over.are_suspects_left());
}

#[test]
fn what_cannot_be_read_is_given_up_on_and_the_rest_is_taken() {
    let fixture = Fixture::new();
    let (server, take_over) = (&fixture.server, take_over(&fixture, LONG));
    scan(&fixture, &take_over, || {
        server.expect("EVAL", Some(&claimed(&[(1, 2), (2, 2)])));
        server.expect("XCLAIM s g me 0 1-1 1-2", None);
        (0..3).for_each(|_| drop(server.expect("XCLAIM s g me 0 1-1 RETRY", None)));
        server.expect("XCLAIM s g me 0 1-2", Some(&entries(&[2])));
    });
    assert_eq!(*fixture.office.given_up.lock(), [delivered(1, 2)]);
    assert_eq!(fixture.held(), [2]);
}

#[test]
fn a_lease_is_renewed_once_a_third_of_it_is_over() {
    let fixture = Fixture::new();
    fixture.hold(1);
    // A command would get no reply, and so fail.
    take_over(&fixture, LONG).renew().unwrap();
    let take_over = take_over(&fixture, SHORT);
    thread::sleep(SHORT / 3);
    let renewed = || drop(fixture.server.expect("XCLAIM s g me 0 1-1 JUSTID", NONE));
    while_redis(|| take_over.renew(), renewed).unwrap();
}

/// Runs a reader while `redis` plays Redis, and ends the reader.
fn read(fixture: &Fixture, redis: impl FnOnce()) {
    let (consumer, queue, office) =
        (Arc::clone(&fixture.consumer), Arc::clone(&fixture.queue), Arc::clone(&fixture.office));
    let waker = Waker::new(consumer.endpoint.connector.sockets()).unwrap();
    let reader = GroupReader::new(consumer, queue, office, waker, false);
    /// Ends the reader, also if the test fails.
    struct Ending<'a>(&'a GroupReader<Office>);
    impl Drop for Ending<'_> {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    thread::scope(|scope| {
        scope.spawn(|| reader.run(None));
        let _ending = Ending(&reader);
        fixture.server.expect("TIME", Some(&array(&[bulk("1"), bulk("0")])));
        fixture.server.expect("PREPARE", Some("+OK"));
        redis();
    });
}

#[test]
fn what_was_delivered_on_a_connection_that_broke_is_fetched() {
    let fixture = Fixture::new();
    let server = &fixture.server;
    fixture.hold(4);
    fixture.queue.try_take();
    read(&fixture, || {
        // Entries that others had before may be running there, and held ones are running here.
        server.expect("XPENDING s g 0-0", Some(&rows(&[(1, 1), (2, 2), (4, 1)])));
        server.expect("XCLAIM s g me 0 1-1 RETRYCOUNT 1", Some(&entries(&[1])));
        let read = array(&[array(&[bulk("s"), entries(&[3])])]);
        server.expect("XREADGROUP GROUP g me COUNT", Some(&read));
        for seq in [1, 3] {
            let Taken::Request(job) = fixture.queue.take(&Interrupt::default()) else { panic!("closed") };
            assert_eq!(job.key().seq, seq);
        }
        drop(server.next());
    });
    assert_eq!(fixture.held(), [1, 3, 4]);
}

#[test]
fn nothing_is_read_while_nothing_is_to_be_taken() {
    let fixture = Fixture::new();
    fixture.office.paused.store(true, Ordering::SeqCst);
    read(&fixture, || {
        fixture.server.expect("XPENDING", NONE);
        thread::sleep(Duration::from_millis(50));
        assert!(fixture.server.is_silent());
        fixture.office.paused.store(false, Ordering::SeqCst);
        drop(fixture.server.next());
    });
}

fn letters(fixture: &Fixture) -> DeadLetters {
    let connector = Arc::clone(&fixture.consumer.endpoint.connector);
    DeadLetters::new(Arc::new(Pool::new(connector, 1)), "dead".to_owned())
}

#[test]
fn a_dead_letter_is_kept_within_the_limits_and_says_why_it_is_one() {
    let fixture = Fixture::new();
    let (server, letters, clock) = (&fixture.server, letters(&fixture), Clock::default());
    let limits = Limits { keep: Duration::from_secs(9), max_size: 1_280 };
    let fields = Fields::default();
    let add = || letters.add(&[Letter::new(delivered(7, 5), &fields, "why")], &[], &clock, &limits);
    let added = while_redis(add, || {
        let words =
            server.expect("XADD dead MAXLEN ~ 10000 * dead_id 1-7 dead_reason why", Some("$3\r\n1-0"));
        assert_eq!(words[10..13], ["dead_deliveries", "5", "dead_at"]);
        server.expect("XTRIM dead MINID", Some(":0"));
        server.expect("PEXPIRE dead 9000", Some(":1"));
        server.expect("MEMORY USAGE dead", Some(":2540"));
        // They use twice the limit, so half of them are removed.
        server.expect("XLEN dead", Some(":4"));
        server.expect("XTRIM dead MAXLEN 2", Some(":2"));
        server.expect("MEMORY USAGE dead", Some(":1270"));
    });
    let added = added.unwrap();
    assert_eq!((added.ids, added.refusal), (vec![StreamId { ms: 1, seq: 0 }], None));
}

#[test]
fn a_dead_letter_counts_as_kept_if_redis_refuses_only_what_follows() {
    let fixture = Fixture::new();
    let (server, letters, clock) = (&fixture.server, letters(&fixture), Clock::default());
    let limits = Limits { keep: Duration::from_secs(9), max_size: 1 << 30 };
    let fields = Fields::default();
    let add = || letters.add(&[Letter::new(delivered(7, 5), &fields, "why")], &[], &clock, &limits);
    let added = while_redis(add, || {
        server.expect("XADD", Some("$3\r\n1-0"));
        server.expect("XTRIM", Some("-NOPERM no"));
        server.expect("PEXPIRE", Some(":1"));
        server.expect("MEMORY", Some(":1"));
    });
    assert_eq!(added.unwrap().refusal.unwrap().code(), Some("NOPERM"));
    let refused = while_redis(add, || {
        server.expect("XADD", Some("-OOM full"));
        server.expect("XTRIM", Some(":0"));
        server.expect("PEXPIRE", Some(":1"));
    });
    assert!(refused.is_err());
}
