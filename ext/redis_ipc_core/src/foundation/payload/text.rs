//! Text that shares memory with the entry it was read from, or has memory of its own.

use bytes::Bytes;
use redis::{RedisWrite, ToRedisArgs};
use std::fmt;
use std::ops::Deref;

/// UTF-8 that may share its memory with the entry it came with. Cloning it copies nothing.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(Bytes);

impl Text {
    /// Creates a text. Returns `None` if the bytes are not UTF-8.
    pub fn new(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // The constructor checked the bytes.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl ToRedisArgs for Text {
    fn write_redis_args<W: RedisWrite + ?Sized>(&self, out: &mut W) {
        out.write_arg(&self.0);
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utf8_is_text() {
        assert_eq!(Text::new(Bytes::from_static(b"\xff")), None);
        let text = Text::new(Bytes::from_static("ü".as_bytes())).unwrap();
        assert_eq!((&*text, format!("{text:?}")), ("ü", "\"ü\"".to_owned()));
        assert_eq!(text, Text::from("ü"));
        assert_eq!(text, Text::from("ü".to_owned()));
    }
}
