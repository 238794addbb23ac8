//! `cargo xtask check`: what can be known without running anything. The
//! formatting, clippy without a warning, and the direction in which crates
//! and device models may import each other.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::workspace;

/// Check formatting, clippy, and who imports whom.
#[derive(Debug, Args)]
pub(crate) struct Check {}

impl Check {
    /// Runs every check; fails if one does.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let failed = failures();
        for (name, error) in &failed {
            eprintln!("{name}: {error:#}");
        }
        println!(
            "{} of {} checks passed",
            CHECKS.len() - failed.len(),
            CHECKS.len()
        );
        Ok(if failed.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// A check by its name.
type NamedCheck = (&'static str, fn() -> Result<()>);

/// All checks.
pub(crate) const CHECKS: &[NamedCheck] = &[
    ("formatting", formatting),
    ("clippy", clippy),
    ("crate directions", crate_directions),
    ("device models apart", models_apart),
];

/// Runs every check; returns those that failed.
pub(crate) fn failures() -> Vec<(&'static str, anyhow::Error)> {
    let run = |(name, check): &NamedCheck| {
        eprintln!("checking: {name}");
        check().err().map(|error| (*name, error))
    };
    CHECKS.iter().filter_map(run).collect()
}

fn formatting() -> Result<()> {
    succeed(&mut workspace::cargo(["fmt", "--all", "--check"]))
        .context("run cargo fmt (rustup component add rustfmt, if there is none)")
}

fn clippy() -> Result<()> {
    let args = ["clippy", "--quiet", "--workspace", "--all-targets"];
    // Tests that only this feature builds are to be clean, too.
    let rest = ["--features", "outer/machine-tests", "--", "-D", "warnings"];
    succeed(workspace::cargo(args).args(rest))
        .context("clippy is not content (rustup component add clippy, if there is none)")
}

/// Crates, and what may not be anywhere among what they are built from.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "boot",
        &[
            "kvm-ioctls",
            "kvm-bindings",
            "devices",
            "metadata",
            "vmm",
            "plinth",
        ],
    ),
    // The processes of machines have it: what compresses and goes over a network
    // is above it, in host.
    (
        "volume",
        &[
            "kvm-ioctls",
            "boot",
            "devices",
            "metadata",
            "vmm",
            "plinth",
            "tokio",
            "cc",
            "cmake",
            "bindgen",
        ],
    ),
    // It answers guests, and has nothing that could wait for one.
    (
        "metadata",
        &[
            "kvm-ioctls",
            "boot",
            "devices",
            "volume",
            "vmm",
            "plinth",
            "tokio",
            "cc",
            "cmake",
            "bindgen",
        ],
    ),
    (
        "devices",
        &[
            "kvm-ioctls",
            "kvm-bindings",
            "boot",
            "metadata",
            "vmm",
            "plinth",
        ],
    ),
    // What follows from a network's state; who does it is above, in host.
    (
        "network",
        &[
            "kvm-ioctls",
            "boot",
            "volume",
            "devices",
            "vmm",
            "plinth",
            "tokio",
        ],
    ),
    // One process per VM: no runtime, nothing that compiles C.
    (
        "vmm",
        &["metadata", "plinth", "tokio", "cc", "cmake", "bindgen"],
    ),
];

fn crate_directions() -> Result<()> {
    for (package, forbidden) in FORBIDDEN {
        let args = [
            "tree",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ];
        let output = workspace::cargo(args)
            .args(["--package", package])
            .output()
            .context("running cargo tree")?;
        ensure!(
            output.status.success(),
            "cargo tree --package {package} failed"
        );
        let found = named_in(&String::from_utf8_lossy(&output.stdout), forbidden);
        ensure!(
            found.is_empty(),
            "{package} must not import {}",
            found.join(", ")
        );
    }
    Ok(())
}

/// Those of `names` that `tree` has, a list of `NAME vVERSION …` lines.
fn named_in<'a>(tree: &str, names: &[&'a str]) -> Vec<&'a str> {
    let has = |name: &&&str| {
        tree.lines()
            .any(|line| line.split_whitespace().next() == Some(**name))
    };
    names.iter().filter(has).copied().collect()
}

/// Folders or files of `devices/src` that are device models.
const MODELS: &[&str] = &[
    "block",
    "net",
    "rng",
    "balloon",
    "virtio_mem",
    "vsock",
    "virtio_console",
];

fn models_apart() -> Result<()> {
    let source = workspace::root().join("devices/src");
    for model in MODELS {
        let mut files = vec![source.join(format!("{model}.rs"))];
        collect(&source.join(model), &mut files)?;
        for file in files.iter().filter(|file| file.exists()) {
            let text =
                fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            for other in MODELS.iter().filter(|other| *other != model) {
                if imports(&text, other) {
                    bail!("{} must not import the model {other}", file.display());
                }
            }
        }
    }
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    if !directory.is_dir() {
        return Ok(());
    }
    let reading = || format!("listing {}", directory.display());
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether Rust source `text` names the crate's module `module`.
fn imports(text: &str, module: &str) -> bool {
    let path = format!("crate::{module}");
    text.match_indices(&path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .stdout(std::io::stderr())
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_found_by_its_whole_name() {
        let tree = "vmm v0.1.0 (/x)\nkvm-ioctls v0.25.1\ncfg-if v1.0.5\n";
        assert_eq!(named_in(tree, &["kvm-ioctls", "cc", "cfg"]), ["kvm-ioctls"]);
    }

    #[test]
    fn a_module_is_found_by_its_whole_name() {
        assert!(imports("use crate::net::Port;", "net"));
        assert!(imports("crate::net;", "net"));
        assert!(!imports("use crate::network::Port;", "net"));
        assert!(!imports("use super::net;", "block"));
    }
}
