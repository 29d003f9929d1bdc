//! Checks JSON text against the grammar and the limits, without building values from it.

use jiter::{Jiter, JiterError, Peek};

/// The deepest nesting of arrays and objects that content may have.
pub const MAX_NESTING: usize = 100;
/// The most digits (and signs and points) a number in content may have.
pub const MAX_NUMBER_LENGTH: usize = 4_096;

/// The most values in content: elements of arrays and members of objects, at every depth, and the whole. 16 MiB of
/// JSON can hold eight million values. As Ruby objects they take a hundred times the memory of a typical text.
pub const MAX_VALUES: usize = 1_000_000;

/// The reason why a text is not acceptable content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is longer than allowed.
    #[error("it has {size} bytes, the limit is {limit} (max_content_size)")]
    TooLarge {
        /// Bytes found.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The text is nested deeper than [`MAX_NESTING`].
    #[error("it is nested deeper than {MAX_NESTING}")]
    TooDeep,
    /// The text has a number longer than [`MAX_NUMBER_LENGTH`].
    #[error("it holds a number of more than {MAX_NUMBER_LENGTH} digits")]
    LongNumber,
    /// The text has more values than [`MAX_VALUES`].
    #[error("it holds more than {MAX_VALUES} values")]
    TooMany,
    /// The text is not JSON.
    #[error("it is not JSON: {0}")]
    Invalid(String),
}

impl From<JiterError> for JsonError {
    fn from(error: JiterError) -> Self {
        JsonError::Invalid(error.error_type.to_string())
    }
}

/// Checks that `text` is one JSON value (RFC 8259) in UTF-8, within `limit` bytes and the limits above.
///
/// # Errors
///
/// The text is not JSON, or exceeds one of the limits.
///
/// # Examples
///
/// ```
/// use redis_ipc_core::json::{JsonError, check};
///
/// assert_eq!(check(br#"{"a": [1, 2]}"#, 1_024), Ok(()));
/// assert_eq!(check(b"[1, 2]", 5), Err(JsonError::TooLarge { size: 6, limit: 5 }));
/// ```
pub fn check(text: &[u8], limit: usize) -> Result<(), JsonError> {
    if text.len() > limit {
        return Err(JsonError::TooLarge { size: text.len(), limit });
    }
    check_part(text, 0, 0).map(drop)
}

/// Checks a text that is to be a part of content, at `depth` and beside `values` other values. It does not check the
/// size. Returns the new number of values.
///
/// # Errors
///
/// The text is not JSON, or the content would exceed a limit with it.
pub fn check_part(text: &[u8], depth: usize, values: usize) -> Result<usize, JsonError> {
    let mut checker = Checker { json: Jiter::new(text), values };
    let first = checker.json.peek()?;
    checker.value(first, depth)?;
    checker.json.finish()?;
    Ok(checker.values)
}

struct Checker<'j> {
    json: Jiter<'j>,
    values: usize,
}

impl Checker<'_> {
    fn value(&mut self, peek: Peek, depth: usize) -> Result<(), JsonError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(JsonError::TooMany);
        }
        match peek {
            Peek::Null => self.json.known_null()?,
            Peek::True | Peek::False => drop(self.json.known_bool(peek)?),
            Peek::String => drop(self.json.known_str()?),
            Peek::Array | Peek::Object if depth >= MAX_NESTING => return Err(JsonError::TooDeep),
            Peek::Array => {
                let mut next = self.json.known_array()?;
                while let Some(peek) = next {
                    self.value(peek, depth + 1)?;
                    next = self.json.array_step()?;
                }
            }
            Peek::Object => {
                let mut more = self.json.known_object()?.is_some();
                while more {
                    let peek = self.json.peek()?;
                    self.value(peek, depth + 1)?;
                    more = self.json.next_key()?.is_some();
                }
            }
            peek if peek.is_num() => {
                if self.json.known_number_bytes(peek)?.len() > MAX_NUMBER_LENGTH {
                    return Err(JsonError::LongNumber);
                }
            }
            _ => return Err(JsonError::Invalid("expected a value".to_owned())),
        }
        Ok(())
    }
}

/// The end of a truncated text.
const CUT: char = '\u{2026}';

/// Returns `text` as JSON of at most `limit` bytes, the two quotes not counted. It truncates a longer text.
///
/// # Examples
///
/// ```
/// use redis_ipc_core::json::shortened;
///
/// assert_eq!(shortened("short", 64), br#""short""#);
/// ```
pub fn shortened(text: &str, limit: usize) -> Vec<u8> {
    let whole = encoded(text);
    if whole.len() <= limit {
        return whole;
    }
    let room = limit.saturating_sub(CUT.len_utf8());
    let ends: Vec<usize> = text.char_indices().map(|(end, _)| end).take(limit).collect();
    let fit = ends.partition_point(|end| encoded(text.get(..*end).unwrap_or_default()).len() <= room);
    let end = if limit >= 2 + CUT.len_utf8() { Some(CUT) } else { None };
    encoded(&text.chars().take(fit.saturating_sub(1)).chain(end).collect::<String>())
}

fn encoded(text: &str) -> Vec<u8> {
    serde_json::Value::from(text).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn verdict(text: &str) -> Result<(), JsonError> {
        check(text.as_bytes(), 1 << 20)
    }

    #[test]
    fn json_passes() {
        for text in
            ["null", " true ", "-0", "1e400", "\"\\ud83d\\ude00\"", "[]", "{}", "[1,[2,{\"a\":null}]]"]
        {
            assert_eq!(verdict(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "nul",
            "[1,]",
            "{\"a\"}",
            "01",
            "NaN",
            "Infinity",
            "\"\u{1}\"",
            "\"\\ud800\"",
            "1 2",
            "'a'",
            "[",
            "\"abc",
        ] {
            assert!(matches!(verdict(text), Err(JsonError::Invalid(_))), "{text}: {:?}", verdict(text));
        }
        assert!(matches!(check(b"\"\xff\"", 100), Err(JsonError::Invalid(_))));
    }

    #[test]
    fn the_limits_hold_at_their_edges() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(verdict(&nested(MAX_NESTING)), Ok(()));
        assert_eq!(verdict(&nested(MAX_NESTING + 1)), Err(JsonError::TooDeep));
        assert_eq!(verdict(&nested(100_000)), Err(JsonError::TooDeep));
        assert_eq!(verdict(&"9".repeat(MAX_NUMBER_LENGTH)), Ok(()));
        assert_eq!(verdict(&"9".repeat(MAX_NUMBER_LENGTH + 1)), Err(JsonError::LongNumber));
        let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        let members = |count: usize| format!("{{{}\"\":0}}", "\"\":0,".repeat(count - 1));
        for text in [zeros(MAX_VALUES - 1), members(MAX_VALUES - 1)] {
            assert_eq!(check(text.as_bytes(), 1 << 24), Ok(()));
        }
        for text in [zeros(MAX_VALUES), members(MAX_VALUES), format!("[{},0]", zeros(MAX_VALUES - 2))] {
            assert_eq!(check(text.as_bytes(), 1 << 24), Err(JsonError::TooMany));
        }
        assert_eq!(check_part(b"[1,[2]]", 98, 7), Ok(11));
        assert_eq!(check_part(b"[1,[2]]", 99, 7), Err(JsonError::TooDeep));
        assert_eq!(check(b"12345", 5), Ok(()));
        assert_eq!(check(b"123456", 5), Err(JsonError::TooLarge { size: 6, limit: 5 }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes, 150);
        }

        #[test]
        fn it_agrees_with_serde_json(text in "[\\[\\]{}:,\"a0-9.eE+ -]{0,24}") {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            // serde_json refuses numbers that overflow a double. They are JSON all the same.
            let overflow = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
            prop_assert!(overflow || theirs.is_ok() == verdict(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        assert_eq!(shortened("oh", 4), b"\"oh\"");
        assert_eq!(shortened("ohoho", 6), "\"o\u{2026}\"".as_bytes());
        assert_eq!(shortened("\0\0\0", 11), "\"\\u0000\u{2026}\"".as_bytes());
        assert_eq!(shortened("long", 2), b"\"\"");
    }

    proptest! {
        #[test]
        fn a_shortened_text_is_json_within_the_limit(text in "(?s).{0,60}", limit in 2usize..400) {
            let short = shortened(&text, limit);
            prop_assert!(short.len() <= limit);
            let read: String = serde_json::from_slice(&short).unwrap();
            prop_assert!(read == text || text.starts_with(read.trim_end_matches(CUT)));
            prop_assert!(read != text || short == encoded(&text));
        }
    }
}
