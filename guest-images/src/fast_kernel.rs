//! A kernel for those who want boot speed: Debian's source, with nothing in it
//! but what plinth's guests use (`fast-kernel.config`). Takes some minutes to
//! build, so only an explicit request does; it has no modules.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::digest;
use crate::error::{Error, ErrorKind, Result};
use crate::package::Package;
use crate::progress::Progress;
use crate::tool::Tool;

const SOURCE: &str = "linux-source-6.1";
const CONFIG: &str = include_str!("../fast-kernel.config");
const DIRECTORY: &str = "fast-kernel";

/// A fast kernel in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FastKernel {
    /// The uncompressed ELF image, with PVH entry note, without symbols.
    pub vmlinux: PathBuf,
    /// The compressed image with its boot header.
    pub bzimage: PathBuf,
}

impl FastKernel {
    /// The kernel of this configuration and of Debian's current source, built
    /// if the cache does not have it.
    pub fn build(cache: &Cache) -> Result<Self> {
        let package = Package::candidate(SOURCE)?;
        let key = format!("{DIRECTORY}/{}_{}", configuration(), package.version);
        cache
            .entry(&key, |dir| compile(&package, dir))
            .map(|dir| Self::at(&dir))
    }

    /// A kernel of this configuration that was built before.
    pub fn cached(cache: &Cache) -> Option<Self> {
        let prefix = format!("{}_", configuration());
        fs::read_dir(cache.root().join(DIRECTORY))
            .ok()?
            .filter_map(|entry| entry.ok())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .max_by_key(|entry| entry.metadata().and_then(|m| m.modified()).ok())
            .map(|entry| Self::at(&entry.path()))
    }

    fn at(dir: &Path) -> Self {
        Self {
            vmlinux: dir.join("vmlinux"),
            bzimage: dir.join("bzImage"),
        }
    }
}

/// A name for the configuration, by its content.
fn configuration() -> String {
    digest::name([CONFIG])
}

fn compile(package: &Package, dir: &Path) -> Result<()> {
    let kernel = FastKernel::at(dir);
    let work = dir.join("work");
    let (source, build) = (work.join("source"), work.join("build"));
    for path in [&source, &build] {
        fs::create_dir_all(path).map_err(Error::file("creating", path))?;
    }
    package.unpack_into(&work.join("package"))?;
    log::info!("unpacking the kernel source");
    Tool::new("tar", "tar")
        .args(["--strip-components=1", "-xJf"])
        .arg(work.join(format!("package/usr/src/{SOURCE}.tar.xz")))
        .arg("-C")
        .arg(&source)
        .output()?;

    let fragment = work.join("fragment");
    fs::write(&fragment, CONFIG).map_err(Error::file("writing", &fragment))?;
    make(&source, &build)
        .arg("allnoconfig")
        .env("KCONFIG_ALLCONFIG", &fragment)
        .output()?;
    let config = dir.join("config");
    copy(&build.join(".config"), &config)?;
    check(&fs::read_to_string(&config).map_err(Error::file("reading", &config))?)?;

    let jobs = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    let mut progress = Progress::new(format!("building the fast kernel with {jobs} jobs"));
    make(&source, &build)
        .args([&format!("-j{jobs}"), "vmlinux", "bzImage"])
        .follow(|line| progress.step(line))?;
    drop(progress);

    Tool::new("strip", "binutils")
        .arg("-o")
        .arg(&kernel.vmlinux)
        .arg(build.join("vmlinux"))
        .output()?;
    copy(&build.join("arch/x86/boot/bzImage"), &kernel.bzimage)?;
    fs::remove_dir_all(&work).map_err(Error::file("removing", &work))
}

/// `make`, told nothing of who builds when: equal source gives equal kernels.
fn make(source: &Path, build: &Path) -> Tool {
    Tool::new("make", "make")
        .arg("-C")
        .arg(source)
        .arg(format!("O={}", build.display()))
        .arg("KBUILD_BUILD_USER=plinth")
        .arg("KBUILD_BUILD_HOST=plinth")
        .arg("KBUILD_BUILD_TIMESTAMP=@0")
        .arg("KBUILD_BUILD_VERSION=1")
}

/// Every line of the fragment must have survived: the kernel's configuration
/// drops what lacks a dependency without a word.
fn check(config: &str) -> Result<()> {
    let lost: Vec<&str> = CONFIG
        .lines()
        .filter(|line| line.starts_with("CONFIG_"))
        .filter(|wanted| !config.lines().any(|line| line == *wanted))
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    let what = format!("{SOURCE} does not take {}", lost.join(", "));
    Err(Error::new(ErrorKind::Kernel, what))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .map_err(Error::file("copying", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_line_that_was_dropped_is_named() {
        assert!(check(CONFIG).is_ok());
        let without = CONFIG.replace("CONFIG_VIRTIO_MEM=y", "# CONFIG_VIRTIO_MEM is not set");
        let error = check(&without).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Kernel);
        assert!(error.to_string().ends_with("take CONFIG_VIRTIO_MEM=y"));
    }

    #[test]
    fn only_a_kernel_of_this_configuration_is_taken_from_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        assert_eq!(FastKernel::cached(&cache), None);
        fs::create_dir_all(dir.path().join("fast-kernel/000000000000_6.1-1")).unwrap();
        assert_eq!(FastKernel::cached(&cache), None);
        let ours = dir
            .path()
            .join(format!("fast-kernel/{}_6.1-1", configuration()));
        fs::create_dir_all(&ours).unwrap();
        let found = FastKernel::cached(&cache).unwrap();
        assert_eq!(found.vmlinux, ours.join("vmlinux"));
    }
}
