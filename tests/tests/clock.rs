//! What time a guest has: its host's, by KVM's own clock. A clock of whole seconds can
//! be added.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use guest_tests::Guest;

/// By how much a guest's clock may go faster.
const AHEAD: Duration = Duration::from_millis(10);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Linux takes the time from KVM's clock once, and has no timer to count by for a
/// moment after that.
#[test]
fn a_guest_has_the_time_of_its_host_less_a_part_of_its_boot_and_no_clock_but_that() {
    let before = now();
    let asks = "ls /sys/class/rtc | wc -l; guest clock";
    let mut guest = Guest::new().command(asks).start();
    guest.wait_for("clock: ready");
    guest.type_in("\n");
    guest.wait_for(" since 1970");
    let after = now();
    let outcome = guest.end().succeeds();
    let told = outcome.after("clock: now ");
    let told = told.strip_suffix(" ns since 1970").unwrap();
    let told = Duration::from_nanos(told.parse().unwrap());
    let range = before..after + AHEAD;
    assert!(range.contains(&told), "{told:?} is not in {range:?}");
    outcome.says("\n0\n");
}

#[test]
fn a_guest_that_is_to_have_an_rtc_finds_one_with_the_time_of_its_host() {
    let before = now().as_secs();
    let guest = Guest::new().flag("--rtc");
    let asks = "echo rtc: $(cat /sys/class/rtc/rtc0/since_epoch)";
    let outcome = guest.command(asks).run().succeeds();
    let told: u64 = outcome.after("rtc: ").parse().unwrap();
    assert!((before..=now().as_secs()).contains(&told), "{told}");
}
