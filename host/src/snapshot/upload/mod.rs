//! Storing a snapshot.
//!
//! Blocks that did not change since the parent, or were never loaded from the
//! snapshot that the volume was made from, are taken over by name, unread. The
//! rest is read, hashed and compressed on a few threads, and stored if nothing
//! is there under its name. The manifest is written when all chunks are
//! durable, the record when the manifest is: a snapshot is whole or absent, and
//! one that was interrupted is uploaded by doing the same again.

mod figures;
mod other;
mod pipeline;
mod source;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::thread;

use volume::freeze::Share;
use volume::id::SnapshotId;

use crate::error::Error;

use super::chunk::BLOCK;
use super::digest::Digest;
use super::lock::Adding;
use super::manifest::{Entry, Header, ManifestWriter};
use super::record::{About, Record};
use super::store::{Name, Object, Store};

use other::Other;
use pipeline::{Finished, Pipeline};

pub use figures::Figures;
pub use source::BlockSource;

/// Threads that hash and compress; each reaches some 400 MB/s.
const MOST_THREADS: usize = 4;

/// How many chunks are stored before they are made durable together, and the
/// source told that it need not keep them. At most 32 MiB are read again after
/// an interruption.
const BATCH: usize = 64;

/// What is to be stored.
pub struct Upload<'a> {
    /// What the snapshot is of. The parent's manifest must be in the store.
    pub header: Header,
    /// What else is to be known of it.
    pub about: About,
    /// The snapshot that the volume was made from.
    pub origin: Option<SnapshotId>,
    /// What the volume held.
    pub source: &'a mut dyn BlockSource,
}

/// Stores a snapshot, and calls `progress` now and then. If it is in `store`
/// already, nothing is done. A temporary file takes the manifest, 36 bytes for
/// each block that is not zero.
///
/// # Errors
/// The volume cannot be read, a manifest is missing or damaged, or the store
/// fails. What was stored till then is not stored again next time.
pub fn upload(
    upload: Upload<'_>,
    store: &dyn Store,
    _lock: &Adding,
    progress: &mut dyn FnMut(&Figures),
) -> Result<Figures, Error> {
    let id = upload.header.snapshot;
    if store.exists(&Name::Record(id))? {
        store.settle()?;
        return Ok(Figures::new(upload.header.size.blocks()));
    }
    let manifest = tempfile::tempfile().map_err(no_scratch)?;
    let about = upload.about.clone();
    let header = upload.header;
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    let figures = thread::scope(|scope| {
        let pipeline = Pipeline::start(scope, store, threads.min(MOST_THREADS))?;
        let mut writing = Writing::new(upload, store, &manifest, pipeline, progress)?;
        writing.all_blocks()?;
        writing.finish()
    })?;
    complete(&header, about, &manifest, &figures, store)?;
    Ok(figures)
}

/// Makes a snapshot of what has been stored for it.
fn complete(
    header: &Header,
    about: About,
    manifest: &File,
    figures: &Figures,
    store: &dyn Store,
) -> Result<(), Error> {
    let (manifest_name, record_name) = (
        Name::Manifest(header.snapshot),
        Name::Record(header.snapshot),
    );
    let data_bytes = u64::from(figures.data_blocks) * BLOCK as u64;
    let record = Record::new(header, about, data_bytes, figures.stored_bytes);
    let record = record.encode().map_err(|error| {
        Error::configuration("the snapshot's record cannot be written").because(error)
    })?;
    // Of an upload that was interrupted just here; it was read by nobody.
    store.delete(&manifest_name)?;
    store.put(&manifest_name, Object::File(manifest))?;
    store.settle()?;
    store.put(&record_name, Object::Bytes(&record))?;
    Ok(store.settle()?)
}

/// An upload on its way.
struct Writing<'a, 'b, 'c> {
    source: &'a mut dyn BlockSource,
    store: &'b dyn Store,
    parent: Other<'b>,
    origin: Other<'b>,
    manifest: ManifestWriter<BufWriter<&'b File>>,
    pipeline: Pipeline,
    /// Stored, but perhaps not durable.
    batch: Vec<Entry>,
    figures: Figures,
    progress: &'c mut dyn FnMut(&Figures),
}

impl<'a, 'b, 'c> Writing<'a, 'b, 'c> {
    fn new(
        upload: Upload<'a>,
        store: &'b dyn Store,
        manifest: &'b File,
        pipeline: Pipeline,
        progress: &'c mut dyn FnMut(&Figures),
    ) -> Result<Self, Error> {
        let parent = upload.header.parent.map(|(id, _)| id);
        Ok(Self {
            parent: Other::new(store, parent),
            origin: Other::new(store, upload.origin),
            source: upload.source,
            store,
            manifest: ManifestWriter::new(BufWriter::new(manifest), &upload.header)
                .map_err(no_scratch)?,
            pipeline,
            batch: Vec::with_capacity(BATCH),
            figures: Figures::new(upload.header.size.blocks()),
            progress,
        })
    }

    fn all_blocks(&mut self) -> Result<(), Error> {
        for index in 0..self.figures.blocks {
            self.block(index)?;
            while let Some(finished) = self.pipeline.next_if_full()? {
                self.finished(finished)?;
            }
        }
        while let Some(finished) = self.pipeline.next()? {
            self.finished(finished)?;
        }
        self.settle()
    }

    /// Sees to one block.
    fn block(&mut self, index: u32) -> Result<(), Error> {
        let unread = |error| unread(index, error);
        let known = match self.source.share(index).map_err(unread)? {
            Share::Zero => None,
            Share::Parent => self.parent.at(index)?,
            Share::Origin => self.origin.at(index)?,
            Share::Data => match self.source.taken(index).map_err(unread)? {
                Some(digest) => self.already_taken(digest)?,
                None => {
                    let mut block = self.pipeline.buffer();
                    self.source.read(index, &mut block).map_err(unread)?;
                    self.figures.read_blocks += 1;
                    return self.pipeline.submit(index, block);
                }
            },
        };
        self.pipeline.pass(index, known);
        Ok(())
    }

    /// A block that an upload stored that was interrupted; the volume may not
    /// have it any more.
    fn already_taken(&self, digest: Digest) -> Result<Option<Digest>, Error> {
        if digest == *pipeline::ZEROES {
            return Ok(None);
        }
        match self.store.exists(&Name::Chunk(digest))? {
            true => Ok(Some(digest)),
            false => Err(Error::host(format!(
                "chunk {digest} was stored for this snapshot and is not there any more"
            ))
            .remedy("the store that it was begun with, or another snapshot")),
        }
    }

    /// Notes what a block turned out to hold.
    fn finished(&mut self, finished: Finished) -> Result<(), Error> {
        if let Some(digest) = finished.digest {
            let entry = Entry {
                index: finished.index,
                digest,
            };
            self.manifest.push(&entry).map_err(no_scratch)?;
            self.figures.data_blocks += 1;
        }
        self.figures.done = finished.index + 1;
        if let Some(work) = finished.work {
            self.figures.add_stored(work.stored);
            self.batch.push(Entry {
                index: finished.index,
                digest: work.digest,
            });
            (self.progress)(&self.figures);
        } else if finished.index.is_multiple_of(1 << 16) {
            (self.progress)(&self.figures);
        }
        match self.batch.len() {
            BATCH.. => self.settle(),
            _ => Ok(()),
        }
    }

    /// Makes durable what was stored, and lets the source go of it.
    fn settle(&mut self) -> Result<(), Error> {
        self.store.settle()?;
        for entry in self.batch.drain(..) {
            let taken = self.source.take(entry.index, &entry.digest);
            taken.map_err(|error| {
                let what = format!("block {} cannot be marked as stored", entry.index);
                Error::host(what).because(error)
            })?;
        }
        Ok(())
    }

    /// Ends the manifest, once all that it was made from is known to be
    /// undamaged.
    fn finish(self) -> Result<Figures, Error> {
        self.parent.finish()?;
        self.origin.finish()?;
        let written = self.manifest.finish();
        let flushed = written.and_then(|mut file| file.flush());
        flushed.map_err(no_scratch)?;
        Ok(self.figures)
    }
}

fn unread(index: u32, error: std::io::Error) -> Error {
    Error::host(format!("block {index} of the volume cannot be read")).because(error)
}

fn no_scratch(error: std::io::Error) -> Error {
    let directory = std::env::temp_dir();
    let what = format!("a manifest cannot be written in '{}'", directory.display());
    Error::host(what)
        .because(error)
        .remedy("room there, or another TMPDIR")
}

#[cfg(test)]
mod tests;
