//! Looks at Redis's clock with what is written anyway.

use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::pipeline::batch::{Encoder, Leftover};
use crate::foundation::redis::pipeline::carried::{Carried, Context, Tail};
use crate::json_rpc::instance::CLOCK_LOOK;
use redis::Value;
use std::time::Instant;

/// `TIME` at the end of a batch, each [`CLOCK_LOOK`].
#[derive(Debug, Default)]
pub struct ClockLook {
    /// When it was asked for.
    asked: Option<Instant>,
}

impl<T: Carried> Tail<T> for ClockLook {
    fn begin(_route: &Route, _context: &T::Context) -> Self {
        Self::default()
    }

    fn encode(&mut self, encoder: &mut Encoder<'_>, context: &T::Context) {
        if !encoder.is_empty() && context.endpoint().clock.is_due(CLOCK_LOOK) {
            encoder.command(1).word("TIME");
            self.asked = Some(Instant::now());
        }
    }

    /// A reply that is not read at once says little.
    fn is_awaited(&self) -> bool {
        self.asked.is_some()
    }

    fn settle(self, replies: &[Value], _leftover: &mut Leftover<T>, context: &T::Context) {
        if let (Some(asked), [reply]) = (self.asked, replies) {
            // A refusal says nothing; the other threads read it, too.
            let _ = context.endpoint().clock.learn(reply, asked);
        }
    }
}
