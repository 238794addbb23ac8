//! A disk's name, as the driver reads it with a get-id request.

use std::fmt;

use virtio_bindings::virtio_blk::VIRTIO_BLK_ID_BYTES;

const ID_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// What a guest sees as the disk's serial number: up to 20 bytes of printable
/// ASCII, padded with zeroes (§5.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskId([u8; ID_BYTES]);

/// A text that cannot name a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a disk's id has at most 20 characters, all of them printable ASCII without spaces")]
pub struct BadDiskId;

impl DiskId {
    pub(super) fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl std::str::FromStr for DiskId {
    type Err = BadDiskId;

    fn from_str(text: &str) -> Result<Self, BadDiskId> {
        let mut id = [0; ID_BYTES];
        let room = id.get_mut(..text.len()).ok_or(BadDiskId)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadDiskId);
        }
        room.copy_from_slice(text.as_bytes());
        Ok(Self(id))
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printable = self.0.iter().take_while(|byte| **byte != 0);
        printable
            .clone()
            .try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}
