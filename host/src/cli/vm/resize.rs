//! `plinth vm resize`: more disk, memory or vCPUs for a running machine.

use std::fs::OpenOptions;
use std::path::Path;

use clap::{ArgGroup, Args};
use serde_json::json;
use vmm::CpuCount;

use crate::client::request::{Request, segment};
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::holder;
use crate::option::size::Amount;
use crate::option::{self, size};
use crate::registry::name::VmName;
use crate::volume::directory::Volumes;

use super::super::Outcome;
use super::super::connection::Connection;

/// What a disk is counted in, in bytes (virtio 1.3 §5.2.4).
const SECTOR: u64 = 512;

/// What a file grows by: a disk's blocks have at most as many bytes, and its
/// size must be a whole number of them, now and at the next start.
const BLOCK: u64 = 4096;

/// Change the size of a running machine's disk or memory, or its vCPUs
///
/// A disk in a file grows with --size, to a multiple of 4096 bytes, and never
/// shrinks. A block device grows elsewhere; without --size the machine looks at
/// how large it is now.
///
/// Examples:
///   plinth vm resize web --disk root --size 20G
///   plinth vm resize web --disk volume
///   plinth vm resize web --memory 2G
///   plinth vm resize web --balloon 256M
///   plinth vm resize web --cpus 4
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("part").required(true).multiple(false).args(["disk", "memory", "balloon", "cpus"]))]
pub(super) struct Resize {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,

    /// A disk, as plinth vm show lists it
    #[arg(long, value_name = "NAME")]
    disk: Option<String>,

    /// The disk's new size, such as 20G
    #[arg(long, value_name = "SIZE", value_parser = disk_size, requires = "disk", allow_hyphen_values = true)]
    size: Option<u64>,

    /// All of the machine's memory, such as 2G
    #[arg(long, value_name = "SIZE", value_parser = memory_size, allow_hyphen_values = true)]
    memory: Option<u64>,

    /// Memory that the guest is to give back for now; 0 returns it
    #[arg(long, value_name = "SIZE", value_parser = size::bytes, allow_hyphen_values = true)]
    balloon: Option<u64>,

    /// vCPUs, up to as many as the machine was started to have
    #[arg(long, value_name = "N", value_parser = option::cpus::number, allow_hyphen_values = true)]
    cpus: Option<CpuCount>,
}

fn disk_size(text: &str) -> Result<u64, option::Invalid> {
    let bytes = size::bytes(text)?;
    if bytes == 0 || !bytes.is_multiple_of(SECTOR) {
        let why =
            format!("a disk has a whole number of sectors of {SECTOR} bytes, and one or more");
        return Err(option::Invalid::new(why));
    }
    Ok(bytes)
}

fn memory_size(text: &str) -> Result<u64, option::Invalid> {
    Ok(size::memory(text)?.bytes())
}

impl Resize {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        if let Some(disk) = &self.disk {
            return resize_disk(&mut connection, disk, self.size);
        }
        let request = if let Some(bytes) = self.memory {
            Request::put("/v1/memory").body(json!({"bytes": bytes}))
        } else if let Some(bytes) = self.balloon {
            Request::put("/v1/balloon").body(json!({"target_bytes": bytes}))
        } else if let Some(cpus) = self.cpus {
            Request::put("/v1/cpus").body(json!({"count": cpus.get()}))
        } else {
            return Err(Error::configuration("nothing to resize is given"));
        };
        connection.ask(&request)?;
        Ok(ExitStatus::Success)
    }
}

fn resize_disk(connection: &mut Connection, disk: &str, size: Option<u64>) -> Outcome {
    let path = format!("/v1/devices/{}", segment(disk));
    // A misspelt name must not grow a file.
    connection.document(&Request::get(path.as_str()))?;
    let file = connection.machine.record().disks.get(disk).cloned();
    if let (Some(file), Some(size)) = (&file, size) {
        expect_no_volume(disk, file)?;
        grow(connection, disk, file, size)?;
    }
    let body = match size {
        Some(bytes) => json!({"bytes": bytes}),
        None => json!({}),
    };
    let answer = connection.document(&Request::post(format!("{path}/resize")).body(body))?;
    if let Some(bytes) = answer["bytes"].as_u64() {
        println!("{}", Amount(bytes));
    }
    Ok(ExitStatus::Success)
}

/// A volume is more than its data, and grows in all of its parts.
fn expect_no_volume(disk: &str, file: &Path) -> Result<(), Error> {
    match Volumes::of_this_user()?.of_data(file) {
        None => Ok(()),
        Some(name) => Err(
            Error::configuration(format!("disk '{disk}' is the volume '{name}'"))
                .remedy(format!("plinth volume resize {name} SIZE")),
        ),
    }
}

/// Makes the file of `disk` at least `size` bytes long.
fn grow(connection: &Connection, disk: &str, path: &Path, size: u64) -> Result<(), Error> {
    let refused =
        |why: String| Error::configuration(format!("disk '{disk}' ({}) {why}", path.display()));
    let failed = |error: std::io::Error| refused("cannot be grown".into()).because(error);
    let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(refused("is not in a regular file".into()).remedy(format!(
            "growing it where it is, and then leaving out --size: plinth vm resize {} --disk {disk}",
            connection.name()
        )));
    }
    // Another file may have its name by now.
    let holder = holder::of_lock(&metadata).map(|holder| holder.pid());
    if holder.is_none() || holder != connection.machine.record().pid {
        return Err(
            refused("is not the file that the machine uses any more".into())
                .remedy("growing its file where it is, and then leaving out --size"),
        );
    }
    if size < metadata.len() {
        return Err(refused(format!(
            "has {} and would lose what is beyond {}: a disk never shrinks",
            Amount(metadata.len()),
            Amount(size)
        ))
        .remedy(format!("--size {} or more", metadata.len())));
    }
    if size > metadata.len() && !size.is_multiple_of(BLOCK) {
        return Err(refused(format!(
            "cannot grow to {}: a file grows to a multiple of {BLOCK} bytes, whatever the disk's blocks",
            Amount(size)
        ))
        .remedy(format!("--size {}", size.next_multiple_of(BLOCK))));
    }
    file.set_len(size).map_err(failed)
}
