//! Encodes commands that are written together, and decides from the replies what happens to each.

use crate::error::Error;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::pipeline::carried::{Carried, Delivery, Leftover, Tail, Writing, own_replies};
use crate::foundation::redis::pipeline::encoder::Encoder;
use crate::foundation::redis::pipeline::outgoing::{Broken, closes_connection, too_large};
use redis::Value;

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
    /// How many replies it will get, those to the tail included.
    pub replies: usize,
    /// `ASKING` precedes each command.
    asking: bool,
    /// The number of the connection that it was written on.
    connection: u64,
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
        bytes.reserve(all.iter().map(T::size).sum());
        let (encoder, mut waiting) = (Encoder::new(bytes, server.route), Vec::with_capacity(all.len()));
        let tail = T::Tail::begin(server.route, context);
        let mut to = Writing { encoder, tail, remembered, context };
        for carried in all {
            let before = to.encoder.replies;
            if let Some(carried) = carried.encode(&mut to) {
                let replies = to.encoder.replies - before;
                waiting.push(Waiting { carried, replies, end: to.encoder.len() });
            }
        }
        let Writing { mut encoder, mut tail, .. } = to;
        tail.encode(&mut encoder, context);
        Self { waiting, tail, replies: encoder.replies, asking, connection: server.connection }
    }

    /// Whether a thread waits for the replies.
    pub fn is_awaited(&self) -> bool {
        self.tail.is_awaited() || self.waiting.iter().any(|waiting| waiting.carried.is_awaited())
    }

    /// Handles the replies, item by item.
    pub fn settle(self, replies: &[Value], context: &T::Context) -> Leftover<T> {
        let (mut leftover, mut replies) = (Leftover::default(), replies);
        let (connection, asking, tail) = (self.connection, self.asking, &self.tail);
        let delivery = Delivery { connection, asking, tail, context };
        for Waiting { carried, replies: count, .. } in self.waiting {
            let (own, others) = replies.split_at(count.min(replies.len()));
            replies = others;
            leftover.settle(carried, own, &delivery);
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
        let (connection, asking, tail) = (self.connection, self.asking, &self.tail);
        let delivery = Delivery { connection, asking, tail, context };
        for Waiting { carried, replies: count, end } in self.waiting {
            let (own, others) = replies.split_at(count.min(replies.len()));
            replies = others;
            if let Some(said) = own.iter().find(|reply| closes_connection(reply)) {
                let error = too_large(carried.content_size(), Some(said));
                remains.culprit = carried.broken(false, context).map(|carried| (carried, error));
            } else if own.len() == count {
                remains.leftover.settle(carried, own, &delivery);
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
