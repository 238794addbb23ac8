//! `plinth run`: starts a virtual machine, and becomes its process or leaves
//! it running.

use std::mem;
use std::path::PathBuf;
use std::time::Instant;

use ::metadata::name::DnsName;
use clap::Args;
use network::publication::Publication;
use vmm::{CommandLine, Identity, MemoryConfig, MemoryLayout};

use crate::error::Error;
use crate::exit::{self, ExitStatus};
use crate::launch::outputs::{self, Named};
use crate::launch::{self, Specification, process};
use crate::option::backing::BackingOption;
use crate::option::boot::BootOption;
use crate::option::console::{ConsoleEnd, ConsoleOption};
use crate::option::cpus::CpusOption;
use crate::option::disk::DiskOption;
use crate::option::huge_pages::HugePagesOption;
use crate::option::net::{NetEnd, NetOption};
use crate::option::on_reset::OnResetOption;
use crate::option::seed::{SeedOption, SshKeyOption};
use crate::option::transport::TransportOption;
use crate::option::volume::VolumeOption;
use crate::option::vsock::VsockOption;
use crate::option::{metadata, size, smbios};
use crate::registry::Registry;
use crate::registry::name::VmName;
use crate::registry::record::Record;

use super::Outcome;

/// Run a virtual machine, in the foreground or on its own
///
/// On the console, Ctrl-A x ends the machine, Ctrl-A c sends a break, and
/// Ctrl-A h lists these keys.
#[derive(Debug, Args)]
#[command(after_help = exit::HELP)]
pub(super) struct Run {
    /// What `plinth vm` is to call the machine [default: one is made up]
    ///
    /// A living machine's name is refused; one that has ended gives its name
    /// up.
    #[arg(long, value_name = "NAME")]
    name: Option<VmName>,

    /// Leave the machine running on its own, and print its name
    ///
    /// The command ends when the guest has been entered, or says why it was
    /// not.
    #[arg(long)]
    detach: bool,

    /// Kernel: an uncompressed ELF (vmlinux) or a bzImage (vmlinuz)
    #[arg(long, value_name = "FILE")]
    kernel: PathBuf,

    /// Initial file system for the kernel to unpack
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,

    /// Kernel command line; if not given, it names the console: console=ttyS0,
    /// or console=hvc0 with --console …,device=virtio
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    cmdline: Option<CommandLine>,

    /// How the kernel is entered
    #[arg(long, value_name = "PROTOCOL", default_value = "auto")]
    boot: BootOption,

    /// Number of virtual CPUs, 1 to 64: N[,max=N]
    ///
    /// With `max`, more can be added while the guest runs, up to that number.
    #[arg(long, value_name = "CPUS", default_value = "1")]
    cpus: CpusOption,

    /// Memory, such as 512M or 2G (powers of 1024; a number alone is bytes):
    /// SIZE[,max=SIZE]
    ///
    /// With `max`, `plinth vm` can give the guest more while it runs and take
    /// it away again; the kernel is told to use what comes, unless --cmdline
    /// says `memhp_default_state=` itself.
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = size::memory)]
    memory: MemoryLayout,

    /// Give the guest a balloon: what it frees goes back to the host, and
    /// `plinth vm` can ask it for more
    #[arg(long)]
    balloon: bool,

    /// What the memory is made of
    #[arg(long, value_name = "KIND", default_value = "anonymous")]
    memory_backing: BackingOption,

    /// Transparent huge pages for the memory
    #[arg(long, value_name = "WHEN", default_value = "on")]
    huge_pages: HugePagesOption,

    /// Take all memory before the guest starts
    #[arg(long)]
    prefault: bool,

    /// Disk, a raw image or a block device:
    /// PATH[,readonly][,direct][,engine=io-uring|sync][,queues=N][,id=ID]
    /// [,on-error=report|wait][,LIMITS]
    ///
    /// May be repeated; the guest finds disks in this order. `direct` bypasses
    /// the page cache; `id` is the serial number that the guest reads, 20
    /// characters at most. A comma in PATH is written as two.
    ///
    /// `queues`, 1 to 16, is how many vCPUs can use the disk without waiting
    /// for each other; it is 1 unless given, for each takes memory and, up to
    /// the number of vCPUs, a thread that wants a host CPU. As many as vCPUs
    /// is the most that a Linux guest uses. LIMITS are of all queues together.
    ///
    /// on-error says what becomes of what the host cannot do, because a file
    /// system is full or the disk behind it fails: the guest gets an error, or
    /// it waits until the host can (`plinth vm show` says that it does). A
    /// flush that fails is an error in any case, since data may be lost. With
    /// `direct` it is the write itself that fails, and waits.
    ///
    /// LIMITS say what it may do in a second, iops=N and bandwidth=SIZE, and
    /// at once after idling, iops-burst=N and bandwidth-burst=SIZE;
    /// `plinth vm limit` changes them.
    #[arg(long = "disk", value_name = "DISK")]
    disks: Vec<DiskOption>,

    /// Volume, by its name or id: NAME[,readonly][,direct][,engine=io-uring|sync]
    /// [,on-error=report|wait][,load-rate=SIZE]
    ///
    /// May be repeated; the guest finds volumes after disks, in this order,
    /// with their ids for serial numbers (vol and 17 digits). A volume is
    /// attached to one machine at a time, or to several with `readonly`. How
    /// fast it is, plinth volume says. One that was made from a snapshot is
    /// loaded at SIZE in a second, 300M unless given, beside what its guest
    /// asks for.
    #[arg(long = "volume", value_name = "VOLUME")]
    volumes: Vec<VolumeOption>,

    /// How the guest reaches its disks and network interfaces
    #[arg(long, value_name = "TRANSPORT", default_value = "pci")]
    transport: TransportOption,

    /// Network interface, plugged into a network:
    /// NAME[/SUBNET][,ip=ADDRESS][,public=ADDRESS][,security-group=A+B]
    /// [,source-check=off], into a bridge: NAME[,private-vlan=PART][,guard=on|off], on
    /// an existing tap: tap=NAME[,mtu=N], for these three [,vhost=on]; or without any
    /// privilege: user; and for all [,mac=MAC][,queues=N][,id=NAME][,LIMITS]
    ///
    /// May be repeated. NAME is a network that was made with plinth vpc create, and
    /// SUBNET one of its subnets, if it has several. Without `ip` it is given the
    /// first address that is free; without `security-group` it has the group
    /// 'default'. With source-check=off it may send from other addresses than its
    /// own, as a machine that routes does. `public` is an address that plinth address
    /// allocate gave the network. The machine is plugged in for as long as it runs.
    ///
    /// Or NAME is a bridge that was made with plinth switch create. The machine
    /// sends from its MAC address only. PART says whom it talks to: `promiscuous`,
    /// as it is if not given, to everybody; `isolated` to promiscuous ones only; and
    /// the name of a community also to those of the same. With guard=on, which is
    /// usual for the latter two, what only a DHCP server or an IPv6 router says does
    /// not come from it, nor frames for VLANs.
    ///
    /// With `user` the guest has the network of this host's programs, by way of the
    /// program passt, and no other machine reaches it. With `user,host=on` it also
    /// finds what listens on this host's own 127.0.0.1, at its router's address.
    ///
    /// On a tap and without `mac`, the address is derived from this host and the
    /// tap, the same at every start.
    ///
    /// `queues` is how many pairs of queues it has, as a disk's `queues`; on an
    /// existing tap, 2 or more need one that was made with `multi_queue`, and 1 one
    /// that was not.
    ///
    /// LIMITS are a disk's, of packets and bytes: with rx- before each for what
    /// the guest receives, with tx- for what it sends, such as tx-bandwidth=10M.
    #[arg(long = "net", value_name = "NET")]
    nets: Vec<NetOption>,

    /// Port of this host that leads to one of the guest:
    /// [HOSTADDRESS:]HOSTPORT:GUESTPORT[/udp]
    ///
    /// May be repeated. It leads to the first interface on a virtual network, for as
    /// long as the machine runs. It takes no gateway and no public address, and is a
    /// permission of its own: whatever the security groups say, it answers. The guest
    /// sees who asks, but for this host itself at 127.0.0.1. What this host lets in
    /// and forwards otherwise is for its firewall to say.
    #[arg(long = "publish", value_name = "PORTS")]
    published: Vec<Publication>,

    /// Streams to programs of the guest, without a network: cid=N,socket=PATH
    ///
    /// A program of this host connects to the Unix socket at PATH, writes
    /// `CONNECT port` and a line feed, reads `OK port`, and talks to what
    /// listens on that vsock port in the guest. A guest's connection to port P
    /// of the host, context id 2, goes to the Unix socket at PATH_P. N is the
    /// guest's context id, from 3.
    #[arg(long, value_name = "VSOCK")]
    vsock: Option<VsockOption>,

    /// Where the guest's console goes: stdio, socket, file=PATH or none, and
    /// [,device=serial|virtio]
    ///
    /// `socket` keeps it for `plinth vm console`, and is the default with
    /// --detach; without, it is stdio. The serial port (ttyS0) shows a boot
    /// from its first line; the virtio console (hvc0) costs the guest less. A
    /// comma in PATH is written as two.
    #[arg(long, value_name = "CONSOLE")]
    console: Option<ConsoleOption>,

    /// Give the guest a CMOS clock (RTC), which shows whole seconds
    ///
    /// For a guest that sets itself by /dev/rtc. Linux has its time from KVM's
    /// own clock; most kernels that find this one as well set themselves by it
    /// as they boot, and may be half a second off then.
    #[arg(long)]
    rtc: bool,

    /// Give the guest a watchdog: once it uses it, it is reset when it no
    /// longer answers
    ///
    /// What becomes of the machine then, --on-reset says.
    #[arg(long)]
    watchdog: bool,

    /// What becomes of the machine when its guest resets itself
    #[arg(long, value_name = "WHAT", default_value = "reboot")]
    on_reset: OnResetOption,

    /// What the guest reads about its machine:
    /// manufacturer=…,product=…,version=…,serial=…,uuid=…
    #[arg(long, value_name = "FIELDS", value_parser = smbios::identity)]
    smbios: Option<Identity>,

    /// What cloud-init is to call the guest
    ///
    /// Whatever cloud-init is told, by this, --ssh-key and --user-data, a guest on a
    /// routed network is told by the network's metadata service, and its SMBIOS
    /// says EC2. To others it is on one more disk, read-only, with `cidata` for its
    /// label and serial number, which the guest finds after all others. With the
    /// same options and name the guest is the same to cloud-init at every start;
    /// with others it is set up anew.
    #[arg(long, value_name = "NAME")]
    hostname: Option<DnsName>,

    /// Who may log in where cloud-init sets the guest up: an SSH public key, or
    /// its file
    ///
    /// May be repeated.
    #[arg(long = "ssh-key", value_name = "FILE|TEXT", allow_hyphen_values = true)]
    ssh_keys: Vec<SshKeyOption>,

    /// User data for cloud-init: a file with a script, which begins with #!, or
    /// with whatever else it takes; 16 KiB at most
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,

    /// How a network's metadata service treats the guest:
    /// [tokens=optional|required][,hop-limit=N][,endpoint=on|off]
    ///
    /// With tokens=required it answers version 2 only. N is how far the answer that
    /// holds a token travels, 1 to 64: 1 if not given, which is no further than the
    /// guest itself. With endpoint=off it refuses everything.
    #[arg(long, value_name = "FIELDS", value_parser = metadata::metadata)]
    metadata: Option<::metadata::Options>,

    /// Write figures about the run to FILE, as JSON, when it ends
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Run {
    /// In the foreground, returns only if the machine was not started.
    pub(super) fn execute(mut self, asked: Instant) -> Outcome {
        let program = process::program()?;
        self.check_console()?;
        self.check_outputs()?;
        self.publish()?;
        let (name, detach) = (self.chosen_name()?, self.detach);
        let mut launch = launch::prepare(self.specification(name.as_ref()))?;
        let record = Record::now(detach, mem::take(&mut launch.disks));
        let machine = Registry::of_this_user()?.create(name, &record)?;
        launch.begin_outputs()?;
        if !detach {
            return Err(process::become_machine(&program, launch, machine, asked));
        }
        let name = machine.0.name().clone();
        let status = process::detach(&program, launch, machine, asked)?;
        if status == ExitStatus::Success {
            println!("{name}");
        }
        Ok(status)
    }

    /// The machine's name, if it was given or is needed before the machine is.
    fn chosen_name(&self) -> Result<Option<VmName>, Error> {
        let on_switch = |net: &NetOption| matches!(net.end, NetEnd::Port(_));
        if self.name.is_some() || !self.nets.iter().any(on_switch) {
            return Ok(self.name.clone());
        }
        let name = VmName::generate();
        let name = name.map_err(|error| Error::unexpected("no name is to be had").because(error));
        name.map(Some)
    }

    /// Has the first port of a network publish what is to be published.
    fn publish(&mut self) -> Result<(), Error> {
        let Some(first) = self.published.first() else {
            return Ok(());
        };
        let mut ports = self.nets.iter_mut().filter_map(|net| match &mut net.end {
            NetEnd::Port(port) => Some(&mut port.published),
            NetEnd::User(user) => Some(&mut user.published),
            NetEnd::Tap { .. } => None,
        });
        let Some(published) = ports.next() else {
            return Err(Error::configuration(format!(
                "{first} cannot be published: the machine is on no virtual network"
            ))
            .remedy("--net user; or --net NAME, with a network that plinth vpc list lists"));
        };
        *published = mem::take(&mut self.published);
        Ok(())
    }

    fn check_console(&self) -> Result<(), Error> {
        let end = self.console.as_ref().map(|console| &console.end);
        if self.detach && end == Some(&ConsoleEnd::Stdio) {
            return Err(Error::configuration(
                "a detached machine's console cannot be this terminal",
            )
            .remedy("--console socket, and plinth vm console"));
        }
        Ok(())
    }

    /// Where the console goes if nothing was said.
    fn default_console(&self) -> ConsoleOption {
        let end = if self.detach {
            ConsoleEnd::Socket
        } else {
            ConsoleEnd::Stdio
        };
        ConsoleOption {
            end,
            ..ConsoleOption::default()
        }
    }

    /// What is written must be none of what is read.
    fn check_outputs(&self) -> Result<(), Error> {
        let mut inputs: Vec<Named<'_>> = vec![("kernel", &self.kernel)];
        inputs.extend(self.initrd.iter().map(|path| ("initrd", path.as_path())));
        inputs.extend(self.disks.iter().map(|disk| ("disk", disk.path.as_path())));
        let keys = self.ssh_keys.iter().filter_map(SshKeyOption::file);
        inputs.extend(keys.map(|path| ("SSH key's file", path)));
        let user_data = self.user_data.iter();
        inputs.extend(user_data.map(|path| ("user data's file", path.as_path())));
        let mut written: Vec<Named<'_>> = Vec::new();
        let console = self.console.as_ref().map(|console| &console.end);
        if let Some(ConsoleEnd::File(path)) = console {
            written.push(("console file", path));
        }
        written.extend(
            self.report
                .iter()
                .map(|path| ("report file", path.as_path())),
        );
        outputs::check(&written, &inputs)
    }

    fn specification(self, name: Option<&VmName>) -> Specification {
        let backing = self.memory_backing.into();
        let console = self.default_console();
        let console = self.console.unwrap_or(console);
        Specification {
            kernel: self.kernel,
            initrd: self.initrd,
            command_line: self
                .cmdline
                .unwrap_or_else(|| default_command_line(&console)),
            protocol: self.boot.into(),
            cpus: self.cpus.count,
            max_cpus: self.cpus.max,
            memory: MemoryConfig {
                layout: self.memory,
                backing,
                transparent_huge_pages: self.huge_pages.advice(backing),
                prefault: self.prefault,
            },
            balloon: self.balloon,
            transport: self.transport.into(),
            disks: self.disks,
            volumes: self.volumes,
            nets: self.nets,
            owner: name.map(VmName::to_string).unwrap_or_default(),
            seed: SeedOption {
                hostname: self.hostname,
                ssh_keys: self.ssh_keys,
                user_data: self.user_data,
            },
            metadata: self.metadata.unwrap_or_default(),
            vsock: self.vsock,
            console,
            rtc: self.rtc,
            watchdog: self.watchdog,
            on_reset: self.on_reset.into(),
            report: self.report,
            identity: self.smbios,
        }
    }
}

fn default_command_line(console: &ConsoleOption) -> CommandLine {
    let text = console.device.command_line();
    CommandLine::new(text).expect("a word is a command line")
}
