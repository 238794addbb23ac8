//! What an outer machine is made of.

use std::path::PathBuf;
use std::time::Duration;

use guest_images::Kernel;

/// Settings of an outer machine.
#[derive(Clone, Debug)]
pub struct OuterConfig {
    /// The emulator, where it is not to be the installed one.
    pub emulator: Option<PathBuf>,
    /// The kernel to boot: Debian's generic one, for its 9p.
    pub kernel: Kernel,
    /// The static `outer-agent` binary.
    pub agent: PathBuf,
    /// Memory in MiB; used only as touched.
    pub memory_mib: u32,
    /// Directories of the host that commands may write to, such as `target/`.
    /// The rest of the host is seen read-only; changes to it stay in memory.
    pub shares: Vec<PathBuf>,
    /// How long booting may take, measured in the host's time.
    pub boot_bound: Duration,
    /// How long the machine may give no sign of life while a command runs.
    pub stall_bound: Duration,
}

impl OuterConfig {
    /// A machine of the usual size. A boot takes seconds and a sign of life
    /// comes every second; the bounds are far above both for busy hosts.
    pub fn new(kernel: Kernel, agent: impl Into<PathBuf>) -> Self {
        Self {
            emulator: None,
            kernel,
            agent: agent.into(),
            memory_mib: 4096,
            shares: Vec::new(),
            boot_bound: Duration::from_secs(90),
            stall_bound: Duration::from_secs(60),
        }
    }
}
