//! What cloud-init is told, as the guest finds it: on one more disk, the last.
#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::fs;

use guest_tests::{DiskFile, Guest};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f a@b";

/// The kernel of this guest has no file system for it loaded, so the bytes are
/// looked at: the label is where every tool looks for it, and the files lie
/// whole behind the directory.
const READ: &str = "guest report; \
    echo label $(dd if=/dev/vdb bs=1 skip=43 count=11 2>/dev/null); \
    tail -c +2049 /dev/vdb | tr -d '\\000'; \
    echo x >/dev/vdb || echo refused";

#[test]
fn what_cloud_init_is_told_is_on_the_last_disk() {
    let disk = DiskFile::holding(3, 4 << 20);
    let directory = tempfile::tempdir().unwrap();
    let user_data = directory.path().join("user-data");
    fs::write(&user_data, "#!/bin/sh\necho user data ran\n").unwrap();
    let outcome = Guest::new()
        .disk(&disk)
        .argument("--hostname", "web-1")
        .argument("--ssh-key", KEY)
        .argument("--user-data", &user_data)
        .command(READ)
        .run()
        .succeeds();
    outcome.says("report: disk vda bytes 4194304 sector 512 readonly 0 serial disk0\n");
    outcome.says("report: disk vdb bytes 65536 sector 512 readonly 1 serial cidata\n");
    outcome.says("label CIDATA\n");
    outcome.says("\"local-hostname\": \"web-1\"");
    outcome.says(KEY);
    outcome.says("echo user data ran\n");
    outcome.says("refused\n");
}
