#![allow(unsafe_code)]
//! `guest discard` and `guest zero`: tell a block device to forget a range, or
//! to fill it with zeroes, by the block layer's ioctls (linux/fs.h). Unsafe
//! because an ioctl's argument is an untyped pointer.

use std::fs::OpenOptions;

use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use super::{Outcome, print, size, usage};

const BLKDISCARD: Opcode = opcode::none(0x12, 119);
const BLKZEROOUT: Opcode = opcode::none(0x12, 127);

#[derive(Clone, Copy)]
pub(super) enum Request {
    Discard,
    Zero,
}

pub(super) fn run(request: Request, words: &[&str]) -> Outcome {
    let [device, offset, bytes] = *words else {
        return usage();
    };
    let file = OpenOptions::new().write(true).open(device)?;
    let range: [u64; 2] = [size::parse(offset)?, size::parse(bytes)?];
    // SAFETY: both requests read two u64, start and length, which they get.
    let (name, outcome) = unsafe {
        match request {
            Request::Discard => ("discard", ioctl(&file, Setter::<BLKDISCARD, _>::new(range))),
            Request::Zero => ("zero", ioctl(&file, Setter::<BLKZEROOUT, _>::new(range))),
        }
    };
    outcome.map_err(|error| format!("{name} of {device}: {error}"))?;
    file.sync_all()?;
    print(format_args!(
        "{name}: {device} offset {} bytes {}",
        range[0], range[1]
    ))?;
    Ok(())
}
