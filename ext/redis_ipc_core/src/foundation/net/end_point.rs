//! The channel binding `tls-server-end-point` of RFC 5929: a hash of the server's certificate.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
/// The ids of the algorithms by which certificates are signed, and their hashes. In place of MD5 and SHA-1 the RFC has
/// SHA-256. An algorithm without a hash of its own, such as Ed25519, has no binding.
static SIGNATURES: [(&[u8], &Algorithm); 9] = [
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], &SHA256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], &SHA384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], &SHA512),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01], &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], &SHA256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], &SHA384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], &SHA512),
];

/// Returns the binding to a certificate (DER). `None` if there is none for the algorithm of its signature.
pub fn of_certificate(certificate: &[u8]) -> Option<Vec<u8>> {
    let (body, _) = element(certificate, SEQUENCE)?;
    // What is signed, and then the algorithm of the signature.
    let (_, rest) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (id, _) = element(algorithm, OBJECT_ID)?;
    let (_, hash) = SIGNATURES.iter().find(|(known, _)| *known == id)?;
    Some(digest(hash, certificate).as_ref().to_vec())
}

/// Returns the content of an element of DER with this tag, and what comes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    if first < 0x80 {
        return rest.split_at_checked(usize::from(first));
    }
    let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
    let length = length
        .iter()
        .try_fold(0usize, |sum, byte| sum.checked_mul(256).map(|sum| sum + usize::from(*byte)))?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate with nothing in it, which is signed by the algorithm `id`.
    fn certificate(id: &[u8]) -> Vec<u8> {
        let part = |tag: u8, content: &[u8]| {
            let mut bytes = vec![tag, 0x81, u8::try_from(content.len()).unwrap()];
            bytes.extend_from_slice(content);
            bytes
        };
        part(SEQUENCE, &[part(SEQUENCE, b"signed"), part(SEQUENCE, &part(OBJECT_ID, id))].concat())
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let [sha1, sha384, ed25519] = [1, 7, 9]
            .map(|place| certificate(SIGNATURES.get(place).map_or(&[0x2b, 0x65, 0x70], |(id, _)| *id)));
        assert_eq!(of_certificate(&sha1), Some(digest(&SHA256, &sha1).as_ref().to_vec()));
        assert_eq!(of_certificate(&sha384), Some(digest(&SHA384, &sha384).as_ref().to_vec()));
        assert_eq!(of_certificate(&ed25519), None);
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let whole = certificate(SIGNATURES[0].0);
        for end in 0..whole.len() {
            assert_eq!(of_certificate(&whole[..end]), None);
        }
        assert_eq!(of_certificate(&[0x30, 0x88, 255, 255, 255, 255, 255, 255, 255, 255]), None);
        assert_eq!(of_certificate(&[0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
