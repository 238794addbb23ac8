//! The cache directory: where downloads and built images live, outside git.
//!
//! Every recipe goes through [`Cache::entry`]. An entry that exists is whole:
//! it is built under another name, under a lock, and renamed when finished,
//! so a run may be interrupted at any time and two runs never collide.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// A directory of finished, immutable entries.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: `$XDG_CACHE_HOME/plinth`, else `~/.cache/plinth`.
    pub fn open() -> Result<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let base = set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::File,
                    "no place for the image cache: set XDG_CACHE_HOME or HOME",
                )
            })?;
        Ok(Self::at(base.join("plinth")))
    }

    /// A cache rooted at `root`, which is created when first needed.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where all entries live.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry called `key`, made by `build` if it is not there yet.
    ///
    /// `key` is a relative path such as `kernels/linux_6.1`; it names the
    /// content completely (version, settings), for a finished entry is never
    /// looked at again. `build` gets a path that does not exist and leaves a
    /// file or a directory there. Waits while another process builds the same
    /// entry.
    pub fn entry(&self, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.root.join(key);
        if path.exists() {
            return Ok(path);
        }
        let _lock = self.lock(key)?;
        if path.exists() {
            return Ok(path);
        }
        let partial = self.sibling("partial", key);
        remove(&partial).map_err(Error::file("clearing", &partial))?;
        create_parent(&partial)?;
        create_parent(&path)?;
        build(&partial)?;
        fs::rename(&partial, &path).map_err(Error::file("finishing cache entry", &path))?;
        Ok(path)
    }

    /// Forgets `key`, so that the next [`Cache::entry`] builds it again.
    pub fn remove(&self, key: &str) -> Result<()> {
        let path = self.root.join(key);
        let _lock = self.lock(key)?;
        remove(&path).map_err(Error::file("removing cache entry", &path))
    }

    /// The kernel drops the lock with its last descriptor, so a killed run
    /// leaves no stale lock. The lock file itself stays: removing it would
    /// race with a third process that has already opened it.
    fn lock(&self, key: &str) -> Result<File> {
        let path = self.sibling("lock", key);
        create_parent(&path)?;
        let file = File::create(&path).map_err(Error::file("creating lock", &path))?;
        if file.try_lock().is_err() {
            log::info!("waiting for another run to finish {key}");
            file.lock().map_err(Error::file("locking", &path))?;
        }
        Ok(file)
    }

    /// A file of ours about `key`, on the same file system as the entry.
    fn sibling(&self, purpose: &str, key: &str) -> PathBuf {
        self.root
            .join(format!(".{purpose}"))
            .join(key.replace('/', "+"))
    }
}

fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(Error::file("creating", parent)),
        None => Ok(()),
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn builds_an_entry_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let builds = AtomicUsize::new(0);
        let make = || {
            cache.entry("kind/name", |path| {
                builds.fetch_add(1, Ordering::Relaxed);
                fs::write(path, "content").map_err(Error::file("writing", path))
            })
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_eq!(fs::read(make().unwrap()).unwrap(), b"content"));
            }
        });
        assert_eq!(builds.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_failed_build_leaves_no_entry_and_is_built_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let failed = cache.entry("tree", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("half"), "x").unwrap();
            Err(Error::new(ErrorKind::Tool, "interrupted"))
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Tool);
        assert!(!dir.path().join("tree").exists());

        let tree = cache.entry("tree", |path| {
            fs::create_dir(path).map_err(Error::file("creating", path))
        });
        assert!(!tree.unwrap().join("half").exists());
    }

    #[test]
    fn a_removed_entry_is_built_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        for text in ["one", "two"] {
            cache.remove("file").unwrap();
            let path = cache.entry("file", |path| {
                fs::write(path, text).map_err(Error::file("writing", path))
            });
            assert_eq!(fs::read_to_string(path.unwrap()).unwrap(), text);
        }
    }
}
