//! Disks that come, grow, wait and go, by verbs.

use std::fs::OpenOptions;

use guest_tests::{DiskFile, Guest, Machine, Stream, Tally, wait};

use super::{deaf, heard, listen, with_a_shell};

const MIB: u64 = 1 << 20;

/// The names of its disks.
fn disks(web: &Machine) -> Vec<String> {
    let show = web.show();
    let devices = show["devices"].as_array().unwrap().iter();
    let disks = devices.filter(|device| device["kind"] == "disk");
    let names = disks.map(|disk| disk["name"].as_str().unwrap().to_owned());
    names.collect()
}

#[test]
fn a_disk_comes_is_written_to_and_goes_to_another_machine() {
    let (web, mut console) = with_a_shell(Guest::new());
    let events = listen(&web);
    let (_kernel, guest) = deaf();
    let other = guest.detach();
    let disk = DiskFile::empty(MIB);
    let stream = Tally::of(Stream::new(7, 1 << 20)).to_string();
    let attach = format!("attach --disk {disk},id=data");

    assert_eq!(web.vm(&attach), "data\n");
    console.type_in("until [ -b /dev/vda ]; do sleep 0.1; done; guest disk write /dev/vda 1M 7\n");
    console.wait_for(&format!("disk: wrote /dev/vda {stream}"));
    assert_eq!(disk.tally().to_string(), stream);
    let sample = |of| {
        web.metric(&format!(
            "plinth_disk_{of}_total{{disk=\"data\",operation=\"write\"}}"
        ))
    };
    assert!(sample("operations") > 0);
    assert_eq!(sample("bytes"), MIB);

    let in_use = format!("is in use by process {} (plinth-vmm)", web.pid());
    other.refuses(&attach, 2, &[&in_use]);
    web.refuses(&attach, 2, &[&in_use]);
    let second = DiskFile::empty(MIB);
    web.refuses(&format!("attach --disk {second},id=data"), 2, &["'data'"]);
    web.refuses("detach dta", 2, &["'web'", "there are rng, data"]);
    assert_eq!(disks(&web), ["data"]);

    web.vm("detach data");
    assert_eq!(disks(&web), [""; 0]);
    assert_eq!(other.vm(&attach), "data\n");
    // Its guest does not let go of anything.
    other.refuses(
        "detach data --deadline 100ms",
        1,
        &["'data'", "plinth vm force-detach web data"],
    );
    assert_eq!(disks(&other), ["data"]);
    other.vm("force-detach data");

    assert_eq!(web.vm(&attach), "data\n");
    console.type_in("until [ -b /dev/vda ]; do sleep 0.1; done; guest disk log /dev/vda\n");
    console.wait_for("disk: acknowledged 1 of");
    web.vm("force-detach data");
    console.wait_for("disk: log ends");
    other.vm(&attach);

    web.vm("kill");
    let heard = heard(events);
    let mut news = heard
        .iter()
        .filter(|(event, _)| event.starts_with("device-"));
    for event in ["device-attached", "device-detached"].repeat(2) {
        let (name, device) = news.next().expect(event);
        assert_eq!((&**name, device.as_deref()), (event, Some("data")));
    }
    assert_eq!((news.next(), &*heard.last().unwrap().0), (None, "stopped"));
}

#[test]
fn a_disk_grows_under_its_guest_and_never_shrinks() {
    let disk = DiskFile::empty(MIB);
    let (web, mut console) = with_a_shell(Guest::new().disk(format!("{disk},id=data")));
    assert_eq!(web.vm("resize --disk data --size 2M"), "2 MiB\n");
    let waiting = "until [ $(cat /sys/block/vda/size) = $((SIZE * 2048)) ]; do sleep 0.1; done; \
                   echo it has $((SIZE + 10))\n";
    console.type_in(&waiting.replace("SIZE", "2"));
    console.wait_for("it has 12");

    for (words, why) in [
        ("resize --disk data --size 1M", "a disk never shrinks"),
        ("resize --disk data --size 0", "sectors"),
        ("resize --disk data --size -1M", "whole number"),
        (
            "resize --disk dta --size 4M",
            "no device 'dta'; there are data, rng",
        ),
        ("limit data --iops 0", "from 1 to"),
        ("limit data --iops -5", "from 1 to"),
        ("limit data --iops 99999999999999999999", "from 1 to"),
        ("limit data --bandwidth 9999T", "from 1 byte"),
        (
            "limit dta --iops 50",
            "no device 'dta'; there are data, rng",
        ),
        ("limit data --iops 50 --direction both", "has no direction"),
    ] {
        web.refuses(words, 2, &[why]);
    }
    assert_eq!(std::fs::metadata(disk.path()).unwrap().len(), 2 * MIB);
    assert_eq!(
        web.metric("plinth_disk_capacity_bytes{disk=\"data\"}"),
        2 * MIB
    );

    // Whoever has grown it otherwise has the machine look.
    let file = OpenOptions::new().write(true).open(disk.path()).unwrap();
    file.set_len(3 * MIB).unwrap();
    assert_eq!(web.vm("resize --disk data"), "3 MiB\n");
    console.type_in(&waiting.replace("SIZE", "3"));
    console.wait_for("it has 13");
}

#[test]
fn limits_hold_a_disk_back_from_now_on_and_let_go_at_once() {
    const RECORDS: u64 = 32;
    let disk = DiskFile::empty(RECORDS * 4096);
    let (web, mut console) = with_a_shell(Guest::new().disk(format!("{disk},id=data")));
    let held_back = || web.metric("plinth_disk_throttled_operations_total{disk=\"data\"}");
    let operations = || {
        let sample = "plinth_disk_operations_total{disk=\"data\",operation=\"write\"}";
        web.metric(sample)
    };
    console
        .type_in("while guest disk log /dev/vda > /dev/null; do n=$((n+1)); echo \"#$n\"; done\n");
    console.wait_for("\n#1\n");
    assert_eq!(held_back(), 0);
    web.vm("limit data --iops 1 --iops-burst 1");
    wait(held_back, |count| *count > 0);
    assert!(operations() >= RECORDS);
    // What waits already has waited long enough.
    web.vm("limit data --unlimited");
    let lines = console.said().matches("\n#").count() + 2;
    console.wait_for(&format!("\n#{lines}\n"));
}
