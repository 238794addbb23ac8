//! `plinth vm attach`: gives a running machine a disk, a volume or a network
//! interface.
//!
//! The file or tap is opened and locked here, and the open descriptor goes to
//! the VM process, which opens nothing. The lock goes with it: it is released
//! when the machine lets go of the device.

use std::os::fd::AsFd;
use std::path::{self, PathBuf};

use clap::{ArgGroup, Args};
use serde_json::{Value, json};
use vmm::config::BlockConfig;
use vmm::sealed_key::seal;
use vmm::{DeviceName, EngineChoice, Limits, OnError};

use crate::client::request::Request;
use crate::error::Error;
use crate::exit::ExitStatus;
use crate::launch::{disk, net, volume};
use crate::option::disk::DiskOption;
use crate::option::net::NetOption;
use crate::option::volume::VolumeOption;
use crate::registry::name::VmName;
use crate::switch::plug::Machine;

use super::super::Outcome;
use super::super::connection::Connection;
use super::super::limits;

/// Give a running machine a disk, a volume or a network interface
///
/// Prints the device's name, by which plinth vm detach takes it away again.
/// LIMITS are those of plinth run.
///
/// Examples:
///   plinth vm attach web --disk /srv/data.img,id=data
///   plinth vm attach web --volume data
///   plinth vm attach web --net tap=tap1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("device").required(true).multiple(false).args(["disk", "volume", "net"]))]
pub(super) struct Attach {
    /// The machine
    #[arg(value_name = "VM")]
    name: VmName,

    /// Disk: PATH[,readonly][,direct][,engine=io-uring|sync][,queues=N][,id=ID]
    /// [,on-error=report|wait][,LIMITS]
    #[arg(long)]
    disk: Option<DiskOption>,

    /// Volume, by its name or id: NAME[,readonly][,direct][,engine=io-uring|sync]
    /// [,on-error=report|wait]
    #[arg(long)]
    volume: Option<VolumeOption>,

    /// Network interface, on a network: NAME[/SUBNET][,ip=ADDRESS][,public=ADDRESS]
    /// [,security-group=A+B][,source-check=off]; on a bridge:
    /// NAME[,private-vlan=PART][,guard=on|off]; on a tap: tap=NAME[,mtu=N]; for these
    /// [,vhost=on]; or user; and for all [,mac=MAC][,queues=N][,id=NAME][,LIMITS]
    #[arg(long)]
    net: Option<NetOption>,
}

impl Attach {
    pub(super) fn execute(self) -> Outcome {
        let mut connection = Connection::open(&self.name)?;
        let names = device_names(&mut connection)?;
        let is_there = |name: &str| names.iter().any(|other| other == name);
        let registry = &connection.registry;
        registry.forget_departed(&connection.machine, is_there)?;
        let device = match (self.disk, self.volume, self.net) {
            (Some(option), ..) => attach_file(&mut connection, option, &names)?,
            (_, Some(option), _) => attach_volume(&mut connection, &option, &names)?,
            (.., Some(option)) => attach_net(&mut connection, option, &names)?,
            (None, None, None) => return Err(Error::configuration("no device is given")),
        };
        println!("{device}");
        Ok(ExitStatus::Success)
    }
}

/// What the machine's devices are called.
fn device_names(connection: &mut Connection) -> Result<Vec<String>, Error> {
    let devices = connection.document(&Request::get("/v1/devices"))?;
    let devices = devices.as_array().into_iter().flatten();
    let names = devices.filter_map(|device| device["name"].as_str());
    Ok(names.map(String::from).collect())
}

/// The first name of `numbered` that no device has.
fn free<T: ToString>(names: &[String], numbered: fn(usize) -> T) -> T {
    let mut candidates = (0..=names.len()).map(numbered);
    let free = candidates.find(|name| !names.contains(&name.to_string()));
    free.expect("one name more than there are devices")
}

fn attach_file(
    connection: &mut Connection,
    option: DiskOption,
    names: &[String],
) -> Result<String, Error> {
    let id = option.id.unwrap_or_else(|| free(names, disk::numbered));
    let path = path::absolute(&option.path).unwrap_or_else(|_| option.path.clone());
    let disk = disk::open_one(option, id)?;
    attach_disk(connection, &disk, path)
}

fn attach_volume(
    connection: &mut Connection,
    option: &VolumeOption,
    names: &[String],
) -> Result<String, Error> {
    let volume = volume::open_one(option, names)?;
    attach_disk(connection, &volume.disk, volume.path)
}

/// Hands an open disk over, whose file is at `path`.
fn attach_disk(
    connection: &mut Connection,
    disk: &BlockConfig,
    path: PathBuf,
) -> Result<String, Error> {
    let (name, options) = (disk.id.to_string(), disk.options);
    let mut body = json!({
        "kind": "disk",
        "name": name,
        "readonly": options.read_only,
        "direct": options.direct,
        "engine": engine(options.engine),
        "queues": options.queues.get(),
        "on_error": on_error(options.on_error),
        "encrypted": disk.key.is_some(),
    });
    add_limits(&mut body, "limits", disk.limits);
    let mut files = vec![disk.file.as_fd()];
    if let Some(volume) = &disk.volume {
        body["volume"] = json!({
            "freezes": volume.freezes.len(),
            "loader": volume.loader.is_some(),
        });
        files.push(volume.map.as_fd());
        let freezes = volume.freezes.iter();
        files.extend(freezes.flat_map(|files| [files.freeze.as_fd(), files.kept.as_fd()]));
        files.extend(volume.loader.iter().map(AsFd::as_fd));
    }
    let key = disk.key.as_ref().map(seal).transpose();
    let key = key.map_err(|error| Error::host("cannot pass the disk's key").because(error))?;
    files.extend(key.iter().map(AsFd::as_fd));
    let request = Request::post("/v1/devices").body(body).descriptors(files);
    connection.ask(&request)?;
    connection.registry.update(connection.name(), |record| {
        record.disks.insert(name.clone(), path);
    })?;
    Ok(name)
}

fn attach_net(
    connection: &mut Connection,
    option: NetOption,
    names: &[String],
) -> Result<String, Error> {
    let name: DeviceName = match &option.id {
        Some(name) => name.clone(),
        None => free(names, net::numbered),
    };
    let owner = connection.name().to_string();
    // What is stored of its other ports holds for this one.
    let net = net::open_one(&option, name, &Machine::called(&owner))?;
    let mut body = json!({
        "kind": "net",
        "name": net.name.to_string(),
        "mac": net.options.mac.to_string(),
        "queues": net.cable.len(),
    });
    // An older machine does not know it.
    if !net.vhost.is_empty() {
        body["vhost"] = Value::from(true);
    }
    if let Some(mtu) = net.options.mtu {
        body["mtu"] = Value::from(mtu.get());
    }
    add_limits(&mut body, "receive", net.receive);
    add_limits(&mut body, "transmit", net.transmit);
    let request = Request::post("/v1/devices")
        .body(body)
        .descriptors(net.cable.iter().chain(&net.vhost).map(AsFd::as_fd));
    connection.ask(&request)?;
    Ok(net.name.to_string())
}

fn add_limits(body: &mut Value, field: &str, limits: Option<Limits>) {
    if let Some(limits) = limits {
        body[field] = limits::document(limits);
    }
}

fn engine(engine: EngineChoice) -> &'static str {
    match engine {
        EngineChoice::Auto => "auto",
        EngineChoice::IoUring => "io-uring",
        EngineChoice::Sync => "sync",
    }
}

fn on_error(on_error: OnError) -> &'static str {
    match on_error {
        OnError::Report => "report",
        OnError::Wait => "wait",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_name_gets_the_first_that_is_free() {
        let names = ["disk0", "net0", "disk2", "rng"].map(String::from);
        assert_eq!(free(&names, disk::numbered).to_string(), "disk1");
        assert_eq!(free(&names, net::numbered).to_string(), "net1");
        assert_eq!(free(&[], disk::numbered).to_string(), "disk0");
    }
}
