//! A 16550 serial port, at I/O port 0x3f8 and IRQ 4 in a PC (COM1).
//!
//! The guest's side is a [`BusDevice`]; the host's side is the same value,
//! cloned: what the guest sends goes into a [`ConsoleBuffer`], what it is to
//! receive comes through its [`Line`]. Nothing is lost on the way in:
//! the FIFO is refilled as the guest reads, and a bounded queue stands behind
//! it. This is the only file that names the vm-superio crate, which keeps the
//! registers; it knows no break condition, and forgets that data is waiting
//! once the guest was told, so both are added here.
//!
//! The lock is a leaf, held no longer than one register access: a worker that
//! hands input over cannot wait for a vCPU.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_superio::{Trigger, serial::NoEvents};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::bus::BusDevice;
use crate::console::buffer::ConsoleBuffer;
use crate::console::line::Line;
use crate::interrupt::InterruptLine;

/// First port of COM1.
pub const COM1_BASE: u64 = 0x3f8;
/// Number of ports.
pub const LEN: u64 = 8;
/// The interrupt of COM1.
pub const COM1_IRQ: u32 = 4;

/// Receiver buffer on read, transmitter holding register on write.
const DATA: u8 = 0;
/// Bit 0: interrupt when data is there.
const INTERRUPT_ENABLE: u8 = 1;
const DATA_INTERRUPT: u8 = 1;
/// On read: which interrupt is pending, in bits 0 to 3.
const INTERRUPT_IDENTIFICATION: u8 = 2;
const NO_INTERRUPT: u8 = 0b0001;
const DATA_AVAILABLE: u8 = 0b0100;
const IDENTIFICATION: u8 = 0b1111;
/// Line control; its bit 7 puts the divisor latch in place of `DATA` and
/// `INTERRUPT_ENABLE`.
const LINE_CONTROL: u8 = 3;
const DIVISOR_LATCH: u8 = 1 << 7;
const MODEM_CONTROL: u8 = 4;
const LINE_STATUS: u8 = 5;
/// Line status: the byte at the head of the FIFO is a break.
const BREAK_INDICATION: u8 = 1 << 4;

/// How much input may wait behind the FIFO, in characters.
const QUEUE_LEN: usize = 4096;

/// One thing that arrives on the receive line.
#[derive(Clone, Copy)]
enum Incoming {
    Byte(u8),
    Break,
}

/// How far the guest has got with a break that is in the FIFO.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BreakState {
    None,
    /// Its zero byte is alone in the FIFO.
    Received,
    /// The line status has told the guest what the zero byte means.
    Indicated,
}

/// Tells vm-superio's interrupts to the line.
struct Interrupt(InterruptLine);

impl Trigger for Interrupt {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.trigger();
        Ok(())
    }
}

struct Uart {
    /// What new registers are made with.
    line: InterruptLine,
    output: ConsoleBuffer,
    registers: vm_superio::Serial<Interrupt, NoEvents, ConsoleBuffer>,
    /// Capacity of the receive FIFO.
    fifo_len: usize,
    queue: VecDeque<Incoming>,
    at_break: BreakState,
    /// The host side found little room and waits for the event.
    wants_room: bool,
    room: Arc<EventFd>,
}

/// A serial port. Clones are the same port.
#[derive(Clone)]
pub struct Serial(Arc<Mutex<Uart>>);

impl Serial {
    /// A port that interrupts through `interrupt` and sends to `output`.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(interrupt: InterruptLine, output: ConsoleBuffer) -> io::Result<Self> {
        let registers = vm_superio::Serial::new(Interrupt(interrupt.clone()), output.clone());
        // Signalled from the start, so that whoever has input looks once.
        let room = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        room.write(1)?;
        Ok(Self(Arc::new(Mutex::new(Uart {
            line: interrupt,
            output,
            fifo_len: registers.fifo_capacity(),
            registers,
            queue: VecDeque::new(),
            at_break: BreakState::None,
            wants_room: false,
            room: Arc::new(room),
        }))))
    }

    /// Brings the registers to where they are when a machine is switched on,
    /// for a guest that starts anew. What is in the FIFO is lost, as on a PC;
    /// input behind it waits for the new guest.
    pub fn reset(&self) {
        let mut uart = self.uart();
        let output = uart.output.clone();
        uart.registers = vm_superio::Serial::new(Interrupt(uart.line.clone()), output);
        uart.at_break = BreakState::None;
        uart.refill();
    }

    /// Registers hold plain values: valid even if a holder panicked.
    fn uart(&self) -> MutexGuard<'_, Uart> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line for Serial {
    fn room(&self) -> usize {
        let mut uart = self.uart();
        let room = QUEUE_LEN.saturating_sub(uart.queue.len());
        uart.wants_room = room < QUEUE_LEN / 2;
        room
    }

    fn receive(&self, bytes: &[u8]) -> usize {
        let mut uart = self.uart();
        let taken = bytes.len().min(QUEUE_LEN.saturating_sub(uart.queue.len()));
        let incoming = bytes[..taken].iter().map(|&byte| Incoming::Byte(byte));
        uart.queue.extend(incoming);
        uart.refill();
        taken
    }

    fn receive_break(&self) {
        let mut uart = self.uart();
        if uart.queue.len() < QUEUE_LEN {
            uart.queue.push_back(Incoming::Break);
            uart.refill();
        }
    }

    fn room_event(&self) -> Arc<EventFd> {
        Arc::clone(&self.uart().room)
    }
}

impl Uart {
    fn read_register(&mut self, register: u8) -> u8 {
        let value = self.registers.read(register);
        match register {
            DATA if !self.divisor_latch() => {
                self.at_break = BreakState::None;
                // Refilled when empty, not byte by byte: each refill
                // interrupts the guest.
                if self.registers.fifo_capacity() == self.fifo_len {
                    self.refill();
                }
                value
            }
            LINE_STATUS if self.at_break == BreakState::Received => {
                self.at_break = BreakState::Indicated;
                value | BREAK_INDICATION
            }
            // Reading the data ends this interrupt, not hearing of it: a
            // driver that takes a part asks again before it leaves.
            INTERRUPT_IDENTIFICATION
                if value & IDENTIFICATION == NO_INTERRUPT && self.data_interrupt() =>
            {
                value & !IDENTIFICATION | DATA_AVAILABLE
            }
            _ => value,
        }
    }

    /// Whether there is data and the guest wants to be interrupted for it.
    fn data_interrupt(&mut self) -> bool {
        self.registers.fifo_capacity() < self.fifo_len
            && !self.divisor_latch()
            && self.registers.read(INTERRUPT_ENABLE) & DATA_INTERRUPT != 0
    }

    fn write_register(&mut self, register: u8, value: u8) {
        // The line and the buffer take everything: no error can arise.
        let _ = self.registers.write(register, value);
        if register == MODEM_CONTROL {
            // Input waits while the port is in loopback.
            self.refill();
        }
    }

    fn divisor_latch(&mut self) -> bool {
        self.registers.read(LINE_CONTROL) & DIVISOR_LATCH != 0
    }

    /// Moves queued input into the FIFO. A break goes in alone, so that the
    /// break indication can only belong to it.
    fn refill(&mut self) {
        if self.at_break != BreakState::None {
            return;
        }
        let space = self.registers.fifo_capacity();
        if let Some(Incoming::Break) = self.queue.front() {
            if space == self.fifo_len && self.offer(&[0]) == 1 {
                self.queue.pop_front();
                self.at_break = BreakState::Received;
            }
        } else {
            let next = self.queue.iter().take(space);
            let bytes: Vec<u8> = next
                .map_while(|incoming| match incoming {
                    Incoming::Byte(byte) => Some(*byte),
                    Incoming::Break => None,
                })
                .collect();
            let taken = self.offer(&bytes);
            self.queue.drain(..taken);
        }
        if self.wants_room && self.queue.len() <= QUEUE_LEN / 2 {
            self.wants_room = false;
            let _ = self.room.write(1);
        }
    }

    /// Puts bytes into the FIFO; none are taken in loopback.
    fn offer(&mut self, bytes: &[u8]) -> usize {
        self.registers.enqueue_raw_bytes(bytes).unwrap_or(0)
    }
}

impl BusDevice for Serial {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        let mut uart = self.uart();
        for (at, byte) in (offset..=u64::MAX).zip(data) {
            *byte = register(at).map_or(0xff, |register| uart.read_register(register));
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let mut uart = self.uart();
        for (at, &byte) in (offset..=u64::MAX).zip(data) {
            if let Some(register) = register(at) {
                uart.write_register(register, byte);
            }
        }
    }
}

/// The register at `offset`: a wide access is one access for each byte, as on
/// the 8-bit bus that the chip was made for.
fn register(offset: u64) -> Option<u8> {
    u8::try_from(offset)
        .ok()
        .filter(|&offset| u64::from(offset) < LEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOOPBACK: u8 = 1 << 4;
    const DATA_READY: u8 = 1;

    struct Fixture {
        guest: Serial,
        host: Serial,
        line: InterruptLine,
        output: ConsoleBuffer,
    }

    fn fixture() -> Fixture {
        let line = InterruptLine::new().unwrap();
        let output = ConsoleBuffer::new().unwrap();
        let guest = Serial::new(line.clone(), output.clone()).unwrap();
        Fixture {
            host: guest.clone(),
            guest,
            line,
            output,
        }
    }

    impl Fixture {
        fn read(&mut self, register: u64) -> u8 {
            let mut byte = [0];
            self.guest.read(register, &mut byte);
            byte[0]
        }

        /// What a driver's interrupt handler does: reads while data is ready.
        fn read_all(&mut self) -> Vec<u8> {
            let mut bytes = Vec::new();
            while self.read(LINE_STATUS.into()) & DATA_READY != 0 {
                bytes.push(self.read(DATA.into()));
            }
            bytes
        }
    }

    #[test]
    fn output_reaches_the_buffer() {
        let mut f = fixture();
        for byte in b"hello" {
            f.guest.write(DATA.into(), &[*byte]);
        }
        let mut out = Vec::new();
        f.output.take(&mut out, 100);
        assert_eq!(out, b"hello");
    }

    #[test]
    fn input_raises_the_interrupt_once_it_is_enabled() {
        let mut f = fixture();
        f.host.receive(b"a");
        assert_eq!(f.line.take(), 0);
        f.guest.write(INTERRUPT_ENABLE.into(), &[1]);
        assert_eq!(f.line.take(), 1);
        assert_eq!(f.read(INTERRUPT_IDENTIFICATION.into()) & 0xf, 0b0100);
        assert_eq!(f.read_all(), b"a");
        f.host.receive(b"b");
        assert_eq!(f.line.take(), 1);
    }

    #[test]
    fn the_interrupt_is_pending_until_all_input_is_read() {
        let mut f = fixture();
        f.guest.write(INTERRUPT_ENABLE.into(), &[DATA_INTERRUPT]);
        f.host.receive(b"abc");
        for byte in *b"abc" {
            for _ in 0..2 {
                assert_eq!(
                    f.read(INTERRUPT_IDENTIFICATION.into()) & 0xf,
                    DATA_AVAILABLE
                );
            }
            assert_eq!(f.read(DATA.into()), byte);
        }
        assert_eq!(f.read(INTERRUPT_IDENTIFICATION.into()) & 0xf, NO_INTERRUPT);
    }

    #[test]
    fn input_beyond_the_fifo_is_not_lost() {
        let mut f = fixture();
        let input: Vec<u8> = (0..1000).map(|i| u8::try_from(i % 251).unwrap()).collect();
        assert_eq!(f.host.receive(&input), input.len());
        assert_eq!(f.read_all(), input);
    }

    #[test]
    fn after_a_reset_the_registers_are_new_and_what_waits_on_either_side_is_kept() {
        let mut f = fixture();
        f.guest.write(DATA.into(), b"o");
        f.guest.write(INTERRUPT_ENABLE.into(), &[DATA_INTERRUPT]);
        f.guest.write(MODEM_CONTROL.into(), &[LOOPBACK]);
        f.guest.write(DATA.into(), b"lost");
        f.host.receive(b"typed");
        f.line.take();
        f.host.reset();
        assert_eq!(f.line.take(), 0);
        assert_eq!(f.read(INTERRUPT_ENABLE.into()), 0);
        assert_eq!(f.read_all(), b"typed");
        f.guest.write(DATA.into(), b"k");
        let mut out = Vec::new();
        f.output.take(&mut out, 100);
        assert_eq!(out, b"ok");
        f.guest.write(INTERRUPT_ENABLE.into(), &[DATA_INTERRUPT]);
        f.host.receive(b"x");
        assert_eq!(f.line.take(), 1, "through the same line");
    }

    #[test]
    fn input_waits_for_the_end_of_loopback() {
        let mut f = fixture();
        f.guest.write(MODEM_CONTROL.into(), &[LOOPBACK]);
        f.host.receive(b"typed");
        f.guest.write(DATA.into(), b"x");
        assert_eq!(f.read_all(), b"x");
        f.guest.write(MODEM_CONTROL.into(), &[0]);
        assert_eq!(f.read_all(), b"typed");
    }

    #[test]
    fn a_full_queue_says_so_and_signals_when_there_is_room() {
        let mut f = fixture();
        let room = f.host.room_event();
        assert_eq!(room.read().unwrap(), 1, "signalled at the start");
        let input = vec![b'x'; 3 * QUEUE_LEN];
        let mut sent = 0;
        while f.host.room() > 0 {
            sent += f.host.receive(&input[sent..]);
        }
        assert_eq!(f.host.receive(b"y"), 0);
        assert!(room.read().is_err());
        assert_eq!(f.read_all().len(), sent);
        assert_eq!(room.read().unwrap(), 1);
        assert!(f.host.room() > 0);
    }

    #[test]
    fn a_break_is_indicated_in_its_place_in_the_input() {
        let mut f = fixture();
        f.host.receive(b"a");
        f.host.receive_break();
        f.host.receive(b"h");
        let status = |f: &mut Fixture| f.read(LINE_STATUS.into()) & (BREAK_INDICATION | DATA_READY);

        assert_eq!(status(&mut f), DATA_READY);
        assert_eq!(f.read(DATA.into()), b'a');
        assert_eq!(status(&mut f), BREAK_INDICATION | DATA_READY);
        assert_eq!(status(&mut f), DATA_READY, "reading clears the indication");
        assert_eq!(f.read(DATA.into()), 0);
        assert_eq!(status(&mut f), DATA_READY);
        assert_eq!(f.read(DATA.into()), b'h');
        assert_eq!(status(&mut f), 0);
    }

    #[test]
    fn a_break_interrupts() {
        let mut f = fixture();
        f.guest.write(INTERRUPT_ENABLE.into(), &[1]);
        f.host.receive_break();
        assert_eq!(f.line.take(), 1);
    }

    #[test]
    fn the_divisor_latch_is_not_the_data_register() {
        let mut f = fixture();
        f.host.receive_break();
        f.guest.write(LINE_CONTROL.into(), &[DIVISOR_LATCH]);
        f.guest.write(DATA.into(), &[1]);
        assert_eq!(f.read(DATA.into()), 1);
        f.guest.write(LINE_CONTROL.into(), &[0]);
        assert_ne!(f.read(LINE_STATUS.into()) & BREAK_INDICATION, 0);
        let mut out = Vec::new();
        assert_eq!(f.output.take(&mut out, 1), 0);
    }

    proptest! {
        #[test]
        fn no_access_panics_and_the_queue_stays_bounded(
            steps in proptest::collection::vec(
                (0u8..4, prop_oneof![0u64..10, any::<u64>()], any::<[u8; 8]>(), 0usize..=8), 0..200)
        ) {
            let mut f = fixture();
            for (kind, offset, bytes, len) in steps {
                let mut data = bytes;
                match kind {
                    0 => f.guest.read(offset, &mut data[..len]),
                    1 => f.guest.write(offset, &data[..len]),
                    2 => { f.host.receive(&data[..len]); }
                    _ => f.host.receive_break(),
                }
                prop_assert!(f.host.uart().queue.len() <= QUEUE_LEN);
            }
        }

        #[test]
        fn input_arrives_complete_and_in_order(
            chunks in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..100), 0usize..80), 0..40)
        ) {
            let mut f = fixture();
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for (chunk, reads) in chunks {
                let taken = f.host.receive(&chunk);
                sent.extend_from_slice(&chunk[..taken]);
                for _ in 0..reads {
                    if f.read(LINE_STATUS.into()) & DATA_READY != 0 {
                        got.push(f.read(DATA.into()));
                    }
                }
            }
            got.extend(f.read_all());
            prop_assert_eq!(got, sent);
        }
    }
}
