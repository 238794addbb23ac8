//! How large a volume can be.

use std::fmt;

use crate::BLOCK;

/// What sizes are counted in, in bytes (virtio 1.3 §5.2.4).
pub const SECTOR: u64 = 512;

/// The smallest volume, in bytes.
pub const LEAST: u64 = 1 << 20;

/// The largest volume, in bytes; that of EBS (gp3, io2).
pub const MOST: u64 = 64 << 40;

/// The size of a volume, in bytes: 1 MiB to 64 TiB, whole sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeSize(u64);

/// Why a number is not the size of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    /// Below [`LEAST`].
    #[error("{0} bytes are too few: a volume has at least 1 MiB")]
    Small(u64),
    /// Above [`MOST`].
    #[error("{0} bytes are too many: a volume has at most 64 TiB")]
    Large(u64),
    /// Not a multiple of [`SECTOR`].
    #[error("{0} bytes are not a multiple of {SECTOR}, the size of a sector")]
    Uneven(u64),
}

impl VolumeSize {
    /// # Errors
    /// No volume has this size.
    pub fn new(bytes: u64) -> Result<Self, BadSize> {
        match bytes {
            ..LEAST => Err(BadSize::Small(bytes)),
            LEAST..=MOST if bytes.is_multiple_of(SECTOR) => Ok(Self(bytes)),
            LEAST..=MOST => Err(BadSize::Uneven(bytes)),
            _ => Err(BadSize::Large(bytes)),
        }
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// In blocks; the last may be a part of one.
    pub fn blocks(self) -> u32 {
        u32::try_from(self.0.div_ceil(BLOCK)).expect("64 TiB are 2^27 blocks")
    }
}

impl fmt::Display for VolumeSize {
    /// In the largest unit that divides it, as in `20 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
        for (shift, unit) in units {
            if self.0.is_multiple_of(1 << shift) {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_one_mebibyte_to_sixty_four_tebibytes() {
        for bytes in [1 << 20, (1 << 20) + 512, 20 << 30, 64 << 40] {
            assert_eq!(VolumeSize::new(bytes).unwrap().bytes(), bytes);
        }
        assert_eq!(VolumeSize::new(0), Err(BadSize::Small(0)));
        let less = (1 << 20) - 512;
        assert_eq!(VolumeSize::new(less), Err(BadSize::Small(less)));
        let more = (64 << 40) + 512;
        assert_eq!(VolumeSize::new(more), Err(BadSize::Large(more)));
        let uneven = (1 << 20) + 1;
        assert_eq!(VolumeSize::new(uneven), Err(BadSize::Uneven(uneven)));
    }

    #[test]
    fn a_part_of_a_block_counts_as_one() {
        assert_eq!(VolumeSize::new(1 << 20).unwrap().blocks(), 2);
        assert_eq!(VolumeSize::new((1 << 20) + 512).unwrap().blocks(), 3);
        assert_eq!(VolumeSize::new(MOST).unwrap().blocks(), 1 << 27);
    }

    #[test]
    fn a_size_is_told_in_the_unit_it_was_given_in() {
        let shown = |bytes| VolumeSize::new(bytes).unwrap().to_string();
        assert_eq!(shown(20 << 30), "20 GiB");
        assert_eq!(shown(1536 << 20), "1536 MiB");
        assert_eq!(shown((1 << 20) + 512), "1049088 bytes");
    }
}
