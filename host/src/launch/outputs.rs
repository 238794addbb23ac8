//! Files that a machine's run writes beside its disks: a console file and a
//! report. They are emptied first, so they must be nothing else that the
//! machine uses.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
