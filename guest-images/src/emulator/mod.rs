//! QEMU, whose emulation of AMD's SVM is where guests run on a host without
//! usable KVM. Debian 12 has version 7.2, in which more goes wrong than it may:
//!
//! - Code that one processor changes while another translates it can be kept
//!   as it was. Linux changes its code by way of a breakpoint, and a processor
//!   that keeps that hits it for ever. [`newer`] versions do not.
//! - An interrupt is delivered twice when time is counted: [`mended`].
//! - Any processor's FPU disturbs the first one's guests, in newer ones as
//!   well: the crate `outer` has none there.

pub mod mended;
pub mod newer;
mod suite;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::tool::Tool;

/// Where in the cache emulators are.
const DIRECTORY: &str = "emulator";

/// What an emulator is called in its cache entry, and where it is installed.
const PROGRAM: &str = "qemu-system-x86_64";

/// Makes `script` the program of the entry `dir`, and sees that it runs.
fn write_wrapper(dir: &Path, script: &str) -> Result<()> {
    let wrapper = dir.join(PROGRAM);
    fs::write(&wrapper, script).map_err(Error::file("writing", &wrapper))?;
    fs::set_permissions(&wrapper, Permissions::from_mode(0o755))
        .map_err(Error::file("making executable", &wrapper))?;
    Tool::new("sh", "dash")
        .arg(&wrapper)
        .arg("--version")
        .output()
        .map(drop)
}
