//! Blocks on their way into a store: hashed, compressed and stored by several
//! threads, and given out in the order in which they came.
//!
//! Each thread has a queue of one block, and gets every Nth: so the oldest
//! block is always that of a known thread, and nothing has to be sorted. Two
//! blocks for each thread are all the memory that it takes.

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use crate::error::Error;
use crate::snapshot::chunk::{self, BLOCK, Block, Coder};
use crate::snapshot::digest::Digest;
use crate::snapshot::store::{Name, Object, Put, Store};

/// The digest of a block of zeroes, under which nothing is stored.
pub(super) static ZEROES: LazyLock<Digest> = LazyLock::new(|| Digest::of(&[0; BLOCK]));

/// Most blocks that wait to be given out without being worked at.
const MOST_PASSED: usize = 4096;

/// A block whose turn has come.
pub(super) struct Finished {
    /// Which.
    pub(super) index: u32,
    /// Its name; `None` if it is all zeroes.
    pub(super) digest: Option<Digest>,
    /// What was done for it.
    pub(super) work: Option<Work>,
}

/// What a thread did for a block.
pub(super) struct Work {
    /// Its digest, also if it is all zeroes.
    pub(super) digest: Digest,
    /// The bytes of its chunk, if that was stored.
    pub(super) stored: Option<u64>,
}

/// Threads, and blocks in order.
pub(super) struct Pipeline {
    workers: Vec<Worker>,
    /// Which thread gets the next block.
    turn: usize,
    queue: VecDeque<(u32, Place)>,
    working: usize,
    spare: Vec<Box<Block>>,
}

enum Place {
    /// It needed no work; its name.
    Passed(Option<Digest>),
    /// At this thread.
    Worker(usize),
}

struct Worker {
    blocks: SyncSender<Box<Block>>,
    results: Receiver<Result<(Box<Block>, Work), Error>>,
}

impl Pipeline {
    /// Starts `threads` threads, which end with this value.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        store: &'scope dyn Store,
        threads: usize,
    ) -> Result<Self, Error> {
        let worker = |_| {
            let (blocks, work) = sync_channel::<Box<Block>>(1);
            let (done, results) = sync_channel(2);
            let mut coder = Coder::new().map_err(|error| {
                Error::host("there is no memory to compress with").because(error)
            })?;
            scope.spawn(move || {
                for block in work {
                    let result = see_to(&block, &mut coder, store).map(|work| (block, work));
                    // Whoever asked may have given up.
                    if done.send(result).is_err() {
                        break;
                    }
                }
            });
            Ok(Worker { blocks, results })
        };
        Ok(Self {
            workers: (0..threads).map(worker).collect::<Result<_, Error>>()?,
            turn: 0,
            queue: VecDeque::new(),
            working: 0,
            spare: Vec::new(),
        })
    }

    /// Room for a block.
    pub(super) fn buffer(&mut self) -> Box<Block> {
        self.spare.pop().unwrap_or_else(chunk::empty)
    }

    /// Adds a block that is to be stored. There must be room:
    /// [`next_if_full`](Self::next_if_full) has given nothing.
    pub(super) fn submit(&mut self, index: u32, block: Box<Block>) -> Result<(), Error> {
        let turn = self.turn;
        self.turn = (turn + 1) % self.workers.len();
        let sent = self.workers[turn].blocks.send(block);
        sent.map_err(|_| gone())?;
        self.queue.push_back((index, Place::Worker(turn)));
        self.working += 1;
        Ok(())
    }

    /// Adds a block whose name is known.
    pub(super) fn pass(&mut self, index: u32, digest: Option<Digest>) {
        self.queue.push_back((index, Place::Passed(digest)));
    }

    /// The oldest block, if there is no room for another one.
    pub(super) fn next_if_full(&mut self) -> Result<Option<Finished>, Error> {
        let full = self.working == 2 * self.workers.len() || self.queue.len() > MOST_PASSED;
        // What needs no waiting is given out at once.
        let passed = matches!(self.queue.front(), Some((_, Place::Passed(_))));
        match full || passed {
            true => self.next(),
            false => Ok(None),
        }
    }

    /// The oldest block; `None` if there is none.
    pub(super) fn next(&mut self) -> Result<Option<Finished>, Error> {
        let Some((index, place)) = self.queue.pop_front() else {
            return Ok(None);
        };
        let finished = match place {
            Place::Passed(digest) => Finished {
                index,
                digest,
                work: None,
            },
            Place::Worker(number) => {
                let result = self.workers[number].results.recv();
                let (block, work) = result.map_err(|_| gone())??;
                self.working -= 1;
                self.spare.push(block);
                Finished {
                    index,
                    digest: Some(work.digest).filter(|digest| *digest != *ZEROES),
                    work: Some(work),
                }
            }
        };
        Ok(Some(finished))
    }
}

/// Stores a block, if it is to be and is not yet.
fn see_to(block: &Block, coder: &mut Coder, store: &dyn Store) -> Result<Work, Error> {
    if chunk::is_zero(block) {
        let digest = *ZEROES;
        return Ok(Work {
            digest,
            stored: None,
        });
    }
    let digest = Digest::of(block);
    let name = Name::Chunk(digest);
    if store.exists(&name)? {
        return Ok(Work {
            digest,
            stored: None,
        });
    }
    let chunk = coder.encode(block);
    let put = store.put(&name, Object::Bytes(&chunk))?;
    let stored = (put == Put::Stored).then_some(chunk.len() as u64);
    Ok(Work { digest, stored })
}

fn gone() -> Error {
    Error::unexpected("a thread that stores blocks ended")
}
