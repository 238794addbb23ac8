//! Directories that are a user's alone: what is in them is trusted, so nobody
//! else may have put it there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

/// Why a directory is not this user's alone.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    /// It is not there, or below one that this user may not look into.
    #[error("it cannot be examined")]
    Unknown(#[source] io::Error),
    /// It is a file, or a link to a directory.
    #[error("it is not a directory")]
    NoDirectory,
    /// Its owner can put anything there.
    #[error("it belongs to another user")]
    OtherOwner,
    /// So can those that its mode lets in, or they can look.
    #[error("it is open to other users")]
    Open,
}

/// Makes sure that `path` is a directory of this process's user, mode 0700.
///
/// # Errors
/// It is not.
pub fn vet(path: &Path) -> Result<(), NotPrivate> {
    let metadata = fs::symlink_metadata(path).map_err(NotPrivate::Unknown)?;
    if !metadata.is_dir() {
        return Err(NotPrivate::NoDirectory);
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(NotPrivate::OtherOwner);
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(NotPrivate::Open);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_a_directory_that_nobody_else_can_reach_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("own");
        assert!(matches!(vet(&path), Err(NotPrivate::Unknown(_))));
        fs::create_dir(&path).unwrap();
        let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        mode(0o700);
        vet(&path).unwrap();
        for open in [0o701, 0o710, 0o740, 0o755] {
            mode(open);
            assert!(matches!(vet(&path), Err(NotPrivate::Open)), "{open:o}");
        }
        mode(0o700);
        let link = parent.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(vet(&link), Err(NotPrivate::NoDirectory)));
        // The root of a system is root's; where root runs this, it is open.
        assert!(vet(Path::new("/")).is_err());
    }
}
