//! What `--hostname`, `--ssh-key` and `--user-data` say: their files, read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use metadata::name::DnsName;
use metadata::seed::Seed;
use metadata::ssh_key::SshKey;
use metadata::user_data::UserData;

use crate::error::Error;
use crate::option::seed::{SeedOption, SshKeyOption};

/// What the user wants cloud-init in the guest to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the guest is called.
    pub hostname: Option<DnsName>,
    /// Who may log in.
    pub ssh_keys: Vec<SshKey>,
    /// What is handed to it.
    pub user_data: Option<UserData>,
}

impl Told {
    /// Whether that is nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same for a disk, and with an id.
    pub fn seed(&self) -> Seed {
        let keys = self.ssh_keys.clone();
        Seed::new(self.hostname.clone(), keys, self.user_data.clone())
    }
}

/// Reads what `option` names.
///
/// # Errors
/// A file cannot be read, is too large, or holds no key.
pub fn read(option: &SeedOption) -> Result<Told, Error> {
    Ok(Told {
        hostname: option.hostname.clone(),
        ssh_keys: option.ssh_keys.iter().map(key).collect::<Result<_, _>>()?,
        user_data: option.user_data.as_deref().map(user_data).transpose()?,
    })
}

fn key(option: &SshKeyOption) -> Result<SshKey, Error> {
    let path = match option {
        SshKeyOption::Text(key) => {
            return key.clone().map_err(|error| {
                Error::configuration("what is given with --ssh-key does not do").because(error)
            });
        }
        SshKeyOption::File(path) => path,
    };
    let refused = |why: &str| Error::configuration(format!("SSH key '{}' {why}", path.display()));
    let bytes = read_file(path, SshKey::MAX).map_err(|error| {
        refused("cannot be read")
            .because(error)
            .remedy("the file of a public key (~/.ssh/id_ed25519.pub), or the key itself")
    })?;
    let text = String::from_utf8(bytes).map_err(|_| refused("is not text"))?;
    text.parse()
        .map_err(|error| refused("does not do").because(error))
}

fn user_data(path: &Path) -> Result<UserData, Error> {
    let refused = |why: &str| Error::configuration(format!("user data '{}' {why}", path.display()));
    let bytes = read_file(path, UserData::MAX).map_err(|error| {
        refused("cannot be read")
            .because(error)
            .remedy("another file")
    })?;
    UserData::new(bytes).map_err(|_| {
        refused(&format!("has more than {} bytes", UserData::MAX))
            .remedy("a shorter one that fetches the rest, or compressing it: gzip")
    })
}

/// What is in the file at `path`; of more than `most` bytes one byte too many.
/// A pipe is read to its end, so that a shell's `<(…)` does.
fn read_file(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    #[test]
    fn keys_and_data_come_from_the_line_or_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let (key, data) = (
            directory.path().join("a.pub"),
            directory.path().join("data"),
        );
        std::fs::write(&key, format!("{KEY} a@b\n")).unwrap();
        std::fs::write(&data, "#!/bin/sh\n").unwrap();
        let told = read(&SeedOption {
            hostname: Some("web".parse().unwrap()),
            ssh_keys: vec![KEY.parse().unwrap(), SshKeyOption::File(key)],
            user_data: Some(data),
        })
        .unwrap();
        let keys: Vec<_> = told.ssh_keys.iter().map(SshKey::to_string).collect();
        assert_eq!(keys, [KEY.to_string(), format!("{KEY} a@b")]);
        assert_eq!(told.user_data.unwrap().as_bytes(), b"#!/bin/sh\n");
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let endless = SeedOption {
            user_data: Some("/dev/zero".into()),
            ..SeedOption::default()
        };
        let error = read(&endless).unwrap_err().report();
        assert!(
            error.contains("user data '/dev/zero' has more than 16384 bytes"),
            "{error}"
        );
    }
}
