//! A bus: an address space that routes register accesses to devices.
//!
//! The vCPU threads call [`Bus::read`] and [`Bus::write`] for each port or
//! MMIO exit. Devices see offsets within their own range, never absolute
//! addresses. An access that no device claims reads as ones and writes to
//! nothing, as on an undriven bus.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Something with registers on a [`Bus`].
///
/// `data` has the length of the guest's access, 1 to 8 bytes, and may reach
/// beyond the device's last register: what is not a register reads as zero or
/// ones, at the device's choice, and ignores writes.
pub trait BusDevice: Send {
    /// The guest reads `data.len()` bytes at `offset`.
    fn read(&mut self, offset: u64, data: &mut [u8]);
    /// The guest writes `data` at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// A device shared between a bus and whoever else operates it.
pub type SharedDevice = Arc<Mutex<dyn BusDevice>>;

/// Why a device could not be put on a bus.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BusError {
    /// The range is empty or wraps around the end of the address space.
    #[error("device range {base:#x}+{len:#x} is empty or wraps around")]
    BadRange {
        /// First address of the range.
        base: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Another device already claims part of the range.
    #[error("device range {base:#x}+{len:#x} overlaps another device")]
    Overlap {
        /// First address of the range.
        base: u64,
        /// Length in bytes.
        len: u64,
    },
}

struct Claim {
    base: u64,
    len: u64,
    device: SharedDevice,
}

/// An address space with devices in it, which come and go while the guest
/// runs. Clones are the same bus.
///
/// A device is called with no lock but its own held, so that it may itself put
/// devices on the bus and take them off.
#[derive(Clone, Default)]
pub struct Bus {
    /// Sorted by base, without overlap.
    claims: Arc<RwLock<Vec<Claim>>>,
}

impl Bus {
    /// Puts `device` at `base..base + len`.
    ///
    /// # Errors
    /// The range is empty, wraps around, or overlaps another device's.
    pub fn insert(&self, base: u64, len: u64, device: SharedDevice) -> Result<(), BusError> {
        let end = base
            .checked_add(len)
            .filter(|_| len > 0)
            .ok_or(BusError::BadRange { base, len })?;
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        let at = claims.partition_point(|c| c.base < base);
        let hits_previous = at > 0 && {
            let previous = &claims[at - 1];
            previous.base + previous.len > base
        };
        let hits_next = claims.get(at).is_some_and(|next| next.base < end);
        if hits_previous || hits_next {
            return Err(BusError::Overlap { base, len });
        }
        claims.insert(at, Claim { base, len, device });
        Ok(())
    }

    /// Takes the device at `base` off the bus; an access that has begun may
    /// still reach it.
    pub fn remove(&self, base: u64) {
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        let at = claims.iter().position(|claim| claim.base == base);
        let removed = at.map(|at| claims.remove(at));
        // A device that goes with its claim may take others off the bus.
        drop(claims);
        drop(removed);
    }

    /// Reads `data.len()` bytes at `address`; ones where no device is.
    pub fn read(&self, address: u64, data: &mut [u8]) {
        match self.find(address) {
            Some((offset, device)) => lock(&device).read(offset, data),
            None => data.fill(0xff),
        }
    }

    /// Writes `data` at `address`; lost where no device is.
    pub fn write(&self, address: u64, data: &[u8]) {
        if let Some((offset, device)) = self.find(address) {
            lock(&device).write(offset, data);
        }
    }

    fn find(&self, address: u64) -> Option<(u64, SharedDevice)> {
        let claims = self.claims.read().unwrap_or_else(PoisonError::into_inner);
        let at = claims.partition_point(|c| c.base <= address);
        let claim = &claims[at.checked_sub(1)?];
        let offset = address - claim.base;
        (offset < claim.len).then(|| (offset, Arc::clone(&claim.device)))
    }
}

/// A device whose holder panicked is still a device: its registers hold plain
/// values that are valid at any time.
fn lock(device: &SharedDevice) -> std::sync::MutexGuard<'_, dyn BusDevice + 'static> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Echo(Vec<(u64, Vec<u8>)>);

    impl BusDevice for Echo {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(u8::try_from(offset).unwrap());
        }
        fn write(&mut self, offset: u64, data: &[u8]) {
            self.0.push((offset, data.to_vec()));
        }
    }

    fn echo() -> Arc<Mutex<Echo>> {
        Arc::new(Mutex::new(Echo(Vec::new())))
    }

    #[test]
    fn accesses_reach_the_device_by_offset() {
        let (a, b) = (echo(), echo());
        let bus = Bus::default();
        bus.insert(0x200, 0x10, b.clone()).unwrap();
        bus.insert(0x100, 0x10, a.clone()).unwrap();
        let mut byte = [0];
        bus.read(0x10f, &mut byte);
        assert_eq!(byte, [0xf]);
        bus.write(0x203, &[1, 2]);
        assert!(a.lock().unwrap().0.is_empty());
        assert_eq!(b.lock().unwrap().0, [(3, vec![1, 2])]);
    }

    #[test]
    fn unclaimed_addresses_read_as_ones() {
        let bus = Bus::default();
        bus.insert(0x100, 0x10, echo()).unwrap();
        for address in [0, 0xff, 0x110, u64::MAX] {
            let mut data = [0; 4];
            bus.read(address, &mut data);
            assert_eq!(data, [0xff; 4], "at {address:#x}");
            bus.write(address, &data);
        }
    }

    #[test]
    fn overlapping_and_empty_ranges_are_refused() {
        let bus = Bus::default();
        bus.insert(0x100, 0x10, echo()).unwrap();
        for (base, len) in [(0x100, 0x10), (0xff, 2), (0x10f, 1), (0x0, 0x1000)] {
            assert_eq!(
                bus.insert(base, len, echo()),
                Err(BusError::Overlap { base, len })
            );
        }
        for (base, len) in [(0x500, 0), (u64::MAX, 2)] {
            assert_eq!(
                bus.insert(base, len, echo()),
                Err(BusError::BadRange { base, len })
            );
        }
        bus.insert(0x110, 1, echo()).unwrap();
        bus.insert(0xff, 1, echo()).unwrap();
    }

    #[test]
    fn a_device_whose_holder_panicked_still_answers() {
        let device = echo();
        let bus = Bus::default();
        bus.insert(0x100, 0x10, device.clone()).unwrap();
        let holder = std::thread::spawn(move || {
            let _held = device.lock().unwrap();
            panic!("as a test");
        });
        assert!(holder.join().is_err());
        let mut byte = [0];
        bus.read(0x102, &mut byte);
        assert_eq!(byte, [2]);
    }

    proptest! {
        /// Whatever is inserted where, an access reaches the one device whose
        /// range holds it, or none.
        #[test]
        fn every_address_has_one_owner_or_none(
            ranges in prop::collection::vec((0u64..64, 0u64..16), 0..12),
        ) {
            let bus = Bus::default();
            let mut owners = [None; 96];
            for (base, len) in ranges {
                let place = usize::try_from(base).unwrap()..usize::try_from(base + len).unwrap();
                let free = owners[place.clone()].iter().all(Option::is_none);
                let inserted = bus.insert(base, len, echo());
                prop_assert_eq!(inserted.is_ok(), len > 0 && free);
                if inserted.is_ok() {
                    owners[place].fill(Some(base));
                }
            }
            for (owner, address) in owners.iter().zip(0u64..) {
                let mut byte = [0];
                bus.read(address, &mut byte);
                let expected = owner.map_or(0xff, |base| u8::try_from(address - base).unwrap());
                prop_assert_eq!(byte, [expected]);
            }
        }
    }
}
