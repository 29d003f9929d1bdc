//! Encodes what is written together, and decides from the replies what becomes of each part.

use crate::error::{Error, Fate};
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::error_codes::{Remedy, remedy};
use crate::foundation::redis::pipeline::carried::{Carried, Context, Delivery, Tail};
use crate::foundation::redis::pipeline::outgoing::{Broken, closes_connection, too_large};
use crate::foundation::redis::resp::encode::{self, CommandEncoder};
use redis::{Cmd, RedisError, Value};
use std::time::Duration;

/// Where a batch goes.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Which server it is.
    pub route: &'a Route,
    /// The number of the connection to it.
    pub connection: u64,
}

/// Something that was written, and waits for its replies.
struct Waiting<T> {
    carried: T,
    /// How many replies will come.
    replies: usize,
    /// Where it ends among the bytes of the batch.
    end: usize,
}

/// Commands written together, waiting for their replies.
pub struct Batch<T: Carried> {
    waiting: Vec<Waiting<T>>,
    tail: T::Tail,
    /// How many replies will come, with those to the tail.
    replies: usize,
    /// Each command is preceded by ASKING.
    asking: bool,
    /// The number of the connection it was written on.
    connection: u64,
}

/// What is left of a batch after its replies.
pub struct Leftover<T> {
    /// What is to be sent again.
    pub again: Vec<T>,
    /// What is to be sent again after a while.
    pub later: Vec<T>,
    /// What follows from the replies.
    pub follow: Vec<T>,
    /// What is to be sent to another node of the cluster, after `pause`.
    pub elsewhere: Vec<T>,
    /// How long that is to wait.
    pub pause: Duration,
    /// The refusal behind `again`.
    pub refusal: Option<Error>,
    /// The refusal behind `later`.
    pub deferral: Option<Error>,
}

/// What is left of a batch whose connection broke.
pub struct Remains<T> {
    /// What follows from the replies that came; what is to be sent again is in `broken`.
    pub leftover: Leftover<T>,
    /// What is to be sent again.
    pub broken: Broken<T>,
    /// That over which Redis says that it closes the connection, with the error for it.
    pub culprit: Option<(T, Error)>,
}

impl<T: Carried> Batch<T> {
    /// Encodes `all` into `bytes` for `server`; what is no longer wanted is left out.
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

    /// How many replies will come.
    pub fn replies(&self) -> usize {
        self.replies
    }

    /// Whether somebody waits for the replies.
    pub fn is_awaited(&self) -> bool {
        self.tail.is_awaited() || self.waiting.iter().any(|waiting| waiting.carried.is_awaited())
    }

    /// Acts on the replies, those to one part after the other.
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

    /// Acts on the replies that came before the connection broke. `written` is how many bytes of the batch were
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

/// Without the reply to the first `ASKING`.
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

    /// Redis refused `carried`: here only, now only, or for good.
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

/// Writes commands into the bytes of a batch, and counts the replies that will come.
pub struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    route: &'a Route,
    replies: usize,
}

impl Encoder<'_> {
    /// Begins a command of so many words, its name among them.
    pub fn command(&mut self, words: usize) -> CommandEncoder<'_> {
        self.preface();
        self.inner_command(words)
    }

    /// Begins a command of a transaction that [`Encoder::command`] began: `ASKING` counts until `EXEC`.
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

    /// The server that it is written to.
    pub fn route(&self) -> &Route {
        self.route
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn preface(&mut self) {
        if matches!(self.route, Route::Asking(_)) {
            self.inner_command(1).word("ASKING");
        }
    }
}
