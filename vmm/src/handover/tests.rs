use super::*;
use crate::config::{
    BlockConfig, BootConfig, ConsoleConfig, DeviceConfig, NetConfig, OnReset, TransportKind,
    VsockConfig,
};
use crate::memory::{Backing, MemoryConfig};
use boot::smbios::{Identity, Text};
use boot::{CommandLine, CpuCount, MemoryLayout, Protocol};
use devices::block::id::DiskId;
use devices::block::mapped_disk::{FreezeFiles, Mapping};
use devices::block::open::{DiskOptions, EngineChoice};
use devices::block::waits::OnError;
use devices::net::device::NetOptions;
use devices::net::mac::MacAddress;
use devices::net::mtu::Mtu;
use devices::rate_limit::{Limit, Limits};
use devices::virtio::queue_count::QueueCount;
use devices::vsock::GuestCid;
use proptest::prelude::*;
use rustix::io::FdFlags;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use volume::cipher::key::Key;

/// A file that can be recognized when it comes back by another owner.
fn file() -> File {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    file.set_len(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap();
    file
}

fn identity() -> impl Strategy<Value = Identity> {
    let text = || "[ -~]{0,20}".prop_map(|text| Text::new(text).unwrap());
    let texts = (text(), text(), text(), text());
    (texts, any::<[u8; 16]>(), prop::option::of(text())).prop_map(|(texts, uuid, asset_tag)| {
        let (manufacturer, product, version, serial) = texts;
        Identity {
            manufacturer,
            product,
            version,
            serial,
            uuid,
            asset_tag,
        }
    })
}

fn memory() -> impl Strategy<Value = MemoryConfig> {
    let backing = prop::sample::select(vec![
        Backing::Anonymous,
        Backing::Shared,
        Backing::Huge2M,
        Backing::Huge1G,
    ]);
    (
        64u64..1 << 20,
        backing,
        any::<Option<bool>>(),
        any::<bool>(),
        0u64..100,
    )
        .prop_map(
            |(mib, backing, transparent_huge_pages, prefault, steps)| MemoryConfig {
                layout: MemoryLayout::new(mib << 20)
                    .and_then(|layout| layout.growing_to((mib << 20) + (steps << 27)))
                    .unwrap(),
                backing,
                transparent_huge_pages,
                prefault,
            },
        )
}

fn limits() -> impl Strategy<Value = Option<Limits>> {
    let limit = || {
        let limit = |(rate, burst)| Limit::per_second(rate)?.with_burst(burst);
        prop::option::of((1u64..1 << 30, 1u64..1 << 40).prop_map(move |two| limit(two).unwrap()))
    };
    (limit(), limit()).prop_map(|(operations, bytes)| Limits::new(operations, bytes))
}

fn block() -> impl Strategy<Value = DeviceConfig> {
    let engine = prop::sample::select(vec![
        EngineChoice::Auto,
        EngineChoice::IoUring,
        EngineChoice::Sync,
    ]);
    let flags = any::<(bool, bool, bool, bool)>();
    let volume = prop::option::of((0..3, any::<bool>()));
    ("[a-z0-9]{1,20}", engine, flags, 1u64..=16, limits(), volume).prop_map(
        |(id, engine, (direct, read_only, encrypted, waits), queues, limits, volume)| {
            DeviceConfig::Block(BlockConfig {
                file: file(),
                id: id.parse::<DiskId>().unwrap(),
                options: DiskOptions {
                    engine,
                    direct,
                    read_only,
                    queues: QueueCount::new(queues).unwrap(),
                    on_error: if waits {
                        OnError::Wait
                    } else {
                        OnError::Report
                    },
                },
                key: encrypted.then(|| Key::random().unwrap()),
                limits,
                volume: volume.map(|(freezes, loader)| mapping(freezes, loader)),
            })
        },
    )
}

fn mapping(freezes: i32, loader: bool) -> Mapping {
    Mapping {
        map: file(),
        freezes: (0..freezes)
            .map(|_| FreezeFiles {
                freeze: file(),
                kept: file(),
            })
            .collect(),
        loader: loader.then(|| file().into()),
    }
}

fn net() -> impl Strategy<Value = DeviceConfig> {
    let mtu = prop::option::of(68u16..65000);
    let fields = (
        any::<[u8; 5]>(),
        mtu,
        limits(),
        limits(),
        1..=16,
        any::<bool>(),
    );
    fields.prop_map(|(mac, mtu, receive, transmit, queues, vhost)| {
        let [b, c, d, e, f] = mac;
        let mac = format!("02:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        DeviceConfig::Net(NetConfig {
            name: "net0".parse().unwrap(),
            cable: (0..queues).map(|_| file().into()).collect(),
            vhost: (0..queues)
                .filter(|_| vhost)
                .map(|_| file().into())
                .collect(),
            options: NetOptions {
                mac: mac.parse::<MacAddress>().unwrap(),
                mtu: mtu.map(|mtu| Mtu::new(mtu).unwrap()),
            },
            receive,
            transmit,
        })
    })
}

fn vsock() -> impl Strategy<Value = DeviceConfig> {
    (3u32..u32::MAX, "[a-z.]{1,71}").prop_map(|(cid, stem)| {
        DeviceConfig::Vsock(VsockConfig {
            cid: GuestCid::new(cid).unwrap(),
            listener: file().into(),
            directory: file().into(),
            stem: stem.parse().unwrap(),
        })
    })
}

fn console(input: bool) -> ConsoleConfig {
    ConsoleConfig {
        input: input.then(|| file().into()),
        output: file().into(),
        escapes: input,
    }
}

/// A device without anything of its own.
fn plain() -> impl Strategy<Value = DeviceConfig> {
    (0..3).prop_map(|kind| match kind {
        0 => DeviceConfig::Rng,
        1 => DeviceConfig::Balloon,
        _ => DeviceConfig::Mem,
    })
}

fn config() -> impl Strategy<Value = VmConfig> {
    let boot = (
        any::<bool>(),
        "[ -~]{0,60}",
        prop::sample::select(vec![Protocol::Auto, Protocol::Linux64, Protocol::Pvh]),
    );
    let device = prop_oneof![
        block(),
        net(),
        plain(),
        vsock(),
        any::<bool>().prop_map(|input| DeviceConfig::Console(console(input))),
    ];
    (
        boot,
        1u64..=64,
        memory(),
        identity(),
        any::<Option<(bool, bool)>>(),
        any::<(bool, bool, Option<[u8; 16]>)>(),
        prop::collection::vec(device, 0..4),
    )
        .prop_map(
            |((initrd, line, protocol), cpus, memory, identity, serial, platform, devices)| {
                let (rtc, watchdog, generation_id) = platform;
                VmConfig {
                    kvm: file().into(),
                    boot: BootConfig {
                        kernel: file(),
                        initrd: initrd.then(file),
                        command_line: CommandLine::new(line).unwrap(),
                        protocol,
                    },
                    cpus: CpuCount::new(cpus).unwrap(),
                    max_cpus: rtc.then(|| CpuCount::new(cpus).unwrap()),
                    memory,
                    identity,
                    console: serial.map(|(input, escapes)| ConsoleConfig {
                        escapes,
                        ..console(input)
                    }),
                    rtc,
                    watchdog,
                    generation_id,
                    transport: match rtc {
                        true => TransportKind::Pci,
                        false => TransportKind::Mmio,
                    },
                    on_reset: match rtc {
                        true => OnReset::Reboot,
                        false => OnReset::Stop,
                    },
                    devices,
                }
            },
        )
}

/// The whole of a configuration as text, with descriptors by their number:
/// each stays open over an `exec`, so both ends know it by the same.
fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Which file each of these descriptors is, by number.
fn files(config: &VmConfig) -> BTreeMap<RawFd, u64> {
    let mut fds = vec![config.kvm.as_fd(), config.boot.kernel.as_fd()];
    fds.extend(config.boot.initrd.iter().map(AsFd::as_fd));
    if let Some(console) = &config.console {
        fds.push(console.output.as_fd());
        fds.extend(console.input.iter().map(AsFd::as_fd));
    }
    for device in &config.devices {
        match device {
            DeviceConfig::Block(block) => fds.push(block.file.as_fd()),
            DeviceConfig::Net(net) => {
                fds.extend(net.cable.iter().chain(&net.vhost).map(AsFd::as_fd));
            }
            DeviceConfig::Rng | DeviceConfig::Balloon | DeviceConfig::Mem => {}
            DeviceConfig::Vsock(vsock) => {
                fds.extend([vsock.listener.as_fd(), vsock.directory.as_fd()]);
            }
            DeviceConfig::Console(console) => {
                fds.push(console.output.as_fd());
                fds.extend(console.input.iter().map(AsFd::as_fd));
            }
        }
    }
    let file = |fd: BorrowedFd<'_>| {
        let stat = rustix::fs::fstat(fd).unwrap();
        (fd.as_raw_fd(), stat.st_ino)
    };
    fds.into_iter().map(file).collect()
}

/// The disks' keys, of which no text says anything.
fn keys(config: &VmConfig) -> Vec<Option<Key>> {
    let blocks = config.devices.iter().filter_map(|device| match device {
        DeviceConfig::Block(block) => Some(block.key.clone()),
        _ => None,
    });
    blocks.collect()
}

fn inherited(fd: RawFd) -> bool {
    // SAFETY: a question only.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    !rustix::io::fcntl_getfd(fd)
        .unwrap()
        .contains(FdFlags::CLOEXEC)
}

/// What `text` makes of itself. Its descriptors are nobody's.
fn receive(text: &str) -> Result<Handover, HandoverError> {
    let mut memfd = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    io::Write::write_all(&mut memfd, text.as_bytes()).unwrap();
    memfd.rewind().unwrap();
    // SAFETY: the memfd is given up; tests name descriptors they gave up.
    unsafe { Handover::receive(memfd.into_raw_fd()) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_field_arrives(
        config in config(),
        reported in any::<bool>(),
        served in any::<bool>(),
        registered in any::<Option<bool>>(),
    ) {
        let sent = (text(&config), files(&config), keys(&config));
        let asked = Instant::now() - Duration::from_secs(5);
        let report = reported.then(|| OwnedFd::from(file()));
        let report_number = report.as_ref().map(AsRawFd::as_raw_fd);
        let api = served.then(|| OwnedFd::from(file()));
        let console = served.then(|| OwnedFd::from(file()));
        let registration = registered.map(|detached| Registration {
            lock: file().into(),
            end: file().into(),
            detached: detached.then(|| file().into()),
        });
        let life = text(&(&api, &console, &registration));
        let handover = Handover { config, asked, report, api, console, registration };
        let memfd = handover.send().unwrap();
        prop_assert!(sent.1.keys().chain(&report_number).all(|fd| inherited(*fd)));
        prop_assert!(inherited(memfd.as_raw_fd()));

        // SAFETY: all descriptors were given up when they were sent.
        let received = unsafe { Handover::receive(memfd.into_raw_fd()) }.unwrap();
        prop_assert_eq!((text(&received.config), files(&received.config), keys(&received.config)), sent);
        prop_assert_eq!(received.report.as_ref().map(AsRawFd::as_raw_fd), report_number);
        prop_assert_eq!(text(&(&received.api, &received.console, &received.registration)), life);
        let late = received.asked.saturating_duration_since(asked);
        let early = asked.saturating_duration_since(received.asked);
        prop_assert!(late.max(early) < Duration::from_secs(60), "{late:?} {early:?}");
        prop_assert!(files(&received.config).keys().all(|fd| !inherited(*fd)));
    }

    #[test]
    fn hostile_text_is_refused_and_breaks_nothing(text in "\\PC{0,200}") {
        prop_assert!(receive(&text).is_err());
    }
}

/// A handover as it is written, to be spoilt.
fn json(edit: impl Fn(&mut serde_json::Value)) -> String {
    let fd = || file().into_raw_fd();
    let mut value = serde_json::json!({
        "version": VERSION, "asked_ns": 0, "report": null,
        "api": null, "console_far": null, "registration": null,
        "kvm": fd(), "kernel": fd(), "initrd": null,
        "command_line": "", "protocol": "auto", "cpus": 1, "max_cpus": null,
        "memory": {
            "bytes": 64 << 20, "most": 64 << 20, "backing": "anonymous",
            "transparent_huge_pages": null, "prefault": false,
        },
        "identity": {
            "manufacturer": "", "product": "", "version": "", "serial": "",
            "uuid": vec![0; 16], "asset_tag": null,
        },
        "console": null, "rtc": true, "watchdog": false, "generation_id": null, "transport": "pci", "on_reset": "stop",
        "devices": ["rng"],
    });
    edit(&mut value);
    value.to_string()
}

fn block_json(queues: u16, limits: serde_json::Value) -> serde_json::Value {
    serde_json::json!({ "block": {
        "file": file().into_raw_fd(), "id": "a", "engine": "auto",
        "direct": false, "read_only": false, "queues": queues, "on_error": "report", "key": null, "limits": limits,
    } })
}

fn vsock_json(cid: u32, stem: &str) -> serde_json::Value {
    let fd = || file().into_raw_fd();
    serde_json::json!({
        "vsock": { "cid": cid, "listener": fd(), "directory": fd(), "stem": stem },
    })
}

fn refusal(edit: impl Fn(&mut serde_json::Value)) -> HandoverError {
    receive(&json(edit)).unwrap_err()
}

#[test]
fn the_text_to_be_spoilt_is_sound() {
    receive(&json(|_| {})).unwrap();
}

#[test]
fn another_version_is_named_even_if_nothing_else_is_understood() {
    for text in [
        json(|value| value["version"] = 7.into()),
        r#"{"version":7,"everything":"else"}"#.into(),
    ] {
        let error = receive(&text).unwrap_err();
        assert!(matches!(error, HandoverError::Version { theirs: 7 }));
        assert!(error.to_string().contains("install both"), "{error}");
    }
}

#[test]
fn a_descriptor_has_one_owner() {
    let twice = refusal(|value| value["initrd"] = value["kernel"].clone());
    assert!(twice.to_string().contains("twice"), "{twice}");
    for stream in 0..=2 {
        let error = refusal(|value| value["kernel"] = stream.into());
        assert!(error.to_string().contains("standard stream"), "{error}");
    }
    for number in [-1, i32::MIN, i32::MAX] {
        let error = refusal(|value| value["kernel"] = number.into());
        assert!(
            matches!(error, HandoverError::Descriptor { number: n, .. } if n == number),
            "{error}"
        );
    }
}

#[test]
fn a_memfd_that_is_none_is_refused() {
    for number in [-1, 0, 2, i32::MAX] {
        // SAFETY: these are refused before they are used.
        let error = unsafe { Handover::receive(number) }.unwrap_err();
        assert!(matches!(error, HandoverError::Descriptor { .. }), "{error}");
    }
}

#[test]
fn values_that_no_machine_can_have_are_refused_by_name() {
    type Edit = fn(&mut serde_json::Value);
    let edits: [(&str, Edit); 11] = [
        ("number of vCPUs", |value| value["cpus"] = 65.into()),
        ("largest number of vCPUs", |value| {
            value["max_cpus"] = 0.into();
        }),
        ("memory size", |value| value["memory"]["bytes"] = 1.into()),
        ("memory size", |value| value["memory"]["most"] = 1.into()),
        ("command line", |value| value["command_line"] = "\n".into()),
        ("rate limit", |value| {
            let limits = serde_json::json!({ "operations": { "rate": 0, "burst": 1 } });
            value["devices"][0] = block_json(1, limits);
        }),
        ("number of queues", |value| {
            value["devices"][0] = block_json(17, serde_json::Value::Null);
        }),
        ("disk key", |value| {
            value["devices"][0] = block_json(1, serde_json::Value::Null);
            value["devices"][0]["block"]["key"] = file().into_raw_fd().into();
        }),
        ("SMBIOS text", |value| {
            value["identity"]["serial"] = "\n".into();
        }),
        ("vsock context id", |value| {
            value["devices"][0] = vsock_json(2, "s");
        }),
        ("vsock socket name", |value| {
            value["devices"][0] = vsock_json(3, "../s");
        }),
    ];
    for (name, edit) in edits {
        let error = refusal(edit);
        assert!(
            matches!(error, HandoverError::Value { what, .. } if what == name),
            "{error}"
        );
    }
    let unknown = refusal(|value| value["more"] = 1.into());
    assert!(matches!(unknown, HandoverError::Syntax(_)), "{unknown}");
}

#[test]
fn endless_text_is_not_read_to_its_end() {
    let long = json(|value| value["command_line"] = "x".repeat(2 << 20).into());
    assert!(matches!(
        receive(&long).unwrap_err(),
        HandoverError::Syntax(_)
    ));
}
