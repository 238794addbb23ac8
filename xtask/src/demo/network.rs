//! The host's side of the demo's network: a tap in a network namespace of its
//! own, and one transfer in each direction with a digest of what went by.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use sha2::{Digest, Sha256};

pub(super) const TAP: &str = "demo0";
pub(super) const HOST: &str = "192.0.2.1";
pub(super) const GUEST: &str = "192.0.2.2";
pub(super) const SINK_PORT: u16 = 7000;
pub(super) const ECHO_PORT: u16 = 7001;

/// No transfer takes this long even where everything is emulated twice.
const PATIENCE: Duration = Duration::from_secs(120);

/// Moves this process into a new network namespace, which ends with it, and
/// makes the tap there.
pub(super) fn set_up() -> Result<()> {
    // SAFETY: no other thread exists yet that could miss its network.
    #[allow(unsafe_code)]
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .context("making a network namespace (are you root?)")?;
    ip(&["tuntap", "add", TAP, "mode", "tap", "vnet_hdr"])?;
    ip(&["address", "add", &format!("{HOST}/24"), "dev", TAP])?;
    ip(&["link", "set", TAP, "up"])
}

fn ip(args: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(args).status();
    let status = status.context("cannot run ip, from the package iproute2")?;
    ensure!(status.success(), "ip {} failed", args.join(" "));
    Ok(())
}

/// What went over a connection, as `guest net` tells it.
pub(super) type Tally = String;

/// Takes one connection from the guest and swallows what it sends.
pub(super) fn listen() -> Result<JoinHandle<Result<Tally>>> {
    let listener = TcpListener::bind((HOST, SINK_PORT)).context("listening for the guest")?;
    Ok(thread::spawn(move || {
        let (mut connection, _) = listener.accept()?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut digest = Sha256::new();
        let bytes = digest_all(&mut connection, &mut digest)?;
        Ok(tally(bytes, digest))
    }))
}

/// Sends the guest `bytes` bytes, which it echoes, and sees that what comes
/// back is what went.
pub(super) fn echo(bytes: u64) -> Result<Tally> {
    let mut connection =
        TcpStream::connect((GUEST, ECHO_PORT)).context("connecting to the guest")?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut back = connection.try_clone()?;
    let reader = thread::spawn(move || {
        let mut digest = Sha256::new();
        let bytes = digest_all(&mut back, &mut digest)?;
        anyhow::Ok(tally(bytes, digest))
    });
    let mut digest = Sha256::new();
    let chunk: Vec<u8> = (0..=u8::MAX).cycle().take(65_536).collect();
    let mut left = bytes;
    while left > 0 {
        let len = usize::try_from(left)
            .unwrap_or(chunk.len())
            .min(chunk.len());
        connection.write_all(&chunk[..len])?;
        digest.update(&chunk[..len]);
        left -= len as u64;
    }
    connection.shutdown(Shutdown::Write)?;
    let sent = tally(bytes, digest);
    let received = reader.join().ok().context("the reader panicked")??;
    ensure!(
        sent == received,
        "sent {sent} to the guest, got {received} back"
    );
    Ok(sent)
}

fn digest_all(from: &mut impl Read, digest: &mut Sha256) -> Result<u64> {
    let mut chunk = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(bytes),
            len => {
                digest.update(&chunk[..len]);
                bytes += len as u64;
            }
        }
    }
}

fn tally(bytes: u64, digest: Sha256) -> Tally {
    let mut text = format!("bytes {bytes} sha256 ");
    for byte in digest.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
