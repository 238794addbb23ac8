//! Names for content: a cache entry whose input may change carries a digest of
//! that input in its key, so that other input gets another entry.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The first eight bytes of the SHA-256 of all parts, as hexadecimal digits.
/// Where one part ends and the next begins counts.
pub(crate) fn name<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let mut name = String::new();
    for byte in &digest.finalize()[..8] {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn other_content_has_another_name() {
        assert_eq!(name(["a", "b"]), name(["a", "b"]));
        assert_ne!(name(["a", "b"]), name(["ab", ""]));
        assert_eq!(name(["a"]).len(), 16);
    }
}
