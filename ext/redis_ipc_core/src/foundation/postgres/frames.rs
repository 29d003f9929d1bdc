//! The messages of the protocol in what was read. No memory is reserved for what has not arrived.

use crate::foundation::postgres::failure::{Failure, ServerError};
use std::io::{self, Read};

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// The tag and the length.
const HEAD: usize = 5;

/// Cuts what was read into messages.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The most bytes of a message.
    limit: usize,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which one.
    pub tag: u8,
    /// What it holds.
    pub body: &'a [u8],
}

impl Frames {
    /// Creates one that has read nothing.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, end: 0, limit }
    }

    /// Reads once. Returns how many bytes came; 0 at the end of the connection.
    pub fn fill(&mut self, from: &mut impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // What a large message took is given back.
            if self.buffer.len() > CHUNK {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 && self.buffer.len() - self.end < CHUNK {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.len() - self.end < CHUNK / 2 {
            let size = (self.end + CHUNK / 2).max(2 * self.buffer.len()).max(CHUNK);
            self.buffer.resize(size, 0);
        }
        let count = from(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Returns the next message that has arrived as a whole.
    ///
    /// # Errors
    ///
    /// Its length makes no sense, or is over the limit.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Failure> {
        let Some((tag, size)) = self.head()? else { return Ok(None) };
        if self.end - self.start < HEAD + size {
            return Ok(None);
        }
        let from = self.start + HEAD;
        self.start = from + size;
        Ok(Some(Frame { tag, body: &self.buffer[from..from + size] }))
    }

    /// Whether the next message has arrived as a whole.
    pub fn has_next(&self) -> bool {
        matches!(self.head(), Ok(Some((_, size))) if self.end - self.start >= HEAD + size)
    }

    fn head(&self) -> Result<Option<(u8, usize)>, Failure> {
        let arrived = &self.buffer[self.start..self.end];
        let &[tag, a, b, c, d, ..] = arrived else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let size = length.checked_sub(4).ok_or(Failure::Protocol("a message with a length below 4"))?;
        if size > self.limit {
            return Err(Failure::TooLarge { size, limit: self.limit });
        }
        Ok(Some((tag, size)))
    }
}

/// Reads one byte that is no message: the answer to a request for TLS.
pub fn read_byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Returns a message to send.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + HEAD);
    bytes.push(tag);
    // A body is a query or a status: it fits.
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Reads the fields of an error or a notice.
pub fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|byte| *byte == 0) {
        let Some((&kind, text)) = field.split_first() else { continue };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = Some(text),
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], piece: usize) -> Frames {
        let mut frames = Frames::new(100);
        for piece in bytes.chunks(piece) {
            let read = |buffer: &mut [u8]| {
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            };
            frames.fill(&mut { read }).unwrap();
        }
        frames
    }

    #[test]
    fn messages_are_cut_wherever_reads_end() {
        let bytes = [message(b'a', b"one"), message(b'b', b""), message(b'c', b"three")].concat();
        for piece in 1..=bytes.len() {
            let mut frames = frames(&bytes, piece);
            let mut found = Vec::new();
            while let Some(frame) = frames.next().unwrap() {
                found.push((frame.tag, frame.body.to_vec()));
            }
            assert_eq!(found, [(b'a', b"one".to_vec()), (b'b', Vec::new()), (b'c', b"three".to_vec())]);
        }
    }

    #[test]
    fn a_length_without_sense_is_refused() {
        assert!(matches!(frames(b"d\0\0\0\x03", 5).next(), Err(Failure::Protocol(_))));
        let too_large = frames(b"d\xff\xff\xff\xff", 5).next().map(|_| ());
        assert!(matches!(too_large, Err(Failure::TooLarge { limit: 100, .. })));
        assert!(frames(b"d\0\0", 3).next().unwrap().is_none());
    }

    #[test]
    fn an_error_is_read() {
        let error = server_error(b"SERROR\0C55006\0Mslot is active\0Dfor PID 7\0\0");
        assert_eq!(error.to_string(), "slot is active: for PID 7 (SQLSTATE 55006)");
    }
}
