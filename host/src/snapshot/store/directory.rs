//! A store in a directory.
//!
//! ```text
//! chunks/ab/…  manifests/…  records/…     objects
//! tmp/…                                   what writers are at
//! ```
//!
//! An object is written in `tmp`, made durable, and renamed to its name if
//! nobody has that yet: whoever sees a name sees all of its object, also after
//! a power failure. Directories are made durable by [`Store::settle`], each
//! once however many objects it got.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::mem;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

use super::{Freed, Kind, Name, Object, Put, Store, StoreError, Visitor};

const TEMPORARY: &str = "tmp";

/// A directory with objects.
pub struct Directory {
    root: PathBuf,
    shown: String,
    /// Directories whose names may not be durable yet.
    unsettled: Mutex<BTreeSet<PathBuf>>,
    /// Held by who makes them durable, so that whoever else wants that waits,
    /// and writers do not.
    settling: Mutex<()>,
}

impl Directory {
    /// The store in `root`, which is made with the first object.
    pub fn new(root: PathBuf) -> Self {
        Self {
            shown: format!("'{}'", root.display()),
            root,
            unsettled: Mutex::default(),
            settling: Mutex::default(),
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        self.root.join(name.to_string())
    }

    fn error(&self, what: String) -> impl FnOnce(io::Error) -> StoreError {
        move |error| StoreError::new(&self.shown, what, error)
    }

    fn unsettled(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        let unsettled = self.unsettled.lock();
        unsettled.unwrap_or_else(PoisonError::into_inner)
    }

    /// Names in `directory` and those that lead to it are to be made durable,
    /// whoever made them. To be called once they are there, or somebody may make
    /// them durable before.
    fn touched(&self, directory: &Path) {
        let mut unsettled = self.unsettled();
        let inside = |directory: &&Path| directory.starts_with(&self.root);
        for directory in directory.ancestors().take_while(inside) {
            if !unsettled.contains(directory) {
                unsettled.insert(directory.to_owned());
            }
        }
    }

    /// Makes `directory` and those above it, if they are not there.
    fn make(&self, directory: &Path) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        let above = directory.parent().unwrap_or(Path::new("/"));
        self.make(above)?;
        // Another writer who finds it there waits here before it says so of
        // what it puts into it.
        let mut unsettled = self.unsettled();
        match DirBuilder::new().mode(0o700).create(directory) {
            // Another writer was faster.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        unsettled.insert(above.to_owned());
        Ok(())
    }

    fn write(&self, target: &Path, object: Object<'_>) -> io::Result<Put> {
        let folder = target.parent().unwrap_or(&self.root);
        let put = match target.try_exists()? {
            true => Put::AlreadyThere,
            false => self.write_new(target, folder, object)?,
        };
        self.touched(folder);
        Ok(put)
    }

    fn write_new(&self, target: &Path, folder: &Path, object: Object<'_>) -> io::Result<Put> {
        let temporary = self.root.join(TEMPORARY);
        self.make(&temporary)?;
        self.make(folder)?;
        let mut file = NamedTempFile::new_in(temporary)?;
        match object {
            Object::Bytes(bytes) => file.write_all(bytes)?,
            Object::File(_) => drop(io::copy(&mut object.reader(), &mut file)?),
        }
        file.as_file().sync_all()?;
        match file.persist_noclobber(target) {
            Ok(_) => Ok(Put::Stored),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Put::AlreadyThere)
            }
            Err(error) => Err(error.error),
        }
    }

    /// The names and sizes of the files in `folder`; none if it is not there.
    fn files(&self, folder: &Path) -> Result<Vec<(String, u64)>, StoreError> {
        let read = || -> io::Result<_> {
            let mut files = Vec::new();
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                // Gone in the meantime: not there.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                    files.push((name, metadata.len()));
                }
            }
            Ok(files)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.error(format!("cannot list '{}'", folder.display()))(
                error,
            )),
            Ok(files) => Ok(files),
        }
    }
}

impl Store for Directory {
    fn put(&self, name: &Name, object: Object<'_>) -> Result<Put, StoreError> {
        let put = self.write(&self.path(name), object);
        put.map_err(self.error(format!("cannot write {name}")))
    }

    fn open(&self, name: &Name) -> Result<Box<dyn Read + '_>, StoreError> {
        let file = File::open(self.path(name));
        let file = file.map_err(self.error(format!("cannot open {name}")))?;
        Ok(Box::new(file))
    }

    fn read(&self, name: &Name, most: usize) -> Result<Vec<u8>, StoreError> {
        let read = || {
            let file = File::open(self.path(name))?;
            // At once: a list that grows is copied as often as it doubles.
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(most);
            let mut bytes = Vec::with_capacity(length.min(most) + 1);
            file.take(most as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(self.error(format!("cannot read {name}")))
    }

    fn exists(&self, name: &Name) -> Result<bool, StoreError> {
        let path = self.path(name);
        let exists = path.try_exists();
        let exists = exists.map_err(self.error(format!("cannot look for {name}")))?;
        if let (true, Some(folder)) = (exists, path.parent()) {
            self.touched(folder);
        }
        Ok(exists)
    }

    fn list(&self, kind: Kind, each: &mut Visitor<'_>) -> Result<(), StoreError> {
        let prefixes: Vec<String> = match kind {
            Kind::Chunk => (0..=u8::MAX)
                .map(|first| format!("{}/{first:02x}", kind.folder()))
                .collect(),
            Kind::Manifest | Kind::Record => vec![kind.folder().into()],
        };
        for prefix in prefixes {
            for (file, bytes) in self.files(&self.root.join(&prefix))? {
                if let Ok(name) = format!("{prefix}/{file}").parse() {
                    each(name, bytes)?;
                }
            }
        }
        Ok(())
    }

    fn delete(&self, name: &Name) -> Result<bool, StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => {
                self.touched(path.parent().unwrap_or(&self.root));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.error(format!("cannot delete {name}"))(error)),
        }
    }

    fn settle(&self) -> Result<(), StoreError> {
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let unsettled = mem::take(&mut *self.unsettled());
        for directory in &unsettled {
            match File::open(directory).and_then(|directory| directory.sync_all()) {
                Ok(()) => {}
                // Somebody looked for an object where there is none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let what = format!("cannot make '{}' durable", directory.display());
                    self.unsettled().extend(unsettled);
                    return Err(self.error(what)(error));
                }
            }
        }
        Ok(())
    }

    fn sweep(&self) -> Result<Freed, StoreError> {
        let temporary = self.root.join(TEMPORARY);
        let mut freed = Freed::default();
        for (file, bytes) in self.files(&temporary)? {
            let removed = fs::remove_file(temporary.join(&file));
            removed.map_err(self.error(format!("cannot delete {TEMPORARY}/{file}")))?;
            freed.add(bytes);
        }
        Ok(freed)
    }
}

#[cfg(test)]
mod tests;
