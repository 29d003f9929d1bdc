//! The slot of a key in a Redis Cluster (Redis Cluster specification, "Key distribution model").

/// The number of slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// Returns the slot of `key`. If the key has a hash tag (a part in braces that is not empty), only the tag is hashed.
pub fn slot(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let rest = &key[key.iter().position(|byte| *byte == b'{')? + 1..];
    let length = rest.iter().position(|byte| *byte == b'}')?;
    Some(&rest[..length]).filter(|tag| !tag.is_empty())
}

/// Computes CRC-16/XMODEM: polynomial 0x1021, not reflected, initial value 0.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31C3, "the example of the specification");
        // The slots that CLUSTER KEYSLOT returns.
        for (key, expected) in
            [("house:inbox:child", 3192), ("house:replies:parent:7f", 10175), ("foo", 12182)]
        {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn only_a_hash_tag_counts() {
        assert_eq!(slot(b"{foo}:inbox:a"), slot(b"foo"));
        assert_eq!(slot(b"x{foo}y{bar}"), slot(b"foo"));
        assert_eq!(slot(b"{}foo"), 9500);
        assert_eq!(slot(b"{foo"), 13308);
        assert_eq!(slot(b"{{foo}}"), slot(b"{foo"));
    }
}
