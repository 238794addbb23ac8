//! The disk on which cloud-init in the guest finds what it is to know: made in
//! memory, and sealed there.

use std::fs::File;
use std::io::{self, Write};

use metadata::cidata;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vmm::config::{BlockConfig, NetConfig};
use vmm::{DiskId, DiskOptions};

use crate::error::Error;

use super::seed::Told;

/// What the disk is called, and its label.
const NAME: &str = "cidata";

/// Makes the disk; none if there is nothing to tell.
///
/// # Errors
/// There is no memory for it.
pub fn open(told: &Told) -> Result<Option<BlockConfig>, Error> {
    if told.is_empty() {
        return Ok(None);
    }
    let seed = told.seed();
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

    fn holds(disk: &BlockConfig, text: &str) -> bool {
        let mut bytes = vec![0; usize::try_from(disk.file.metadata().unwrap().len()).unwrap()];
        disk.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }

    #[test]
    fn nothing_to_tell_is_no_disk() {
        assert!(open(&Told::default()).unwrap().is_none());
    }

    #[test]
    fn what_is_told_is_on_a_disk_that_nobody_can_change() {
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let told = Told {
            hostname: Some("web".parse().unwrap()),
            ssh_keys: vec![format!("{key} a@b").parse().unwrap()],
            user_data: Some(metadata::user_data::UserData::new("#!/bin/sh\n").unwrap()),
        };
        let disk = open(&told).unwrap().unwrap();
        assert!(disk.options.read_only && disk.id.to_string() == NAME);
        for text in [
            "CIDATA",
            "\"local-hostname\": \"web\"",
            &format!("{key} a@b"),
            "#!/bin/sh",
        ] {
            assert!(holds(&disk, text), "{text}");
        }
        assert!(disk.file.write_at(b"x", 0).is_err());
        assert!(disk.file.set_len(0).is_err());
    }
}
