//! A guest that misbehaves: its VM process survives, and keeps its word to it.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use guest_tests::{DiskFile, Guest, Network};

#[test]
fn garbage_in_every_device_register_is_survived() {
    let network = Network::enter(1500);
    let (first, second) = (DiskFile::empty(1 << 20), DiskFile::empty(1 << 20));
    let outcome = Guest::new()
        .cpus(2)
        .disk(&first)
        .disk(format!("{second},engine=sync,readonly"))
        .net(network.option())
        .flag("--rtc")
        .word("iomem=relaxed")
        .command("guest garbage 4 1 && guest garbage 1 2")
        .run()
        .succeeds();
    outcome.says("garbage: done windows ");
}
