//! The front of a virtio console: its identity, configuration space and life
//! cycle. The transport calls it.

use std::sync::Arc;

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use super::counters::{ConsoleCounters, Counted};
use super::keyboard::Keyboard;
use super::worker::ConsoleWorker;
use crate::console::buffer::ConsoleBuffer;
use crate::console::host::ConsoleHost;
use crate::console::size::ConsoleSize;
use crate::reactor::{Attached, ReactorError, ReactorHandle};
use crate::virtio::device::{
    Activation, DeviceInfo, STOP_PATIENCE, StartError, VirtioDevice, read_config_from,
};
use crate::virtio::queue::Queue;

/// Feature bits (§5.3.3): the size is in the configuration space, and bytes
/// can be written there before there is a queue.
const FEATURE_SIZE: u64 = 1;
const FEATURE_EMERGENCY_WRITE: u64 = 1 << 2;

/// Queue numbers (§5.3.2) of the first port, and their size.
const RECEIVE_QUEUE: u16 = 0;
const TRANSMIT_QUEUE: u16 = 1;
const QUEUE_SIZE: u16 = 128;

/// The configuration space (§5.3.4): columns, rows, the number of ports, which
/// is not for us, and where emergency writes go.
const CONFIG_SIZE: usize = 12;
const CONFIG_ROWS: usize = 2;
const CONFIG_EMERGENCY_WRITE: u64 = 8;

/// A console.
pub struct VirtioConsole {
    output: ConsoleBuffer,
    keyboard: Keyboard,
    size: Option<ConsoleSize>,
    counted: Arc<Counted>,
    running: Option<Attached<ConsoleWorker>>,
    reactor: ReactorHandle,
    /// Lasts as long as the device: dropped last, it writes the last output.
    _host: Option<ConsoleHost>,
}

impl VirtioConsole {
    /// A stopped device that writes into `output` and reads from `keyboard`,
    /// whose worker will run on `reactor`. `size` is the terminal's, if the
    /// guest is to know; `host`, if there is one, is kept as long as the
    /// device.
    pub fn new(
        output: ConsoleBuffer,
        keyboard: Keyboard,
        size: Option<ConsoleSize>,
        host: Option<ConsoleHost>,
        reactor: ReactorHandle,
    ) -> Self {
        Self {
            output,
            keyboard,
            size,
            counted: Arc::default(),
            running: None,
            reactor,
            _host: host,
        }
    }

    /// The device's counters, to look at while it runs.
    pub fn counters(&self) -> ConsoleCounters {
        ConsoleCounters::new(Arc::clone(&self.counted), self.output.clone())
    }

    fn config(&self) -> [u8; CONFIG_SIZE] {
        let mut space = [0; CONFIG_SIZE];
        if let Some(size) = self.size {
            space[..CONFIG_ROWS].copy_from_slice(&size.columns.to_le_bytes());
            space[CONFIG_ROWS..][..2].copy_from_slice(&size.rows.to_le_bytes());
        }
        space
    }
}

impl VirtioDevice for VirtioConsole {
    fn info(&self) -> DeviceInfo {
        let size = self.size.map_or(0, |_| FEATURE_SIZE);
        DeviceInfo {
            device_type: VIRTIO_ID_CONSOLE,
            features: size | FEATURE_EMERGENCY_WRITE,
            queue_sizes: vec![QUEUE_SIZE; 2],
        }
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_from(&self.config(), offset, data);
    }

    /// A byte written to `emerg_wr` is output (§5.3.5.1), for a guest that
    /// cannot set up a queue yet or any more.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        if let (CONFIG_EMERGENCY_WRITE, [byte, ..]) = (offset, data) {
            self.output.write(&[*byte]);
            self.counted.sent.increment();
        }
    }

    fn start(&mut self, mut activation: Activation) -> Result<(), StartError> {
        let worker = ConsoleWorker::new(
            activation.take_queue(RECEIVE_QUEUE)?,
            activation.take_queue(TRANSMIT_QUEUE)?,
            self.output.clone(),
            self.keyboard.clone(),
            Arc::clone(&self.counted),
        );
        self.running = Some(self.reactor.attach(worker)?);
        Ok(())
    }

    fn stop(&mut self) -> Result<Vec<Queue>, ReactorError> {
        let Some(attached) = self.running.take() else {
            return Ok(Vec::new());
        };
        Ok(attached.detach(STOP_PATIENCE)?.into_queues())
    }
}
