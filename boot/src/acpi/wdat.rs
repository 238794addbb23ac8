//! WDAT: a watchdog, as instructions that a guest carries out on its registers
//! ("Hardware Watchdog Timers Design Specification", Microsoft; Linux
//! drivers/watchdog/wdat_wdt.c, which Debian's cloud kernel has too).

use acpi_tables::Aml;
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::sdt::Sdt;

use crate::layout::{WATCHDOG_MAX_S, WATCHDOG_PORT};

const REVISION: u8 = 1;

/// The registers, as offsets from [`WATCHDOG_PORT`].
const RUNNING: u16 = 0;
const TIMEOUT: u16 = 4;
const LEFT: u16 = 8;
const EXPIRED: u16 = 12;

/// Bytes of the table between header and instructions.
const TIMER_LEN: u32 = 32;
/// Stands for no PCI segment, bus, device or function.
const NO_PCI: u8 = 0xFF;
/// One count of the timer is a second.
const PERIOD_MS: u32 = 1000;
const MIN_COUNT: u32 = 1;
/// The watchdog can be used.
const ENABLED: u8 = 1 << 0;

/// What to do with a register: compare or take what is read, write a constant
/// or the number at hand.
const READ_VALUE: u8 = 0;
const READ_COUNT: u8 = 1;
const WRITE_VALUE: u8 = 2;
const WRITE_COUNT: u8 = 3;

/// A flag in a register, and a number of seconds.
const FLAG: u32 = 1;
const COUNT: u32 = 0xFFFF;

const INSTRUCTION_COUNT: u32 = 10;
/// Action, instruction, register, value and mask of each.
const INSTRUCTIONS: [(u8, u8, u16, u32, u32); INSTRUCTION_COUNT as usize] = [
    // Count down anew.
    (1, WRITE_VALUE, LEFT, 1, FLAG),
    // What is left; what it counts down from; change that.
    (4, READ_COUNT, LEFT, 0, COUNT),
    (5, READ_COUNT, TIMEOUT, 0, COUNT),
    (6, WRITE_COUNT, TIMEOUT, 0, COUNT),
    // Does it run; run. Is it stopped; stop.
    (8, READ_VALUE, RUNNING, 1, FLAG),
    (9, WRITE_VALUE, RUNNING, 1, FLAG),
    (10, READ_VALUE, RUNNING, 0, FLAG),
    (11, WRITE_VALUE, RUNNING, 0, FLAG),
    // Did it end the machine's last run; forget that.
    (32, READ_VALUE, EXPIRED, 1, FLAG),
    (33, WRITE_VALUE, EXPIRED, 0, FLAG),
];

/// The table.
pub(super) fn table() -> Sdt {
    let mut body = Vec::new();
    body.extend(TIMER_LEN.to_le_bytes());
    // Segment, bus, device, function; then padding.
    body.extend([NO_PCI, 0, NO_PCI, NO_PCI, NO_PCI, 0, 0, 0]);
    body.extend(PERIOD_MS.to_le_bytes());
    body.extend(u32::from(WATCHDOG_MAX_S).to_le_bytes());
    body.extend(MIN_COUNT.to_le_bytes());
    body.extend([ENABLED, 0, 0, 0]);
    body.extend(INSTRUCTION_COUNT.to_le_bytes());
    for (action, instruction, register, value, mask) in INSTRUCTIONS {
        body.extend([action, instruction, 0, 0]);
        port(WATCHDOG_PORT + register).to_aml_bytes(&mut body);
        body.extend(value.to_le_bytes());
        body.extend(mask.to_le_bytes());
    }
    super::table(*b"WDAT", REVISION, &body)
}

/// A register of four bytes.
fn port(number: u16) -> GAS {
    GAS::new(
        AddressSpace::SystemIo,
        32,
        0,
        AccessSize::DwordAccess,
        number.into(),
    )
}
