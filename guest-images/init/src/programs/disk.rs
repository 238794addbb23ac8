//! `guest disk`: writes a known stream to a block device, digests what a
//! device holds, or checks it against the stream; or writes a log that tells
//! what is durable, and counts its records. Reads see the device, not this
//! kernel's cache.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

use rustix::fs::{Advice, fadvise};

use super::stream::{CHUNK, Stream, Tally};
use super::{Outcome, print, size, usage};

pub(super) fn run(words: &[&str]) -> Outcome {
    match *words {
        ["write", device, bytes, seed] => write(device, size::parse(bytes)?, seed.parse()?),
        ["log", device] => log(&[device], 1),
        ["log", device, first] => log(&[device], first.parse()?),
        ["log-both", first, second] => log(&[first, second], 1),
        ["count", device] => count(device),
        ["hash", device, bytes] => hash(device, size::parse(bytes)?),
        ["verify", device, bytes, seed] => verify(device, size::parse(bytes)?, seed.parse()?),
        _ => usage(),
    }
}

fn write(device: &str, bytes: u64, seed: u64) -> Outcome {
    let mut file = OpenOptions::new().write(true).open(device)?;
    let mut stream = Stream::new(seed, bytes);
    let mut tally = Tally::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        file.write_all(&chunk[..length])?;
        tally.add(&chunk[..length]);
    }
    file.sync_all()?;
    print(format_args!("disk: wrote {device} {tally}"))?;
    Ok(())
}

/// Bytes of a record of a log.
const RECORD: usize = 4096;

/// Writes one record after another, each full of its number, from `first` on,
/// which is at least 1, and says of each when it is durable. With several
/// devices, each record goes to one after the other, and is durable on the one
/// before it is written to the next. Ends when a device fails or is full.
fn log(devices: &[&str], first: u64) -> Outcome {
    let before = first.checked_sub(1).ok_or("records are counted from 1")?;
    let mut files = Vec::with_capacity(devices.len());
    for device in devices {
        let mut file = OpenOptions::new().write(true).open(device)?;
        file.seek(SeekFrom::Start(before * RECORD as u64))?;
        files.push((device, file));
    }
    for number in first.. {
        let record = record(number);
        for (device, file) in &mut files {
            let written = file.write_all(&record).and_then(|()| file.sync_data());
            if let Err(error) = written {
                print(format_args!("disk: log ends {error}"))?;
                return Ok(());
            }
            print(format_args!("disk: acknowledged {number} of {device}"))?;
        }
    }
    Ok(())
}

fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(RECORD / 8)
}

/// Says how many records there are from the first on, each whole.
fn count(device: &str) -> Outcome {
    let mut file = File::open(device)?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut found = vec![0; RECORD];
    let mut count = 0;
    while file.read_exact(&mut found).is_ok() && found == record(count + 1) {
        count += 1;
    }
    print(format_args!("disk: counted {count} of {device}"))?;
    Ok(())
}

fn hash(device: &str, bytes: u64) -> Outcome {
    let mut tally = Tally::default();
    read(device, bytes, |_, chunk| {
        tally.add(chunk);
        Ok(())
    })?;
    print(format_args!("disk: holds {device} {tally}"))?;
    Ok(())
}

fn verify(device: &str, bytes: u64, seed: u64) -> Outcome {
    let mut stream = Stream::new(seed, bytes);
    let mut expected = vec![0; CHUNK];
    read(device, bytes, |offset, chunk| {
        let expected = &mut expected[..chunk.len()];
        stream.read_exact(expected)?;
        let differs = chunk
            .iter()
            .zip(&*expected)
            .position(|(is, want)| is != want);
        match differs {
            Some(at) => Err(format!("{device} differs at byte {}", offset + at as u64).into()),
            None => Ok(()),
        }
    })?;
    print(format_args!(
        "disk: verified {device} bytes {bytes} seed {seed}"
    ))?;
    Ok(())
}

/// Hands out `bytes` of the device from its start, each chunk with its offset.
fn read(device: &str, bytes: u64, mut with: impl FnMut(u64, &[u8]) -> Outcome) -> Outcome {
    let file = File::open(device)?;
    // Clean pages are dropped, so that the reads reach the device.
    fadvise(&file, 0, None, Advice::DontNeed)?;
    let mut limited = (&file).take(bytes);
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    while offset < bytes {
        let wanted = usize::try_from(bytes - offset).map_or(CHUNK, |left| left.min(CHUNK));
        limited
            .read_exact(&mut chunk[..wanted])
            .map_err(|error| format!("reading {device} at byte {offset}: {error}"))?;
        with(offset, &chunk[..wanted])?;
        offset += wanted as u64;
    }
    Ok(())
}
