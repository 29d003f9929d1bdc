//! Tests of an engine after a panic in one of its threads (see [`crate::foundation::runtime::failpoint`]).

use crate::error::ErrorKind;
use crate::foundation::redis::live_server::LiveServer;
use crate::foundation::redis::running::Running;
use crate::foundation::runtime::failpoint::{CHOSEN, FOLLOWER};
use crate::foundation::runtime::reports::{Fetched, Report};
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::waiting::Interrupt;
use crate::foundation::runtime::work_queue::Taken;
use crate::request_reply::engine::Engine;
use crate::request_reply::membership::options::Options;
use crate::request_reply::protocol::entry::{Context, Question, Status};
use crate::request_reply::tracking::ledger::{Outcome, Ticket, Waited};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, MutexGuard};
use std::time::{Duration, Instant};

static ONE_AT_A_TIME: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// The content of a request that is not answered at once.
const UNHURRIED: &[u8] = b"2";
/// A server, and an instance that answers its own calls. The tests run one at a time because there is only one choice
/// of a thread.
struct Recovery {
    engine: Arc<Engine>,
    _server: LiveServer,
    _one: MutexGuard<'static, ()>,
}

impl Recovery {
    fn start() -> Self {
        let one = ONE_AT_A_TIME.lock();
        let server = LiveServer::start();
        let options =
            serde_json::json!({ "redis_options": &server.redis_options, "consumer": { "lease": 0.5 } });
        let options = Options::parse(options, None, &[]).unwrap();
        let engine = Arc::new(Engine::start("recovery", "both", options, true).unwrap());
        let served = Arc::clone(&engine);
        std::thread::spawn(move || serve(&served));
        Self { engine, _server: server, _one: one }
    }

    fn expect_recovery(&self) {
        let engine = &self.engine;
        eventually(|| (engine.is_connected() && call(engine).is_ok()).then_some(()));
        // Calls that were lost on the way have ended too.
        eventually(|| engine.stats().contains(&("open_calls", 0)).then_some(()));
    }
}

impl Drop for Recovery {
    fn drop(&mut self) {
        self.engine.close();
    }
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a consumer that restarts after a panic.
fn serve(engine: &Engine) {
    let serve_all = || {
        while let Taken::Request(held) = engine.service.take(&Interrupt::default()) {
            let content = held.request.content.share().to_vec();
            std::thread::sleep(if content == UNHURRIED { Duration::from_millis(5) } else { Duration::ZERO });
            let _ = engine.service.answer(&held, Status::Fulfilled, content, None);
        }
    };
    while catch_unwind(AssertUnwindSafe(serve_all)).is_err() {}
}

fn question(content: &[u8]) -> Question {
    Question { to: "both".to_owned(), content: content.to_vec(), context: Context::default() }
}

/// Makes a call that is answered quickly, by a caller that waits. So its connections are lent.
fn call(engine: &Engine) -> Outcome {
    let ticket = engine.calls.ask(question(b"1"), Some(Duration::from_millis(500)))?;
    wait(engine, &ticket)
}

/// Makes a call for which the engine's threads read.
fn call_unhurried(engine: &Engine) -> Outcome {
    let timeout = Some(Duration::from_millis(500));
    let ticket = engine.calls.ask_ahead(question(UNHURRIED), timeout)?;
    wait(engine, &ticket)
}

fn wait(engine: &Engine, ticket: &Ticket) -> Outcome {
    match engine.calls.wait(ticket, None, &Interrupt::default()) {
        Waited::Done(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_thread_that_panics_is_reported_and_starts_again() {
    let recovery = Recovery::start();
    let engine = &recovery.engine;
    for thread in ["ipc-sender", "ipc-replies", "ipc-inbox", "ipc-house"] {
        call_unhurried(engine).unwrap();
        *CHOSEN.lock() = Some(thread.to_owned());
        eventually(|| {
            let _ = call_unhurried(engine);
            CHOSEN.lock().is_none().then_some(())
        });
        let (_never, interrupt) = crossbeam_channel::bounded(1);
        eventually(|| match engine.endpoint().reports.fetch(&interrupt) {
            // A connection that broke and is up again is no panic.
            Fetched::Message(Report::Reconnected(_)) => None,
            Fetched::Message(Report::Failure(error)) => {
                (error.kind == ErrorKind::Internal && error.message.contains("a failpoint")).then_some(())
            }
            other => panic!("{other:?}"),
        });
        recovery.expect_recovery();
    }
}

#[test]
fn a_follower_that_panics_takes_the_connection_along_and_the_engine_makes_another() {
    let recovery = Recovery::start();
    let engine = &recovery.engine;
    for _ in 0..6 {
        // Eventually the follower is a caller, and another time a consumer.
        eventually(|| {
            *CHOSEN.lock() = Some(FOLLOWER.to_owned());
            let _ = catch_unwind(AssertUnwindSafe(|| call(engine)));
            CHOSEN.lock().take().is_none().then_some(())
        });
        recovery.expect_recovery();
    }
}

#[test]
fn a_caller_that_panics_while_it_writes_leaves_the_sender_to_the_others() {
    let recovery = Recovery::start();
    call(&recovery.engine).unwrap();
    let engine = Arc::clone(&recovery.engine);
    *CHOSEN.lock() = Some("failing caller".to_owned());
    let caller = std::thread::Builder::new().name("failing caller".to_owned()).spawn(move || {
        while CHOSEN.lock().is_some() {
            let _ = call(&engine);
        }
    });
    assert!(caller.unwrap().join().is_err());
    recovery.expect_recovery();
}
