//! A wrapping key in a file that nobody else may read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::wrapping_key::{MOST, WrappingKey};
use crate::error::Error;
use crate::shell::quoted;

/// Reads the key that is in the file at `path`.
///
/// # Errors
/// There is none, or others may read or replace it.
pub(super) fn read(path: &Path) -> Result<WrappingKey, Error> {
    let file = open(path)?;
    let metadata = file.metadata().map_err(|error| unread(path, error))?;
    vet(path, &metadata)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 1));
    let mut limited = file.take(MOST as u64 + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| unread(path, error))?;
    WrappingKey::parse(&bytes).ok_or_else(|| {
        refused(
            path,
            "has no key: it must be 32 bytes or 64 hexadecimal digits",
        )
        .remedy(making(path))
    })
}

fn open(path: &Path) -> Result<File, Error> {
    // Without O_NONBLOCK a pipe without a writer would be waited for.
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.read(true).open(path).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        match (unread(path, error), missing) {
            (refused, true) => refused.remedy(format!(
                "--key-file FILE where it is; for a new volume, {}",
                making(path)
            )),
            (refused, false) => refused,
        }
    })
}

/// Whether it is a file, ours or root's, and nobody else's.
fn vet(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    if !metadata.is_file() {
        return Err(refused(path, "is not a regular file"));
    }
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let path_quoted = quoted(path);
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let why = format!("belongs to another user ({owner}), who may read it");
        return Err(refused(path, &why).remedy(format!("chown \"$USER\" {path_quoted}")));
    }
    // An access list shows in the bits of the group, which are its mask then
    // (acl(5)).
    if mode & 0o077 != 0 {
        let why = format!("may be read or changed by others (its mode is {mode:03o})");
        return Err(refused(path, &why).remedy(format!(
            "chmod 600 {path_quoted}; and another key, if somebody has read it"
        )));
    }
    Ok(())
}

fn making(path: &Path) -> String {
    format!("(umask 077; head -c 32 /dev/urandom > {})", quoted(path))
}

fn unread(path: &Path, error: io::Error) -> Error {
    refused(path, "cannot be read").because(error)
}

fn refused(path: &Path, why: &str) -> Error {
    Error::configuration(format!("key file '{}' {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn key_file(contents: &[u8], mode: u32) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), contents).unwrap();
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).unwrap();
        file.into_temp_path()
    }

    fn refusal(path: &Path) -> String {
        read(path).unwrap_err().report()
    }

    #[test]
    fn a_file_of_ours_alone_is_a_key() {
        for mode in [0o600, 0o400, 0o700] {
            read(&key_file(&[7; 32], mode)).unwrap();
        }
        let digits = key_file(&[b'7'; 64], 0o600);
        read(&digits).unwrap();
    }

    #[test]
    fn a_file_that_others_may_read_or_change_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o602] {
            let report = refusal(&key_file(&[7; 32], mode));
            assert!(report.contains(&format!("{mode:03o}")), "{report}");
            assert!(report.contains("chmod 600"), "{report}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_one_is() {
        for contents in [&[][..], &[7; 31], &[7; 33], &[b'g'; 64], &[7; 1 << 20]] {
            let report = refusal(&key_file(contents, 0o600));
            assert!(report.contains("32 bytes or 64 hex"), "{report}");
        }
        let missing = refusal(Path::new("/nowhere/key"));
        assert!(
            missing.contains("'/nowhere/key' cannot be read"),
            "{missing}"
        );
        assert!(missing.contains("head -c 32 /dev/urandom"), "{missing}");
        let directory = refusal(tempfile::tempdir().unwrap().path());
        assert!(directory.contains("not a regular file"), "{directory}");
    }
}
