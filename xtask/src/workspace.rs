//! Where this workspace is, and running cargo in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The workspace's root directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a directory of the workspace")
}

/// The directory that cargo builds into; commands in the outer machine may
/// write there.
pub(crate) fn target_dir() -> Result<PathBuf> {
    // …/target/TRIPLE/PROFILE/xtask
    let executable = std::env::current_exe().context("finding this program")?;
    let target = executable
        .ancestors()
        .nth(3)
        .context("xtask is not in a target directory")?;
    Ok(target.to_owned())
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    command
}

/// Builds `package`'s binary of the same name; returns its path.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    let status = cargo(["build", "--quiet", "--package", package])
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "cargo build --package {package} failed");
    // The development profile's directory, whichever this program is from.
    Ok(target_dir()?
        .join("x86_64-unknown-linux-gnu/debug")
        .join(package))
}

/// Builds all programs and examples of the workspace, for whoever needs several:
/// built by themselves, each would have its dependencies built anew, with other
/// features. Returns their directory.
pub(crate) fn build_programs() -> Result<PathBuf> {
    let status = cargo(["build", "--quiet", "--workspace", "--bins", "--examples"])
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "building the programs under test failed");
    Ok(target_dir()?.join("x86_64-unknown-linux-gnu/debug"))
}

/// Builds `package` as a release; returns the path of its binary `name`.
pub(crate) fn build_release(package: &str, name: &str) -> Result<PathBuf> {
    let status = cargo(["build", "--quiet", "--release", "--package", package])
        .status()
        .context("running cargo")?;
    ensure!(
        status.success(),
        "cargo build --release --package {package} failed"
    );
    let built = target_dir()?;
    Ok(built.join("x86_64-unknown-linux-gnu/release").join(name))
}
