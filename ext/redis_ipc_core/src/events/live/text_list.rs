//! A list of texts of any bytes in one text, as Redis writes the names of fields: `4:name,3:age`.

/// Writes a list.
pub fn write<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut list = Vec::new();
    for text in texts {
        if !list.is_empty() {
            list.push(b',');
        }
        list.extend_from_slice(text.len().to_string().as_bytes());
        list.push(b':');
        list.extend_from_slice(text);
    }
    list
}

/// Whether it is a list of one or more texts.
pub fn is_one(list: &[u8]) -> bool {
    let mut rest = list;
    loop {
        let Some(after) = skip(rest) else { return false };
        match after.split_first() {
            None => return true,
            Some((b',', next)) => rest = next,
            Some(_) => return false,
        }
    }
}

/// Returns what follows the first text.
fn skip(list: &[u8]) -> Option<&[u8]> {
    let colon = list.iter().position(|byte| *byte == b':')?;
    let digits = &list[..colon];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    list[colon + 1..].get(length..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_bytes_are_one_list() {
        let list = write([&b"name"[..], b"", b"1:a,"]);
        assert_eq!(list, b"4:name,0:,4:1:a,");
        assert!(is_one(&list));
        for bad in
            ["", "a", ":", "1", "1:", "2:a", "1:a,", "1:ab", "1:a1:b", "+1:a", "99999999999999999999:a"]
        {
            assert!(!is_one(bad.as_bytes()), "{bad}");
        }
    }
}
