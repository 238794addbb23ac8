//! The configuration space of a function: a type 0 header, BARs and a list of
//! capabilities (PCI Local Bus Specification 3.0 §6.1, §6.2.5, §6.7).
//!
//! It is bytes, and for each of them the bits that a guest may change. A BAR
//! needs no more than that: the bits below its size cannot be changed, so that
//! what reads back after writing ones is its size.

/// Bytes of it: functions without the PCI Express capability have no more.
pub const SIZE: usize = 256;

const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const BAR0: usize = 0x10;
const SUBSYSTEM_VENDOR: usize = 0x2c;
const SUBSYSTEM: usize = 0x2e;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const FIRST_CAPABILITY: usize = 0x40;

/// Command: accesses to ports are answered.
const PORT_SPACE: u16 = 1 << 0;
/// Command: memory accesses are answered.
const MEMORY_SPACE: u16 = 1 << 1;
/// Command: may send interrupts and use memory.
const BUS_MASTER: u16 = 1 << 2;
/// Command: must not pull an interrupt pin; there is none.
const INTERRUPT_DISABLE: u16 = 1 << 10;
/// Status: there is a list of capabilities.
const HAS_CAPABILITIES: u16 = 1 << 4;

/// In a BAR: it is one of ports.
const IS_PORTS: u32 = 1;

/// Which address space a BAR is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Memory.
    Memory,
    /// I/O ports.
    Ports,
}

impl Space {
    /// The bit of the command by which a guest has it answered.
    fn enable(self) -> u16 {
        match self {
            Self::Memory => MEMORY_SPACE,
            Self::Ports => PORT_SPACE,
        }
    }

    /// What the lowest bits of a BAR say: 32 bits of memory, not to be read ahead,
    /// or ports.
    fn mark(self) -> u32 {
        match self {
            Self::Memory => 0,
            Self::Ports => IS_PORTS,
        }
    }
}

/// What a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who made it.
    pub vendor: u16,
    /// Which of theirs it is.
    pub device: u16,
    /// Which revision of that.
    pub revision: u8,
    /// What it does: base class, subclass, programming interface.
    pub class: [u8; 3],
    /// Who made the board.
    pub subsystem_vendor: u16,
    /// Which of theirs it is.
    pub subsystem: u16,
}

/// A function's configuration space.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    /// The bits that the guest may change.
    writable: [u8; SIZE],
    /// Where the next capability's position is to be written.
    link: usize,
    /// Where the next capability goes.
    free: usize,
}

impl ConfigSpace {
    /// A function without BARs and capabilities.
    pub fn new(identity: &Identity) -> Self {
        let mut space = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
            link: CAPABILITIES,
            free: FIRST_CAPABILITY,
        };
        space.put(VENDOR, &identity.vendor.to_le_bytes());
        space.put(DEVICE, &identity.device.to_le_bytes());
        space.put(REVISION, &[identity.revision]);
        let [base, sub, interface] = identity.class;
        space.put(CLASS, &[interface, sub, base]);
        space.put(SUBSYSTEM_VENDOR, &identity.subsystem_vendor.to_le_bytes());
        space.put(SUBSYSTEM, &identity.subsystem.to_le_bytes());
        space.allow(COMMAND, &(BUS_MASTER | INTERRUPT_DISABLE).to_le_bytes());
        // Firmware's scratch register.
        space.allow(INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Gives it BAR `number`, of the six from 0 on, of 32 bits in `space`: `size`
    /// bytes, a power of two from 16 on, that lie at `base` to begin with.
    pub fn set_bar(&mut self, number: usize, space: Space, base: u32, size: u32) {
        let at = bar(number);
        self.put(at, &(base | space.mark()).to_le_bytes());
        self.allow(at, &(!(size - 1)).to_le_bytes());
        let command = u16::from_le_bytes([self.writable[COMMAND], self.writable[COMMAND + 1]]);
        self.allow(COMMAND, &(command | space.enable()).to_le_bytes());
    }

    /// Adds a capability: `body` is what follows its id and link, `writable`
    /// the bits of it that the guest may change. Returns where it begins.
    ///
    /// # Panics
    /// There is no room: no function has as many.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let at = self.free;
        let end = at + 2 + body.len();
        assert!(end <= SIZE, "a function's capabilities fit its space");
        self.put(at, &[id, 0]);
        self.put(at + 2, body);
        self.allow(at + 2, writable);
        let position = u8::try_from(at).expect("within 256 bytes");
        self.put(self.link, &[position]);
        self.put(STATUS, &HAS_CAPABILITIES.to_le_bytes());
        self.link = at + 1;
        // Capabilities are aligned to four bytes.
        self.free = end.next_multiple_of(4);
        at
    }

    /// Reads; what is beyond the end reads as ones, as where no function is. By that
    /// Linux knows the end (drivers/pci/probe.c, `pci_cfg_space_size_ext`), and does
    /// not look for PCI Express capabilities there one by one.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..).zip(data) {
            *byte = index(at).map_or(0xff, |at| self.bytes[at]);
        }
    }

    /// Writes what may be written.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (at, byte) in (offset..).zip(data) {
            if let Some(at) = index(at) {
                let mask = self.writable[at];
                self.bytes[at] = self.bytes[at] & !mask | byte & mask;
            }
        }
    }

    /// Where BAR `number` is, which was set, or None while accesses to its space are
    /// not to be answered.
    pub fn bar(&self, number: usize) -> Option<u64> {
        let value = self.u32(bar(number));
        let space = match value & IS_PORTS {
            0 => Space::Memory,
            _ => Space::Ports,
        };
        let enabled = self.u16(COMMAND) & space.enable() != 0;
        enabled.then_some(u64::from(value) & !0xf)
    }

    /// The 16 bits at `at`.
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// The 32 bits at `at`.
    pub fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn allow(&mut self, at: usize, bits: &[u8]) {
        self.writable[at..at + bits.len()].copy_from_slice(bits);
    }
}

/// Where BAR `number` is.
fn bar(number: usize) -> usize {
    BAR0 + 4 * number
}

fn index(offset: u64) -> Option<usize> {
    usize::try_from(offset).ok().filter(|at| *at < SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IDENTITY: Identity = Identity {
        vendor: 0x1af4,
        device: 0x1042,
        revision: 1,
        class: [1, 0x80, 2],
        subsystem_vendor: 0x1af4,
        subsystem: 0x1100,
    };

    fn read32(space: &ConfigSpace, offset: u64) -> u32 {
        let mut word = [0; 4];
        space.read(offset, &mut word);
        u32::from_le_bytes(word)
    }

    #[test]
    fn a_function_says_what_it_is() {
        let space = ConfigSpace::new(&IDENTITY);
        assert_eq!(read32(&space, 0), 0x1042_1af4);
        assert_eq!(read32(&space, 8), 0x0180_0201);
        assert_eq!(read32(&space, 0x2c), 0x1100_1af4);
        assert_eq!(read32(&space, 4), 0, "nothing is enabled, no list");
        for beyond in [0x100, 0xffc, u64::MAX - 8] {
            assert_eq!(read32(&space, beyond), u32::MAX, "{beyond:#x}");
        }
    }

    #[test]
    fn the_size_of_a_bar_shows_when_ones_are_written() {
        let mut space = ConfigSpace::new(&IDENTITY);
        space.set_bar(0, Space::Memory, 0xc000_4000, 0x4000);
        space.set_bar(1, Space::Ports, 0xc100, 0x100);
        assert_eq!(read32(&space, 0x10), 0xc000_4000);
        assert_eq!(read32(&space, 0x14), 0xc101);
        for bar in 0..2 {
            space.write(0x10 + 4 * bar, &[0xff; 4]);
        }
        assert_eq!(read32(&space, 0x10), 0xffff_c000);
        assert_eq!(read32(&space, 0x14), 0xffff_ff01);
        for bar in 2..6 {
            space.write(0x10 + 4 * bar, &[0xff; 4]);
            assert_eq!(read32(&space, 0x10 + 4 * bar), 0, "there is no other");
        }
    }

    #[test]
    fn a_bar_is_answered_only_while_its_space_is_enabled() {
        let mut space = ConfigSpace::new(&IDENTITY);
        space.write(4, &[0xff, 0xff]);
        assert_eq!(space.u16(COMMAND), 0x404, "there is no BAR to answer for");
        space.set_bar(0, Space::Memory, 0xc000_4000, 0x4000);
        space.write(4, &[0xff, 0xff]);
        assert_eq!(space.u16(COMMAND), 0x406, "no other command is taken");
        space.set_bar(1, Space::Ports, 0xc100, 0x100);
        assert_eq!((space.bar(0), space.bar(1)), (Some(0xc000_4000), None));
        space.write(4, &[1, 0]);
        assert_eq!((space.bar(0), space.bar(1)), (None, Some(0xc100)));
        space.write(4, &[3, 0]);
        space.write(0x10, &0xc800_0000_u32.to_le_bytes());
        space.write(0x14, &0xd200_u32.to_le_bytes());
        assert_eq!(
            (space.bar(0), space.bar(1)),
            (Some(0xc800_0000), Some(0xd200))
        );
        space.write(4, &[0, 0]);
        assert_eq!((space.bar(0), space.bar(1)), (None, None));
    }

    #[test]
    fn capabilities_form_a_list() {
        let mut space = ConfigSpace::new(&IDENTITY);
        let first = space.add_capability(9, &[1, 2, 3], &[0, 0xff, 0]);
        let second = space.add_capability(0x11, &[4; 10], &[0; 10]);
        assert_eq!((first, second), (0x40, 0x48));
        assert_eq!(space.u16(STATUS), HAS_CAPABILITIES);
        assert_eq!(read32(&space, 0x34), 0x40);
        assert_eq!(read32(&space, 0x40), 0x0201_4809);
        assert_eq!(read32(&space, 0x48), 0x0404_0011);
        // Its id, its link and its first byte stay; the second may change.
        space.write(0x40, &[0xaa; 4]);
        assert_eq!(read32(&space, 0x40), 0xaa01_4809);
    }

    proptest! {
        #[test]
        fn only_what_may_be_changed_changes(
            accesses in prop::collection::vec((0u64..300, prop::collection::vec(any::<u8>(), 1..9)), 0..50),
        ) {
            let mut space = ConfigSpace::new(&IDENTITY);
            space.set_bar(0, Space::Memory, 0xc000_0000, 0x4000);
            space.set_bar(1, Space::Ports, 0xc000, 0x100);
            space.add_capability(9, &[7; 8], &[0xf0; 8]);
            let before = space.clone();
            for (offset, data) in accesses {
                space.write(offset, &data);
            }
            for at in 0..SIZE {
                let mask = before.writable[at];
                prop_assert_eq!(space.bytes[at] & !mask, before.bytes[at] & !mask);
            }
        }
    }
}
