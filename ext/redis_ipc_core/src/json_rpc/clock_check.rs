//! Reads Redis's clock along with a batch that is written anyway.

use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::pipeline::carried::{Carried, Context, Leftover, Tail};
use crate::foundation::redis::pipeline::encoder::Encoder;
use crate::json_rpc::instance::CLOCK_CHECK;
use redis::Value;
use std::time::Instant;

/// A `TIME` at the end of a batch, at most once per [`CLOCK_CHECK`].
#[derive(Debug, Default)]
pub struct ClockCheck {
    /// When `TIME` was sent.
    asked: Option<Instant>,
}

impl<T: Carried> Tail<T> for ClockCheck {
    fn begin(_route: &Route, _context: &T::Context) -> Self {
        Self::default()
    }

    fn encode(&mut self, encoder: &mut Encoder<'_>, context: &T::Context) {
        if !encoder.is_empty() && context.endpoint().clock.is_due(CLOCK_CHECK) {
            encoder.command(1).word("TIME");
            self.asked = Some(Instant::now());
        }
    }

    /// The reply is awaited, because one that is not read at once says little.
    fn is_awaited(&self) -> bool {
        self.asked.is_some()
    }

    fn settle(self, replies: &[Value], _leftover: &mut Leftover<T>, context: &T::Context) {
        if let (Some(asked), [reply]) = (self.asked, replies) {
            // A refusal says nothing, and the other threads read the clock too.
            let _ = context.endpoint().clock.learn(reply, asked);
        }
    }
}
