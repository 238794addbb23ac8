//! The boot plan: every piece of guest memory and the first registers.
//!
//! [`plan()`] is the crate's one operation. It picks the format and the
//! protocol, gathers the segments from the files of this crate, and checks
//! them as a whole: inside RAM, and disjoint. The VMM performs the plan.

use crate::entry::EntryState;
use crate::image::{Image, KernelImage};
use crate::kernel::{Entry, Kernel};
use crate::layout::COMMAND_LINE;
use crate::segment::Segment;
use crate::{Error, Machine, Protocol, Result};
use crate::{acpi, initrd, linux, machine, page_tables, pvh, reset_vector, smbios};

/// What to put into guest memory, and how to start the first vCPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootPlan {
    /// How the kernel is entered: never [`Protocol::Auto`].
    pub protocol: Protocol,
    /// What lies where: disjoint, inside guest RAM, lowest address first.
    pub segments: Vec<Segment>,
    /// The registers of the first vCPU.
    pub entry: EntryState,
}

/// Plans the boot of `kernel` on `machine`.
///
/// Reads only the kernel's headers.
///
/// # Errors
///
/// [`Error`] says what is wrong with the kernel image, or why it and the
/// machine do not go together.
pub fn plan(kernel: &dyn KernelImage, machine: &Machine) -> Result<BootPlan> {
    machine::check_devices(machine.virtio_mmio)?;
    let kernel = Kernel::parse(&Image::new(kernel)?, machine.protocol)?;
    machine
        .command_line
        .check_length(kernel.command_line_limit)?;

    let mut segments = kernel.segments;
    let room = machine.memory.loadable();
    for segment in &segments {
        segment.check_inside(&room)?;
    }
    let kernel_end = segments.iter().map(Segment::end).max().unwrap_or(0);

    let initrd = machine
        .initrd
        .map(|length| {
            let limit = room.end.min(kernel.initrd_limit);
            initrd::place(length, room.start..limit, &segments)
        })
        .transpose()?;
    segments.extend(initrd.clone().map(Segment::initrd));

    segments.push(Segment::bytes(
        "command line",
        COMMAND_LINE,
        machine.command_line.to_bytes(),
    ));
    segments.push(acpi::tables(machine));
    segments.extend(machine.generation_id.map(acpi::generation::segment));
    segments.push(smbios::tables(machine.identity));
    segments.push(reset_vector::code());

    let (protocol, entry) = match kernel.entry {
        Entry::Linux64 { rip, header } => {
            segments.push(linux::zero_page(header, &machine.memory, initrd));
            segments.push(page_tables::identity(kernel_end));
            (Protocol::Linux64, EntryState::linux64(rip))
        }
        Entry::Pvh { rip } => {
            segments.push(pvh::start_info(&machine.memory, initrd));
            (Protocol::Pvh, EntryState::pvh32(rip))
        }
    };
    segments.push(entry.gdt());

    sort_disjoint(&mut segments)?;
    Ok(BootPlan {
        protocol,
        segments,
        entry,
    })
}

/// Sorts by address and refuses segments that overlap.
fn sort_disjoint(segments: &mut [Segment]) -> Result<()> {
    segments.sort_by_key(|segment| segment.address);
    for pair in segments.windows(2) {
        if pair[0].overlaps(&pair[1].range()) {
            return Err(Error::Overlap {
                first: pair[0].name,
                first_at: pair[0].range(),
                second: pair[1].name,
                second_at: pair[1].range(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{
        self, Load, Parts, TEXT_AND_DATA, bzimage, elf, named, note, setup_header,
    };
    use crate::layout::{BOOT_PARAMS, GIB, KERNEL_FLOOR, MIB};
    use crate::memory::MapKind;
    use crate::{CommandLine, Content, MemoryLayout, MmioDevice};

    fn plan_bytes(bytes: &[u8], machine: &Machine) -> Result<BootPlan> {
        plan(&bytes, machine)
    }

    /// What must hold of every plan, whatever the kernel was.
    fn assert_sound(plan: &BootPlan, image: &[u8], machine: &Machine) {
        let ranges: Vec<_> = plan.segments.iter().map(Segment::range).collect();
        assert!(ranges.iter().all(|range| range.start < range.end));
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(
            ranges
                .iter()
                .all(|range| range.end <= machine.memory.low_end())
        );

        for segment in &plan.segments {
            match &segment.content {
                Content::Kernel { offset, length } => {
                    assert!(segment.address >= KERNEL_FLOOR);
                    assert!(offset + length <= image.len() as u64);
                    assert!(*length > 0 && *length <= segment.length);
                }
                Content::Initrd { length } => {
                    assert_eq!(Some(*length), machine.initrd);
                    assert_eq!(*length, segment.length);
                }
                Content::Bytes(bytes) => assert_eq!(bytes.len() as u64, segment.length),
                Content::Zero => {}
            }
        }
        let initrds = named(plan, "initrd").len();
        assert_eq!(initrds, usize::from(machine.initrd.is_some()));

        let entry = plan.entry.rip;
        assert!(
            plan.segments
                .iter()
                .any(|segment| segment.has_content_at(entry))
        );
    }

    #[test]
    fn an_elf_kernel_is_entered_in_64_bit_mode() {
        let parts = Parts::new();
        let machine = Machine {
            initrd: Some(5 * MIB),
            ..parts.machine()
        };
        let image = elf(&TEXT_AND_DATA, &[]);
        let plan = plan_bytes(&image, &machine).unwrap();
        assert_sound(&plan, &image, &machine);
        assert_eq!(plan.protocol, Protocol::Linux64);
        assert_eq!((plan.entry.rip, plan.entry.rsi), (16 * MIB, BOOT_PARAMS));
        assert_eq!(named(&plan, "kernel").len(), 2);
        assert_eq!(named(&plan, "initrd")[0].0, 123 * MIB..128 * MIB);
        let line = named(&plan, "command line");
        assert_eq!(line[0].1, &Content::Bytes(b"console=ttyS0\0".to_vec()));
        assert!(named(&plan, "PVH start info").is_empty());
    }

    #[test]
    fn a_generation_id_lies_in_reserved_memory() {
        let parts = Parts::new();
        let machine = Machine {
            generation_id: Some([7; 16]),
            ..parts.machine()
        };
        let image = elf(&TEXT_AND_DATA, &[]);
        let plan = plan_bytes(&image, &machine).unwrap();
        assert_sound(&plan, &image, &machine);
        let place = &named(&plan, "VM generation id")[0];
        assert_eq!(place.1, &Content::Bytes(vec![7; 16]));
        let map = machine.memory.map();
        assert!(map.iter().any(|entry| entry.kind == MapKind::Reserved
            && entry.range.start <= place.0.start
            && place.0.end <= entry.range.end));
    }

    #[test]
    fn an_elf_kernel_with_a_note_can_be_entered_with_pvh() {
        let parts = Parts::new();
        let machine = Machine {
            protocol: Protocol::Pvh,
            ..parts.machine()
        };
        let entry = 16 * MIB + 0x850;
        let image = elf(&TEXT_AND_DATA, &note(b"Xen\0", 18, &entry.to_le_bytes()));
        let plan = plan_bytes(&image, &machine).unwrap();
        assert_sound(&plan, &image, &machine);
        assert_eq!(plan.protocol, Protocol::Pvh);
        assert_eq!(plan.entry.rip, entry);
        assert_eq!(named(&plan, "PVH start info")[0].0.start, plan.entry.rbx);
        assert!(named(&plan, "zero page").is_empty());
        assert!(named(&plan, "page tables").is_empty());
    }

    #[test]
    fn a_bzimage_keeps_its_setup_header() {
        let parts = Parts::new();
        let image = bzimage(setup_header());
        let plan = plan_bytes(&image, &parts.machine()).unwrap();
        assert_sound(&plan, &image, &parts.machine());
        assert_eq!(plan.entry.rip, 16 * MIB + 0x200);
        let Content::Bytes(page) = named(&plan, "zero page")[0].1 else {
            panic!("the zero page is made here");
        };
        // Up to type_of_loader nothing changes.
        assert_eq!(page[0x1F1..0x210], image[0x1F1..0x210]);
        assert_eq!(page[0x230..0x26C], image[0x230..0x26C]);
    }

    #[test]
    fn a_bzimage_limits_initrd_and_command_line() {
        let parts = Parts::new();
        let image = bzimage(linux_loader::bootparam::setup_header {
            initrd_addr_max: 0x6FF_FFFF,
            cmdline_size: 13,
            ..setup_header()
        });
        let machine = Machine {
            initrd: Some(MIB),
            ..parts.machine()
        };
        let plan = plan_bytes(&image, &machine).unwrap();
        assert_eq!(named(&plan, "initrd")[0].0, 111 * MIB..112 * MIB);

        let line = CommandLine::new("console=ttyS0 ").unwrap();
        let machine = Machine {
            command_line: &line,
            ..machine
        };
        assert!(matches!(
            plan_bytes(&image, &machine),
            Err(Error::CommandLineTooLong {
                length: 14,
                limit: 13
            })
        ));
    }

    #[test]
    fn a_bzimage_cannot_be_entered_with_pvh() {
        let parts = Parts::new();
        let machine = Machine {
            protocol: Protocol::Pvh,
            ..parts.machine()
        };
        let message = plan_bytes(&bzimage(setup_header()), &machine)
            .unwrap_err()
            .to_string();
        assert!(message.contains("vmlinux"), "{message}");
    }

    #[test]
    fn memory_beyond_the_hole_is_in_the_map_but_holds_no_segment() {
        let parts = Parts::new();
        let memory = MemoryLayout::new(6 * GIB).unwrap();
        let machine = Machine {
            memory,
            initrd: Some(GIB),
            ..parts.machine()
        };
        let image = elf(&TEXT_AND_DATA, &[]);
        let plan = plan_bytes(&image, &machine).unwrap();
        assert_sound(&plan, &image, &machine);
        assert_eq!(named(&plan, "initrd")[0].0, 2 * GIB..3 * GIB);
    }

    #[track_caller]
    fn refused(loads: &[Load], text: &str) {
        let parts = Parts::new();
        let message = plan_bytes(&elf(loads, &[]), &parts.machine())
            .unwrap_err()
            .to_string();
        assert!(message.contains(text), "{message}");
    }

    #[test]
    fn segments_that_leave_ram_or_overlap_are_refused() {
        let [text, data] = TEXT_AND_DATA;
        let large = Load {
            memory_size: 112 * MIB + 1,
            ..text
        };
        refused(&[large], "at least 129 MiB");
        refused(
            &[Load {
                address: 0x8000,
                ..text
            }],
            "no guest has",
        );
        refused(
            &[Load {
                address: 4 * GIB,
                ..text
            }],
            "no guest has",
        );
        let inside = Load {
            address: text.address + 0xFFF,
            ..data
        };
        refused(&[text, inside], "overlap");
        refused(&[data, data], "overlap");
    }

    #[test]
    fn an_entry_point_outside_the_segments_is_refused() {
        refused(&[], "in none of its segments");
        let bss = Load {
            file_size: 0,
            ..TEXT_AND_DATA[0]
        };
        refused(&[bss], "in none of its segments");
    }

    #[test]
    fn a_wrong_device_is_refused() {
        let parts = Parts {
            devices: vec![MmioDevice {
                base: 0,
                size: 0x1000,
                gsi: 5,
            }],
            ..Parts::new()
        };
        let error = plan_bytes(&elf(&TEXT_AND_DATA, &[]), &parts.machine()).unwrap_err();
        assert!(matches!(error, Error::MmioDevice { index: 0, .. }));
    }

    /// Bytes to overwrite, as offsets and values.
    fn damage(size: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
        prop::collection::vec((0..size, any::<u8>()), 0..8)
    }

    /// Plans a damaged kernel; whatever is accepted must be sound.
    fn check_damaged(mut image: Vec<u8>, damage: &[(usize, u8)], protocol: Protocol) {
        for &(offset, value) in damage {
            image[offset] = value;
        }
        let parts = Parts::new();
        let machine = Machine {
            protocol,
            initrd: Some(3 * MIB),
            ..parts.machine()
        };
        if let Ok(plan) = plan_bytes(&image, &machine) {
            assert_sound(&plan, &image, &machine);
        }
    }

    fn load() -> impl Strategy<Value = Load> {
        let address = prop_oneof![0..256 * MIB, any::<u64>()];
        let memory_size = prop_oneof![0..0x10_000_u64, 0..256 * MIB, any::<u64>()];
        (address, 0..0x4000_u64, memory_size).prop_map(|(address, file_size, memory_size)| Load {
            address,
            file_size,
            memory_size,
        })
    }

    fn protocol() -> impl Strategy<Value = Protocol> {
        prop_oneof![Just(Protocol::Auto), Just(Protocol::Pvh)]
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(tail in prop::collection::vec(any::<u8>(), 0..2048), protocol in protocol()) {
            let elf_like = [&b"\x7fELF\x02\x01"[..], &tail].concat();
            check_damaged(elf_like, &[], protocol);
            check_damaged(tail, &[], protocol);
        }

        #[test]
        fn a_damaged_elf_is_handled(damage in damage(64 + 3 * 56), protocol in protocol()) {
            let entry = note(b"Xen\0", 18, &(16 * MIB).to_le_bytes());
            check_damaged(elf(&TEXT_AND_DATA, &entry), &damage, protocol);
        }

        #[test]
        fn damaged_notes_are_handled(notes in prop::collection::vec(any::<u8>(), 0..128)) {
            check_damaged(elf(&TEXT_AND_DATA, &notes), &[], Protocol::Pvh);
        }

        #[test]
        fn any_segments_are_handled(loads in prop::collection::vec(load(), 0..6)) {
            check_damaged(elf(&loads, &[]), &[], Protocol::Auto);
        }

        #[test]
        fn a_damaged_bzimage_is_handled(damage in damage(0x26C - 0x1F1)) {
            let damage: Vec<_> = damage.iter().map(|&(at, value)| (at + 0x1F1, value)).collect();
            check_damaged(bzimage(fixture::setup_header()), &damage, Protocol::Auto);
        }
    }
}
