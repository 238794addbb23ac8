//! A block device as its driver sees it, on real files and both engines.

use std::fs::File;

use super::device::Block;
use super::open::{DiskOptions, EngineChoice, open_disk};
use crate::reactor::Reactor;
use crate::virtio::contract::device_contract;

/// What a device under test stands on.
type World = (Reactor, File);

fn block(options: DiskOptions) -> (Block, World) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 20).unwrap();
    let reactor = Reactor::spawn("test").unwrap();
    let (disk, _) = open_disk(file.try_clone().unwrap(), options).unwrap();
    let id = "test-disk".parse().unwrap();
    (Block::new(disk, id, reactor.handle()), (reactor, file))
}

fn with_engine(engine: EngineChoice) -> (Block, World) {
    block(DiskOptions {
        engine,
        ..DiskOptions::default()
    })
}

mod uring {
    use super::*;

    fn make() -> (Block, World) {
        with_engine(EngineChoice::IoUring)
    }
    device_contract!(make, queues: [0]);
}

mod sync {
    use super::*;

    fn make() -> (Block, World) {
        with_engine(EngineChoice::Sync)
    }
    device_contract!(make, queues: [0]);
}
