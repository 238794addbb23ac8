//! A server of one disk over the NBD protocol, for the emulator to have it as an
//! outer machine's disk (NBD protocol, doc/proto.md: fixed newstyle handshake,
//! simple replies).

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::volatile_disk::VolatileDisk;

const MAGIC: u64 = 0x4e42_444d_4147_4943; // NBDMAGIC
const HAVE_OPTION: u64 = 0x4948_4156_454f_5054; // IHAVEOPT
const OPTION_REPLY: u64 = 0x3_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const SIMPLE_REPLY: u32 = 0x6744_6698;

/// NBD_FLAG_FIXED_NEWSTYLE and NBD_FLAG_NO_ZEROES.
const HANDSHAKE: u16 = 1 | 2;
/// NBD_FLAG_HAS_FLAGS and NBD_FLAG_SEND_FLUSH.
const TRANSMISSION: u16 = 1 | 4;

const OPTION_ABORT: u32 = 2;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 1 << 31 | 1;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;

const EIO: u32 = 5;
const EINVAL: u32 = 22;

/// The longest option and transfer that an emulator sends.
const MOST: u32 = 32 << 20;

/// A disk, and its power.
#[derive(Debug)]
pub(crate) struct Power {
    /// The disk, as long as nobody has taken it.
    pub(crate) disk: Option<VolatileDisk>,
    /// With so many sectors that are not flushed, power fails.
    pub(crate) fails_at: Option<usize>,
    /// It has failed.
    pub(crate) failed: bool,
}

/// A disk that is there until power is cut, and word of its failing.
pub(crate) type Powered = Arc<(Mutex<Power>, Condvar)>;

/// Serves `disk` to the first client of `listener`, until it goes or power is
/// cut.
pub(crate) fn serve(listener: &UnixListener, disk: &Powered) -> io::Result<()> {
    let (mut client, _) = listener.accept()?;
    if negotiate(&mut client, disk)? {
        while transmit(&mut client, disk)? {}
    }
    Ok(())
}

/// Returns whether the client goes on to use the disk.
fn negotiate(client: &mut UnixStream, disk: &Powered) -> io::Result<bool> {
    client.write_all(&MAGIC.to_be_bytes())?;
    client.write_all(&HAVE_OPTION.to_be_bytes())?;
    client.write_all(&HANDSHAKE.to_be_bytes())?;
    let _flags: [u8; 4] = array(client)?;
    loop {
        if u64::from_be_bytes(array(client)?) != HAVE_OPTION {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let option = u32::from_be_bytes(array(client)?);
        let len = u32::from_be_bytes(array(client)?);
        skip(client, len)?;
        match option {
            OPTION_GO => {
                let size = with(disk, |disk| Ok(disk.size()))?;
                let mut info = vec![0, 0];
                info.extend(size.to_be_bytes());
                info.extend(TRANSMISSION.to_be_bytes());
                answer(client, option, REPLY_INFO, &info)?;
                answer(client, option, REPLY_ACK, &[])?;
                return Ok(true);
            }
            OPTION_ABORT => {
                answer(client, option, REPLY_ACK, &[])?;
                return Ok(false);
            }
            _ => answer(client, option, REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn answer(client: &mut UnixStream, option: u32, reply: u32, data: &[u8]) -> io::Result<()> {
    let len = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::from(OPTION_REPLY.to_be_bytes());
    for field in [option, reply, len] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend(data);
    client.write_all(&bytes)
}

/// One request. Returns whether there may be another.
fn transmit(client: &mut UnixStream, disk: &Powered) -> io::Result<bool> {
    if u32::from_be_bytes(array(client)?) != REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let _flags: [u8; 2] = array(client)?;
    let kind = u16::from_be_bytes(array(client)?);
    let cookie: [u8; 8] = array(client)?;
    let offset = u64::from_be_bytes(array(client)?);
    let len = u32::from_be_bytes(array(client)?);
    if len > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut data = Vec::new();
    let outcome = match kind {
        READ => {
            data.resize(len as usize, 0);
            with(disk, |disk| disk.read(offset, &mut data))
        }
        WRITE => {
            let mut bytes = vec![0; len as usize];
            client.read_exact(&mut bytes)?;
            with(disk, |disk| disk.write(offset, &bytes))
        }
        FLUSH => with(disk, VolatileDisk::flush),
        DISCONNECT => return Ok(false),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    let error = match &outcome {
        Ok(()) => 0,
        // Without power there is no answer, either.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => EINVAL,
        Err(_) => EIO,
    };
    let mut reply = Vec::from(SIMPLE_REPLY.to_be_bytes());
    reply.extend(error.to_be_bytes());
    reply.extend(cookie);
    if outcome.is_ok() {
        reply.append(&mut data);
    }
    client.write_all(&reply)?;
    Ok(true)
}

/// Does something with the disk, if it has power, and has afterwards.
fn with<T>(disk: &Powered, act: impl FnOnce(&mut VolatileDisk) -> io::Result<T>) -> io::Result<T> {
    let (power, failed) = &**disk;
    let mut power = power.lock().unwrap_or_else(PoisonError::into_inner);
    let fails_at = power.fails_at;
    let without = || io::Error::from(io::ErrorKind::BrokenPipe);
    let on = !power.failed;
    let disk = power.disk.as_mut().filter(|_| on).ok_or_else(without)?;
    let done = act(disk)?;
    if fails_at.is_some_and(|most| disk.at_risk() >= most) {
        power.failed = true;
        failed.notify_all();
        return Err(without());
    }
    Ok(done)
}

fn array<const N: usize>(client: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(client: &mut UnixStream, len: u32) -> io::Result<()> {
    if len > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let skipped = io::copy(&mut client.take(len.into()), &mut io::sink())?;
    match skipped == u64::from(len) {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
