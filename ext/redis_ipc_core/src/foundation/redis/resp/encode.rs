//! Writes commands in RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>), straight into the
//! bytes that are sent.
//!
//! It serves the commands of every call. redis-rs writes the other commands; its `Cmd` collects a command's arguments
//! first.

use crate::foundation::payload::stream_entry::StreamId;

/// Begins a command of this many words, its name included. That many words must follow.
pub fn command(bytes: &mut Vec<u8>, words: usize) -> CommandEncoder<'_> {
    let mut encoder = CommandEncoder(bytes);
    encoder.length(b'*', words);
    encoder
}

/// A command that is being written.
pub struct CommandEncoder<'a>(&'a mut Vec<u8>);

impl CommandEncoder<'_> {
    /// Adds a word.
    pub fn word(&mut self, word: impl AsRef<[u8]>) -> &mut Self {
        let word = word.as_ref();
        self.length(b'$', word.len());
        self.0.extend_from_slice(word);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.word(itoa::Buffer::new().format(number))
    }

    /// Adds the id of an entry.
    pub fn id(&mut self, id: StreamId) -> &mut Self {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms.format(id.ms), seq.format(id.seq));
        self.length(b'$', ms.len() + 1 + seq.len());
        for part in [ms, "-", seq, "\r\n"] {
            self.0.extend_from_slice(part.as_bytes());
        }
        self
    }

    fn length(&mut self, kind: u8, length: usize) {
        self.0.push(kind);
        self.0.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_command_is_written_as_redis_rs_writes_it(
            words in proptest::collection::vec(any::<Vec<u8>>(), 0..20), number: u64, ms: u64, seq: u64,
        ) {
            let mut own = Vec::new();
            let mut encoder = command(&mut own, words.len() + 3);
            encoder.word("XADD").number(number).id(StreamId { ms, seq });
            let mut theirs = redis::cmd("XADD");
            theirs.arg(number).arg(format!("{ms}-{seq}"));
            for word in &words {
                encoder.word(word);
                theirs.arg(word);
            }
            prop_assert_eq!(own, theirs.get_packed_command());
        }
    }
}
