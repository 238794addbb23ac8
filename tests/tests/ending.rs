//! How guests end, and the exit status that tells a script so.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use guest_tests::{BareKernel, Guest};
use rustix::process::Signal;

#[test]
fn power_off_is_success() {
    let guest = Guest::new().word("plinth.then=poweroff").command("true");
    let outcome = guest.run().succeeds();
    assert_eq!(outcome.errors, "");
}

#[test]
fn a_reset_is_success() {
    let guest = Guest::new().word("plinth.then=reboot").command("true");
    let outcome = guest.run().succeeds();
    assert_eq!(outcome.errors, "");
}

#[test]
fn a_kernel_that_panics_and_resets_is_success() {
    let guest = Guest::new().word("plinth.then=panic").command("true");
    let outcome = guest.run().ends_with(0);
    outcome.says("Kernel panic");
}

#[test]
fn a_kernel_that_panics_and_hangs_runs_until_it_is_ended() {
    let guest = Guest::new().word("plinth.then=panic").word("panic=0");
    let mut guest = guest.command("true").start();
    guest.wait_for("end Kernel panic");
    assert!(guest.is_alive());
    guest.signal(Signal::TERM);
    guest.end().ends_with(5);
}

#[test]
fn a_triple_fault_is_a_crash_that_says_where() {
    // An interrupt table without entries, then an interrupt.
    let kernel = BareKernel::of(&[
        0x0f, 0x01, 0x1d, 0x01, 0x00, 0x00, 0x00, // lidt [rip + 1]
        0xcc, // int3
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // limit and base
    ]);
    let outcome = Guest::booting(&kernel).run().ends_with(4);
    outcome.complains("the guest crashed: vCPU 0: triple fault");
}

#[test]
fn an_instruction_that_kvm_cannot_emulate_is_a_crash_that_shows_it() {
    // Access to where no memory is, by an instruction that is rare there.
    let kernel = BareKernel::of(&[
        0xbb, 0x00, 0x00, 0x00, 0x20, // mov ebx, 0x20000000
        0x0f, 0xae, 0x03, // fxsave [rbx]
        0xf4, // hlt
    ]);
    let outcome = Guest::booting(&kernel).memory("64M").run().ends_with(4);
    outcome.complains("KVM internal error");
    outcome.complains("at RIP 0x100005");
    outcome.complains("instruction bytes 0f ae 03");
}

#[test]
fn running_where_no_memory_is_is_a_crash_that_says_where() {
    let kernel = BareKernel::of(&[
        0xb8, 0x00, 0x00, 0x00, 0x20, // mov eax, 0x20000000
        0xff, 0xe0, // jmp rax
    ]);
    let outcome = Guest::booting(&kernel).memory("64M").run().ends_with(4);
    outcome.complains("KVM internal error");
    outcome.complains("at RIP 0x20000000");
}
