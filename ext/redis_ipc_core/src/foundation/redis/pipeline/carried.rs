//! The interface between the writer and the feature whose commands it carries.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::error_codes::{Remedy, remedy};
use crate::foundation::redis::pipeline::encoder::Encoder;
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::foundation::redis::rights;
use redis::{RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// An item to write to Redis: a few commands on one key, and the handling of their replies.
pub trait Carried: Outbound + Send + Sized + 'static {
    /// The state that all items of one writer share.
    type Context: Context;
    /// The state that lasts as long as a connection.
    type Remembered: Default + Send;
    /// A collection that a batch gathers, and writes at its end.
    type Tail: Tail<Self>;

    /// Returns how many bytes of content it carries.
    fn content_size(&self) -> usize;

    /// Returns its key. In a cluster it is written to the node that serves this key.
    fn key(&self, context: &Self::Context) -> String;

    /// Returns the rights that its commands need, as words of a rule of Redis's ACL.
    fn rights(&self) -> &'static str;

    /// Writes its commands, and returns the item that handles their replies. Returns `None` if it wrote nothing,
    /// because it is no longer wanted or the tail has taken it over.
    fn encode(self, to: &mut Writing<'_, Self>) -> Option<Self>;

    /// Handles the replies. Returns the item that is to be sent next, if any.
    ///
    /// # Errors
    ///
    /// The refusal by Redis because of which it is to be tried again, or else ends with [`Carried::refused`].
    fn settle(&mut self, replies: &[Value], delivery: &Delivery<'_, Self>) -> RedisResult<Option<Self>>;

    /// Records that Redis did not execute what was written last.
    fn not_executed(&self) {}

    /// Handles a connection that broke before all replies arrived. Returns the item to send again. `may_be_executed`
    /// says whether Redis may have received all of it.
    fn broken(self, may_be_executed: bool, context: &Self::Context) -> Option<Self>;

    /// Whether it is tried again after a pause if Redis refuses such commands for now.
    fn waits_for_redis(&self, context: &Self::Context) -> bool;

    /// Whether it has waited for a connection too long. `patience` is how long connecting may take.
    fn is_hopeless(&self, patience: Duration, context: &Self::Context) -> bool;

    /// Gives up because of `error`. Returns the item to send all the same; that item returns nothing when it fails.
    fn fail(self, error: &Error, context: &Self::Context) -> Option<Self>;

    /// Handles a refusal that another attempt will not change. Returns the item to send all the same.
    fn refused(self, error: &Error, context: &Self::Context) -> Option<Self> {
        self.fail(error, context)
    }

    /// Handles that it is too large for Redis. Returns the item to send instead.
    fn refuse_large(self, error: &Error, context: &Self::Context) -> Option<Self> {
        self.fail(error, context)
    }

    /// Whether a thread waits for the replies. Otherwise the replies to a lone command may stay unread for a while.
    fn is_awaited(&self) -> bool {
        false
    }
}

/// The state that all items of one writer share.
pub trait Context: Send + Sync + 'static {
    /// The name of the writer's threads.
    const THREAD: &'static str;
    /// Why an item fails that is sent after the writer was closed.
    const CLOSED: &'static str;
    /// What the connections are for.
    const PURPOSE: Purpose = Purpose::Sender;
    /// Whether all keys are in one slot, and so on one server, also in a cluster.
    const ONE_SLOT: bool = false;

    /// Returns the endpoint that the connections belong to.
    fn endpoint(&self) -> &Arc<Endpoint>;

    /// Returns the error of an item that is sent after the writer was closed.
    fn closed(&self) -> Error {
        Error::new(ErrorKind::Closed(Fate::NotSent), Self::CLOSED)
    }

    /// Handles a connection to the server at `route` that was made again. It may lead to another server, or to the
    /// same one without its data.
    ///
    /// # Errors
    ///
    /// The connection is of no use for this reason.
    fn connected(&self, route: &Route, connection: &mut Connection) -> RedisResult<()>;

    /// Whether the other connections of the endpoint lead to the server at `route` too. If so, a break of one of them
    /// says something about this one. In a cluster they usually go to other nodes.
    fn shares_server(&self, route: &Route) -> bool {
        Self::ONE_SLOT || *route == Route::Server
    }
}

/// A collection that a batch gathers, and writes at its end.
pub trait Tail<T: Carried>: Sized + Send {
    /// Creates the empty collection of a batch for the server at `route`.
    fn begin(route: &Route, context: &T::Context) -> Self;

    /// Writes the collection.
    fn encode(&mut self, encoder: &mut Encoder<'_>, context: &T::Context);

    /// Whether a thread waits for its replies.
    fn is_awaited(&self) -> bool {
        false
    }

    /// Handles its replies, once those to the items have been handled.
    fn settle(self, replies: &[Value], leftover: &mut Leftover<T>, context: &T::Context);

    /// Handles a connection that broke before its replies arrived.
    fn broken(&mut self) {}

    /// Returns the item to send again for the collection, after the connection broke.
    fn unsent(self) -> Option<T> {
        None
    }
}

/// The circumstances in which an item was written.
#[derive(Debug)]
pub struct Delivery<'a, T: Carried> {
    /// The number of the connection. It is unique within the endpoint.
    pub connection: u64,
    /// `ASKING` preceded each command, so each reply is preceded by one to `ASKING`. The first of these is removed
    /// already.
    pub asking: bool,
    /// The collection of the batch.
    pub tail: &'a T::Tail,
    /// The state that all items share.
    pub context: &'a T::Context,
}

/// What the items of a batch are written to.
pub struct Writing<'a, T: Carried> {
    /// The commands so far.
    pub encoder: Encoder<'a>,
    /// The collection of the batch.
    pub tail: T::Tail,
    /// The state of the connection.
    pub remembered: &'a mut T::Remembered,
    /// The state that all items share.
    pub context: &'a T::Context,
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
    /// Handles the replies to one item.
    pub fn settle(&mut self, mut carried: T, replies: &[Value], delivery: &Delivery<'_, T>) {
        match carried.settle(own_replies(replies, delivery.asking), delivery) {
            Ok(next) => self.follow.extend(next),
            Err(refusal) => self.refuse(carried, &refusal, delivery.context),
        }
    }

    /// Handles a refusal of `carried`: it concerns this server only, or this moment only, or is final.
    pub fn refuse(&mut self, carried: T, refusal: &RedisError, context: &T::Context) {
        carried.not_executed();
        let key = carried.key(context);
        let refusal = &rights::with_rule(refusal, &key, carried.rights());
        let connector = &context.endpoint().connector;
        let explain = || connector.explain(refusal, Fate::NotSent);
        let remedy = remedy(refusal.code().unwrap_or_default());
        if remedy == Remedy::Reconnect {
            // This server cannot serve now.
            self.refusal.get_or_insert_with(explain);
            self.again.push(carried);
        } else if let Some(pause) = connector.redirected(&key, refusal) {
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

/// Returns the replies without that to the first `ASKING`.
pub fn own_replies(replies: &[Value], asking: bool) -> &[Value] {
    replies.get(usize::from(asking)..).unwrap_or_default()
}
