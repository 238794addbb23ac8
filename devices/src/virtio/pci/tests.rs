use super::*;
use crate::virtio::fake_driver::MEMORY;
use crate::virtio::loopback::{QUEUE_SIZE, Queues, Shelf};
use crate::virtio::queue_count::QueueCount;
use proptest::prelude::*;
use std::sync::Mutex;
use vm_memory::{GuestAddress, GuestMemoryMmap};

const BASE: FirstBars = FirstBars {
    registers: 0xc000_0000,
    ports: 0xc100,
};
const STATUS: u64 = 0x14;

/// What was sent, and which doorbells are connected.
#[derive(Clone, Default)]
struct Machine {
    sent: Arc<Mutex<Vec<u32>>>,
    doorbells: Arc<Mutex<Vec<u64>>>,
    /// What the wire leads to, each time that it is said; the last is none when it is
    /// gone.
    wired: Arc<Mutex<Vec<Option<u32>>>>,
}

impl MessageSink for Machine {
    fn send(&self, message: msix::Message) {
        self.sent.lock().unwrap().push(message.data);
    }

    fn wire(&self, _: &EventFd) -> io::Result<Box<dyn msix::Wire>> {
        Ok(Box::new(WireOf(self.clone())))
    }
}

struct WireOf(Machine);

impl msix::Wire for WireOf {
    fn lead_to(&mut self, message: Option<msix::Message>) -> io::Result<()> {
        let mut wired = self.0.wired.lock().unwrap();
        let data = message.map(|message| message.data);
        if wired.last() != Some(&data) {
            wired.push(data);
        }
        Ok(())
    }
}

impl Drop for WireOf {
    fn drop(&mut self) {
        self.0.wired.lock().unwrap().push(None);
    }
}

impl Doorbells for Machine {
    fn connect(&self, address: u64, _: &EventFd) -> io::Result<()> {
        self.doorbells.lock().unwrap().push(address);
        Ok(())
    }
    fn disconnect(&self, address: u64, _: &EventFd) {
        self.doorbells
            .lock()
            .unwrap()
            .retain(|other| *other != address);
    }
}

fn function() -> (PciTransport, Machine, Queues) {
    let (machine, queues) = (Machine::default(), Queues::default());
    let device = Box::new(Shelf(Arc::clone(&queues)));
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]);
    let ram = Ram::new(ram.unwrap());
    let (messages, doorbells) = (Arc::new(machine.clone()), Box::new(machine.clone()));
    let function = PciTransport::new(device, ram, BASE, messages, doorbells).unwrap();
    (function, machine, queues)
}

#[test]
fn every_queue_of_the_largest_device_has_a_vector() {
    let pairs_control_and_configuration = 2 * QueueCount::MAX.get() + 2;
    assert!(pairs_control_and_configuration <= msix::MAX_VECTORS);
    let table = u64::from(msix::MAX_VECTORS) * msix::ENTRY;
    assert!(table <= u64::from(PENDING - TABLE));
    let queues = u32::from(pairs_control_and_configuration) - 1;
    assert!(queues * NOTIFY_STRIDE <= PORTS_LEN);
}

fn read(function: &mut PciTransport, offset: u64, len: usize) -> u64 {
    let mut data = [0; 8];
    function.read(offset, &mut data[..len]);
    u64::from_le_bytes(data)
}

fn write(function: &mut PciTransport, offset: u64, value: u64, len: usize) {
    function.write(offset, &value.to_le_bytes()[..len]);
}

fn config32(function: &mut PciTransport, offset: usize) -> u32 {
    let mut word = [0; 4];
    function.read_config(offset as u64, &mut word);
    u32::from_le_bytes(word)
}

/// Each capability's position and id, in the list's order.
fn capabilities(function: &mut PciTransport) -> Vec<(usize, u8)> {
    let mut found = Vec::new();
    let mut at = config32(function, 0x34) as usize & 0xff;
    while at != 0 {
        let word = config32(function, at).to_le_bytes();
        found.push((at, word[0]));
        at = usize::from(word[1]);
    }
    found
}

/// Brings the device to where its queues are set up: enables MSI-X with a
/// vector for each, and says DRIVER_OK.
fn set_up(function: &mut PciTransport) {
    let (msix_at, _) = capabilities(function)[0];
    function.write_config(msix_at as u64 + 2, &msix::ENABLE.to_le_bytes());
    for vector in 0..3 {
        let entry = u64::from(TABLE) + vector * msix::ENTRY;
        write(function, entry, 0xfee0_0000, 8);
        write(function, entry + 8, 100 + vector, 8);
    }
    for status in [1, 3] {
        write(function, STATUS, status, 1);
    }
    for page in [0, 1] {
        write(function, 0, page, 4);
        let offered = read(function, 4, 4);
        write(function, 8, page, 4);
        write(function, 0xc, offered, 4);
        assert_eq!(read(function, 0xc, 4), offered);
    }
    write(function, STATUS, 11, 1);
    write(function, 0x10, 0, 2);
    for queue in 0..2 {
        write(function, 0x16, queue, 2);
        write(function, 0x1a, queue + 1, 2);
        write(function, 0x20, 0x1_0000 * (queue + 1), 8);
        write(function, 0x28, 0x1_0000 * (queue + 1) + 0x8000, 4);
        write(function, 0x30, 0x1_0000 * (queue + 1) + 0xc000, 4);
        write(function, 0x1c, 1, 2);
    }
    write(function, STATUS, 15, 1);
}

#[test]
fn a_function_is_recognised_as_a_modern_virtio_device() {
    let (mut function, ..) = function();
    let device_type = function.core.device_type();
    assert_eq!(
        config32(&mut function, 0),
        0x1040_1af4 + (device_type << 16)
    );
    assert_eq!(config32(&mut function, 8) & 0xff, 1);
    let list = capabilities(&mut function);
    let ids: Vec<u8> = list.iter().map(|(_, id)| *id).collect();
    assert_eq!(ids, [0x11, 9, 9, 9, 9, 9, 9]);
    let kinds: Vec<u8> = list[1..]
        .iter()
        .map(|(at, _)| config32(&mut function, *at).to_le_bytes()[3])
        .collect();
    assert_eq!(
        kinds,
        [
            COMMON_CFG, NOTIFY_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG, PCI_CFG
        ]
    );
}

#[test]
fn every_part_that_a_capability_names_lies_in_its_bar() {
    let (mut function, ..) = function();
    for (at, _) in &capabilities(&mut function)[1..] {
        let (bar, offset, len) = (
            config32(&mut function, at + 4) & 0xff,
            config32(&mut function, at + 8),
            config32(&mut function, at + 12),
        );
        let whole = [REGISTERS_LEN, PORTS_LEN][bar as usize];
        assert!(offset + len <= whole);
    }
}

#[test]
fn the_driver_sets_the_device_up_and_it_gets_its_queues() {
    let (mut function, _, queues) = function();
    assert_eq!(read(&mut function, 0x12, 2), 2, "two queues");
    assert_eq!(read(&mut function, 0x18, 2), u64::from(QUEUE_SIZE));
    set_up(&mut function);
    assert_eq!(read(&mut function, STATUS, 1), 15);
    assert_eq!(function.core.faults(), 0);
    write(&mut function, 0x16, 1, 2);
    assert_eq!(read(&mut function, 0x20, 8), 0x2_0000);
    assert_eq!(read(&mut function, 0x28, 4), 0x2_8000);
    assert_eq!(
        (read(&mut function, 0x1e, 2), read(&mut function, 0x1c, 2)),
        (1, 1)
    );
    assert_eq!(queues.lock().unwrap().len(), 2);
}

#[test]
fn each_queue_interrupts_by_its_own_vector() {
    let (mut function, machine, _) = function();
    set_up(&mut function);
    let signal = PciSignal(Arc::clone(&function.vectors));
    signal.used_buffer(1);
    signal.used_buffer(0);
    signal.config_change();
    signal.used_buffer(7);
    assert_eq!(*machine.sent.lock().unwrap(), [102, 101, 100]);
    assert_eq!(read(&mut function, ISR.into(), 1), 0);
}

#[test]
fn a_vector_that_is_not_there_reads_back_as_none() {
    let (mut function, ..) = function();
    for (register, count) in [(0x10, 3), (0x1a, 3)] {
        write(&mut function, register, count - 1, 2);
        assert_eq!(read(&mut function, register, 2), count - 1);
        write(&mut function, register, count, 2);
        assert_eq!(read(&mut function, register, 2), 0xffff);
    }
    write(&mut function, 0x16, 9, 2);
    write(&mut function, 0x1a, 0, 2);
    assert_eq!(read(&mut function, 0x1a, 2), 0xffff, "nor is the queue");
}

#[test]
fn a_driver_without_msix_reads_the_cause_which_clears_it() {
    let (mut function, machine, _) = function();
    let signal = PciSignal(Arc::clone(&function.vectors));
    signal.used_buffer(0);
    signal.config_change();
    assert_eq!(read(&mut function, ISR.into(), 1), 3);
    assert_eq!(read(&mut function, ISR.into(), 1), 0);
    assert!(machine.sent.lock().unwrap().is_empty());
}

#[test]
fn a_reset_unmaps_all_vectors() {
    let (mut function, machine, _) = function();
    set_up(&mut function);
    write(&mut function, STATUS, 0, 1);
    assert_eq!(read(&mut function, STATUS, 1), 0);
    PciSignal(Arc::clone(&function.vectors)).used_buffer(0);
    assert!(machine.sent.lock().unwrap().is_empty());
    set_up(&mut function);
    assert_eq!(read(&mut function, STATUS, 1), 15);
}

#[test]
fn a_wire_follows_the_vector_of_its_queue() {
    let (mut function, machine, _) = function();
    let signal = PciSignal(Arc::clone(&function.vectors));
    let call = EventFd::new(0).unwrap();
    assert!(signal.wire(1, &call).is_err(), "the driver has no vectors");
    set_up(&mut function);
    signal.wire(1, &call).unwrap();
    let control = u64::from(TABLE) + 2 * msix::ENTRY + 12;
    // Masked, changed, and unmasked; the function masked; mapped to another vector.
    write(&mut function, control, 1, 4);
    write(&mut function, control - 4, 55, 4);
    write(&mut function, control, 0, 4);
    let (msix_at, _) = capabilities(&mut function)[0];
    for masks in [msix::ENABLE | msix::FUNCTION_MASK, msix::ENABLE] {
        function.write_config(msix_at as u64 + 2, &masks.to_le_bytes());
    }
    write(&mut function, 0x16, 1, 2);
    write(&mut function, 0x1a, 0, 2);
    write(&mut function, 0x1a, 0xffff, 2);
    let wired = [Some(102), None, Some(55), None, Some(55), Some(100), None];
    assert_eq!(*machine.wired.lock().unwrap(), wired);
    write(&mut function, 0x1a, 1, 2);
    signal.unwire(1);
    assert_eq!(machine.wired.lock().unwrap()[7..], [Some(101), None]);
    write(&mut function, 0x1a, 0, 2);
    assert_eq!(machine.wired.lock().unwrap().len(), 9);
}

#[test]
fn doorbells_follow_the_ports() {
    let (mut function, machine, _) = function();
    function.placed(REGISTERS_BAR, Some(0xc000_0000));
    assert!(machine.doorbells.lock().unwrap().is_empty());
    function.placed(PORTS_BAR, Some(0xc100));
    assert_eq!(*machine.doorbells.lock().unwrap(), [0xc100, 0xc104]);
    function.placed(REGISTERS_BAR, None);
    assert_eq!(machine.doorbells.lock().unwrap().len(), 2);
    function.placed(PORTS_BAR, None);
    assert!(machine.doorbells.lock().unwrap().is_empty());
    function.placed(PORTS_BAR, Some(0xd000));
    assert_eq!(*machine.doorbells.lock().unwrap(), [0xd000, 0xd004]);
}

#[test]
fn a_notification_that_no_doorbell_caught_reaches_its_queue() {
    let function = Arc::new(Mutex::new(function().0));
    let mut ports = NotifyPorts(Arc::clone(&function));
    ports.write(4, &[1, 0]);
    assert_eq!(kicks(&function.lock().unwrap()), [0, 1]);
    for beyond in [8, PORTS_LEN.into(), u64::MAX] {
        ports.write(beyond, &[2, 0]);
    }
    assert_eq!(function.lock().unwrap().core.faults(), 3);
    let mut word = [7; 4];
    ports.read(0, &mut word);
    assert_eq!(word, [0; 4]);
}

#[test]
fn a_driver_without_ports_notifies_in_memory() {
    let (mut function, ..) = function();
    write(&mut function, u64::from(NOTIFY) + 4, 1, 2);
    assert_eq!(kicks(&function), [0, 1]);
    write(&mut function, u64::from(NOTIFY) + 8, 2, 2);
    assert_eq!(function.core.faults(), 1);
}

#[test]
fn a_driver_is_shown_ports_first() {
    let (mut function, ..) = function();
    let list = capabilities(&mut function);
    let bar = |at: &(usize, u8)| config32(&mut function, at.0 + 4) & 0xff;
    let bars: Vec<u32> = list[2..4].iter().map(bar).collect();
    assert_eq!(bars, [1, 0]);
}

/// How often each queue was notified since it was last asked.
fn kicks(function: &PciTransport) -> Vec<u64> {
    let kicks = function.core.kicks();
    kicks.map(|kick| kick.read().unwrap_or(0)).collect()
}

#[test]
fn the_window_in_configuration_space_reaches_every_register() {
    let (mut function, ..) = function();
    let window = capabilities(&mut function)[6].0 as u64;
    let through = |function: &mut PciTransport, offset: u32, len: u32| {
        function.write_config(window + 4, &[0]);
        function.write_config(window + 8, &offset.to_le_bytes());
        function.write_config(window + 12, &len.to_le_bytes());
    };
    through(&mut function, 0x14, 1);
    function.write_config(window + 16, &[3]);
    assert_eq!(read(&mut function, STATUS, 1), 3);
    let mut byte = [0];
    function.read_config(window + 16, &mut byte);
    assert_eq!(byte, [3]);
    // Of the wrong length, it is memory.
    function.write_config(window + 16, &[0, 0]);
    assert_eq!(read(&mut function, STATUS, 1), 3);
    through(&mut function, u32::MAX, 4);
    function.read_config(window + 16, &mut [0; 4]);
    // The ports.
    through(&mut function, 4, 2);
    function.write_config(window + 4, &[1]);
    function.write_config(window + 16, &[1, 0]);
    assert_eq!(kicks(&function), [0, 1]);
    let mut half = [7; 2];
    function.read_config(window + 16, &mut half);
    assert_eq!(half, [0; 2]);
    // No other BAR.
    function.write_config(window + 4, &[2]);
    function.write_config(window + 16, &[0, 0]);
    assert_eq!(kicks(&function), [0, 0]);
}

proptest! {
    #[test]
    fn no_access_panics(
        accesses in prop::collection::vec(
            (any::<bool>(), any::<bool>(), 0u64..0x4010, prop::collection::vec(any::<u8>(), 1..9)),
            0..60,
        ),
    ) {
        let (mut function, ..) = function();
        for (is_config, is_write, offset, mut data) in accesses {
            match (is_config, is_write) {
                (true, true) => function.write_config(offset % 260, &data),
                (true, false) => function.read_config(offset % 260, &mut data),
                (false, true) => function.write(offset, &data),
                (false, false) => function.read(offset, &mut data),
            }
        }
        // It can still be set up from whatever state this is.
        write(&mut function, STATUS, 0, 1);
        prop_assert_eq!(read(&mut function, STATUS, 1), 0);
        set_up(&mut function);
        prop_assert_eq!(read(&mut function, STATUS, 1), 15);
    }
}
