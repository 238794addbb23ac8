//! Volumes for tests, in a directory of the test's own.

use ::volume::entry::State;
use ::volume::size::VolumeSize;
use tempfile::TempDir;

use crate::error::Error;

use super::directory::{Volume, Volumes};
use super::new_volume::NewVolume;
use super::record::Record;
use super::selector::Selector;
use super::speed::{Asked, Speed};

pub(crate) const MIB: u64 = 1 << 20;

/// A data directory.
pub(crate) struct Fixture {
    pub(crate) directory: TempDir,
    pub(crate) volumes: Volumes,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let volumes = Volumes::at(directory.path());
        Self { directory, volumes }
    }

    /// Begins a volume of 2 MiB called `name`.
    pub(crate) fn begin(&self, name: &str) -> Result<NewVolume, Error> {
        let size = VolumeSize::new(2 * MIB).unwrap();
        let speed = Speed::new(Asked::default()).unwrap();
        let record = Record::new(name.parse().unwrap(), size, speed).unwrap();
        NewVolume::begin(&self.volumes, record, State::Zero)
    }

    pub(crate) fn make(&self, name: &str) -> Volume {
        self.begin(name).unwrap().finish().unwrap()
    }

    pub(crate) fn find(&self, name: &str) -> Result<Volume, Error> {
        self.volumes.find(&name.parse::<Selector>().unwrap())
    }

    /// What is in the directory of volumes.
    pub(crate) fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join("volumes")).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<String> = entries.map(|e| name(e).into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The report of what must have been refused.
#[track_caller]
pub(crate) fn report<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error.report(),
    }
}
