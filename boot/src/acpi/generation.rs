//! The VM generation id: sixteen bytes in guest memory that change when a
//! machine is restored from a saved state or copied, so that the guest makes
//! its random numbers anew ("Virtual Machine Generation ID", Microsoft;
//! Linux drivers/virt/vmgenid.c).

use acpi_tables::aml::{Device, Name, Notify, Package, Path};

use super::aml::{Made, made};
use crate::layout::VM_GENERATION_ID;
use crate::segment::Segment;

/// An id of our own, as the standard asks for, and the one guests look for.
const ID: &str = "PLNT0001";
const COMPATIBLE_ID: &str = "VM_Gen_Counter";

/// The kind of notification that says that it changed.
const CHANGED: u8 = 0x80;

/// The id in guest memory.
pub(crate) fn segment(id: [u8; 16]) -> Segment {
    Segment::bytes("VM generation id", VM_GENERATION_ID, id.to_vec())
}

/// The device that says where the id is.
pub(super) fn device() -> Made {
    let address = u32::try_from(VM_GENERATION_ID).expect("it is below 4 GiB");
    let address = Package::new(vec![&address, &0_u8]);
    made(&[&Device::new(
        "VGEN".into(),
        vec![
            &Name::new("_HID".into(), &ID),
            &Name::new("_CID".into(), &COMPATIBLE_ID),
            &Name::new("_DDN".into(), &COMPATIBLE_ID),
            &Name::new("ADDR".into(), &address),
        ],
    )])
}

/// What a change of the id does.
pub(super) fn on_event() -> Made {
    made(&[&Notify::new(&Path::new("\\_SB_.VGEN"), &CHANGED)])
}
