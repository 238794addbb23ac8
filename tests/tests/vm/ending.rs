//! How machines end, and what is known of them afterwards.

use guest_tests::{BareKernel, DiskFile, Guest, wait};
use rustix::process::Signal;

use super::{assert_ended, deaf};

#[test]
fn a_guest_that_does_not_listen_is_stopped_at_the_deadline() {
    let (_kernel, guest) = deaf();
    let web = guest.detach();
    web.refuses("remove", 2, &["'web'"]);
    web.vm("stop --deadline 100ms");
    assert_ended(&web, "the guest ignored its power button for 100ms");
}

#[test]
fn a_machine_is_killed_and_its_disk_is_free() {
    let (_kernel, guest) = deaf();
    let disk = DiskFile::empty(1 << 20);
    let web = guest.disk(&disk).detach();
    web.vm("kill");
    let (_kernel, guest) = deaf();
    guest.disk(&disk).detach();
    assert_ended(&web, "the machine was stopped");
}

#[test]
fn a_machine_whose_process_was_killed_is_known_to_be_dead() {
    let (_kernel, guest) = deaf();
    let web = guest.detach();
    web.signal(Signal::KILL);
    wait(|| web.show()["state"].clone(), |state| state == "ended");
    assert_ended(&web, "its process died without a word");
}

#[test]
fn a_guest_that_crashes_says_so_when_it_is_asked_about() {
    // lidt [rip + 1]; int3; an empty table.
    let crash = [
        0x0f, 0x01, 0x1d, 0x01, 0, 0, 0, 0xcc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let kernel = BareKernel::of(&crash);
    let web = Guest::booting(&kernel).detach();
    wait(|| web.show()["state"].clone(), |state| state == "ended");
    assert_ended(&web, "the guest crashed: ");
}
