//! Files that are there after a power loss, whole, once somebody was told so.
//!
//! A file's content is durable when the file is synchronized, and its name
//! when its directory is (fsync(2)).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Puts a file called `name` with `contents` into `directory`, in the place of
/// one that is there. At any moment, and after any crash, the old one is there
/// or the new one. One caller at a time for a name.
///
/// # Errors
/// The file system refuses; the old file is there then.
pub fn replace(directory: &Path, name: &str, contents: &[u8]) -> io::Result<()> {
    let fresh = directory.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&fresh, directory.join(name))?;
    synchronize(directory)
}

/// Makes durable what names are in `directory`.
///
/// # Errors
/// The file system refuses.
pub fn synchronize(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_another_and_of_what_a_crash_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("a.json.new"), "a torn and long one").unwrap();
        for contents in ["first", "second"] {
            replace(path, "a.json", contents.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(path.join("a.json")).unwrap(), contents);
        }
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
        assert!(replace(&path.join("missing"), "a", b"").is_err());
    }
}
