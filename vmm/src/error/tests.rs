use super::*;
use std::error::Error as _;

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOMEM)
}

/// One of each, with the one it concerns.
fn all() -> Vec<(Error, ErrorKind)> {
    use ErrorKind::{Configuration, Host, Internal};
    let name = || "disk1".parse::<DeviceName>().unwrap();
    let boot = boot::CpuCount::new(0).unwrap_err();
    vec![
        (boot.into(), Configuration),
        (Error::Config("no such machine".into()), Configuration),
        (
            Error::FewerCpus {
                asked: 1,
                present: 2,
            },
            Configuration,
        ),
        (Error::TooManyCpus { asked: 9, max: 8 }, Configuration),
        (
            Error::UnknownDevice {
                name: name(),
                known: "disk0, rng".into(),
            },
            Configuration,
        ),
        (Error::NameTaken(name()), Configuration),
        (Error::NameClosing(name()), Configuration),
        (Error::RootDisk(name()), Configuration),
        (
            Error::GuestKeeps {
                device: name(),
                patience: Duration::from_millis(500),
                withdrawn: false,
            },
            ErrorKind::Guest,
        ),
        (Error::GuestRests(name()), Configuration),
        (Error::detach(&name())(io_error()), Host),
        (
            Error::StillOpen {
                device: name(),
                patience: Duration::from_secs(30),
            },
            Host,
        ),
        (Error::KvmTooOld("irqfd"), Host),
        (
            Error::kvm("create a vCPU")(kvm_ioctls::Error::new(libc::EINVAL)),
            Host,
        ),
        (
            Error::Memory {
                bytes: 1 << 30,
                backing: Backing::Huge2M,
                source: io_error(),
            },
            Host,
        ),
        (
            Error::Load {
                what: "kernel",
                source: io_error(),
            },
            Host,
        ),
        (Error::device("disk root")(io_error()), Host),
        (Error::host("a vCPU thread")(io_error()), Host),
        (
            Error::Pause {
                device: "disk root".into(),
                source: ReactorError::Stuck,
            },
            Host,
        ),
        (Error::Stopped, Internal),
        (Error::internal("CPUID table", "too long"), Internal),
    ]
}

#[test]
fn every_error_concerns_whoever_can_mend_it() {
    for (error, kind) in all() {
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn no_text_repeats_its_source() {
    for (error, _) in all() {
        if let Some(source) = error.source() {
            let (outer, inner) = (error.to_string(), source.to_string());
            assert!(!outer.contains(&inner), "{outer}: {inner}");
        }
    }
}

#[test]
fn an_unknown_device_is_told_from_those_that_there_are() {
    let unknown = |known: &str| Error::UnknownDevice {
        name: "dta".parse().unwrap(),
        known: known.into(),
    };
    let text = unknown("root, data").to_string();
    assert_eq!(text, "there is no device 'dta'; there are root, data");
    assert!(unknown("").to_string().ends_with("'dta', and no other"));
}

#[test]
fn memory_that_is_not_to_be_had_comes_with_a_remedy() {
    for (backing, remedy) in [
        (Backing::Anonymous, "less"),
        (Backing::Shared, "less"),
        (Backing::Huge2M, "vm.nr_hugepages"),
        (Backing::Huge1G, "hugepagesz=1G"),
    ] {
        let source = io_error();
        let bytes = 1 << 30;
        let error = Error::Memory {
            bytes,
            backing,
            source,
        };
        let text = error.to_string();
        assert!(text.starts_with("1073741824 bytes of "), "{text}");
        assert!(text.contains(remedy), "{text}");
    }
}
