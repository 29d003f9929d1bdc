//! The parts of a key, which are joined by `:`.

/// Percent-encodes `:` and `%`, so that parts joined by `:` can always be separated.
pub fn encode(part: &str) -> String {
    part.replace('%', "%25").replace(':', "%3A")
}

/// Reverses [`encode`].
pub fn decode(part: &str) -> String {
    part.replace("%3A", ":").replace("%25", "%")
}
