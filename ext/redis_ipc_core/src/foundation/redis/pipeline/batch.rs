//! Encodes commands that are written together, and decides from the replies what happens to each.

use crate::error::{Error, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::error_codes::{Remedy, remedy};
use crate::foundation::redis::pipeline::carried::{Carried, Context, Delivery, Tail};
use crate::foundation::redis::pipeline::outgoing::{Broken, closes_connection, too_large};
use crate::foundation::redis::resp::encode::{self, CommandEncoder};
use redis::{Cmd, RedisError, Value};
use std::time::Duration;

/// The destination of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// The route of the server.
    pub route: &'a Route,
    /// The number of the connection to it.
    pub connection: u64,
}

/// A written item whose replies are outstanding.
struct Waiting<T> {
    carried: T,
    /// How many replies it gets.
    replies: usize,
    /// Its end among the bytes of the batch.
    end: usize,
}

/// Commands that were written together and whose replies are outstanding.
pub struct Batch<T: Carried> {
    waiting: Vec<Waiting<T>>,
    tail: T::Tail,
    /// How many replies are expected, including those to the tail.
    replies: usize,
    /// `ASKING` precedes each command.
    asking: bool,
    /// The number of the connection that it was written on.
    connection: u64,
}

/// The items of a batch that remain after its replies.
pub struct Leftover<T> {
    /// Items to send again.
    pub again: Vec<T>,
    /// Items to send again after a pause.
    pub later: Vec<T>,
    /// New items that follow from the replies.
    pub follow: Vec<T>,
    /// Items to send to another node of the cluster, after `pause`.
    pub elsewhere: Vec<T>,
    /// The pause before `elsewhere` is sent.
    pub pause: Duration,
    /// The refusal that caused `again`.
    pub refusal: Option<Error>,
    /// The refusal that caused `later`.
    pub deferral: Option<Error>,
}

/// The remains of a batch whose connection broke.
pub struct Remains<T> {
    /// The items that follow from the replies that arrived. Items to send again are in `broken`.
    pub leftover: Leftover<T>,
    /// The items to send again.
    pub broken: Broken<T>,
    /// The item because of which Redis closes the connection, as it says, and the error for it.
    pub culprit: Option<(T, Error)>,
}

impl<T: Carried> Batch<T> {
    /// Encodes `all` into `bytes` for `server`. Items that are no longer wanted are left out.
    pub fn encode(
        all: Vec<T>,
        bytes: &mut Vec<u8>,
        server: Server<'_>,
        remembered: &mut T::Remembered,
        context: &T::Context,
    ) -> Self {
        let asking = matches!(server.route, Route::Asking(_));
        let (mut waiting, mut tail) = (Vec::with_capacity(all.len()), T::Tail::begin(server.route, context));
        bytes.reserve(all.iter().map(T::size).sum());
        let mut encoder = Encoder { bytes, route: server.route, replies: 0 };
        for carried in all {
            let before = encoder.replies;
            if let Some(carried) = carried.encode(&mut encoder, &mut tail, remembered, context) {
                let replies = encoder.replies - before;
                waiting.push(Waiting { carried, replies, end: encoder.bytes.len() });
            }
        }
        tail.encode(&mut encoder, context);
        Self { waiting, tail, replies: encoder.replies, asking, connection: server.connection }
    }

    /// Returns how many replies are expected.
    pub fn replies(&self) -> usize {
        self.replies
    }

    /// Whether a thread waits for the replies.
    pub fn is_awaited(&self) -> bool {
        self.tail.is_awaited() || self.waiting.iter().any(|waiting| waiting.carried.is_awaited())
    }

    /// Handles the replies, item by item.
    pub fn settle(self, replies: &[Value], context: &T::Context) -> Leftover<T> {
        let (mut leftover, mut replies) = (Leftover::default(), replies);
        let delivery = Delivery { connection: self.connection, asking: self.asking, tail: &self.tail };
        for Waiting { carried, replies: count, .. } in self.waiting {
            let (own, others) = replies.split_at(count.min(replies.len()));
            replies = others;
            leftover.settle(carried, own, &delivery, context);
        }
        self.tail.settle(own_replies(replies, self.asking), &mut leftover, context);
        leftover
    }

    /// Handles the replies that arrived before the connection broke. `written` is how many bytes of the batch were
    /// written: Redis has executed no command that ends later.
    pub fn settle_broken(mut self, replies: &[Value], written: usize, context: &T::Context) -> Remains<T> {
        let mut remains = Remains { leftover: Leftover::default(), broken: Broken::default(), culprit: None };
        let (mut replies, mut start) = (replies, 0);
        self.tail.broken();
        let delivery = Delivery { connection: self.connection, asking: self.asking, tail: &self.tail };
        for Waiting { carried, replies: count, end } in self.waiting {
            let (own, others) = replies.split_at(count.min(replies.len()));
            replies = others;
            if let Some(said) = own.iter().find(|reply| closes_connection(reply)) {
                let error = too_large(carried.content_size(), Some(said));
                remains.culprit = carried.broken(false, context).map(|carried| (carried, error));
            } else if own.len() == count {
                remains.leftover.settle(carried, own, &delivery, context);
            } else {
                let is_begun = remains.culprit.is_none() && start < written;
                let may_be_executed = remains.culprit.is_none() && end <= written;
                let broken = &mut remains.broken;
                let rest = if is_begun { &mut broken.unanswered } else { &mut broken.unsent };
                rest.extend(carried.broken(may_be_executed, context));
            }
            start = end;
        }
        remains.broken.refused = std::mem::take(&mut remains.leftover.again);
        remains.broken.unsent.extend(self.tail.unsent());
        remains
    }
}

/// Returns the replies without that to the first `ASKING`.
fn own_replies(replies: &[Value], asking: bool) -> &[Value] {
    replies.get(usize::from(asking)..).unwrap_or_default()
}

impl<T> Default for Leftover<T> {
    fn default() -> Self {
        Self {
            again: Vec::new(),
            later: Vec::new(),
            follow: Vec::new(),
            elsewhere: Vec::new(),
            pause: Duration::ZERO,
            refusal: None,
            deferral: None,
        }
    }
}

impl<T: Carried> Leftover<T> {
    fn settle(
        &mut self,
        mut carried: T,
        replies: &[Value],
        delivery: &Delivery<'_, T>,
        context: &T::Context,
    ) {
        let own = own_replies(replies, delivery.asking);
        if let Err(refusal) = carried.settle(own, delivery, &mut self.follow, context) {
            self.refuse(carried, &refusal, context);
        }
    }

    /// Handles a refusal of `carried`: it concerns this server only, or this moment only, or is final.
    pub fn refuse(&mut self, carried: T, refusal: &RedisError, context: &T::Context) {
        carried.not_executed();
        let connector = &context.endpoint().connector;
        let explain = || connector.explain(refusal, Fate::NotSent);
        let remedy = remedy(refusal.code().unwrap_or_default());
        if remedy == Remedy::Reconnect {
            // This server cannot serve now.
            self.refusal.get_or_insert_with(explain);
            self.again.push(carried);
        } else if let Some(pause) = connector.redirected(&carried.key(context), refusal) {
            self.elsewhere.push(carried);
            self.pause = self.pause.max(pause);
        } else if remedy == Remedy::Wait && carried.waits_for_redis(context) {
            self.deferral.get_or_insert_with(explain);
            self.later.push(carried);
        } else {
            self.follow.extend(carried.refused(&explain(), context));
        }
    }
}

/// Writes commands into the bytes of a batch, and counts the expected replies.
pub struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    route: &'a Route,
    replies: usize,
}

impl Encoder<'_> {
    /// Begins a command of this many words, its name included.
    pub fn command(&mut self, words: usize) -> CommandEncoder<'_> {
        self.preface();
        self.inner_command(words)
    }

    /// Begins a command inside a transaction that [`Encoder::command`] began. `ASKING` holds until `EXEC`.
    pub fn inner_command(&mut self, words: usize) -> CommandEncoder<'_> {
        self.replies += 1;
        encode::command(self.bytes, words)
    }

    /// Writes a whole command.
    pub fn run(&mut self, command: &Cmd) {
        self.preface();
        self.replies += 1;
        command.write_packed_command(self.bytes);
    }

    /// Returns the server that it is written to.
    pub fn route(&self) -> &Route {
        self.route
    }

    /// Whether nothing has been written yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn preface(&mut self) {
        if matches!(self.route, Route::Asking(_)) {
            self.inner_command(1).word("ASKING");
        }
    }
}
