use super::*;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::thread;

/// Keeps what was sent.
#[derive(Default)]
struct Sent(Mutex<Vec<Message>>);

impl MessageSink for Sent {
    fn send(&self, message: Message) {
        self.0.lock().unwrap().push(message);
    }

    fn wire(&self, _: &EventFd) -> io::Result<Box<dyn Wire>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Sent {
    fn take(&self) -> Vec<Message> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn msix(count: u16) -> (Msix, Arc<Sent>) {
    let sent = Arc::<Sent>::default();
    (Msix::new(count, sent.clone()), sent)
}

/// Sets vector `index` up as a driver does, in words of 32 bits.
fn set_up(msix: &Msix, index: u16, message: Message) {
    let entry = u64::from(index) * ENTRY;
    let address = message.address.to_le_bytes();
    msix.write_table(entry, &address[..4]);
    msix.write_table(entry + 4, &address[4..]);
    msix.write_table(entry + 8, &message.data.to_le_bytes());
    mask(msix, index, 0);
}

fn mask(msix: &Msix, index: u16, masked: u32) {
    msix.write_table(u64::from(index) * ENTRY + 12, &masked.to_le_bytes());
}

fn message(data: u32) -> Message {
    Message {
        address: 0x1_fee0_1000,
        data,
    }
}

#[test]
fn a_vector_sends_its_message_each_time_it_is_raised() {
    let (msix, sent) = msix(3);
    msix.set_control(ENABLE);
    set_up(&msix, 1, message(7));
    set_up(&msix, 2, message(8));
    msix.raise(1);
    msix.raise(2);
    msix.raise(1);
    assert_eq!(sent.take(), [message(7), message(8), message(7)]);
}

#[test]
fn what_is_raised_while_masked_is_pending_and_sent_once() {
    let (msix, sent) = msix(2);
    msix.set_control(ENABLE);
    set_up(&msix, 1, message(7));
    mask(&msix, 1, 1);
    msix.raise(1);
    msix.raise(1);
    let mut pending = [0; 8];
    msix.read_pending(0, &mut pending);
    assert_eq!((sent.take(), pending), (vec![], [2, 0, 0, 0, 0, 0, 0, 0]));
    mask(&msix, 1, 0);
    msix.read_pending(0, &mut pending);
    assert_eq!((sent.take(), pending), (vec![message(7)], [0; 8]));
    mask(&msix, 1, 0);
    assert_eq!(sent.take(), []);
}

#[test]
fn the_function_can_be_masked_and_switched_off_as_a_whole() {
    let (msix, sent) = msix(2);
    set_up(&msix, 0, message(1));
    for closed in [0, FUNCTION_MASK, ENABLE | FUNCTION_MASK] {
        msix.set_control(closed);
        msix.raise(0);
        assert_eq!(sent.take(), []);
        msix.set_control(ENABLE);
        assert_eq!(sent.take(), [message(1)]);
    }
}

#[test]
fn vectors_begin_masked_and_those_that_are_not_there_do_nothing() {
    let (msix, sent) = msix(2);
    msix.set_control(ENABLE);
    let mut control = [0; 4];
    msix.read_table(12, &mut control);
    assert_eq!(control, [1, 0, 0, 0]);
    for index in [0, 1, 2, 64, u16::MAX] {
        msix.raise(index);
    }
    assert_eq!(sent.take(), []);
    msix.write_table(2 * ENTRY + 12, &[0; 4]);
    let mut beyond = [0xaa; 4];
    msix.read_table(2 * ENTRY + 12, &mut beyond);
    assert_eq!(beyond, [0; 4]);
    assert_eq!(Msix::new(u16::MAX, sent).count(), MAX_VECTORS);
}

#[test]
fn the_table_is_written_in_words_of_32_or_64_bits_only() {
    let (msix, _) = msix(1);
    msix.write_table(0, &[1, 2, 3, 4, 5, 6, 7, 8]);
    msix.write_table(8, &[9, 10, 11, 12, 0, 0, 0, 0]);
    let before = entry(&msix);
    assert_eq!(before, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0]);
    for (offset, len) in [(0, 1), (0, 2), (2, 4), (4, 8), (6, 3), (15, 1)] {
        msix.write_table(offset, &vec![0xff; len]);
        assert_eq!(entry(&msix), before);
    }
}

fn entry(msix: &Msix) -> [u8; 16] {
    let mut entry = [0; 16];
    msix.read_table(0, &mut entry);
    entry
}

#[test]
fn nothing_is_lost_between_raising_and_unmasking() {
    /// Counts what was sent.
    #[derive(Default)]
    struct Count(AtomicUsize);
    impl MessageSink for Count {
        fn send(&self, _: Message) {
            self.0.fetch_add(1, SeqCst);
        }
        fn wire(&self, _: &EventFd) -> io::Result<Box<dyn Wire>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
    let count = Arc::<Count>::default();
    let msix = Msix::new(1, count.clone());
    msix.set_control(ENABLE);
    for _ in 0..2_000 {
        mask(&msix, 0, 1);
        let before = count.0.load(SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| msix.raise(0));
            mask(&msix, 0, 0);
        });
        assert_eq!(count.0.load(SeqCst), before + 1);
    }
}
