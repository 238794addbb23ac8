//! `cargo xtask packages`: the Debian packages that plinth's development
//! needs, by purpose. Other commands call [`ensure`] for what they use, so
//! that a fresh machine is told, or gets, exactly what it lacks.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

/// Packages that are needed together, and what for.
#[derive(Debug)]
pub(crate) struct Purpose {
    name: &'static str,
    packages: &'static [&'static str],
    /// Whether `packages --install` takes it without being asked by name.
    usual: bool,
}

/// Stock kernels out of their packages, and initramfs around them.
pub(crate) const IMAGES: Purpose = Purpose {
    name: "images",
    packages: &[
        "kmod",
        "xz-utils",
        "zstd",
        "lz4",
        "busybox-static",
        "e2fsprogs",
    ],
    usual: true,
};

/// Real KVM where the host has none.
pub(crate) const OUTER: Purpose = Purpose {
    name: "outer",
    packages: &["qemu-system-x86", "kmod", "iproute2"],
    usual: true,
};

/// What unit tests run: the host's switches are made of nftables and lead into Open
/// vSwitch's, and a client of EC2's asks their metadata service.
pub(crate) const UNIT_TESTS: Purpose = Purpose {
    name: "unit-tests",
    packages: &["nftables", "python3-botocore", "openvswitch-switch"],
    usual: true,
};

/// What guest tests run beside a guest.
pub(crate) const GUEST_TESTS: Purpose = Purpose {
    name: "guest-tests",
    packages: &[
        "iproute2",
        "iputils-ping",
        "nftables",
        "e2fsprogs",
        "passt",
        "strace",
    ],
    usual: true,
};

/// The demo's disk and network.
pub(crate) const DEMO: Purpose = Purpose {
    name: "demo",
    packages: &["e2fsprogs", "iproute2"],
    usual: true,
};

/// A Debian root disk that boots to a login. An ordinary user builds it in a
/// user name space, which takes uidmap.
pub(crate) const ROOT_DISK: Purpose = Purpose {
    name: "root-disk",
    packages: &[
        "mmdebstrap",
        "e2fsprogs",
        "fakeroot",
        "openssh-client",
        "uidmap",
    ],
    usual: false,
};

/// A kernel of our own configuration.
pub(crate) const FAST_KERNEL: Purpose = Purpose {
    name: "fast-kernel",
    packages: &[
        "make",
        "gcc",
        "flex",
        "bison",
        "bc",
        "libelf-dev",
        "libssl-dev",
        "xz-utils",
    ],
    usual: false,
};

/// QEMU built from Debian's source.
pub(crate) const EMULATOR: Purpose = Purpose {
    name: "emulator",
    packages: &[
        "dpkg-dev",
        "gcc",
        "meson",
        "ninja-build",
        "pkg-config",
        "libfdt-dev",
        "libglib2.0-dev",
        "libpixman-1-dev",
        "zlib1g-dev",
    ],
    usual: false,
};

const ALL: &[&Purpose] = &[
    &IMAGES,
    &OUTER,
    &DEMO,
    &UNIT_TESTS,
    &GUEST_TESTS,
    &ROOT_DISK,
    &FAST_KERNEL,
    &EMULATOR,
];

/// List the Debian packages needed, by purpose, and install what is missing.
#[derive(Debug, Args)]
pub(crate) struct Packages {
    /// Install what is missing for PURPOSE, or for everyday use.
    #[arg(long)]
    install: bool,
    /// images, outer, demo, unit-tests, guest-tests, root-disk, fast-kernel or
    /// emulator.
    purpose: Vec<String>,
}

impl Packages {
    /// Lists, or installs.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let chosen = self.chosen()?;
        for purpose in &chosen {
            let missing = missing(&[purpose])?;
            let state = match missing.as_slice() {
                [] => "all there".to_owned(),
                _ => format!("missing: {}", missing.join(" ")),
            };
            println!(
                "{:12} {} ({state})",
                purpose.name,
                purpose.packages.join(" ")
            );
        }
        if self.install {
            ensure(&chosen)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn chosen(&self) -> Result<Vec<&'static Purpose>> {
        if self.purpose.is_empty() {
            let wanted = |purpose: &&&Purpose| purpose.usual || !self.install;
            return Ok(ALL.iter().filter(wanted).copied().collect());
        }
        let find = |name: &String| {
            let found = ALL.iter().find(|purpose| purpose.name == name);
            found
                .copied()
                .with_context(|| format!("no packages are needed for \"{name}\""))
        };
        self.purpose.iter().map(find).collect()
    }
}

/// Makes sure that the packages of `purposes` are installed: says which are
/// missing, and as root installs them.
pub(crate) fn ensure(purposes: &[&Purpose]) -> Result<()> {
    let missing = missing(purposes)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!(
            "Debian packages are missing; install them with\n  \
             sudo apt-get install --no-install-recommends {list}"
        );
    }
    eprintln!("installing Debian packages: {list}");
    // Lists may be missing or old; fetching them first is cheaper than
    // telling the two apart.
    apt_get(&["update"])?;
    apt_get(
        &[
            &["install", "--yes", "--no-install-recommends"],
            missing.as_slice(),
        ]
        .concat(),
    )
}

fn missing(purposes: &[&Purpose]) -> Result<Vec<&'static str>> {
    let mut missing = Vec::new();
    for package in purposes.iter().flat_map(|purpose| purpose.packages) {
        if !missing.contains(package) && !installed(package)? {
            missing.push(*package);
        }
    }
    Ok(missing)
}

fn installed(package: &str) -> Result<bool> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .context("cannot run dpkg-query: kernels and tools come from Debian packages")?;
    Ok(output.stdout == b"installed")
}

fn apt_get(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .arg("-qq")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // A command's own output stays the only thing on standard output.
        .stdout(std::io::stderr())
        .status()
        .context("cannot run apt-get")?;
    ensure!(
        status.success(),
        "apt-get {} failed ({status})",
        args.join(" ")
    );
    Ok(())
}
