//! The content of an entry.

use crate::foundation::runtime::sync::Mutex;
use bytes::Bytes;

/// JSON that was received with an entry, or is sent with one. Received JSON is released once it has been read,
/// because the owner of the entry (a call, a held request, a Ruby object that waits for the garbage collector) may
/// keep it for long.
#[derive(Debug)]
pub struct Content {
    bytes: Mutex<Bytes>,
    size: usize,
}

impl Content {
    /// Returns how many bytes it has, or had.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns the bytes. There are none once they were released.
    pub fn share(&self) -> Bytes {
        self.bytes.lock().clone()
    }

    /// Passes the bytes to `read`, without the memory that sharing takes.
    pub fn read(&self, read: impl FnOnce(&[u8])) {
        read(&self.bytes.lock());
    }

    /// Releases the bytes.
    pub fn release(&self) {
        let released = std::mem::take(&mut *self.bytes.lock());
        drop(released);
    }
}

impl<B: Into<Bytes>> From<B> for Content {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        Self { size: bytes.len(), bytes: Mutex::new(bytes) }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.share() == other.share()
    }
}

impl Eq for Content {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_go_of_had_a_size() {
        let content = Content::from(b"[1]".to_vec());
        let shared = content.share();
        content.release();
        assert_eq!((&shared[..], content.size(), content.share().len()), (&b"[1]"[..], 3, 0));
    }
}
