//! Cloud Hypervisor with a serial port only; its kernel is entered by PVH. It is
//! operated by its REST API (docs/api.md).

use anyhow::Result;
use serde_json::json;

use super::{Control, EVERYTHING, Guest, Launch, Peer, argv, knows, socket};
use crate::probe::Request;

pub(super) const PEER: Peer = Peer {
    name: "cloud-hypervisor",
    monitor: "cloud-hypervisor",
    programs: &["cloud-hypervisor", "cloud-hypervisor-static"],
    aspects: EVERYTHING,
    settings: "--serial tty --console off, no devices else but a disk or a tap where there is one; \
               a disk is image_type=raw, where the version knows that, since others then refuse to \
               write to its first sector, and a flush of it is one, by io_uring; its system call \
               filters are on, as by default, and plinth has none",
    words: "pci=off reboot=k",
    device_words: "reboot=k",
    launch,
    control: Some(Control {
        socket,
        settings: "--api-socket",
        question: || Request::http("GET", "/api/v1/vmm.ping", None),
        attach_disk: Some(|image| {
            let disk = json!({ "path": image, "id": "added-disk" });
            vec![Request::http("PUT", "/api/v1/vm.add-disk", Some(disk))]
        }),
        attach_nic: Some(|nic| {
            let net = json!({ "tap": nic.tap, "mac": nic.mac, "id": "added-nic" });
            vec![Request::http("PUT", "/api/v1/vm.add-net", Some(net))]
        }),
    }),
};

fn launch(guest: &Guest<'_>) -> Result<Launch> {
    let memory = format!("size={}M", guest.memory_mib);
    let cpus = format!("boot={}", guest.cpus);
    let words = [
        guest.program,
        "--kernel",
        guest.vmlinux,
        "--initramfs",
        guest.initramfs,
        "--cmdline",
        &guest.command_line,
        "--cpus",
        &cpus,
        "--memory",
        &memory,
        "--serial",
        "tty",
        "--console",
        "off",
    ];
    let mut argv = argv(words);
    let kind = match guest.disks.is_empty() {
        true => "",
        false => kind(guest.program),
    };
    let disks = guest.disks.iter();
    let disks: Vec<String> = disks
        .map(|disk| format!("path={}{kind}", disk.image))
        .collect();
    let nics = guest.nics.iter();
    let nics: Vec<String> = nics
        .map(|nic| format!("tap={},mac={}", nic.tap, nic.mac))
        .collect();
    // Each option takes all of its kind.
    for (option, values) in [("--disk", disks), ("--net", nics)] {
        if !values.is_empty() {
            argv.push(option.to_owned());
            argv.extend(values);
        }
    }
    if guest.operated {
        argv.extend(["--api-socket".to_owned(), socket(guest)]);
    }
    Ok(Launch {
        argv,
        ..Launch::default()
    })
}

/// What a raw image is called. Since 50.1 and 51 what is only found to be raw is not
/// written to in its first sector (its pull request 7728); older versions refuse an
/// option that they do not know.
fn kind(program: &str) -> &'static str {
    match knows(program, "image_type=") {
        Ok(true) => ",image_type=raw",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::launched;

    #[test]
    fn an_image_is_called_raw_by_versions_that_know_the_word() {
        let disk = |help: &str| {
            let directory = tempfile::tempdir().unwrap();
            let says = format!("echo '{help}'");
            let [launch, _] = launched("cloud-hypervisor", &says, directory.path());
            let mut words = launch.argv.into_iter();
            words.find(|word| word.starts_with("path=")).unwrap()
        };
        let known = "path=<path>,readonly=on|off,image_type=<raw|qcow2>";
        assert_eq!(disk(known), "path=/image,image_type=raw");
        assert_eq!(disk("path=<path>,readonly=on|off"), "path=/image");
    }
}
