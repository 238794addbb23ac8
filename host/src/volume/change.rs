//! Changing what is recorded of a volume.

use std::io;

use crate::error::Error;

use super::directory::Volume;
use super::lock::{is_named, lock};
use super::record::Record;

impl Volume {
    /// Changes what is recorded of it: of who changes something at the same
    /// time, each sees what the other did.
    ///
    /// # Errors
    /// `change` refuses, the volume has been deleted meanwhile, or the file
    /// system refuses; nothing has changed then.
    pub fn change(
        &mut self,
        change: impl FnOnce(&mut Record) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = self.name().clone();
        let refused = |error: io::Error| {
            Error::host(format!("volume '{name}' cannot be changed")).because(error)
        };
        let exclusive = lock(&self.directory).map_err(refused)?;
        if !is_named(&exclusive, &self.directory).map_err(refused)? {
            return Err(self.deleted());
        }
        self.refresh()?;
        let mut record = self.record.clone();
        change(&mut record)?;
        record.write(&self.directory).map_err(refused)?;
        self.record = record;
        Ok(())
    }

    /// Reads again what is recorded of it.
    ///
    /// # Errors
    /// It has been deleted meanwhile, or is damaged.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let record = Self::read(self.directory.clone(), self.name())?.record;
        if record.id != self.record.id {
            return Err(self.deleted());
        }
        self.record = record;
        Ok(())
    }

    /// It was there a moment ago.
    pub(super) fn deleted(&self) -> Error {
        Error::configuration(format!("volume '{}' was deleted meanwhile", self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, report};
    use super::*;
    use std::fs;

    #[test]
    fn changes_made_at_the_same_time_are_all_kept() {
        let f = Fixture::new();
        let (mut one, mut other) = (f.make("root"), f.find("root").unwrap());
        let created = one.record().created;
        let add = |record: &mut Record| {
            record.created += 1;
            Ok(())
        };
        one.change(add).unwrap();
        other.change(add).unwrap();
        assert_eq!(f.find("root").unwrap().record().created, created + 2);
        let refused = other.change(|_| Err(Error::configuration("no")));
        assert_eq!(report(refused), "no");
    }

    #[test]
    fn a_volume_that_has_its_name_from_another_is_not_changed() {
        let f = Fixture::new();
        let mut old = f.make("root");
        fs::remove_dir_all(old.directory()).unwrap();
        let new = f.make("root");
        assert!(report(old.change(|_| Ok(()))).contains("deleted meanwhile"));
        fs::rename(new.directory(), new.directory().with_file_name("other")).unwrap();
        assert!(report(f.find("other")).contains("that of a volume called 'root'"));
    }
}
