//! KVM: is the device there, may this user open it, does it make machines,
//! and can these run an unmodified kernel?
//!
//! `plinth run` asks as well before it starts anything. The only file of this
//! crate that names kvm-ioctls.

use std::fs;

use kvm_ioctls::Kvm;
use rustix::io::Errno;

use super::finding::Finding;

const NAME: &str = "kvm";

/// The only version of the API there has been since 2007
/// (Documentation/virt/kvm/api.rst, KVM_GET_API_VERSION).
const API_VERSION: i32 = 12;

/// What is seen of KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sight {
    /// The API version, and whether a machine could be made; or why the
    /// device cannot be opened.
    device: Result<(i32, Result<(), Errno>), Errno>,
    processor: Processor,
}

/// What the processor offers, by the flags in /proc/cpuinfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Processor {
    Intel,
    Amd,
    Nothing,
}

/// Probes KVM.
pub fn probe() -> Finding {
    judge(Sight::new(|kvm| {
        let machine = kvm.create_vm().map_err(errno);
        machine.map(drop)
    }))
}

/// Probes KVM without making a machine, which takes the kernel milliseconds to
/// end: for those who are about to make one and will see.
pub fn glance() -> Finding {
    judge(Sight::new(|_| Ok(())))
}

impl Sight {
    fn new(try_machine: impl FnOnce(&Kvm) -> Result<(), Errno>) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let kvm = Kvm::new().map_err(errno);
        Self {
            device: kvm.map(|kvm| (kvm.get_api_version(), try_machine(&kvm))),
            processor: processor(&cpuinfo),
        }
    }
}

fn errno(error: kvm_ioctls::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}

fn processor(cpuinfo: &str) -> Processor {
    let flags = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags"))
        .unwrap_or_default();
    let has = |name| flags.split_ascii_whitespace().any(|flag| flag == name);
    match (has("vmx"), has("svm")) {
        (true, _) => Processor::Intel,
        (_, true) => Processor::Amd,
        _ => Processor::Nothing,
    }
}

fn judge(sight: Sight) -> Finding {
    let missing = |detail: String, remedy: &str| Finding::missing(NAME, detail, remedy);
    let (version, machine) = match sight.device {
        Ok(seen) => seen,
        Err(Errno::NOENT) => return absent(sight.processor),
        // Permission would be of no use.
        Err(Errno::ACCESS | Errno::PERM) if sight.processor == Processor::Nothing => {
            return paravirtualised();
        }
        Err(Errno::ACCESS | Errno::PERM) => {
            return missing(
                "this user may not open /dev/kvm".into(),
                "sudo usermod -aG kvm $USER, then log in again",
            );
        }
        Err(Errno::NXIO | Errno::NODEV) => {
            return missing(
                "/dev/kvm is there, but no KVM is behind it".into(),
                "sudo modprobe kvm_intel (or kvm_amd)",
            );
        }
        Err(error) => {
            return missing(
                format!("/dev/kvm cannot be opened: {error}"),
                "looking at the kernel's log: sudo dmesg",
            );
        }
    };
    if version != API_VERSION {
        return missing(
            format!("KVM speaks API version {version} and plinth {API_VERSION}"),
            "a stock Linux kernel on this host",
        );
    }
    if let Err(error) = machine {
        return missing(
            format!("KVM makes no machine: {error}"),
            "ending other hypervisors on this host, and looking at the kernel's log: sudo dmesg",
        );
    }
    let virtualization = match sight.processor {
        Processor::Intel => "Intel VMX",
        Processor::Amd => "AMD SVM",
        Processor::Nothing => return paravirtualised(),
    };
    Finding::ok(
        NAME,
        format!("usable, API version {version}, {virtualization}"),
    )
}

fn paravirtualised() -> Finding {
    Finding::missing(
        NAME,
        "/dev/kvm is there, but the processor shows neither vmx nor svm: this is a \
         paravirtualised KVM (PVM), which runs only kernels built for it and no unmodified kernel",
        "a host with hardware virtualization, or an emulated one inside this host",
    )
}

fn absent(processor: Processor) -> Finding {
    match processor {
        Processor::Nothing => Finding::missing(
            NAME,
            "/dev/kvm does not exist, and the processor shows neither vmx nor svm",
            "enabling virtualization in the firmware's settings, or nested virtualization in the \
             hypervisor above",
        ),
        Processor::Intel => Finding::missing(
            NAME,
            "/dev/kvm does not exist, though the processor has Intel VMX",
            "sudo modprobe kvm_intel",
        ),
        Processor::Amd => Finding::missing(
            NAME,
            "/dev/kvm does not exist, though the processor has AMD SVM",
            "sudo modprobe kvm_amd",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    fn judged(device: Result<(i32, Result<(), Errno>), Errno>, processor: Processor) -> Finding {
        judge(Sight { device, processor })
    }

    #[test]
    fn the_processor_is_known_by_its_flags() {
        assert_eq!(
            processor("model name\t: vmx\nflags\t\t: fpu svm sse\n"),
            Processor::Amd
        );
        assert_eq!(processor("flags\t\t: fpu vmx\n"), Processor::Intel);
        assert_eq!(processor("flags\t\t: fpu vmxoff\n"), Processor::Nothing);
        assert_eq!(processor(""), Processor::Nothing);
    }

    #[test]
    fn a_working_kvm_is_ok() {
        let finding = judged(Ok((12, Ok(()))), Processor::Amd);
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.detail.contains("AMD SVM"));
    }

    #[test]
    fn a_paravirtualised_kvm_is_named() {
        let finding = judged(Ok((12, Ok(()))), Processor::Nothing);
        assert_eq!(finding.level, Level::Missing);
        assert!(finding.detail.contains("paravirtualised KVM (PVM)"));
        // Also to those who may not open it: permission would be no help.
        for errno in [Errno::ACCESS, Errno::PERM] {
            assert_eq!(judged(Err(errno), Processor::Nothing), finding);
        }
    }

    #[test]
    fn each_obstacle_has_its_own_verdict_and_remedy() {
        use Processor::{Amd, Intel, Nothing};
        for (device, processor, detail, remedy) in [
            (
                Err(Errno::NOENT),
                Intel,
                "does not exist",
                "modprobe kvm_intel",
            ),
            (Err(Errno::NOENT), Amd, "does not exist", "modprobe kvm_amd"),
            (
                Err(Errno::NOENT),
                Nothing,
                "neither vmx nor svm",
                "firmware",
            ),
            (Err(Errno::ACCESS), Amd, "may not open", "usermod"),
            (Err(Errno::NODEV), Amd, "no KVM is behind", "modprobe"),
            (Err(Errno::MFILE), Amd, "cannot be opened", "dmesg"),
            (Ok((11, Ok(()))), Amd, "version 11", "stock"),
            (
                Ok((12, Err(Errno::BUSY))),
                Amd,
                "makes no machine",
                "ending",
            ),
        ] {
            let finding = judged(device, processor);
            assert_eq!(finding.level, Level::Missing);
            assert!(finding.detail.contains(detail), "{finding}");
            assert!(finding.remedy.unwrap().contains(remedy));
        }
    }
}
