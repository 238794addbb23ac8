//! The reset vector: where a PC's firmware starts, and what a guest jumps to
//! in real mode as one of its ways to reset the machine.
//!
//! Called by the plan. There is no firmware, so that place holds the few
//! instructions that write to the reset register. Linux goes there whenever
//! ACPI is hardware-reduced and there is no EFI: it then trusts neither the
//! reset register nor the keyboard controller (arch/x86/kernel/reboot.c).

use crate::layout::{RESET_PORT, RESET_VALUE, RESET_VECTOR};
use crate::segment::Segment;

/// The 16-bit code at [`RESET_VECTOR`].
pub(crate) fn code() -> Segment {
    let [low, high] = RESET_PORT.to_le_bytes();
    let code = vec![
        0xB0,
        RESET_VALUE, // mov al, RESET_VALUE
        0xBA,
        low,
        high, // mov dx, RESET_PORT
        0xEE, // out dx, al
        0xF4, // hlt
        0xEB,
        0xFD, // jmp to the hlt
    ];
    Segment::bytes("reset vector", RESET_VECTOR, code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::KERNEL_FLOOR;

    #[test]
    fn the_code_fits_below_the_kernel() {
        assert!(code().end() <= KERNEL_FLOOR);
        assert_eq!(code().address, 0xFFFF << 4);
    }
}
