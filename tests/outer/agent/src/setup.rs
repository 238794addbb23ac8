//! From a bare initramfs to a machine that looks like the host: modules
//! loaded, the host's file system as root (read-only, changes kept in
//! memory), shared directories, and the usual kernel file systems.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, mount, mount_move};
use rustix::system::init_module;

/// What to set up, from the initramfs.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Modules at `/modules/NAME.ko`, in the order to load them.
    modules: Vec<String>,
    /// The 9p tag of the host's root; without one the initramfs stays root.
    host_root: Option<String>,
    /// 9p tags and the directories to mount them on.
    shares: Vec<(String, String)>,
    /// The kernel's release and the directory of all its modules.
    module_tree: Option<(String, String)>,
    /// An encoded command to run instead of listening for commands.
    pub(crate) batch: Option<Vec<u8>>,
}

impl Plan {
    /// Reads `/outer.conf`: one directive per line, the last word of a line
    /// being the rest of it.
    pub(crate) fn read() -> io::Result<Self> {
        let mut plan = Self {
            batch: fs::read("/command").ok(),
            ..Self::default()
        };
        for line in fs::read_to_string("/outer.conf")?.lines() {
            let mut words = line.splitn(3, ' ').map(str::to_owned);
            let mut word = || {
                words
                    .next()
                    .ok_or_else(|| io::Error::other(format!("/outer.conf: {line}")))
            };
            match word()?.as_str() {
                "module" => plan.modules.push(word()?),
                "host-root" => plan.host_root = Some(word()?),
                "share" => plan.shares.push((word()?, word()?)),
                "module-tree" => plan.module_tree = Some((word()?, word()?)),
                other => return Err(io::Error::other(format!("/outer.conf: {other}?"))),
            }
        }
        Ok(plan)
    }
}

/// Sets the machine up.
pub(crate) fn perform(plan: &Plan) -> io::Result<()> {
    for name in &plan.modules {
        let image = fs::read(format!("/modules/{name}.ko"))?;
        init_module(&image, c"").map_err(|error| during(&format!("loading {name}"), error))?;
    }
    match &plan.host_root {
        Some(tag) => enter_host_root(tag)?,
        None => kernel_file_systems(Path::new("/"))?,
    }
    if let Some((release, tree)) = &plan.module_tree {
        fs::create_dir_all("/lib/modules")?;
        let link = Path::new("/lib/modules").join(release);
        if !link.exists() {
            symlink(tree, link)?;
        }
    }
    for (tag, path) in &plan.shares {
        fs::create_dir_all(path)?;
        // Uncached: what the host builds is seen at once, and the other way.
        mount_9p(tag, path, MountFlags::empty(), "cache=none")?;
    }
    if plan.host_root.is_some() {
        fs::write("/proc/sys/kernel/hostname", "outer")?;
        bring_up_loopback();
    }
    Ok(())
}

/// Makes the next command see what the host changed under its cached root.
pub(crate) fn forget_cached_files() -> io::Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "3")
}

/// Makes the host's root ours, with an overlay that takes all changes.
fn enter_host_root(tag: &str) -> io::Result<()> {
    for directory in ["/host", "/changes", "/new"] {
        fs::create_dir_all(directory)?;
    }
    mount_9p(tag, "/host", MountFlags::RDONLY, "cache=loose")?;
    mount_at("tmpfs", Path::new("/changes"), "mode=755")?;
    fs::create_dir_all("/changes/upper")?;
    fs::create_dir_all("/changes/work")?;
    let layers = "lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work";
    mount_at("overlay", Path::new("/new"), layers)?;
    kernel_file_systems(Path::new("/new"))?;

    std::env::set_current_dir("/new")?;
    mount_move(".", "/").map_err(|error| during("moving the root", error))?;
    rustix::process::chroot(".")?;
    std::env::set_current_dir("/")
}

/// Mounts what every Linux system has, under `root`.
fn kernel_file_systems(root: &Path) -> io::Result<()> {
    let mounts = [
        ("proc", "proc", ""),
        ("sysfs", "sys", ""),
        ("devtmpfs", "dev", ""),
        ("devpts", "dev/pts", "ptmxmode=666"),
        ("tmpfs", "dev/shm", "mode=1777"),
        ("tmpfs", "run", "mode=755"),
        ("hugetlbfs", "dev/hugepages", ""),
        ("cgroup2", "sys/fs/cgroup", ""),
        ("debugfs", "sys/kernel/debug", ""),
        ("tracefs", "sys/kernel/tracing", ""),
    ];
    for (kind, path, options) in mounts {
        let path = root.join(path);
        fs::create_dir_all(&path)?;
        mount_at(kind, &path, options)?;
    }
    let links = [
        ("fd", ""),
        ("stdin", "/0"),
        ("stdout", "/1"),
        ("stderr", "/2"),
    ];
    for (name, rest) in links {
        symlink(format!("/proc/self/fd{rest}"), root.join("dev").join(name))?;
    }
    Ok(())
}

fn mount_9p(tag: &str, path: &str, flags: MountFlags, cache: &str) -> io::Result<()> {
    let options = c_string(&format!(
        "trans=virtio,version=9p2000.L,msize=512000,{cache}"
    ))?;
    mount(tag, path, "9p", flags, options.as_c_str())
        .map_err(|error| during(&format!("mounting {path} of the host"), error))
}

fn mount_at(kind: &str, path: &Path, options: &str) -> io::Result<()> {
    let options = c_string(options)?;
    mount(kind, path, kind, MountFlags::empty(), options.as_c_str())
        .map_err(|error| during(&format!("mounting {kind} on {}", path.display()), error))
}

/// Tests talk over 127.0.0.1; a machine without it is still of use.
fn bring_up_loopback() {
    let status = Command::new("/sbin/ip")
        .args(["link", "set", "lo", "up"])
        .status();
    if !status.as_ref().is_ok_and(|status| status.success()) {
        eprintln!("outer-agent: no loopback interface: {status:?}");
    }
}

fn c_string(text: &str) -> io::Result<std::ffi::CString> {
    std::ffi::CString::new(text).map_err(io::Error::other)
}

fn during(what: &str, error: rustix::io::Errno) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}
