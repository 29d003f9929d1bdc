//! Lets a test make a thread of the core panic in the midst of its work. Other builds have nothing of it.

/// Panics if a test wants this thread to.
#[cfg(not(test))]
#[inline]
pub fn point() {}

#[cfg(test)]
pub use tests::point;

#[cfg(test)]
mod tests {
    use crate::consumer_queue::Taken;
    use crate::engine::Engine;
    use crate::entry::Status;
    use crate::error::ErrorKind;
    use crate::ledger::{Interrupt, Outcome, Waited};
    use crate::options::Options;
    use crate::reports::{Fetched, Report};
    use crate::sync::Mutex;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::sync::{Arc, LazyLock, MutexGuard};
    use std::time::{Duration, Instant};

    /// The name of the thread that is to panic, once.
    static CHOSEN: LazyLock<Mutex<Option<String>>> = LazyLock::new(Mutex::default);
    static TURN: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

    pub fn point() {
        let mut chosen = CHOSEN.lock();
        if chosen.is_some() && chosen.as_deref() == std::thread::current().name() {
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

    fn serve(engine: &Engine) {
        while let Taken::Claim(claim) = engine.service().take(&Interrupt::default()) {
            let content = claim.request.content.clone();
            let _ = engine.service().answer(&claim, Status::Fulfilled, content, None);
        }
    }

    fn call(engine: &Engine) -> Outcome {
        let ticket = engine.calls().ask("both", b"1".to_vec(), Some(Duration::from_millis(500)), None)?;
        match engine.calls().wait(&ticket, None, &Interrupt::default()) {
            Waited::Done(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_thread_that_panics_is_reported_and_starts_again() {
        let drill = Drill::start();
        let engine = &drill.engine;
        for thread in ["ipc-sender", "ipc-replies", "ipc-inbox", "ipc-house"] {
            call(engine).unwrap();
            *CHOSEN.lock() = Some(thread.to_owned());
            eventually(|| {
                let _ = call(engine);
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
