//! Files that a machine's run writes beside its disks: a console file and a
//! report. They are emptied first, so they must be nothing else that the
//! machine uses, and nothing may be refused any more by then.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// A file by what it is for, and its path.
pub type Named<'a> = (&'static str, &'a Path);

/// Refuses an output that is one of `inputs`, or another output, by whatever
/// name. Changes nothing.
///
/// # Errors
/// Says which two are the same file.
pub fn check(outputs: &[Named<'_>], inputs: &[Named<'_>]) -> Result<(), Error> {
    for (index, output) in outputs.iter().enumerate() {
        let mut others = inputs.iter().chain(&outputs[..index]);
        if let Some(other) = others.find(|other| same_file(output.1, other.1)) {
            return Err(Error::configuration(format!(
                "{} '{}' is also the {} '{}', which would be lost",
                output.0,
                output.1.display(),
                other.0,
                other.1.display()
            ))
            .remedy("a file of its own"));
        }
    }
    Ok(())
}

fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) => one == other,
        // What is not there yet can only be the same by name.
        _ => one == other,
    }
}

/// A file that is going to be written. Until it is [begun](Self::begin),
/// nothing has changed in it, and dropped before that, it leaves no trace.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// Its path, if it was made for this.
    made: Option<PathBuf>,
}

impl Output {
    /// Opens `path` for writing, without waiting for a reader if it is a pipe,
    /// and makes a file if there is none.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(|file| Self { file, made: None }),
        }
        // A link to nothing is not ours to remove.
        let made = fs::symlink_metadata(path).is_err();
        let file = options.create(true).open(path)?;
        Ok(Self {
            file,
            made: made.then(|| path.to_owned()),
        })
    }

    /// The open file, once more.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Empties the file, if it is one: from now on it is the machine's.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn begin(mut self) -> io::Result<()> {
        self.made = None;
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(path) = self.made.take() {
            // An empty file is left behind at worst.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_changes_nothing_until_it_is_begun() {
        let directory = tempfile::tempdir().unwrap();
        let old = directory.path().join("old");
        let new = directory.path().join("new");
        fs::write(&old, "kept").unwrap();
        drop(Output::open(&old).unwrap());
        drop(Output::open(&new).unwrap());
        assert_eq!(fs::read_to_string(&old).unwrap(), "kept");
        assert!(!new.exists());

        Output::open(&old).unwrap().begin().unwrap();
        Output::open(&new).unwrap().begin().unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "");
        assert!(new.exists());
        Output::open(Path::new("/dev/null"))
            .unwrap()
            .begin()
            .unwrap();
    }

    #[test]
    fn an_output_is_recognized_by_any_name() {
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("disk");
        let link = directory.path().join("link");
        let new = directory.path().join("new");
        fs::write(&disk, "data").unwrap();
        std::os::unix::fs::symlink(&disk, &link).unwrap();
        let inputs: [Named<'_>; 1] = [("disk", &disk)];
        assert!(check(&[("console file", &link)], &inputs).is_err());
        assert!(check(&[("console file", &new)], &inputs).is_ok());
        assert!(check(&[("console file", &new), ("report file", &new)], &inputs).is_err());
        assert_eq!(fs::read_to_string(&disk).unwrap(), "data");
    }
}
