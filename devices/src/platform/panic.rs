//! The panic port: a guest whose kernel panicked tells so.
//!
//! One byte, as Linux's pvpanic driver knows it (Documentation of QEMU,
//! specs/pvpanic; Linux drivers/misc/pvpanic): reading says which events can
//! be told, writing tells one. What becomes of the guest is its own decision,
//! the `panic=` of its command line.

use crate::bus::BusDevice;

/// The kernel panicked.
const PANICKED: u8 = 1 << 0;
/// It did, and another kernel takes over to write down what is left of it.
const CRASH_LOADED: u8 = 1 << 1;

/// The port, for one run of the guest.
pub struct PanicPort {
    /// Told of the first panic; a guest that repeats itself says nothing new.
    on_panic: Option<Box<dyn FnOnce() + Send>>,
}

impl PanicPort {
    /// A port that calls `on_panic`, which never blocks, once at most.
    pub fn new(on_panic: impl FnOnce() + Send + 'static) -> Self {
        Self {
            on_panic: Some(Box::new(on_panic)),
        }
    }
}

impl BusDevice for PanicPort {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let (0, Some(byte)) = (offset, data.first_mut()) {
            *byte = PANICKED | CRASH_LOADED;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let (0, Some(event)) = (offset, data.first())
            && event & (PANICKED | CRASH_LOADED) != 0
            && let Some(on_panic) = self.on_panic.take()
        {
            on_panic();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_panic_is_told_once_however_often_the_guest_says_so() {
        for event in [PANICKED, CRASH_LOADED] {
            let (sender, told) = channel();
            let mut port = PanicPort::new(move || sender.send(()).unwrap());
            for _ in 0..1000 {
                port.write(0, &[event]);
            }
            assert_eq!(told.iter().count(), 1);
        }
    }

    #[test]
    fn what_is_no_panic_is_not_told() {
        let (sender, told) = channel();
        let mut port = PanicPort::new(move || sender.send(()).unwrap());
        port.write(0, &[0]);
        port.write(0, &[!(PANICKED | CRASH_LOADED)]);
        port.write(0, &[]);
        port.write(1, &[PANICKED]);
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_driver_reads_what_it_can_tell() {
        let mut port = PanicPort::new(|| {});
        let mut data = [0xaa];
        port.read(0, &mut data);
        assert_eq!(data, [PANICKED | CRASH_LOADED]);
    }
}
