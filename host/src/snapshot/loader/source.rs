//! Where the blocks are that a volume lacks: in the snapshot that it was made
//! from; or with the volume that it is a copy of, which keeps what it held then,
//! but for what that lacked itself.

use volume::frozen::{self, FrozenView};
use volume::id::SnapshotId;

use crate::error::Error;
use crate::snapshot::block_reader::{BlockReader, Content};
use crate::snapshot::chunk::Block;
use crate::snapshot::store::{Location, Name};
use crate::volume::directory::Volume;

/// The blocks that a volume lacks. It can be read by one thread; others have
/// [`another`](Self::another).
pub struct Source {
    /// What another volume was at a moment.
    view: Option<FrozenView>,
    /// What is not in that; for a volume that is no copy, everything.
    snapshot: Option<BlockReader>,
}

impl From<BlockReader> for Source {
    fn from(snapshot: BlockReader) -> Self {
        Self {
            view: None,
            snapshot: Some(snapshot),
        }
    }
}

impl Source {
    /// Opens what `volume` lacks blocks of. Snapshots are in `store`.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub fn open(volume: &Volume, store: &Location) -> Result<Self, Error> {
        let origin = expect_origin(volume, store)?;
        let snapshot = origin.map(|origin| BlockReader::open(store.open()?, origin));
        Ok(Self {
            view: view(volume)?,
            snapshot: snapshot.transpose()?,
        })
    }

    /// Makes sure that what `volume` lacks blocks of is there.
    ///
    /// # Errors
    /// It is not.
    pub fn expect(volume: &Volume, store: &Location) -> Result<(), Error> {
        expect_origin(volume, store)?;
        view(volume).map(drop)
    }

    /// One more reader of the same.
    ///
    /// # Errors
    /// There is no memory, or no descriptor.
    pub fn another(&self) -> Result<Self, Error> {
        let view = self.view.as_ref().map(FrozenView::another).transpose();
        let view = view.map_err(|error| Error::host("a volume cannot be read").because(error))?;
        let snapshot = self.snapshot.as_ref().map(BlockReader::another);
        Ok(Self {
            view,
            snapshot: snapshot.transpose()?,
        })
    }

    /// Reads block `index` into `block`. What is behind the end is zeroes: the
    /// volume may have grown since.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&mut self, index: u32, block: &mut Block) -> Result<Content, Error> {
        if let Some(view) = &mut self.view {
            if index >= view.moment().size.blocks() {
                return Ok(Content::Zero);
            }
            let unread = |error| {
                let what = format!("block {index} of the volume that was copied cannot be read");
                Error::host(what).because(error)
            };
            match view.read(index, block).map_err(unread)? {
                frozen::Content::Data => return Ok(Content::Data),
                frozen::Content::Zero => return Ok(Content::Zero),
                frozen::Content::Origin | frozen::Content::Parent => {}
            }
        }
        match &mut self.snapshot {
            Some(snapshot) => Ok(snapshot.read(index, block)?),
            // Absent and in no snapshot is zeroes.
            None => Ok(Content::Zero),
        }
    }
}

/// The snapshot that `volume` lacks blocks of, if any, which is in `store`.
fn expect_origin(volume: &Volume, store: &Location) -> Result<Option<SnapshotId>, Error> {
    let (name, record) = (volume.name(), volume.record());
    let Some(origin) = record.origin else {
        return match record.copy_of {
            Some(_) => Ok(None),
            None => Err(Error::configuration(format!(
                "volume '{name}' is damaged: it has not been loaded, and its record names no \
                 snapshot"
            ))),
        };
    };
    if store.open()?.exists(&Name::Record(origin))? {
        return Ok(Some(origin));
    }
    Err(Error::configuration(format!(
        "volume '{name}' is still being loaded from snapshot {origin}, which is not in {store}"
    ))
    .remedy("naming the store that it is in with PLINTH_STORE"))
}

/// What the volume was that `volume` is a copy of, if it is one.
fn view(volume: &Volume) -> Result<Option<FrozenView>, Error> {
    let Some(id) = volume.record().copy_of else {
        return Ok(None);
    };
    let name = volume.name();
    let source = volume.source()?.ok_or_else(|| {
        Error::configuration(format!(
            "volume '{name}' is damaged: it lacks blocks of volume {id}, which it is a copy of, \
             and which is not there"
        ))
    })?;
    let kept = source.kept_for(volume).view().map_err(|error| {
        let what = format!(
            "volume '{name}' is damaged: what volume '{}' kept for it cannot be read",
            source.name()
        );
        Error::configuration(what).because(error.report())
    })?;
    Ok(Some(kept))
}
