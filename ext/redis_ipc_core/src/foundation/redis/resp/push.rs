//! What Redis sends on a connection that subscribes, in RESP2: messages, invalidations, confirmations, and answers to
//! PING.

use redis::RedisError;

/// One thing that Redis sent. It is read into again, so that its memory is used again.
#[derive(Debug, Default)]
pub struct Push {
    /// What it is.
    pub kind: PushKind,
    /// The pattern (of a message that matched one), the channel and the payload, one after the other. Of an answer to
    /// PING only the payload, of a confirmation only the channel.
    pub bytes: Vec<u8>,
    /// The ends of the pattern and of the channel.
    pub ends: [usize; 2],
    /// The size of the payload in Redis. It can be larger than what was kept of it.
    pub whole: usize,
}

/// The kinds of what Redis sends.
#[derive(Debug, Default)]
pub enum PushKind {
    /// A message.
    Message,
    /// A key that a client may have cached has changed. It is the payload.
    Invalidated,
    /// All keys are gone.
    Flushed,
    /// A subscription is in place.
    Subscribed,
    /// A subscription has ended.
    #[default]
    Unsubscribed,
    /// The answer to a PING.
    Pong,
    /// Redis refused a command.
    Refused(RedisError),
}

/// The channel to which Redis sends invalidations.
pub const INVALIDATIONS: &[u8] = b"__redis__:invalidate";
/// Memory beyond this is not kept for the next one.
const KEPT: usize = 1 << 20;

impl Push {
    /// Forgets what was read.
    pub fn reset(&mut self) {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        (self.ends, self.whole) = ([0, 0], 0);
    }

    /// Returns the pattern that the message matched; empty if it came by its channel.
    pub fn pattern(&self) -> &[u8] {
        &self.bytes[..self.ends[0]]
    }

    /// Returns the channel.
    pub fn channel(&self) -> &[u8] {
        &self.bytes[self.ends[0]..self.ends[1]]
    }

    /// Returns what was kept of the payload.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.ends[1]..]
    }

    /// Whether the payload is larger than what was kept of it.
    pub fn is_cut(&self) -> bool {
        self.payload().len() < self.whole
    }
}
