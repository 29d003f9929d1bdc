//! Finds two members of JSON-RPC objects without parsing the rest: the `id`, which says whose answer a text is, and
//! `reply_to`, which says where the answer to a request goes that is too large to be parsed. The text need not be JSON:
//! an answer that is not JSON ends its call too, because no better one will come.

use crate::foundation::payload::json;

/// The members of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScannedEnvelope {
    /// The JSON text of `id`, if it is a number, a string or null.
    pub id: Option<Vec<u8>>,
    /// The value of `reply_to`, if it is a string.
    pub reply_to: Option<String>,
}

impl ScannedEnvelope {
    /// Returns the id as a number.
    pub fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.id.as_ref()?).ok()?.parse().ok()
    }

    fn note(&mut self, key: &[u8], value: &[u8]) {
        match key {
            b"id" => self.id = Some(value.to_vec()),
            b"reply_to" => self.reply_to = serde_json::from_slice(value).ok(),
            _ => {}
        }
    }
}

/// Scans the objects of `text`: one object, or those of an array.
///
/// # Examples
///
/// ```
/// use redis_ipc_core::json_rpc::scan_envelopes;
///
/// let found = scan_envelopes(br#"[{"id": 7, "params": [1]}, {"reply_to": "q:reply:a"}]"#);
/// assert_eq!(found[0].number(), Some(7));
/// assert_eq!(found[1].reply_to.as_deref(), Some("q:reply:a"));
/// ```
pub fn scan_envelopes(text: &[u8]) -> Vec<ScannedEnvelope> {
    let members = if text.trim_ascii_start().starts_with(b"[") { 2 } else { 1 };
    let (mut found, mut depth, mut at) = (Vec::new(), 0_usize, 0);
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if *byte == b'{' && depth == members {
                    found.push(ScannedEnvelope::default());
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let key = text.get(at..string_end(text, at)).unwrap_or_default();
                at += key.len() + 1;
                if depth == members
                    && matches!(key, b"id" | b"reply_to")
                    && let (Some(last), Some(value)) = (found.last_mut(), text.get(at..).and_then(value))
                {
                    last.note(key, value);
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns the end of the string that begins before `from`.
fn string_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => break,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// Returns the JSON text of the value after a key, if it is a number, a string or null.
fn value(after_key: &[u8]) -> Option<&[u8]> {
    let value = after_key.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = match value.first()? {
        b'"' => string_end(value, 1) + 1,
        b'n' => 4,
        _ => value
            .iter()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count(),
    };
    value.get(..end).filter(|value| json::check(value, value.len()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(text: &[u8]) -> Vec<u64> {
        scan_envelopes(text).iter().filter_map(ScannedEnvelope::number).collect()
    }

    fn one(text: &str) -> ScannedEnvelope {
        scan_envelopes(text.as_bytes()).pop().unwrap()
    }

    #[test]
    fn the_id_is_read_wherever_it_stands() {
        let answer = r#"{"jsonrpc":"2.0","result":{"id":9,"x":[1,{"id":8}]}, "id" : 7 }"#;
        assert_eq!(one(answer).number(), Some(7));
        assert_eq!(one(r#"{"id":"a\"b"}"#).id.as_deref(), Some(&br#""a\"b""#[..]));
        assert_eq!(one(r#"{"id":null}"#).number(), None);
        assert_eq!(one(r#"{"id":[1]}"#).id, None);
    }

    #[test]
    fn a_batch_is_read_object_by_object() {
        let found = scan_envelopes(br#"[{"id":1},3,{"id":2,"reply_to":"q:reply:x"},[{"id":4}]]"#);
        assert_eq!(found.iter().map(ScannedEnvelope::number).collect::<Vec<_>>(), [Some(1), Some(2)]);
        assert_eq!(found[1].reply_to.as_deref(), Some("q:reply:x"));
    }

    #[test]
    fn what_was_found_before_an_error_counts() {
        assert_eq!(one(r#"{"id":7,"result":"\ud800"}"#).number(), Some(7));
        assert_eq!(one(r#"{"id":7,"result":"#).number(), Some(7));
    }

    #[test]
    fn ids_are_found_in_what_is_no_json() {
        assert_eq!(numbers(br#"{"result":NaN,"x":{"id":1},"id" : 7}"#), [7]);
        assert_eq!(numbers(br#" [{"result":"\ud800\"id\":3","id":1},{"a":[{"id":9}],"id":2}"#), [1, 2]);
        for text in [
            "{\"result\":\"id\",\"id\":null}",
            "{\"id",
            "{\"id\\",
            "{\"id\":1.5}",
            "{\"id\":-1}",
            "{\"id\":nul}",
        ] {
            assert!(numbers(text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_has_nothing() {
        for text in ["", "3", "null", "[", "[1,2"] {
            assert!(scan_envelopes(text.as_bytes()).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan_envelopes(&bytes);
        }
    }
}
