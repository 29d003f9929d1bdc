//! Lets a test make a thread of the core panic in the midst of its work. Other builds have nothing of it.

/// Panics if a test wants this thread to.
#[cfg(not(test))]
#[inline]
pub fn point() {}

/// Panics if a test wants the thread to that reads a connection lent to it.
#[cfg(not(test))]
#[inline]
pub fn visit() {}

#[cfg(test)]
pub use tests::{point, visit};

#[cfg(test)]
mod tests {
    use crate::consumer_queue::Taken;
    use crate::engine::Engine;
    use crate::entry::{Context, Question, Status};
    use crate::error::ErrorKind;
    use crate::ledger::{Outcome, Ticket, Waited};
    use crate::options::Options;
    use crate::reports::{Fetched, Report};
    use crate::sync::Mutex;
    use crate::waiting::Interrupt;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::sync::{Arc, LazyLock, MutexGuard};
    use std::time::{Duration, Instant};

    /// The name of the thread that is to panic, once.
    static CHOSEN: LazyLock<Mutex<Option<String>>> = LazyLock::new(Mutex::default);
    static TURN: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

    /// The content of a request that is not answered at once.
    const UNHURRIED: &[u8] = b"2";
    /// What stands for whoever has a connection that was lent.
    const VISITOR: &str = "a visitor";

    pub fn point() {
        if let Some(name) = std::thread::current().name() {
            panic_if_chosen(name);
        }
    }

    pub fn visit() {
        panic_if_chosen(VISITOR);
    }

    fn panic_if_chosen(name: &str) {
        let mut chosen = CHOSEN.lock();
        if chosen.as_deref() == Some(name) {
            *chosen = None;
            drop(chosen);
            panic!("a drill");
        }
    }

    /// A server and an instance that answers itself; one at a time, for there is one choice of a thread.
    struct Drill {
        engine: Arc<Engine>,
        process: Child,
        folder: PathBuf,
        _turn: MutexGuard<'static, ()>,
    }

    impl Drill {
        fn start() -> Self {
            let turn = TURN.lock();
            let folder = std::env::temp_dir().join(format!("redis_ipc_drill{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let process = Command::new("redis-server")
                .args(["--port", "0", "--unixsocket", "redis.sock", "--save", ""])
                .current_dir(&folder)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let path = folder.join("redis.sock");
            let options =
                serde_json::json!({ "redis_options": { "path": path }, "consumer": { "lease": 0.5 } });
            let engine = Arc::new(eventually(|| {
                let options = Options::parse(options.clone(), None, &[]).unwrap();
                Engine::start("drill", "both", options, true).ok()
            }));
            let served = Arc::clone(&engine);
            std::thread::spawn(move || serve(&served));
            Self { engine, process, folder, _turn: turn }
        }

        fn expect_recovery(&self) {
            let engine = &self.engine;
            eventually(|| (engine.is_connected() && call(engine).is_ok()).then_some(()));
            // Calls that were lost on the way have ended too.
            eventually(|| engine.stats().contains(&("open_calls", 0)).then_some(()));
        }
    }

    impl Drop for Drill {
        fn drop(&mut self) {
            self.engine.close();
            self.process.kill().unwrap();
            self.process.wait().unwrap();
            std::fs::remove_dir_all(&self.folder).unwrap();
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

    /// A consumer that a panic does not end.
    fn serve(engine: &Engine) {
        let serve_all = || {
            while let Taken::Claim(claim) = engine.service().take(&Interrupt::default()) {
                let content = claim.request.content.share().to_vec();
                std::thread::sleep(if content == UNHURRIED {
                    Duration::from_millis(5)
                } else {
                    Duration::ZERO
                });
                let _ = engine.service().answer(&claim, Status::Fulfilled, content, None);
            }
        };
        while catch_unwind(AssertUnwindSafe(serve_all)).is_err() {}
    }

    fn question(content: &[u8]) -> Question {
        Question { to: "both".to_owned(), content: content.to_vec(), context: Context::default() }
    }

    /// A call that is answered in no time, by a caller that waits: its connections are lent.
    fn call(engine: &Engine) -> Outcome {
        let ticket = engine.calls().ask(question(b"1"), Some(Duration::from_millis(500)))?;
        wait(engine, &ticket)
    }

    /// A call for which the threads of the engine read.
    fn call_unhurried(engine: &Engine) -> Outcome {
        let timeout = Some(Duration::from_millis(500));
        let ticket = engine.calls().ask_ahead(question(UNHURRIED), timeout)?;
        wait(engine, &ticket)
    }

    fn wait(engine: &Engine, ticket: &Ticket) -> Outcome {
        match engine.calls().wait(ticket, None, &Interrupt::default()) {
            Waited::Done(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_thread_that_panics_is_reported_and_starts_again() {
        let drill = Drill::start();
        let engine = &drill.engine;
        for thread in ["ipc-sender", "ipc-replies", "ipc-inbox", "ipc-house"] {
            call_unhurried(engine).unwrap();
            *CHOSEN.lock() = Some(thread.to_owned());
            eventually(|| {
                let _ = call_unhurried(engine);
                CHOSEN.lock().is_none().then_some(())
            });
            let (_never, interrupt) = crossbeam_channel::bounded(1);
            eventually(|| match engine.reports().fetch(&interrupt) {
                // A connection that broke and is back is no panic.
                Fetched::Report(Report::Reconnected(_)) => None,
                Fetched::Report(Report::Failure(error)) => {
                    (error.kind == ErrorKind::Internal && error.message.contains("a drill")).then_some(())
                }
                other => panic!("{other:?}"),
            });
            drill.expect_recovery();
        }
    }

    #[test]
    fn a_visitor_that_panics_takes_the_connection_along_and_the_engine_makes_another() {
        let drill = Drill::start();
        let engine = &drill.engine;
        for _ in 0..6 {
            // By and by it is a caller, and a consumer.
            eventually(|| {
                *CHOSEN.lock() = Some(VISITOR.to_owned());
                let _ = catch_unwind(AssertUnwindSafe(|| call(engine)));
                CHOSEN.lock().take().is_none().then_some(())
            });
            drill.expect_recovery();
        }
    }

    #[test]
    fn a_caller_that_panics_while_it_writes_leaves_the_sender_to_the_others() {
        let drill = Drill::start();
        call(&drill.engine).unwrap();
        let engine = Arc::clone(&drill.engine);
        *CHOSEN.lock() = Some("drilled caller".to_owned());
        let caller = std::thread::Builder::new().name("drilled caller".to_owned()).spawn(move || {
            while CHOSEN.lock().is_some() {
                let _ = call(&engine);
            }
        });
        assert!(caller.unwrap().join().is_err());
        drill.expect_recovery();
    }
}
