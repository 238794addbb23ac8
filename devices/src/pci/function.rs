//! A function in its slot: its page of configuration space, and its BAR,
//! wherever the guest has it.
//!
//! The page is a device on the MMIO bus for as long as the function is plugged
//! in. A write to it may move the BAR: the page then takes the BAR's registers
//! off the bus and puts them back elsewhere. A guest that puts a BAR where it
//! cannot be, outside of the window for PCI or over another's, has it nowhere.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bus::{Bus, BusDevice};

/// A function with one memory BAR, whose registers it has as a [`BusDevice`].
pub trait PciFunction: BusDevice {
    /// The guest reads configuration space.
    fn read_config(&mut self, offset: u64, data: &mut [u8]);

    /// The guest writes configuration space.
    fn write_config(&mut self, offset: u64, data: &[u8]);

    /// Where the guest wants the BAR, and its length in bytes; None while it
    /// wants it nowhere.
    fn bar(&self) -> Option<(u64, u64)>;

    /// The BAR has been put at `base`, or taken away: what hangs on its address
    /// must follow.
    fn placed(&mut self, base: Option<u64>);
}

/// A function's page of configuration space. Dropping it takes the BAR's
/// registers off the bus.
pub struct ConfigPage<F: PciFunction + 'static> {
    function: Arc<Mutex<F>>,
    bus: Bus,
    /// Where BARs may be.
    window: Range<u64>,
    /// Where the BAR is on the bus.
    base: Option<u64>,
}

impl<F: PciFunction> ConfigPage<F> {
    /// The page of `function`, whose BAR goes on `bus`, within `window`.
    pub fn new(function: Arc<Mutex<F>>, bus: Bus, window: Range<u64>) -> Self {
        Self {
            function,
            bus,
            window,
            base: None,
        }
    }

    /// Puts the BAR where the guest wants it now.
    fn follow(&mut self) {
        let wanted = self.function().bar();
        let wanted = wanted.filter(|(base, len)| {
            let end = base.checked_add(*len);
            *base >= self.window.start && end.is_some_and(|end| end <= self.window.end)
        });
        if self.base == wanted.map(|(base, _)| base) {
            return;
        }
        self.take_away();
        if let Some((base, len)) = wanted
            && self.bus.insert(base, len, self.function.clone()).is_ok()
        {
            self.base = Some(base);
            self.function().placed(self.base);
        }
    }

    fn take_away(&mut self) {
        if let Some(base) = self.base.take() {
            self.bus.remove(base);
            self.function().placed(None);
        }
    }

    fn function(&self) -> MutexGuard<'_, F> {
        // Registers are plain values, valid whoever panicked.
        self.function.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: PciFunction> BusDevice for ConfigPage<F> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        self.function().read_config(offset, data);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.function().write_config(offset, data);
        self.follow();
    }
}

impl<F: PciFunction> Drop for ConfigPage<F> {
    fn drop(&mut self) {
        self.take_away();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::config_space::{ConfigSpace, Identity};

    const WINDOW: Range<u64> = 0xc000_0000..0xd000_0000;
    const LEN: u32 = 0x4000;

    /// A function whose registers all read as its number.
    struct Echo {
        space: ConfigSpace,
        number: u8,
        placements: Vec<Option<u64>>,
    }

    impl BusDevice for Echo {
        fn read(&mut self, _: u64, data: &mut [u8]) {
            data.fill(self.number);
        }
        fn write(&mut self, _: u64, _: &[u8]) {}
    }

    impl PciFunction for Echo {
        fn read_config(&mut self, offset: u64, data: &mut [u8]) {
            self.space.read(offset, data);
        }
        fn write_config(&mut self, offset: u64, data: &[u8]) {
            self.space.write(offset, data);
        }
        fn bar(&self) -> Option<(u64, u64)> {
            self.space.bar().map(|base| (base, LEN.into()))
        }
        fn placed(&mut self, base: Option<u64>) {
            self.placements.push(base);
        }
    }

    fn plug(bus: &Bus, number: u8, base: u32) -> (ConfigPage<Echo>, Arc<Mutex<Echo>>) {
        let mut space = ConfigSpace::new(&Identity {
            vendor: 1,
            device: 2,
            revision: 3,
            class: [4, 5, 6],
            subsystem_vendor: 7,
            subsystem: 8,
        });
        space.set_bar(base, LEN);
        let function = Arc::new(Mutex::new(Echo {
            space,
            number,
            placements: Vec::new(),
        }));
        let page = ConfigPage::new(function.clone(), bus.clone(), WINDOW);
        (page, function)
    }

    fn enable(page: &mut ConfigPage<Echo>, on: u8) {
        page.write(4, &[on, 0]);
    }

    fn move_to(page: &mut ConfigPage<Echo>, base: u32) {
        page.write(0x10, &base.to_le_bytes());
    }

    #[track_caller]
    fn assert_at(bus: &Bus, address: u64, expected: u8) {
        let mut byte = [0];
        bus.read(address, &mut byte);
        assert_eq!(byte, [expected], "{address:#x}");
    }

    const NOBODY: u8 = 0xff;

    #[test]
    fn a_bar_is_where_the_guest_puts_it_while_memory_is_enabled() {
        let bus = Bus::default();
        let (mut page, function) = plug(&bus, 7, 0xc000_0000);
        assert_at(&bus, 0xc000_0000, NOBODY);
        enable(&mut page, 2);
        assert_at(&bus, 0xc000_3fff, 7);
        move_to(&mut page, 0xc800_0000);
        assert_at(&bus, 0xc000_0000, NOBODY);
        assert_at(&bus, 0xc800_0000, 7);
        enable(&mut page, 0);
        assert_at(&bus, 0xc800_0000, NOBODY);
        enable(&mut page, 2);
        drop(page);
        assert_at(&bus, 0xc800_0000, NOBODY);
        let placements = &function.lock().unwrap().placements;
        let (low, high) = (Some(0xc000_0000), Some(0xc800_0000));
        assert_eq!(*placements, [low, None, high, None, high, None]);
    }

    #[test]
    fn a_page_that_is_taken_off_the_bus_takes_its_bar_with_it() {
        let bus = Bus::default();
        let (mut page, _) = plug(&bus, 7, 0xc000_0000);
        enable(&mut page, 2);
        let page = Arc::new(Mutex::new(page));
        bus.insert(0xe000_8000, 4096, page).unwrap();
        bus.remove(0xe000_8000);
        assert_at(&bus, 0xe000_8000, NOBODY);
        assert_at(&bus, 0xc000_0000, NOBODY);
    }

    #[test]
    fn a_bar_where_none_can_be_is_nowhere_until_it_is_moved() {
        let bus = Bus::default();
        let (mut first, _) = plug(&bus, 1, 0xc000_0000);
        let (mut second, _) = plug(&bus, 2, 0xc000_4000);
        enable(&mut first, 2);
        enable(&mut second, 2);
        // Over guest memory, over other registers, over the first.
        for base in [
            0,
            0xbfff_c000,
            0xd000_0000,
            0xfee0_0000,
            0xffff_c000,
            0xc000_0000,
        ] {
            move_to(&mut second, base);
            assert_at(&bus, 0xc000_4000, NOBODY);
            assert_at(&bus, 0xc000_0000, 1);
            assert_at(&bus, 0xd000_0000, NOBODY);
        }
        move_to(&mut second, 0xcfff_c000);
        assert_at(&bus, 0xcfff_ffff, 2);
    }
}
