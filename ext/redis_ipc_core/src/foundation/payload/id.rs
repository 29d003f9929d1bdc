//! Unguessable ids: 128 bits, written as 32 hexadecimal digits.

/// An unguessable id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(u128);

impl Id {
    /// Reads the 32 lower-case hexadecimal digits that the `Display` of [`Id`] writes. Returns `None` for anything
    /// else.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is_own = text.len() == 32 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let text = std::str::from_utf8(text).ok().filter(|_| is_own)?;
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Creates the id with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// Returns its digits.
    pub fn digits(self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        digits
    }
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

/// Creates a guessable id, for use within the process only.
impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(number.into())
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_what_is_displayed() {
        let id = Id::from_bytes(*b"\x01\xfe23456789abcdef");
        assert_eq!(id.digits(), id.to_string().as_bytes());
        assert_eq!(Id::parse(&id.digits()), Some(id));
    }

    #[test]
    fn only_its_own_form_is_read() {
        for text in ["", "12", "0000000000000000000000000000000G", "0000000000000000000000000000000A"] {
            assert_eq!(Id::parse(text.as_bytes()), None, "{text}");
        }
    }
}
