//! What the writer needs to know of what it carries.

use crate::error::Error;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::batch::{Encoder, Leftover};
use crate::foundation::redis::pipeline::outgoing::Outbound;
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// Something to write to Redis: a few commands about one key, and what follows from their replies.
pub trait Carried: Outbound + Send + Sized + 'static {
    /// What all that one writer carries has in common.
    type Context: Context;
    /// What is remembered for as long as a connection stands.
    type Remembered: Default + Send;
    /// What a batch gathers, and writes at its end.
    type Tail: Tail<Self>;

    /// How many bytes of content it carries.
    fn content_size(&self) -> usize;

    /// The key that it is about. In a cluster it is written to the node that serves this key.
    fn key(&self, context: &Self::Context) -> String;

    /// Writes its commands, and returns what their replies are for. `None` if nothing was written: it is no longer
    /// wanted, or `tail` has taken it over.
    fn encode(
        self,
        encoder: &mut Encoder<'_>,
        tail: &mut Self::Tail,
        remembered: &mut Self::Remembered,
        context: &Self::Context,
    ) -> Option<Self>;

    /// Acts on the replies. What is to be sent next because of them goes into `follow`.
    ///
    /// # Errors
    ///
    /// The refusal by Redis because of which it is to be tried again, or else ends with [`Carried::refused`].
    fn settle(
        &mut self,
        replies: &[Value],
        delivery: &Delivery<'_, Self>,
        follow: &mut Vec<Self>,
        context: &Self::Context,
    ) -> RedisResult<()>;

    /// Notes that Redis did not execute what was written last.
    fn not_executed(&self);

    /// The connection broke before all replies came. Returns what is to be sent again; `may_be_executed` if Redis may
    /// have got all of it.
    fn broken(self, may_be_executed: bool, context: &Self::Context) -> Option<Self>;

    /// Whether it is tried again after a while, now that Redis refuses such commands for now.
    fn waits_for_redis(&self, context: &Self::Context) -> bool;

    /// Whether it has waited for a connection too long. `patience` is how long connecting may take.
    fn is_hopeless(&self, patience: Duration, context: &Self::Context) -> bool;

    /// It is given up on, because of `error`. Returns what is to be sent all the same, which returns nothing when it
    /// fails.
    fn fail(self, error: &Error, context: &Self::Context) -> Option<Self>;

    /// Redis refuses it, and trying again will not change that. Returns what is to be sent all the same.
    fn refused(self, error: &Error, context: &Self::Context) -> Option<Self> {
        self.fail(error, context)
    }

    /// It is too large for Redis. Returns what is to be sent instead.
    fn refuse_large(self, error: &Error, context: &Self::Context) -> Option<Self> {
        self.fail(error, context)
    }

    /// Whether somebody waits for the replies. Else those to a lone command may stay unread for a while.
    fn is_awaited(&self) -> bool {
        false
    }
}

/// What all that one writer carries has in common.
pub trait Context: Send + Sync + 'static {
    /// Whose connections these are.
    fn endpoint(&self) -> &Arc<Endpoint>;

    /// The name of the writer's threads.
    fn thread_name(&self) -> &'static str;

    /// The error of what is sent after the writer was closed.
    fn closed(&self) -> Error;

    /// A connection to the server at `route` was made again. That may be another server, or the same one without its
    /// data.
    ///
    /// # Errors
    ///
    /// Why the connection is of no use.
    fn connected(&self, route: &Route, connection: &mut Connection) -> RedisResult<()>;

    /// Whether the other connections of the endpoint lead to the server at `route`, too. Then one of them that breaks
    /// tells something about this one. In a cluster they usually go to other nodes.
    fn shares_server(&self, route: &Route) -> bool {
        *route == Route::Server
    }
}

/// What a batch gathers, and writes at its end.
pub trait Tail<T: Carried>: Sized + Send {
    /// That of a batch for the server at `route`. Nothing has been gathered yet.
    fn begin(route: &Route, context: &T::Context) -> Self;

    /// Writes what was gathered.
    fn encode(&mut self, encoder: &mut Encoder<'_>, context: &T::Context);

    /// Whether somebody waits for the replies to that.
    fn is_awaited(&self) -> bool {
        false
    }

    /// Acts on the replies to that, once those to the others have been settled.
    fn settle(self, replies: &[Value], leftover: &mut Leftover<T>, context: &T::Context);

    /// The connection broke before the replies to that came.
    fn broken(&mut self) {}

    /// What is to be sent again of what was gathered, after the connection broke.
    fn unsent(self) -> Option<T> {
        None
    }
}

/// How something was written.
#[derive(Debug)]
pub struct Delivery<'a, T: Carried> {
    /// The number of the connection. No other connection of the endpoint has it.
    pub connection: u64,
    /// Each command was preceded by `ASKING`, and has a reply to that before its own. The first one of these replies is
    /// removed already.
    pub asking: bool,
    /// What the batch has gathered.
    pub tail: &'a T::Tail,
}
