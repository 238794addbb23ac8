//! Stock Debian kernels, taken from their packages: the bzImage as shipped,
//! the ELF image inside it, and the module tree. Used as guests under test
//! and, by the nested-KVM harness, as the outer machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::{Error, ErrorKind, Result};
use crate::modules::ModuleTree;
use crate::package::Package;
use crate::tool::Tool;

/// A flavour of Debian's kernel for amd64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebianKernel {
    /// For any machine; has every module.
    Generic,
    /// For virtual machines; smaller, no 9p.
    Cloud,
}

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// As `uname -r` prints it, such as `6.1.0-56-cloud-amd64`.
    pub release: String,
    /// The compressed image with its boot header.
    pub bzimage: PathBuf,
    /// The uncompressed ELF image, with PVH entry note.
    pub vmlinux: PathBuf,
    /// The directory `lib/modules/RELEASE`, depmod done.
    pub modules: PathBuf,
}

impl DebianKernel {
    /// The newest kernel of this flavour that apt offers, downloaded and
    /// unpacked once. Without a network, the newest one in the cache.
    pub fn fetch(self, cache: &Cache) -> Result<Kernel> {
        match self.newest(cache) {
            Ok(tree) => Kernel::at(&tree),
            Err(error) => {
                let kernel = self.cached(cache)?.ok_or(error)?;
                log::warn!("apt gives no kernel package; using {}", kernel.release);
                Ok(kernel)
            }
        }
    }

    /// The newest kernel of this flavour in the cache, without asking apt:
    /// for tests, whose machine has no network.
    pub fn cached(self, cache: &Cache) -> Result<Option<Kernel>> {
        let Ok(entries) = fs::read_dir(cache.root().join(self.meta_package())) else {
            return Ok(None);
        };
        entries
            .filter_map(|entry| entry.ok())
            .max_by_key(|entry| entry.metadata().and_then(|m| m.modified()).ok())
            .map(|entry| Kernel::at(&entry.path()))
            .transpose()
    }

    fn meta_package(self) -> &'static str {
        match self {
            Self::Generic => "linux-image-amd64",
            Self::Cloud => "linux-image-cloud-amd64",
        }
    }

    fn newest(self, cache: &Cache) -> Result<PathBuf> {
        let meta = Package::candidate(self.meta_package())?;
        let image = meta
            .depends
            .iter()
            .find(|name| name.starts_with("linux-image-"))
            .ok_or_else(|| {
                let what = format!("{} names no kernel package", meta.name);
                Error::new(ErrorKind::Package, what)
            })?;
        let package = Package::candidate(image)?;
        let key = format!("{}/{}", self.meta_package(), package.key());
        cache.entry(&key, |dir| {
            package.unpack_into(dir)?;
            complete(dir)
        })
    }
}

impl Kernel {
    /// The kernel in an unpacked package at `tree`.
    fn at(tree: &Path) -> Result<Self> {
        let modules = tree.join("lib/modules");
        let release = fs::read_dir(&modules)
            .and_then(|mut entries| entries.next().transpose())
            .map_err(Error::file("listing", &modules))?
            .ok_or_else(|| {
                let what = format!("{} holds no modules", tree.display());
                Error::new(ErrorKind::Kernel, what)
            })?
            .file_name()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            bzimage: tree.join(format!("boot/vmlinuz-{release}")),
            vmlinux: tree.join(format!("boot/vmlinux-{release}")),
            modules: modules.join(&release),
            release,
        })
    }

    /// The module tree, to pick modules from.
    pub fn module_tree(&self) -> Result<ModuleTree> {
        ModuleTree::open(&self.modules)
    }
}

/// Adds what the package leaves to its installation scripts and to us.
fn complete(tree: &Path) -> Result<()> {
    let kernel = Kernel::at(tree)?;
    log::info!("preparing kernel {}", kernel.release);
    Tool::new("depmod", "kmod")
        .arg("-b")
        .arg(tree)
        .arg(&kernel.release)
        .output()?;
    extract_elf(&kernel.bzimage, &kernel.vmlinux)
}

/// Writes the ELF image that is compressed inside `bzimage` to `vmlinux`.
fn extract_elf(bzimage: &Path, vmlinux: &Path) -> Result<()> {
    let image = fs::read(bzimage).map_err(Error::file("reading", bzimage))?;
    let payload = payload(&image).ok_or_else(|| {
        let what = format!("{} is not a bzImage with a payload", bzimage.display());
        Error::new(ErrorKind::Kernel, what)
    })?;
    let (program, package) = decompressor(payload).ok_or_else(|| {
        let what = format!("{}: unknown kernel compression", bzimage.display());
        Error::new(ErrorKind::Kernel, what)
    })?;
    let packed = vmlinux.with_extension("packed");
    fs::write(&packed, payload).map_err(Error::file("writing", &packed))?;
    let input = File::open(&packed).map_err(Error::file("opening", &packed))?;
    let output = File::create(vmlinux).map_err(Error::file("creating", vmlinux))?;
    Tool::new(program, package)
        .arg("-dc")
        .stdin(input)
        .output_to(output)?;
    fs::remove_file(&packed).map_err(Error::file("removing", &packed))
}

/// The compressed kernel in a bzImage, located by its boot header
/// (Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset at
/// 0x248, payload_length at 0x24c).
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sects = match image[0x1f1] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = ((setup_sects + 1) * 512).checked_add(word(0x248)?)?;
    // The kernel build appends the unpacked size, four bytes that are not
    // part of the compressed stream.
    let length = word(0x24c)?.checked_sub(4)?;
    image.get(start..start.checked_add(length)?)
}

/// The program that unpacks `payload` and its package, told by the magic.
fn decompressor(payload: &[u8]) -> Option<(&'static str, &'static str)> {
    match payload {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(("xz", "xz-utils")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("zstd", "zstd")),
        // LZ4's legacy frame, which Debian's cloud kernel uses.
        [0x02, 0x21, 0x4c, 0x18, ..] => Some(("lz4", "lz4")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x600];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&0x100_u32.to_le_bytes());
        let length = u32::try_from(payload.len() + 4).unwrap();
        image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        image[0x500..0x500 + payload.len()].copy_from_slice(payload);
        image
    }

    #[test]
    fn finds_the_payload_without_its_size_word() {
        assert_eq!(payload(&bzimage(b"packed")), Some(&b"packed"[..]));
    }

    #[test]
    fn refuses_what_is_not_a_whole_bzimage() {
        let image = bzimage(b"packed");
        assert_eq!(payload(&image[..0x502]), None);
        assert_eq!(payload(&image[..0x204]), None);
        assert_eq!(payload(b""), None);
    }
}
