//! Writes values of PostgreSQL's types as JSON.
//!
//! The server sends each value as text. A type that is not known here stays text, and so does a value that JSON cannot
//! hold otherwise: `NaN`, the date `infinity`, JSON that is nested too deep.

use crate::foundation::payload::json;
use std::borrow::Cow;

/// How values of a type are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Number,
    Json,
    Time,
    Text,
}

/// The depth at which the values of a row are in the data of an event.
const DEPTH: usize = 1;

/// Returns how values of a type are written, and whether it is an array of these.
fn kind(type_id: u32) -> (Kind, bool) {
    match type_id {
        16 => (Kind::Boolean, false),
        1000 => (Kind::Boolean, true),
        // int8, int2, int4, oid, float4, float8
        20 | 21 | 23 | 26 | 700 | 701 => (Kind::Number, false),
        1005 | 1007 | 1016 | 1028 | 1021 | 1022 => (Kind::Number, true),
        114 | 3802 => (Kind::Json, false),
        199 | 3807 => (Kind::Json, true),
        1114 | 1184 => (Kind::Time, false),
        1115 | 1185 => (Kind::Time, true),
        // bytea, char, name, text, xml, bpchar, varchar, date, time, interval, timetz, numeric, uuid
        1001 | 1002 | 1003 | 1009 | 143 | 1014 | 1015 | 1182 | 1183 | 1187 | 1270 | 1231 | 2951 => {
            (Kind::Text, true)
        }
        _ => (Kind::Text, false),
    }
}

/// Adds a value, which the server has sent as `text`, to `out`.
pub fn write(type_id: u32, text: &[u8], out: &mut Vec<u8>) {
    match kind(type_id) {
        (kind, false) => write_one(kind, text, DEPTH + 1, out),
        (kind, true) => {
            let start = out.len();
            let mut array = Array { rest: text, kind, depth: DEPTH + 1 };
            if array.skip_bounds().and_then(|()| array.list(out)).is_none() || !array.rest.is_empty() {
                out.truncate(start);
                write_text(text, out);
            }
        }
    }
}

/// Returns the text that stands for a value where there is no JSON, as in a key.
pub fn plain(type_id: u32, text: &[u8]) -> &[u8] {
    match (kind(type_id), text) {
        ((Kind::Boolean, false), b"t") => b"true",
        ((Kind::Boolean, false), b"f") => b"false",
        _ => text,
    }
}

/// Returns the key that the values of columns make: the only one as it is, several as a JSON array of texts. `None` if
/// there are none, or one of them is not known.
pub fn key<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Option<Cow<'a, [u8]>> {
    let values: Vec<&[u8]> = values.collect::<Option<_>>()?;
    match values.as_slice() {
        [] => None,
        [value] => Some(Cow::Borrowed(value)),
        values => {
            let mut key = Vec::new();
            for value in values {
                key.push(if key.is_empty() { b'[' } else { b',' });
                write_text(value, &mut key);
            }
            key.push(b']');
            Some(Cow::Owned(key))
        }
    }
}

/// Adds a text as a JSON string. Bytes that are no UTF-8 are replaced.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let text = String::from_utf8_lossy(text);
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn write_one(kind: Kind, text: &[u8], depth: usize, out: &mut Vec<u8>) {
    match (kind, text) {
        (Kind::Boolean, b"t") => out.extend_from_slice(b"true"),
        (Kind::Boolean, b"f") => out.extend_from_slice(b"false"),
        (Kind::Number, _) if is_number(text) => out.extend_from_slice(text),
        // Its texts may hold what no UTF-8 can stand for.
        (Kind::Json, _) if json::check_part(text, depth, 0).is_ok() && std::str::from_utf8(text).is_ok() => {
            out.extend_from_slice(text);
        }
        (Kind::Time, _) => write_time(text, out),
        _ => write_text(text, out),
    }
}

/// PostgreSQL writes numbers as JSON does, but for `NaN` and `Infinity`.
fn is_number(text: &[u8]) -> bool {
    text.last().is_some_and(u8::is_ascii_digit)
        && text.iter().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(byte))
}

/// Writes `2026-01-31 12:00:00.5+00` as ISO 8601 in microseconds; what is no such time as it is.
fn write_time(text: &[u8], out: &mut Vec<u8>) {
    let text = text.strip_suffix(b"+00").unwrap_or(text);
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let is_time = matches!(whole.iter().position(|byte| *byte == b' '), Some(day) if whole.len() == day + 9)
        && whole.iter().all(|byte| byte.is_ascii_digit() || b"- :".contains(byte))
        && (fraction.is_empty() || (digits(fraction) && fraction.len() <= 6));
    if !is_time {
        return write_text(text, out);
    }
    out.push(b'"');
    out.extend(whole.iter().map(|byte| if *byte == b' ' { b'T' } else { *byte }));
    out.push(b'.');
    out.extend_from_slice(fraction);
    out.resize(out.len() + 6 - fraction.len(), b'0');
    out.extend_from_slice(b"Z\"");
}

/// Reads the text of an array: `{1,NULL,"a \"b\""}`, with arrays in it, and perhaps bounds before it.
struct Array<'a> {
    rest: &'a [u8],
    kind: Kind,
    depth: usize,
}

impl Array<'_> {
    fn skip_bounds(&mut self) -> Option<()> {
        if self.rest.first() == Some(&b'[') {
            let end = self.rest.iter().position(|byte| *byte == b'=')?;
            self.rest = &self.rest[end + 1..];
        }
        Some(())
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.rest.first() == Some(&byte);
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    fn list(&mut self, out: &mut Vec<u8>) -> Option<()> {
        if !self.eat(b'{') || self.depth > json::MAX_NESTING {
            return None;
        }
        self.depth += 1;
        out.push(b'[');
        let mut is_first = true;
        while !self.eat(b'}') {
            if !std::mem::take(&mut is_first) {
                self.eat(b',').then_some(())?;
                out.push(b',');
            }
            self.one(out)?;
        }
        out.push(b']');
        self.depth -= 1;
        Some(())
    }

    fn one(&mut self, out: &mut Vec<u8>) -> Option<()> {
        if self.rest.first()? == &b'{' {
            return self.list(out);
        }
        let is_quoted = self.eat(b'"');
        let mut text = Vec::new();
        loop {
            match *self.rest.first()? {
                b'"' if is_quoted => break,
                b',' | b'}' if !is_quoted => break,
                b'"' | b'{' if !is_quoted => return None,
                b'\\' => {
                    text.push(*self.rest.get(1)?);
                    self.rest = &self.rest[2..];
                }
                byte => {
                    text.push(byte);
                    self.rest = &self.rest[1..];
                }
            }
        }
        if is_quoted {
            self.eat(b'"');
        } else if text == b"NULL" {
            out.extend_from_slice(b"null");
            return Some(());
        } else if text.is_empty() {
            return None;
        }
        write_one(self.kind, &text, self.depth, out);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(type_id: u32, text: &str) -> String {
        let mut out = Vec::new();
        write(type_id, text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_what_they_are_in_json() {
        for (type_id, text, expected) in [
            (16, "t", "true"),
            (20, "-9223372036854775808", "-9223372036854775808"),
            (701, "1e+20", "1e+20"),
            (701, "NaN", r#""NaN""#),
            (701, "-Infinity", r#""-Infinity""#),
            (1700, "1.50", r#""1.50""#),
            (17, r"\xff00", r#""\\xff00""#),
            (25, "a\"b\\c\u{1}\nü", "\"a\\\"b\\\\c\\u0001\\nü\""),
            (3802, r#"{"a": [1, 2]}"#, r#"{"a": [1, 2]}"#),
            (114, "{", r#""{""#),
            (1082, "2026-01-31", r#""2026-01-31""#),
            (1184, "2026-01-31 12:00:00.5+00", r#""2026-01-31T12:00:00.500000Z""#),
            (1114, "2026-01-31 12:00:00", r#""2026-01-31T12:00:00.000000Z""#),
            (1114, "infinity", r#""infinity""#),
            (1184, "0044-03-15 12:00:00+00 BC", r#""0044-03-15 12:00:00+00 BC""#),
            (1007, "{1,NULL,{2,3}}", "[1,null,[2,3]]"),
            (1007, "[0:1]={1,2}", "[1,2]"),
            (1009, r#"{"a,\"b\\",NULL,"NULL",c}"#, r#"["a,\"b\\",null,"NULL","c"]"#),
            (1009, "{}", "[]"),
            (1000, "{t,f}", "[true,false]"),
            (199, r#"{"{\"a\": 1}"}"#, r#"[{"a": 1}]"#),
            (1009, "{a", r#""{a""#),
            (1009, "{a}b", r#""{a}b""#),
            (1009, "{,}", r#""{,}""#),
        ] {
            assert_eq!(written(type_id, text), expected, "{text}");
        }
    }

    #[test]
    fn several_columns_make_a_key_that_is_an_array() {
        let made = |values: &[Option<&'static str>]| {
            let key = key(values.iter().map(|value| value.map(str::as_bytes)));
            key.map(|key| String::from_utf8(key.into_owned()).unwrap())
        };
        assert_eq!(made(&[Some("a\"b")]).as_deref(), Some("a\"b"));
        assert_eq!(made(&[Some("a\"b"), Some("")]).as_deref(), Some(r#"["a\"b",""]"#));
        assert_eq!((made(&[]), made(&[Some("a"), None])), (None, None));
    }

    #[test]
    fn json_that_is_too_deep_is_text() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(written(3802, &deep), format!("\"{deep}\""));
        assert_eq!(written(25, "\u{7f}"), "\"\u{7f}\"");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_json(type_id in prop::sample::select(vec![16u32, 20, 701, 114, 1007, 1009, 1184, 199, 25]),
                                  text in r#"[-\[\]{}",:\\.0-9a-zNUL \n]{0,40}"#) {
            let out = format!("[{}]", written(type_id, &text));
            prop_assert!(json::check(out.as_bytes(), 10_000).is_ok(), "{}", out);
        }
    }
}
