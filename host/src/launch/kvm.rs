//! The KVM device, opened only if it can run an unmodified kernel.

use std::fs::{File, OpenOptions};

use crate::doctor::finding::Level;
use crate::doctor::kvm;
use crate::error::Error;

/// Opens the KVM device.
///
/// # Errors
/// This host's KVM is not there, not permitted, or not able: what
/// `plinth doctor` says about it.
pub fn open() -> Result<File, Error> {
    let finding = kvm::glance();
    if finding.level == Level::Missing {
        let error = Error::host(format!("no guest can run here: {}", finding.detail));
        return Err(match finding.remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        });
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map_err(|error| Error::host("/dev/kvm cannot be opened").because(error))
}
