//! A function in its slot: its page of configuration space, and its BARs,
//! wherever the guest has them.
//!
//! The page is a device on the MMIO bus for as long as the function is plugged
//! in. A write to it may move a BAR: the page then takes the BAR's registers
//! off their bus and puts them back elsewhere. A guest that puts a BAR where it
//! cannot be, outside of the window for PCI or over another's, has it nowhere.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::bus::{Bus, BusDevice, SharedDevice};

/// A function's configuration space.
pub trait PciFunction: Send {
    /// The guest reads configuration space.
    fn read_config(&mut self, offset: u64, data: &mut [u8]);

    /// The guest writes configuration space.
    fn write_config(&mut self, offset: u64, data: &[u8]);

    /// Where the guest wants BAR `number`; None while it wants it nowhere.
    fn bar(&self, number: usize) -> Option<u64>;

    /// BAR `number` has been put at `base`, or taken away: what hangs on its
    /// address must follow.
    fn placed(&mut self, number: usize, base: Option<u64>);
}

/// What is behind a BAR.
pub struct Bar {
    /// Its registers.
    pub registers: SharedDevice,
    /// Bytes of them.
    pub len: u64,
    /// The address space that they are put into.
    pub bus: Bus,
    /// Where in it they may be.
    pub window: Range<u64>,
}

impl Bar {
    fn fits(&self, base: u64) -> bool {
        let end = base.checked_add(self.len);
        base >= self.window.start && end.is_some_and(|end| end <= self.window.end)
    }
}

/// A function's page of configuration space. Dropping it takes the BARs'
/// registers off their buses.
pub struct ConfigPage<F: PciFunction + 'static> {
    function: Arc<Mutex<F>>,
    /// In order of their numbers, each with where it is on its bus.
    bars: Vec<(Bar, Option<u64>)>,
}

impl<F: PciFunction> ConfigPage<F> {
    /// The page of `function`, whose BARs from number 0 on are `bars`.
    pub fn new(function: Arc<Mutex<F>>, bars: impl IntoIterator<Item = Bar>) -> Self {
        let bars = bars.into_iter().map(|bar| (bar, None)).collect();
        Self { function, bars }
    }

    /// Puts the BARs where the guest wants them now.
    fn follow(&mut self) {
        for (number, (bar, base)) in self.bars.iter_mut().enumerate() {
            let wanted = lock(&self.function).bar(number);
            let wanted = wanted.filter(|wanted| bar.fits(*wanted));
            if *base == wanted {
                continue;
            }
            take_away(&self.function, number, bar, base);
            if let Some(wanted) = wanted
                && let Ok(()) = bar.bus.insert(wanted, bar.len, bar.registers.clone())
            {
                *base = Some(wanted);
                lock(&self.function).placed(number, *base);
            }
        }
    }
}

fn take_away<F: PciFunction>(
    function: &Mutex<F>,
    number: usize,
    bar: &Bar,
    base: &mut Option<u64>,
) {
    if let Some(base) = base.take() {
        bar.bus.remove(base);
        lock(function).placed(number, None);
    }
}

fn lock<F>(function: &Mutex<F>) -> MutexGuard<'_, F> {
    // Registers are plain values, valid whoever panicked.
    function.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<F: PciFunction> BusDevice for ConfigPage<F> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        lock(&self.function).read_config(offset, data);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        lock(&self.function).write_config(offset, data);
        self.follow();
    }
}

impl<F: PciFunction> Drop for ConfigPage<F> {
    fn drop(&mut self) {
        for (number, (bar, base)) in self.bars.iter_mut().enumerate() {
            take_away(&self.function, number, bar, base);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::config_space::{ConfigSpace, Identity, Space};

    const WINDOW: Range<u64> = 0xc000_0000..0xd000_0000;
    const PORTS: Range<u64> = 0xc000..0xe000;
    const LEN: u32 = 0x4000;
    const PORTS_LEN: u32 = 0x100;

    /// A function whose placements are kept.
    struct Kept {
        space: ConfigSpace,
        placements: Vec<(usize, Option<u64>)>,
    }

    impl PciFunction for Kept {
        fn read_config(&mut self, offset: u64, data: &mut [u8]) {
            self.space.read(offset, data);
        }
        fn write_config(&mut self, offset: u64, data: &[u8]) {
            self.space.write(offset, data);
        }
        fn bar(&self, number: usize) -> Option<u64> {
            self.space.bar(number)
        }
        fn placed(&mut self, number: usize, base: Option<u64>) {
            self.placements.push((number, base));
        }
    }

    /// Registers that all read as one number.
    struct Echo(u8);

    impl BusDevice for Echo {
        fn read(&mut self, _: u64, data: &mut [u8]) {
            data.fill(self.0);
        }
        fn write(&mut self, _: u64, _: &[u8]) {}
    }

    #[derive(Default)]
    struct Buses {
        memory: Bus,
        ports: Bus,
    }

    fn plug(buses: &Buses, number: u8, base: u32) -> (ConfigPage<Kept>, Arc<Mutex<Kept>>) {
        let mut space = ConfigSpace::new(&Identity {
            vendor: 1,
            device: 2,
            revision: 3,
            class: [4, 5, 6],
            subsystem_vendor: 7,
            subsystem: 8,
        });
        space.set_bar(0, Space::Memory, base, LEN);
        let port = 0xc000 + u32::from(number) * PORTS_LEN;
        space.set_bar(1, Space::Ports, port, PORTS_LEN);
        let function = Arc::new(Mutex::new(Kept {
            space,
            placements: Vec::new(),
        }));
        let bar = |len: u32, bus: &Bus, window| Bar {
            registers: Arc::new(Mutex::new(Echo(number))),
            len: len.into(),
            bus: bus.clone(),
            window,
        };
        let bars = [
            bar(LEN, &buses.memory, WINDOW),
            bar(PORTS_LEN, &buses.ports, PORTS),
        ];
        (ConfigPage::new(function.clone(), bars), function)
    }

    fn enable(page: &mut ConfigPage<Kept>, on: u8) {
        page.write(4, &[on, 0]);
    }

    fn move_to(page: &mut ConfigPage<Kept>, base: u32) {
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
    fn a_bar_is_where_the_guest_puts_it_while_its_space_is_enabled() {
        let buses = Buses::default();
        let bus = &buses.memory;
        let (mut page, function) = plug(&buses, 7, 0xc000_0000);
        assert_at(bus, 0xc000_0000, NOBODY);
        enable(&mut page, 2);
        assert_at(bus, 0xc000_3fff, 7);
        move_to(&mut page, 0xc800_0000);
        assert_at(bus, 0xc000_0000, NOBODY);
        assert_at(bus, 0xc800_0000, 7);
        enable(&mut page, 0);
        assert_at(bus, 0xc800_0000, NOBODY);
        enable(&mut page, 2);
        drop(page);
        assert_at(bus, 0xc800_0000, NOBODY);
        let placements = &function.lock().unwrap().placements;
        let (low, high) = ((0, Some(0xc000_0000)), (0, Some(0xc800_0000)));
        let none = (0, None);
        assert_eq!(*placements, [low, none, high, none, high, none]);
    }

    #[test]
    fn ports_and_memory_come_and_go_apart() {
        let buses = Buses::default();
        let (mut page, function) = plug(&buses, 7, 0xc000_0000);
        enable(&mut page, 1);
        assert_at(&buses.ports, 0xc7ff, 7);
        assert_at(&buses.memory, 0xc000_0000, NOBODY);
        // Where other registers of the machine are, and beyond all ports.
        for port in [0x3f8, 0xbf00, 0xe000, 0x1_c700] {
            page.write(0x14, &u32::to_le_bytes(port));
            assert_at(&buses.ports, 0xc700, NOBODY);
            assert_at(&buses.ports, port.into(), NOBODY);
        }
        page.write(0x14, &0xdf00_u32.to_le_bytes());
        assert_at(&buses.ports, 0xdfff, 7);
        enable(&mut page, 3);
        assert_at(&buses.memory, 0xc000_0000, 7);
        drop(page);
        assert_at(&buses.ports, 0xdf00, NOBODY);
        let placements = &function.lock().unwrap().placements;
        assert_eq!(placements.last(), Some(&(1, None)));
    }

    #[test]
    fn a_page_that_is_taken_off_the_bus_takes_its_bars_with_it() {
        let buses = Buses::default();
        let bus = &buses.memory;
        let (mut page, _) = plug(&buses, 7, 0xc000_0000);
        enable(&mut page, 3);
        let page = Arc::new(Mutex::new(page));
        bus.insert(0xe000_8000, 4096, page).unwrap();
        bus.remove(0xe000_8000);
        assert_at(bus, 0xe000_8000, NOBODY);
        assert_at(bus, 0xc000_0000, NOBODY);
        assert_at(&buses.ports, 0xc700, NOBODY);
    }

    #[test]
    fn a_bar_where_none_can_be_is_nowhere_until_it_is_moved() {
        let buses = Buses::default();
        let bus = &buses.memory;
        let (mut first, _) = plug(&buses, 1, 0xc000_0000);
        let (mut second, _) = plug(&buses, 2, 0xc000_4000);
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
            assert_at(bus, 0xc000_4000, NOBODY);
            let there = if base == 0xc000_0000 { 1 } else { NOBODY };
            assert_at(bus, base.into(), there);
            assert_at(bus, 0xc000_0000, 1);
        }
        move_to(&mut second, 0xcfff_c000);
        assert_at(bus, 0xcfff_ffff, 2);
    }
}
