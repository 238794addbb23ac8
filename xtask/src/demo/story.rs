//! What the demo's guest does, as a shell script on its command line, and
//! what it leaves behind for the host to find.

use guest_images::initramfs::run_word;

use super::network::{ECHO_PORT, GUEST, HOST, SINK_PORT};

/// The file that the guest writes, and its text.
pub(super) const FILE: &str = "/written-by-the-guest";
pub(super) const TEXT: &str = "plinth keeps what its guests write";

/// What each direction of the network carries, in bytes.
pub(super) const TRANSFER: u64 = 8 << 20;

/// The guest says this when it has nothing to do for a second.
pub(super) const RESTING: &str = "demo: resting";

/// Words for the guest's kernel and init. With a shell, the user decides.
pub(super) fn command_line(shell: bool) -> String {
    let common = format!("console=ttyS0 panic=-1 plinth.ip={GUEST}/24");
    if shell {
        return format!("{common} quiet");
    }
    // One long word: a script, its steps joined so that the first to fail
    // ends it, with its status on the console.
    let script = [
        "guest report".to_owned(),
        "mkdir /disk".to_owned(),
        "mount -t ext4 /dev/vda /disk".to_owned(),
        format!("echo '{TEXT}' | dd of=/disk{FILE} conv=fsync"),
        format!("guest net send {HOST}:{SINK_PORT} {TRANSFER} 1"),
        format!("guest net echo {ECHO_PORT}"),
        "umount /disk".to_owned(),
        format!("echo {RESTING}"),
        "sleep 1".to_owned(),
    ]
    .join(" && ");
    format!("{common} {}", run_word(&script))
}
