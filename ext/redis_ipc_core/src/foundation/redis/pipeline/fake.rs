//! A small feature for the tests of the writer's parts.

use crate::error::{Error, ErrorKind};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::carried::{Carried, Context, Delivery, Leftover, Tail, Writing};
use crate::foundation::redis::pipeline::encoder::Encoder;
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crossbeam_channel::{Receiver, Sender, unbounded};
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The fate of a note.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Redis accepted it.
    Taken(&'static str),
    /// It failed.
    Failed(&'static str, ErrorKind),
    /// Redis refused it.
    Refused(&'static str),
    /// It was too large.
    TooLarge(&'static str),
    /// Its connection broke. The flag says whether it may have been executed.
    Broken(&'static str, bool),
    /// The connection was made again.
    Connected,
}

/// The command `SAY name` with some padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its name.
    pub name: &'static str,
    /// The length of the padding.
    pub padding: usize,
    /// It is kept while Redis refuses it for now.
    pub waits: bool,
}

/// Creates a note that is kept while Redis refuses it.
pub fn note(name: &'static str) -> Note {
    Note { name, padding: 0, waits: true }
}

impl Outbound for Note {
    fn size(&self) -> usize {
        self.padding + 10
    }
}

impl Carried for Note {
    type Context = Desk;
    type Remembered = ();
    type Tail = Count;

    fn content_size(&self) -> usize {
        self.padding
    }

    fn key(&self, _: &Desk) -> String {
        self.name.to_owned()
    }

    fn rights(&self) -> &'static str {
        "+say"
    }

    fn encode(self, to: &mut Writing<'_, Self>) -> Option<Self> {
        if self.name == "unwanted" {
            return None;
        }
        to.encoder.command(3).word("SAY").word(self.name).word(vec![b'.'; self.padding]);
        to.tail.0 += 1;
        Some(self)
    }

    fn settle(&mut self, replies: &[Value], delivery: &Delivery<'_, Self>) -> RedisResult<Option<Self>> {
        let [reply] = replies else { panic!("{replies:?}") };
        if let Value::ServerError(error) = reply {
            return Err(error.clone().into());
        }
        delivery.context.tell(Event::Taken(self.name));
        Ok((self.name == "first").then(|| note("second")))
    }

    fn broken(self, may_be_executed: bool, desk: &Desk) -> Option<Self> {
        desk.tell(Event::Broken(self.name, may_be_executed));
        Some(self)
    }

    fn waits_for_redis(&self, _: &Desk) -> bool {
        self.waits
    }

    fn is_hopeless(&self, _: Duration, _: &Desk) -> bool {
        !self.waits
    }

    fn fail(self, error: &Error, desk: &Desk) -> Option<Self> {
        desk.tell(Event::Failed(self.name, error.kind));
        None
    }

    fn refused(self, _: &Error, desk: &Desk) -> Option<Self> {
        desk.tell(Event::Refused(self.name));
        (self.name == "refused").then(|| note("instead"))
    }

    fn refuse_large(self, _: &Error, desk: &Desk) -> Option<Self> {
        desk.tell(Event::TooLarge(self.name));
        None
    }
}

/// The number of notes in the batch: `END count`.
pub struct Count(u64);

impl Tail<Note> for Count {
    fn begin(_: &Route, _: &Desk) -> Self {
        Self(0)
    }

    fn encode(&mut self, encoder: &mut Encoder<'_>, _: &Desk) {
        encoder.command(2).word("END").number(self.0);
    }

    fn settle(self, replies: &[Value], leftover: &mut Leftover<Note>, _: &Desk) {
        assert_eq!(replies.len(), 1, "what is left is for the tail");
        leftover.follow.extend((replies[0] == Value::Int(-1)).then(|| note("end again")));
    }

    fn unsent(self) -> Option<Note> {
        Some(note("end"))
    }
}

/// The state that notes share.
pub struct Desk {
    endpoint: Arc<Endpoint>,
    /// The thread of the next connection that is made again panics.
    pub explodes: AtomicBool,
    events: Sender<Event>,
}

impl Desk {
    /// Creates a desk with this endpoint, and returns the events too.
    pub fn new(endpoint: Arc<Endpoint>) -> (Self, Receiver<Event>) {
        let (events, told) = unbounded();
        (Self { endpoint, explodes: AtomicBool::new(false), events }, told)
    }

    fn tell(&self, event: Event) {
        self.events.send(event).unwrap();
    }
}

impl Context for Desk {
    const THREAD: &'static str = "a writer";
    const CLOSED: &'static str = "closed";

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    fn connected(&self, _: &Route, _: &mut Connection) -> RedisResult<()> {
        assert!(!self.explodes.swap(false, Ordering::SeqCst), "as the test wants it");
        self.events.send(Event::Connected).unwrap();
        Ok(())
    }
}
