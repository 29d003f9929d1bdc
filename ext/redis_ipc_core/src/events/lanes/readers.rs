//! The readers of this instance: two for a single stream, or one for each partition that it owns.

use crate::error::Error;
use crate::events::lanes::reader::{Reader, Source};
use crate::events::lanes::schedule::Role;
use crate::foundation::runtime::sync::Mutex;
use crate::foundation::runtime::threads::{join, spawn};
use std::collections::HashSet;
use std::sync::Arc;
use std::thread::JoinHandle;

/// The readers, each with its thread.
pub struct Readers {
    source: Arc<Source>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Vec<(Arc<Reader>, JoinHandle<()>)>,
    ending: Vec<JoinHandle<()>>,
    is_closed: bool,
}

impl Readers {
    /// Creates the readers of an instance. None is started yet.
    pub fn new(source: Arc<Source>) -> Self {
        Self { source, state: Mutex::default() }
    }

    /// Starts missing readers, and stops those of lanes that this instance no longer owns.
    ///
    /// # Errors
    ///
    /// A thread could not be started. The next call tries again.
    pub fn tend(&self) -> Result<(), Error> {
        let mut missing: HashSet<Role> = self.source.roles().into_iter().collect();
        let mut state = self.state.lock();
        if state.is_closed {
            return Ok(());
        }
        state.ending.retain(|thread| !thread.is_finished());
        for (reader, thread) in std::mem::take(&mut state.running) {
            if missing.remove(&reader.role) {
                state.running.push((reader, thread));
            } else {
                reader.stop();
                state.ending.push(thread);
            }
        }
        for role in missing {
            let reader = Arc::new(Reader::new(Arc::clone(&self.source), role));
            let own = Arc::clone(&reader);
            let thread = spawn(reader.name(), &self.source.endpoint, move || own.run())?;
            state.running.push((reader, thread));
        }
        Ok(())
    }

    /// Stops all readers, and starts no more.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        for (reader, thread) in std::mem::take(&mut state.running) {
            reader.stop();
            state.ending.push(thread);
        }
    }

    /// Waits until all threads have ended.
    pub fn join(&self) {
        let ending = std::mem::take(&mut self.state.lock().ending);
        ending.into_iter().for_each(|thread| join(Some(thread)));
    }
}
