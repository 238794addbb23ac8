//! The disk on which cloud-init in the guest finds what it is to know: made in
//! memory, and sealed there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use metadata::cidata;
use metadata::seed::Seed;
use metadata::ssh_key::SshKey;
use metadata::user_data::UserData;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vmm::config::{BlockConfig, NetConfig};
use vmm::{DiskId, DiskOptions};

use crate::error::Error;
use crate::option::seed::{SeedOption, SshKeyOption};

/// What the disk is called, and its label.
const NAME: &str = "cidata";

/// Makes the disk; none if there is nothing to tell.
///
/// # Errors
/// A file cannot be read, is too large, or holds no key.
pub fn open(option: &SeedOption) -> Result<Option<BlockConfig>, Error> {
    if option.is_empty() {
        return Ok(None);
    }
    let keys = option.ssh_keys.iter().map(key).collect::<Result<_, _>>()?;
    let user_data = option.user_data.as_deref().map(user_data).transpose()?;
    let seed = Seed::new(option.hostname.clone(), keys, user_data);
    let file = sealed(&cidata::image(&seed)).map_err(|error| {
        Error::host("the disk for cloud-init cannot be made in memory").because(error)
    })?;
    Ok(Some(BlockConfig {
        file,
        id: NAME.parse::<DiskId>().expect("a short word is an id"),
        options: DiskOptions {
            read_only: true,
            ..DiskOptions::default()
        },
        key: None,
        limits: None,
        volume: None,
    }))
}

/// Refuses a device of the user's with the disk's name.
///
/// # Errors
/// There is one.
pub fn check_name(disks: &[BlockConfig], nets: &[NetConfig]) -> Result<(), Error> {
    let disks = disks.iter().map(|disk| disk.id.to_string());
    let mut names = disks.chain(nets.iter().map(|net| net.name.to_string()));
    match names.any(|name| name == NAME) {
        true => Err(Error::configuration(format!(
            "a device is called '{NAME}', as is the disk of --hostname, --ssh-key and --user-data"
        ))
        .remedy("another id=NAME for that device")),
        false => Ok(()),
    }
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
    let bytes = read(path, SshKey::MAX).map_err(|error| {
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
    let bytes = read(path, UserData::MAX).map_err(|error| {
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
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX);
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file of `bytes` in memory that nobody can change any more.
fn sealed(bytes: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("plinth-cidata", flags)?);
    file.write_all(bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn disk(option: SeedOption) -> BlockConfig {
        open(&option).unwrap().unwrap()
    }

    fn holds(disk: &BlockConfig, text: &str) -> bool {
        let mut bytes = vec![0; usize::try_from(disk.file.metadata().unwrap().len()).unwrap()];
        disk.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }

    #[test]
    fn nothing_to_tell_is_no_disk() {
        assert!(open(&SeedOption::default()).unwrap().is_none());
    }

    #[test]
    fn what_is_told_is_on_a_disk_that_nobody_can_change() {
        let directory = tempfile::tempdir().unwrap();
        let (key, data) = (
            directory.path().join("a.pub"),
            directory.path().join("data"),
        );
        std::fs::write(&key, format!("{KEY} a@b\n")).unwrap();
        std::fs::write(&data, "#!/bin/sh\n").unwrap();
        let disk = disk(SeedOption {
            hostname: Some("web".parse().unwrap()),
            ssh_keys: vec![KEY.parse().unwrap(), SshKeyOption::File(key)],
            user_data: Some(data),
        });
        assert!(disk.options.read_only && disk.id.to_string() == NAME);
        for text in [
            "CIDATA",
            "\"local-hostname\": \"web\"",
            &format!("{KEY} a@b"),
            "#!/bin/sh",
        ] {
            assert!(holds(&disk, text), "{text}");
        }
        assert!(disk.file.write_at(b"x", 0).is_err());
        assert!(disk.file.set_len(0).is_err());
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let endless = SeedOption {
            user_data: Some("/dev/zero".into()),
            ..SeedOption::default()
        };
        let error = open(&endless).unwrap_err().report();
        assert!(
            error.contains("user data '/dev/zero' has more than 16384 bytes"),
            "{error}"
        );
    }
}
