//! Debian's fio with its libraries, as an archive that a kernel unpacks after
//! its initramfs: a guest whose initrd is both, one behind the other, has the
//! command `fio`. Callers: what measures disks.
//!
//! fio is linked with the clients of several storage clusters, so the archive
//! has 100 MB; a guest needs 512 MiB of memory for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::cpio::Archive;
use crate::error::{Error, ErrorKind, Result};
use crate::package::Package;

/// Where programs look for their loader, and where it is.
const LOADER: (&str, &str) = (
    "lib64/ld-linux-x86-64.so.2",
    "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
);

/// Builds the archive into the cache and returns its path.
///
/// It is made anew for another version of fio only: any version of the
/// libraries that satisfies it will do.
pub fn fio(cache: &Cache) -> Result<PathBuf> {
    let fio = Package::candidate("fio")?;
    cache.entry(&format!("programs/{}.cpio", fio.key()), |path| {
        let packages = with_libraries(fio.clone())?;
        let trees = packages.iter().map(|package| package.unpacked(cache));
        let trees = trees.collect::<Result<Vec<_>>>()?;
        let archive = assemble(&trees).map_err(|source| {
            Error::caused(ErrorKind::File, "assembling the archive of fio", source)
        })?;
        fs::write(path, archive).map_err(Error::file("writing", path))
    })
}

/// The package and, in turn, all libraries that it depends on.
fn with_libraries(package: Package) -> Result<Vec<Package>> {
    let mut packages = vec![package];
    let mut next = 0;
    while let Some(package) = packages.get(next) {
        for name in package.depends.clone() {
            if is_library(&name) && packages.iter().all(|known| known.name != name) {
                packages.push(Package::candidate(&name)?);
            }
        }
        next += 1;
    }
    Ok(packages)
}

/// Debian's names for them (Debian Policy §8.1), with one exception.
fn is_library(package: &str) -> bool {
    package.starts_with("lib") || package == "zlib1g"
}

fn assemble(trees: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut archive = Archive::new(Vec::new());
    archive.symlink(LOADER.0, LOADER.1)?;
    for tree in trees {
        add(&mut archive, tree, tree)?;
    }
    archive.finish()
}

/// Adds what a running fio needs of `directory`, which lies in `tree`.
fn add(archive: &mut Archive<Vec<u8>>, tree: &Path, directory: &Path) -> io::Result<()> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let inside = path.strip_prefix(tree).unwrap_or(&path).to_string_lossy();
        let metadata = path.symlink_metadata()?;
        if metadata.is_dir() {
            add(archive, tree, &path)?;
        } else if metadata.is_symlink() && is_needed(&inside) {
            archive.symlink(&inside, &fs::read_link(&path)?.to_string_lossy())?;
        } else if is_needed(&inside) {
            archive.file(&inside, 0o755, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

fn is_needed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path == "usr/bin/fio" || name.contains(".so") && path.contains("/x86_64-linux-gnu/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_archive_holds_the_program_and_libraries_and_nothing_else() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        for directory in ["usr/bin", "lib64", "usr/lib/x86_64-linux-gnu/ceph"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::write(root.join("usr/bin/fio"), "program").unwrap();
        fs::write(root.join("usr/bin/fio2gnuplot"), "script").unwrap();
        fs::write(root.join(LOADER.0), "another loader").unwrap();
        fs::write(libraries.join("ceph/libdeep.so.2"), "deep").unwrap();
        symlink("ceph/libdeep.so.2", libraries.join("libdeep.so")).unwrap();

        let archive = assemble(&[root.to_owned()]).unwrap();
        let text = String::from_utf8_lossy(&archive);
        for there in [
            "usr/bin/fio\0",
            "program",
            "libdeep.so\0",
            "ceph/libdeep.so.2\0",
            "deep",
        ] {
            assert!(text.contains(there), "{there}");
        }
        for absent in ["fio2gnuplot", "script", "another loader"] {
            assert!(!text.contains(absent), "{absent}");
        }
        assert_eq!(text.matches(LOADER.0).count(), 1);
    }

    #[test]
    fn only_libraries_are_followed() {
        let packages = ["libc6", "zlib1g", "python3", "init-system-helpers"];
        assert_eq!(packages.map(is_library), [true, true, false, false]);
    }
}
