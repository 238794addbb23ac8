//! Where the runtime directories of this user's machines are.

use std::env;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::error::Error;
use crate::private_directory;

/// Names another directory, for tests and unusual installations.
const VARIABLE: &str = "PLINTH_RUNTIME_DIR";

/// The directory of this process's user. It may not be there yet.
///
/// It is plinth's in the user's own (XDG Base Directory Specification 0.8,
/// XDG_RUNTIME_DIR), and root's in /run whatever that says: root is the same
/// root after logging in and after sudo. A session without the variable, such
/// as a cron job's, finds the same directory by its usual name; without that,
/// too, there is one in /tmp, as the specification wants it: private.
///
/// # Errors
/// PLINTH_RUNTIME_DIR names a directory that depends on where a command is
/// given: machines would be lost from sight.
pub fn locate() -> Result<PathBuf, Error> {
    let own = env::var_os(VARIABLE).filter(|text| !text.is_empty());
    let own = own.map(PathBuf::from);
    let session = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    choose(own, session, geteuid().as_raw(), Path::is_dir)
}

fn choose(
    own: Option<PathBuf>,
    session: Option<PathBuf>,
    user: u32,
    is_there: impl Fn(&Path) -> bool,
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
        return Ok("/run/plinth".into());
    }
    // A relative path is to be ignored, says the specification.
    if let Some(session) = session.filter(|path| path.is_absolute()) {
        return Ok(session.join("plinth"));
    }
    let usual = PathBuf::from(format!("/run/user/{user}"));
    if is_there(&usual) {
        return Ok(usual.join("plinth"));
    }
    Ok(format!("/tmp/plinth-{user}").into())
}

/// Makes `root` if it is not there, and makes sure that it is this user's
/// alone: whoever can write to a machine's socket operates the machine.
///
/// # Errors
/// It cannot be made, or is not this user's alone.
pub fn prepare(root: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(refused(root, "cannot be made").because(error));
        }
        _ => {}
    }
    vet(root)
}

/// Makes sure that `root` is this user's alone: a machine that somebody else
/// put there would be given this user's disks.
///
/// # Errors
/// It is not.
pub fn vet(root: &Path) -> Result<(), Error> {
    private_directory::vet(root).map_err(|why| refused(root, "cannot be used").because(why))
}

fn refused(root: &Path, why: &str) -> Error {
    Error::host(format!("runtime directory '{}' {why}", root.display())).remedy(format!(
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
        let there = |path: &Path| path == Path::new("/run/user/7");
        for (own, session, user, expected) in [
            (path("/own"), path("/xdg"), 0, "/own"),
            (None, path("/run/user/0"), 0, "/run/plinth"),
            (None, path("/xdg"), 7, "/xdg/plinth"),
            (None, path("relative"), 7, "/run/user/7/plinth"),
            (None, None, 8, "/tmp/plinth-8"),
        ] {
            let chosen = choose(own, session, user, there).unwrap();
            assert_eq!(chosen, Path::new(expected));
        }
    }

    #[test]
    fn a_place_that_depends_on_where_one_stands_is_refused() {
        for user in [0, 7] {
            let refused = choose(Some("machines".into()), None, user, Path::is_dir);
            let report = refused.unwrap_err().report();
            assert!(
                report.contains("PLINTH_RUNTIME_DIR is 'machines'"),
                "{report}"
            );
        }
    }

    #[test]
    fn a_directory_that_others_can_reach_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("plinth");
        prepare(&root).unwrap();
        prepare(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let error = prepare(&root).unwrap_err().report();
        assert!(error.contains("is open to other users"), "{error}");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        let error = prepare(&link).unwrap_err().report();
        assert!(error.contains("is not a directory"), "{error}");
        let error = prepare(Path::new("/nonexistent/plinth")).unwrap_err();
        assert!(error.report().contains("PLINTH_RUNTIME_DIR"));
    }
}
