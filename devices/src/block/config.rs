//! The configuration space of a block device (virtio 1.3 §5.2.4).

use std::mem::{offset_of, size_of};

use virtio_bindings::virtio_blk::virtio_blk_config as Layout;

use super::disk::DiskInfo;
use super::request::{
    MAX_CLEAR_SECTORS, MAX_CLEAR_SEGMENTS, MAX_SEGMENT_SIZE, MAX_SEGMENTS, SECTOR,
};

/// Where the driver chooses between writeback and writethrough.
pub(super) const WRITEBACK: usize = offset_of!(Layout, wce);

/// Where the disk's size lies, in sectors.
const CAPACITY: usize = offset_of!(Layout, capacity);

/// A configuration space.
pub(super) type Space = [u8; size_of::<Layout>()];

/// The space of `disk` behind `queues` queues, in writeback mode.
pub(super) fn config_space(disk: &DiskInfo, queues: u16) -> Space {
    let mut space = [0; size_of::<Layout>()];
    let mut put = |offset: usize, field: &[u8]| {
        space[offset..offset + field.len()].copy_from_slice(field);
    };
    let per_block = disk.physical_block / disk.logical_block;
    let exponent = u8::try_from(per_block.trailing_zeros()).expect("32 at most");
    // §5.2.4: sizes of the topology are in logical blocks, 16 bits.
    let min_io = u16::try_from(per_block).unwrap_or(0);
    let block_sectors = disk.physical_block / 512;
    put(
        offset_of!(Layout, size_max),
        &MAX_SEGMENT_SIZE.to_le_bytes(),
    );
    put(offset_of!(Layout, seg_max), &MAX_SEGMENTS.to_le_bytes());
    put(
        offset_of!(Layout, blk_size),
        &disk.logical_block.to_le_bytes(),
    );
    put(offset_of!(Layout, physical_block_exp), &[exponent]);
    put(offset_of!(Layout, min_io_size), &min_io.to_le_bytes());
    put(WRITEBACK, &[1]);
    put(offset_of!(Layout, num_queues), &queues.to_le_bytes());
    if disk.can_discard {
        put(
            offset_of!(Layout, max_discard_sectors),
            &MAX_CLEAR_SECTORS.to_le_bytes(),
        );
        put(
            offset_of!(Layout, max_discard_seg),
            &MAX_CLEAR_SEGMENTS.to_le_bytes(),
        );
        put(
            offset_of!(Layout, discard_sector_alignment),
            &block_sectors.to_le_bytes(),
        );
        put(
            offset_of!(Layout, max_write_zeroes_sectors),
            &MAX_CLEAR_SECTORS.to_le_bytes(),
        );
        put(
            offset_of!(Layout, max_write_zeroes_seg),
            &MAX_CLEAR_SEGMENTS.to_le_bytes(),
        );
        put(offset_of!(Layout, write_zeroes_may_unmap), &[1]);
    }
    put_capacity(&mut space, disk.capacity);
    space
}

/// Puts the size of the disk into its space, in bytes.
pub(super) fn put_capacity(space: &mut Space, capacity: u64) {
    space[CAPACITY..CAPACITY + 8].copy_from_slice(&(capacity / SECTOR).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_specification_puts_them() {
        let disk = DiskInfo {
            capacity: 0x1234 * 512,
            logical_block: 512,
            physical_block: 4096,
            buffer_alignment: 1,
            read_only: false,
            can_discard: true,
            depth: 1,
        };
        let space = config_space(&disk, 4);
        assert_eq!(space[0..8], 0x1234u64.to_le_bytes());
        assert_eq!(space[12..16], 254u32.to_le_bytes(), "seg_max");
        assert_eq!(space[20..24], 512u32.to_le_bytes(), "blk_size");
        assert_eq!(space[24], 3, "physical_block_exp");
        assert_eq!(space[26..28], 8u16.to_le_bytes(), "min_io_size");
        assert_eq!(space[32], 1, "writeback");
        assert_eq!(space[34..36], 4u16.to_le_bytes(), "num_queues");
        assert_eq!(
            space[36..40],
            (1u32 << 21).to_le_bytes(),
            "max_discard_sectors"
        );
        assert_eq!(
            space[44..48],
            8u32.to_le_bytes(),
            "discard_sector_alignment"
        );
        assert_eq!(space[56], 1, "write_zeroes_may_unmap");
    }
}
