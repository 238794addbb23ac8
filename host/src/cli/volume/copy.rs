//! `plinth volume copy`: another volume with the same content.

use clap::Args;

use crate::exit::ExitStatus;
use crate::snapshot::lock::Referring;
use crate::volume::copy::copy;
use crate::volume::directory::Volumes;
use crate::volume::name::VolumeName;
use crate::volume::root;
use crate::volume::selector::Selector;

use super::super::Outcome;
use super::load::load_behind;

/// Make a volume that holds what another does, and print its id
///
/// The copy holds what the volume held at the moment of the command, also if a
/// machine writes to it, whose guest goes on. It is there at once, with the same
/// size and speed, and can be attached at once.
///
/// What it holds is copied when it is first touched, and meanwhile in another
/// process: plinth volume list says how far that is, plinth volume load waits for
/// it. Until then the volume cannot be deleted, and keeps what its guest changes:
/// should the disk be full, these writes fail rather than the copy. Where the file
/// system shares extents, such as XFS and Btrfs, and no machine has the volume,
/// the copy is whole at once and takes no space.
///
/// What a guest has not written to its disk yet is not there: fsfreeze in the
/// guest makes it write.
///
/// Examples:
///   plinth volume copy data data-before-upgrade
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Copy {
    /// The volume to copy: its name or id
    #[arg(value_name = "VOLUME")]
    volume: Selector,

    /// What to call the copy
    name: VolumeName,
}

impl Copy {
    pub(super) fn execute(self) -> Outcome {
        let volumes = Volumes::of_this_user()?;
        let mut source = volumes.find(&self.volume)?;
        // What the source is loaded from, the copy may be, too.
        let referring = Referring::wait(&root::locate()?)?;
        let copied = copy(&volumes, &mut source, self.name)?;
        drop(referring);
        if let Some((machine, pause)) = &copied.pause {
            eprintln!(
                "Disks of machine '{machine}' were held back for {:.1} ms.",
                pause.as_secs_f64() * 1000.0
            );
        }
        println!("{}", copied.volume.record().id);
        // That of a copy from a snapshot is left to who needs it.
        if copied.volume.record().copy_of.is_some() {
            load_behind(&copied.volume)?;
        }
        Ok(ExitStatus::Success)
    }
}
