//! `cargo xtask image`: makes the guests' images and says where they are. Demo
//! and tests come through here as well, for what they boot. Each image is made
//! once and kept in the cache; see the crate guest-images for the recipes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use guest_images::root_disk::CONSOLE_PASSWORD;
use guest_images::{Cache, DebianKernel, FastKernel, Kernel, RootDisk, initramfs};
use serde_json::{Map, Value, json};

use crate::packages::{self, FAST_KERNEL, IMAGES, ROOT_DISK};
use crate::workspace;

/// Make guest kernels, initramfs and disks, and print where they are.
#[derive(Debug, Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what the cache holds, and make nothing.
    List {
        /// As a table for people, or as JSON.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Debian's stock cloud kernel, as ELF and as bzImage.
    Kernel(Destination),
    /// The small initramfs: our init, busybox and virtio modules.
    Initramfs {
        /// For the fast kernel, which needs no modules.
        #[arg(long)]
        fast: bool,
        #[command(flatten)]
        destination: Destination,
    },
    /// A Debian 12 root disk: a login on the console, and sshd. About a minute.
    RootDisk {
        /// Have cloud-init set up the copy by what it is told.
        #[arg(long, requires = "copy_to")]
        cloud_init: bool,
        #[command(flatten)]
        destination: Destination,
    },
    /// A minimal kernel built from Debian's source. About five minutes.
    FastKernel(Destination),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct Destination {
    /// Copy the files to DIR, under short names, and print those paths.
    #[arg(long, value_name = "DIR")]
    copy_to: Option<PathBuf>,
}

/// What a copy of the root disk is called.
const ROOT_FILE: &str = "root.ext4";

/// A file of an image: its short name and where it is.
type File = (&'static str, PathBuf);

impl Image {
    /// Makes what is asked for.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let cache = Cache::open()?;
        match self.what {
            What::List { output } => list(&cache, output)?,
            What::Kernel(destination) => destination.deliver(kernel_files(kernel(&cache)?))?,
            What::Initramfs { fast, destination } => {
                let path = match fast {
                    true => fast_initramfs(&cache)?,
                    false => guest_initramfs(&cache, &kernel(&cache)?)?,
                };
                destination.deliver(vec![("initramfs.cpio", path)])?;
            }
            What::RootDisk {
                cloud_init,
                destination,
            } => {
                let disk = root_disk(&cache)?;
                destination.deliver(disk_files(disk))?;
                if let (true, Some(directory)) = (cloud_init, &destination.copy_to) {
                    RootDisk::enable_cloud_init(&directory.join(ROOT_FILE))?;
                }
                eprintln!(
                    "root logs in on the console with the password \"{CONSOLE_PASSWORD}\", \
                     and over ssh with the key root-disk-key"
                );
            }
            What::FastKernel(destination) => {
                packages::ensure(&[&IMAGES, &FAST_KERNEL])?;
                destination.deliver(fast_kernel_files(FastKernel::build(&cache)?))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The stock kernel that guests boot.
pub(crate) fn kernel(cache: &Cache) -> Result<Kernel> {
    packages::ensure(&[&IMAGES])?;
    DebianKernel::Cloud
        .fetch(cache)
        .context("getting the guests' kernel")
}

/// The initramfs for a stock kernel, our init built as needed.
pub(crate) fn guest_initramfs(cache: &Cache, kernel: &Kernel) -> Result<PathBuf> {
    let modules = kernel.module_tree()?;
    Ok(initramfs(cache, &init()?, Some(&modules))?)
}

/// The Debian root disk.
pub(crate) fn root_disk(cache: &Cache) -> Result<RootDisk> {
    packages::ensure(&[&IMAGES, &ROOT_DISK])?;
    Ok(RootDisk::build(cache)?)
}

/// The initramfs for the fast kernel.
pub(crate) fn fast_initramfs(cache: &Cache) -> Result<PathBuf> {
    packages::ensure(&[&IMAGES])?;
    Ok(initramfs(cache, &init()?, None)?)
}

/// The guests' init, as a release: a guest unpacks it at each boot.
pub(crate) fn init() -> Result<PathBuf> {
    let status = workspace::cargo(["build", "--quiet", "--release", "--package", "init"])
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "cargo build --package init failed");
    let built = workspace::target_dir()?;
    Ok(built.join("x86_64-unknown-linux-gnu/release/init"))
}

fn kernel_files(kernel: Kernel) -> Vec<File> {
    vec![("vmlinux", kernel.vmlinux), ("bzimage", kernel.bzimage)]
}

fn fast_kernel_files(kernel: FastKernel) -> Vec<File> {
    vec![
        ("fast-vmlinux", kernel.vmlinux),
        ("fast-bzimage", kernel.bzimage),
    ]
}

fn disk_files(disk: RootDisk) -> Vec<File> {
    vec![(ROOT_FILE, disk.image), ("root-disk-key", disk.ssh_key)]
}

impl Destination {
    /// Copies if asked to, then prints a line for each file: name and path.
    fn deliver(&self, files: Vec<File>) -> Result<()> {
        for (name, path) in files {
            let path = match &self.copy_to {
                Some(directory) => copy(&path, directory, name)?,
                None => path,
            };
            println!("{name:14} {}", path.display());
        }
        Ok(())
    }
}

/// Copies sparsely: a disk is mostly holes.
fn copy(path: &Path, directory: &Path, name: &str) -> Result<PathBuf> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("creating {}", directory.display()))?;
    let target = directory.join(name);
    guest_images::Tool::new("cp", "coreutils")
        .args(["--sparse=always", "--reflink=auto", "--preserve=mode", "--"])
        .args([path, &target])
        .output()?;
    Ok(target)
}

/// The images that take a while to make; an initramfs takes no time.
fn list(cache: &Cache, format: Format) -> Result<()> {
    let images = [
        (
            "kernel",
            DebianKernel::Cloud.cached(cache)?.map(kernel_files),
        ),
        (
            "fast-kernel",
            FastKernel::cached(cache).map(fast_kernel_files),
        ),
        ("root-disk", RootDisk::cached(cache).map(disk_files)),
    ];
    match format {
        Format::Text => {
            for (image, files) in images {
                match files {
                    None => println!("{image:12} not made yet: cargo xtask image {image}"),
                    Some(files) => {
                        for (name, path) in files {
                            println!("{image:12} {name:14} {}", path.display());
                        }
                    }
                }
            }
        }
        Format::Json => {
            let images: Vec<Value> = images
                .into_iter()
                .map(|(image, files)| json!({ "image": image, "files": files.map(as_object) }))
                .collect();
            println!("{}", serde_json::to_string_pretty(&images)?);
        }
    }
    Ok(())
}

fn as_object(files: Vec<File>) -> Map<String, Value> {
    files
        .into_iter()
        .map(|(name, path)| (name.to_owned(), json!(path)))
        .collect()
}
