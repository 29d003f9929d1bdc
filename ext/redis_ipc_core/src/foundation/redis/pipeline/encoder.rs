//! Writes commands into the bytes of a batch.

use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::resp::encode::{self, CommandEncoder};
use redis::Cmd;

/// Writes commands into the bytes of a batch, and counts the expected replies.
pub struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
    /// Where the commands go.
    pub route: &'a Route,
    /// How many replies the commands will get.
    pub replies: usize,
}

impl<'a> Encoder<'a> {
    /// Creates an encoder that appends to `bytes`, for the server at `route`.
    pub fn new(bytes: &'a mut Vec<u8>, route: &'a Route) -> Self {
        Self { bytes, route, replies: 0 }
    }

    /// Returns how many bytes have been written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

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
