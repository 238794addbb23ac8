//! A store that fails after some operations, as one does whose writer is
//! killed: nothing that follows has an effect.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Freed, Kind, Name, Object, Put, Store, StoreError, Visitor};

/// Lets operations that change a store through until they are used up.
pub(crate) struct Failing<'a> {
    inner: &'a dyn Store,
    left: AtomicUsize,
}

impl<'a> Failing<'a> {
    /// `inner`, with `left` changes to come.
    pub(crate) fn new(inner: &'a dyn Store, left: usize) -> Self {
        Self {
            inner,
            left: AtomicUsize::new(left),
        }
    }

    fn step(&self) -> Result<(), StoreError> {
        let less = |left: usize| left.checked_sub(1);
        let step = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        step.map(|_| ())
            .map_err(|_| StoreError::new("'test'", "stopped".into(), io::Error::other("killed")))
    }
}

impl Store for Failing<'_> {
    fn put(&self, name: &Name, object: Object<'_>) -> Result<Put, StoreError> {
        self.step()?;
        self.inner.put(name, object)
    }

    fn open(&self, name: &Name) -> Result<Box<dyn Read + '_>, StoreError> {
        self.inner.open(name)
    }

    fn read(&self, name: &Name, most: usize) -> Result<Vec<u8>, StoreError> {
        self.inner.read(name, most)
    }

    fn exists(&self, name: &Name) -> Result<bool, StoreError> {
        self.inner.exists(name)
    }

    fn list(&self, kind: Kind, each: &mut Visitor<'_>) -> Result<(), StoreError> {
        self.inner.list(kind, each)
    }

    fn delete(&self, name: &Name) -> Result<bool, StoreError> {
        self.step()?;
        self.inner.delete(name)
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.step()?;
        self.inner.settle()
    }

    fn sweep(&self) -> Result<Freed, StoreError> {
        self.step()?;
        self.inner.sweep()
    }
}
