//! The outer machine's processors: which run, and which run commands. Both
//! are as they are because of mistakes of its emulator.

use std::fs;
use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where the kernel says and is told which processors run
/// (Documentation/core-api/cpu_hotplug).
const DIRECTORY: &str = "/sys/devices/system/cpu";

/// Starts those that the kernel left off, as `maxcpus=1` has it.
///
/// While it finds its devices it moves their registers about. QEMU 10.0 gives
/// the old map of them up while other processors may still look things up in
/// it, and then ends with a failed assertion, or worse (physmem,
/// `iotlb_to_section`). So that happens with one processor, before this.
pub(crate) fn start_all() -> io::Result<()> {
    let present = fs::read_to_string(format!("{DIRECTORY}/present"))?;
    for number in 1..count(&present)? {
        let switch = format!("{DIRECTORY}/cpu{number}/online");
        fs::write(&switch, "1")
            .map_err(|error| io::Error::new(error.kind(), format!("{switch}: {error}")))?;
    }
    Ok(())
}

/// How many there are, which the kernel writes as `0-2`.
fn count(present: &str) -> io::Result<usize> {
    let last = present.trim().rsplit(['-', ',']).next().unwrap_or_default();
    let last: usize = last
        .parse()
        .map_err(|_| io::Error::other(format!("{DIRECTORY}/present: {present}")))?;
    Ok(last + 1)
}

/// Leaves the first to the kernel. What we start inherits that.
///
/// In QEMU 7.2 to 10.0, any processor that restores its FPU state clears a flag
/// of the first (cpu_clear_ignne), without a lock, in the word that also holds
/// "nested paging is on" and SVM's interrupt flag. A guest that was entered or
/// left on the first one meanwhile lost these, and it or the outer kernel
/// crashed or hung.
pub(crate) fn spare_first() -> io::Result<()> {
    let mut cpus = sched_getaffinity(None)?;
    cpus.unset(0);
    if cpus == CpuSet::new() {
        return Err(io::Error::other("there is no processor beside the first"));
    }
    Ok(sched_setaffinity(None, &cpus)?)
}
