//! `guest garbage`: writes pseudo-random values to every register of every
//! virtio-mmio window and of the legacy devices, and reads them, in random
//! order and widths. What survives the line it prints at the end is the VMM.
//!
//! Two writes are left out, since they end the machine by design: pulsing the
//! reset line through the keyboard controller and the reset control register.

use std::fs;
use std::io::Read;
use std::ops::RangeInclusive;

use super::registers::{Ports, Width, Window};
use super::stream::Stream;
use super::{Outcome, print, usage};

/// Keyboard controller, system control, CMOS clock, delay port, PCI
/// configuration. The console (0x3f8) must be asked for: it does not recover.
const LEGACY_PORTS: [RangeInclusive<u64>; 5] = [
    0x60..=0x64,
    0x70..=0x71,
    0x80..=0x80,
    0x2e8..=0x2ff,
    0xcf8..=0xcff,
];
const KEYBOARD_COMMAND: u16 = 0x64;
const RESET_CONTROL: u16 = 0xcf9;

pub(super) fn run(words: &[&str]) -> Outcome {
    let [rounds, seed, ranges @ ..] = words else {
        return usage();
    };
    let (rounds, seed): (u64, u64) = (rounds.parse()?, seed.parse()?);
    let mut windows = Vec::new();
    let mut ports = Vec::new();
    for word in ranges {
        let parsed = word.split_once('=').map(|(kind, text)| (kind, range(text)));
        match parsed {
            Some(("mmio", Some(range))) => windows.push(range),
            Some(("ports", Some(range))) if *range.end() <= 0xffff => ports.push(range),
            _ => return usage(),
        }
    }
    if ranges.is_empty() {
        windows = virtio_windows(&fs::read_to_string("/proc/iomem")?);
        ports = LEGACY_PORTS.to_vec();
    }
    if !windows.is_empty() {
        detach_drivers()?;
    }
    for window in &windows {
        print(format_args!(
            "garbage: mmio {:x}-{:x}",
            window.start(),
            window.end()
        ))?;
        scribble_on_window(&Window::map(window)?, window, rounds, seed)?;
    }
    let access = Ports::open()?;
    for range in &ports {
        print(format_args!(
            "garbage: ports {:x}-{:x}",
            range.start(),
            range.end()
        ))?;
        scribble_on_ports(&access, range, rounds, seed)?;
    }
    print(format_args!(
        "garbage: done windows {} ports {}",
        windows.len(),
        ports.len()
    ))?;
    Ok(())
}

/// Takes the virtio drivers off their devices: some wait for ever for one that
/// no longer answers, and this guest is to live until its last line.
fn detach_drivers() -> Outcome {
    for device in fs::read_dir("/sys/bus/virtio/devices")? {
        let device = device?;
        let unbind = device.path().join("driver/unbind");
        if unbind.exists() {
            fs::write(unbind, device.file_name().as_encoded_bytes())?;
        }
    }
    Ok(())
}

/// One access for each byte of the window, `rounds` times.
fn scribble_on_window(
    window: &Window,
    range: &RangeInclusive<u64>,
    rounds: u64,
    seed: u64,
) -> Outcome {
    let length = range.end() - range.start() + 1;
    let mut random = Random::new(seed ^ range.start());
    for _ in 0..rounds.saturating_mul(length) {
        // Registers end at 0x100 and the configuration space follows: most
        // accesses go where the registers are (virtio 1.3 §4.2.2).
        let reach = if random.below(4)? == 0 {
            length
        } else {
            length.min(0x140)
        };
        let offset = usize::try_from(random.below(reach)?)?;
        window.write(offset, random.width()?, random.next()?);
        std::hint::black_box(window.read(offset));
    }
    Ok(())
}

/// One access for each port, `rounds` times.
fn scribble_on_ports(
    ports: &Ports,
    range: &RangeInclusive<u64>,
    rounds: u64,
    seed: u64,
) -> Outcome {
    let length = range.end() - range.start() + 1;
    let mut random = Random::new(seed ^ range.start());
    for _ in 0..rounds.saturating_mul(length) {
        let port = u16::try_from(range.start() + random.below(length)?)?;
        let (width, value) = (random.width()?, random.next()?);
        if !resets(port, width, value) {
            ports.write(port, width, value);
        }
        std::hint::black_box(ports.read(port));
    }
    Ok(())
}

/// Whether a write asks for a reset.
fn resets(port: u16, width: Width, value: u64) -> bool {
    let (first, bytes) = (usize::from(port), width.bytes().min(4));
    let covers = |target: u16| (first..first + bytes).contains(&usize::from(target));
    // Commands 0xf0 to 0xff pulse output lines, and bit 0 clear means reset.
    let pulse = covers(KEYBOARD_COMMAND)
        && value.to_le_bytes()[usize::from(KEYBOARD_COMMAND - port)] & 0xf1 == 0xf0;
    // A whole doubleword to 0xcf8 is a PCI configuration address instead.
    let control = covers(RESET_CONTROL) && (port, bytes) != (RESET_CONTROL - 1, 4);
    pulse || control
}

/// The virtio-mmio windows among the lines of /proc/iomem: those that ACPI
/// announced, by their hardware ID, and those of the command line.
fn virtio_windows(iomem: &str) -> Vec<RangeInclusive<u64>> {
    let mut found: Vec<_> = iomem
        .lines()
        .filter_map(|line| line.split_once(" : "))
        .filter(|(_, owner)| owner.starts_with("LNRO0005") || owner.starts_with("virtio-mmio"))
        .filter_map(|(addresses, _)| range(addresses.trim()))
        .collect();
    // A driver's claim is listed once more inside the device's own.
    found.dedup();
    found
}

/// Reads `START-END`, hexadecimal, both included.
fn range(text: &str) -> Option<RangeInclusive<u64>> {
    let (start, end) = text.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    (start <= end).then_some(start..=end)
}

struct Random(Stream);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Stream::new(seed, u64::MAX))
    }

    fn next(&mut self) -> std::io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn below(&mut self, bound: u64) -> std::io::Result<u64> {
        Ok(self.next()? % bound)
    }

    fn width(&mut self) -> std::io::Result<Width> {
        let choice = self.below(4)?;
        Ok(Width::ALL[usize::try_from(choice).map_err(std::io::Error::other)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_found_once() {
        let iomem = "00001000-0009ffff : System RAM\n\
                     d0000000-d0000fff : LNRO0005:00\n  \
                     d0000000-d0000fff : LNRO0005:00 LNRO0005:00\n\
                     d0001000-d0001fff : LNRO0005:01\n";
        assert_eq!(
            virtio_windows(iomem),
            [0xd000_0000..=0xd000_0fff, 0xd000_1000..=0xd000_1fff]
        );
    }

    #[test]
    fn ranges_are_checked() {
        assert_eq!(range("60-64"), Some(0x60..=0x64));
        for text in ["60", "64-60", "-", "xx-yy"] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn only_resets_are_left_out() {
        assert!(resets(0x64, Width::One, 0xfe));
        assert!(resets(0x63, Width::Two, 0xfe00));
        assert!(resets(0xcf9, Width::One, 6));
        assert!(resets(0xcf8, Width::Two, 0));
        assert!(!resets(0x64, Width::One, 0xff));
        assert!(!resets(0x64, Width::One, 0xaa));
        assert!(!resets(0xcf8, Width::Four, 0xffff_ffff));
        assert!(!resets(0x60, Width::One, 0xfe));
    }
}
