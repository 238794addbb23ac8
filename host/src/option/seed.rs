//! What cloud-init in the guest is told: `--hostname`, `--ssh-key` and
//! `--user-data`.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use metadata::name::DnsName;
use metadata::ssh_key::{BadKey, SshKey};

/// What the user wants cloud-init to know.
#[derive(Clone, Debug, Default)]
pub struct SeedOption {
    /// What the guest is to be called.
    pub hostname: Option<DnsName>,
    /// Who may log in.
    pub ssh_keys: Vec<SshKeyOption>,
    /// The file of the user data.
    pub user_data: Option<PathBuf>,
}

impl SeedOption {
    /// Whether cloud-init is to be told nothing.
    pub fn is_empty(&self) -> bool {
        self.hostname.is_none() && self.ssh_keys.is_empty() && self.user_data.is_none()
    }
}

/// `FILE|TEXT`: a key, or the file that it is in.
///
/// What is wrong with a key is said later, since whoever refuses an option's
/// value repeats it, and this may be a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshKeyOption {
    /// The key, or why it is none.
    Text(Result<SshKey, BadKey>),
    /// The path of a file with one key in it.
    File(PathBuf),
}

impl SshKeyOption {
    /// The file to be read.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Text(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

impl FromStr for SshKeyOption {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // No key of either kind could be a file's name, which has one line.
        let is_text = SshKey::is_begun_by(text) || text.contains('\n') || text.is_empty();
        Ok(match is_text {
            true => Self::Text(text.parse()),
            false => Self::File(text.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_from_a_files_name() {
        let option = |text: &str| text.parse::<SshKeyOption>().unwrap();
        for path in ["id_ed25519.pub", "ssh-ed25519", "/a b/c"] {
            assert_eq!(option(path), SshKeyOption::File(path.into()));
        }
        let damaged = SshKeyOption::Text(Err(BadKey::Damaged("ssh-rsa")));
        assert_eq!(option("ssh-rsa AAAA"), damaged);
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nx";
        assert_eq!(option(private), SshKeyOption::Text(Err(BadKey::Private)));
        assert_eq!(option(""), SshKeyOption::Text(Err(BadKey::Empty)));
    }
}
