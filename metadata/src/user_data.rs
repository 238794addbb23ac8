//! User data: bytes that the user hands to the instance, which cloud-init runs
//! as a script, reads as `#cloud-config`, or unpacks.

/// More bytes than user data can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user data has {0} bytes, and can have {max} (16 KiB)", max = UserData::MAX)]
pub struct TooLarge(pub usize);

/// At most [`UserData::MAX`] bytes of anything. What is larger may be
/// compressed, which cloud-init undoes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserData(Vec<u8>);

impl UserData {
    /// Most bytes, before any base64: the limit of EC2 (RunInstances,
    /// UserData). It is the same for the service and for the disk, so that what
    /// works with one works with the other.
    pub const MAX: usize = 16 << 10;

    /// Takes `bytes` as they are.
    ///
    /// # Errors
    /// They are too many.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, TooLarge> {
        let bytes = bytes.into();
        match bytes.len() {
            0..=Self::MAX => Ok(Self(bytes)),
            len => Err(TooLarge(len)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_kibibytes_and_not_one_more() {
        assert!(UserData::new([7; UserData::MAX]).is_ok());
        let error = UserData::new([7; UserData::MAX + 1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "user data has 16385 bytes, and can have 16384 (16 KiB)"
        );
    }
}
