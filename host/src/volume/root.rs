//! Where this user's volumes and snapshots are: `$DATA`.

use std::env;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::durable;
use crate::error::Error;
use crate::private_directory;

/// Names another directory, for tests and unusual installations.
const VARIABLE: &str = "PLINTH_DATA_DIR";

/// The directory of this process's user. It may not be there yet.
///
/// It is plinth's in the user's data (XDG Base Directory Specification 0.8,
/// XDG_DATA_HOME), and root's in /var/lib whatever that says: root is the same
/// root after logging in and after sudo.
///
/// # Errors
/// The environment names no directory, or one that depends on where a command
/// is given: volumes would be lost from sight.
pub fn locate() -> Result<PathBuf, Error> {
    let path = |name| env::var_os(name).filter(|text| !text.is_empty());
    let path = |name| path(name).map(PathBuf::from);
    let (own, data, home) = (path(VARIABLE), path("XDG_DATA_HOME"), path("HOME"));
    choose(own, data, home, geteuid().as_raw())
}

fn choose(
    own: Option<PathBuf>,
    data: Option<PathBuf>,
    home: Option<PathBuf>,
    user: u32,
) -> Result<PathBuf, Error> {
    if let Some(own) = own {
        return match own.is_absolute() {
            true => Ok(own),
            false => Err(Error::configuration(format!(
                "{VARIABLE} is '{}', which is not an absolute path",
                own.display()
            ))
            .remedy("a path from /, or leaving it out")),
        };
    }
    if user == 0 {
        return Ok("/var/lib/plinth".into());
    }
    // A relative path is to be ignored, says the specification.
    let data = data.filter(|path| path.is_absolute());
    let home = home.filter(|path| path.is_absolute());
    data.or_else(|| Some(home?.join(".local/share")))
        .map(|data| data.join("plinth"))
        .ok_or_else(|| {
            Error::host("there is no place for volumes: this user has no home directory")
                .remedy(format!("a directory named in {VARIABLE}"))
        })
}

/// Makes the directory `path` and what is missing above it, private, and makes
/// sure that it is this user's alone: who can write to a volume writes to a
/// guest's disk.
///
/// # Errors
/// It cannot be made, or is not this user's alone.
pub fn prepare(path: &Path) -> Result<(), Error> {
    make(path).map_err(|error| refused(path, "cannot be made").because(error))?;
    vet(path)
}

/// Makes the directory `path` where it is missing, durably: what is kept in it
/// would be lost with it.
fn make(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|_| !path.exists()) else {
        return Ok(());
    };
    make(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => durable::synchronize(parent),
    }
}

/// Makes sure that the directory `path` is this user's alone.
///
/// # Errors
/// It is not.
pub fn vet(path: &Path) -> Result<(), Error> {
    private_directory::vet(path).map_err(|why| refused(path, "cannot be used").because(why))
}

fn refused(path: &Path, why: &str) -> Error {
    Error::host(format!("data directory '{}' {why}", path.display())).remedy(format!(
        "a directory of your own with mode 0700, named in {VARIABLE}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_user_has_one_place() {
        let path = |text: &str| Some(PathBuf::from(text));
        for (own, data, home, user, expected) in [
            (path("/own"), path("/xdg"), path("/h"), 0, "/own"),
            (None, path("/xdg"), path("/root"), 0, "/var/lib/plinth"),
            (None, path("/xdg"), path("/h"), 7, "/xdg/plinth"),
            (None, path("xdg"), path("/h"), 7, "/h/.local/share/plinth"),
            (None, None, path("/h"), 7, "/h/.local/share/plinth"),
        ] {
            assert_eq!(choose(own, data, home, user).unwrap(), Path::new(expected));
        }
    }

    #[test]
    fn a_place_that_depends_on_where_one_stands_is_refused() {
        let relative = choose(Some("volumes".into()), None, None, 7).unwrap_err();
        assert!(relative.report().contains("PLINTH_DATA_DIR is 'volumes'"));
        let nowhere = choose(None, None, Some("h".into()), 7).unwrap_err();
        assert!(nowhere.report().contains("no home directory"));
    }

    #[test]
    fn a_directory_that_others_can_reach_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("data/volumes");
        prepare(&root).unwrap();
        prepare(&root).unwrap();
        let mode = fs::metadata(&root).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::set_permissions(&root, fs::Permissions::from_mode(0o750)).unwrap();
        let error = prepare(&root).unwrap_err().report();
        assert!(error.contains("is open to other users"), "{error}");
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let error = prepare(&file).unwrap_err().report();
        assert!(error.contains("is not a directory"), "{error}");
    }
}
