//! Reads two members of JSON-RPC objects without building the rest: the `id`, which says whose answer a text is, and
//! `reply_to`, which says where the answer to a request goes that is too large to be parsed.

use crate::foundation::payload::json::MAX_NUMBER_LENGTH;
use jiter::{Jiter, JiterResult, Peek};

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
}

/// Scans the objects of `text`: one object, or those of an array. It stops at a syntax error.
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
    let mut found = Vec::new();
    // The objects before an error count.
    let _ = read(&mut Jiter::new(text), text, &mut found);
    found
}

fn read(json: &mut Jiter<'_>, text: &[u8], found: &mut Vec<ScannedEnvelope>) -> JiterResult<()> {
    match json.peek()? {
        Peek::Object => object(json, text, found)?,
        Peek::Array => {
            let mut next = json.known_array()?;
            while let Some(peek) = next {
                match peek {
                    Peek::Object => object(json, text, found)?,
                    other => json.known_skip(other)?,
                }
                next = json.array_step()?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Returns the numbers under `id` in the objects of `text`, without parsing the rest. It tells whose answer a text is
/// that is not JSON.
pub fn ids(text: &[u8]) -> Vec<u64> {
    let mut found = Vec::new();
    let is_batch = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let members = if is_batch { 2 } else { 1 };
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = string_end(text, at);
                if depth == members && text.get(at..end) == Some(b"id") {
                    found.extend(number_of_member(text.get(end + 1..).unwrap_or_default()));
                }
                at = end + 1;
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

/// Returns the number after a key.
fn number_of_member(after_key: &[u8]) -> Option<u64> {
    let value = after_key.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(value.get(..digits)?).ok()?.parse().ok()
}

enum Member {
    Id,
    ReplyTo,
    Other,
}

fn member(key: &str) -> Member {
    match key {
        "id" => Member::Id,
        "reply_to" => Member::ReplyTo,
        _ => Member::Other,
    }
}

fn object(json: &mut Jiter<'_>, text: &[u8], found: &mut Vec<ScannedEnvelope>) -> JiterResult<()> {
    let mut key = json.known_object()?.map(member);
    found.push(ScannedEnvelope::default());
    let Some(last) = found.last_mut() else { return Ok(()) };
    while let Some(name) = key {
        let peek = json.peek()?;
        match (name, peek) {
            (Member::ReplyTo, Peek::String) => last.reply_to = Some(json.known_str()?.to_owned()),
            (Member::Id, Peek::Object | Peek::Array | Peek::True | Peek::False) => json.known_skip(peek)?,
            (Member::Id, _) => {
                let from = json.current_index();
                json.known_skip(peek)?;
                let id = text.get(from..json.current_index()).map(<[u8]>::to_vec);
                last.id = id.filter(|id| peek == Peek::String || id.len() <= MAX_NUMBER_LENGTH);
            }
            _ => json.known_skip(peek)?,
        }
        key = json.next_key()?.map(member);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert_eq!(ids(br#"{"result":NaN,"x":{"id":1},"id" : 7}"#), [7]);
        assert_eq!(ids(br#" [{"result":"\ud800\"id\":3","id":1},{"a":[{"id":9}],"id":2}"#), [1, 2]);
        assert!(ids(br#"{"result":"id","id":null}"#).is_empty());
        assert!(ids(br#"{"id"#).is_empty());
        assert!(ids(br#"{"id\"#).is_empty());
    }

    #[test]
    fn what_is_no_object_has_nothing() {
        for text in ["", "3", "null", "{", "[", "[1,2"] {
            assert!(scan_envelopes(text.as_bytes()).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan_envelopes(&bytes);
            let _ = ids(&bytes);
        }
    }
}
