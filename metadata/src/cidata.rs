//! The disk labelled `cidata` on which cloud-init's NoCloud finds a [`Seed`]: a
//! FAT file system without a partition table, which every kernel with
//! cloud-init can mount, and which keeps names in lower case.
//!
//! The same seed makes the same bytes.

use std::io::{self, Cursor, Write};

use fatfs::{Date, DateTime, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};

use crate::seed::Seed;

/// Bytes in a sector, and in a cluster.
const SECTOR: u16 = 512;

/// What cloud-init looks for, in the case in which FAT tools write labels;
/// it takes both.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// Entries of the root directory: the label's, and for each of three files two
/// or three, since their names are long ones to FAT.
const ROOT_ENTRIES: u16 = 16;

/// The image of a disk with `seed` on it: whole sectors, 64 KiB or more.
pub fn image(seed: &Seed) -> Vec<u8> {
    let files = seed.files();
    let contents = files.iter().map(|(_, content)| content.len());
    let mut image = vec![0; size(contents)];
    write(&mut image, &files).expect("a slice can be written to, and has room for the files");
    image
}

/// Bytes of an image for files of these `lengths`.
fn size(lengths: impl Iterator<Item = usize>) -> usize {
    let sectors: usize = lengths.map(|length| length.div_ceil(SECTOR.into())).sum();
    // Two tables of at most four bytes for each cluster, and what precedes and
    // follows them, which is less than 64 sectors.
    let sectors = sectors + sectors.div_ceil(32) + 64;
    sectors.next_multiple_of(128) * usize::from(SECTOR)
}

fn write(image: &mut [u8], files: &[(&str, Vec<u8>)]) -> io::Result<()> {
    let format = FormatVolumeOptions::new()
        .bytes_per_sector(SECTOR)
        .bytes_per_cluster(SECTOR.into())
        .max_root_dir_entries(ROOT_ENTRIES)
        .volume_id(0)
        .volume_label(LABEL);
    let mut disk = Cursor::new(image);
    fatfs::format_volume(&mut disk, format)?;
    let system = FileSystem::new(disk, FsOptions::new().time_provider(&NO_TIME))?;
    for (name, content) in files {
        let mut file = system.root_dir().create_file(name)?;
        file.write_all(content)?;
        file.flush()?;
    }
    system.unmount()
}

/// Files were always made when FAT's time begins.
#[derive(Debug)]
struct NoTime;

static NO_TIME: NoTime = NoTime;

impl TimeProvider for NoTime {
    fn get_current_date(&self) -> Date {
        Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        let time = Time {
            hour: 0,
            min: 0,
            sec: 0,
            millis: 0,
        };
        DateTime {
            date: self.get_current_date(),
            time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, KEY};
    use crate::ssh_key::SshKey;
    use crate::user_data::UserData;
    use proptest::prelude::*;
    use std::io::Read;

    /// The label and the files that are on `image`.
    fn read(image: Vec<u8>) -> (String, Vec<(String, Vec<u8>)>) {
        let system = FileSystem::new(Cursor::new(image), FsOptions::new()).unwrap();
        let label = system.read_volume_label_from_root_dir().unwrap().unwrap();
        assert_eq!(system.volume_label(), label);
        assert!(!system.read_status_flags().unwrap().dirty());
        let root = system.root_dir();
        let file = |entry: fatfs::DirEntry<'_, _>| {
            let mut content = Vec::new();
            entry.to_file().read_to_end(&mut content).unwrap();
            (entry.file_name(), content)
        };
        let files = root.iter().map(|entry| file(entry.unwrap())).collect();
        (label, files)
    }

    fn expected(seed: &Seed) -> Vec<(String, Vec<u8>)> {
        let files = seed.files().into_iter();
        files
            .map(|(name, content)| (name.to_owned(), content))
            .collect()
    }

    #[test]
    fn the_files_are_on_a_disk_with_the_label() {
        let seed = Seed::from(&fixture::instance());
        let image = image(&seed);
        assert_eq!(image.len(), 64 << 10);
        assert_eq!(read(image), ("CIDATA".to_owned(), expected(&seed)));
    }

    #[test]
    fn the_same_seed_makes_the_same_image() {
        let seed = Seed::from(&fixture::instance());
        assert!(image(&seed) == image(&seed));
    }

    /// Through all sizes of FAT.
    #[test]
    fn there_is_room_for_any_number_of_keys() {
        let key = format!("{KEY} {}", "x".repeat(SshKey::MAX - KEY.len() - 1));
        let key: SshKey = key.parse().unwrap();
        for count in [100, 240, 1000, 4090, 5000] {
            let seed = Seed::new(None, vec![key.clone(); count], None);
            let (_, files) = read(image(&seed));
            assert!(files == expected(&seed), "{count} keys");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_on_it_is_on_it(
            data in prop::collection::vec(any::<u8>(), 0..=UserData::MAX), keys in 0..40_usize
        ) {
            let keys = vec![KEY.parse().unwrap(); keys];
            let seed = Seed::new(None, keys, UserData::new(data).ok());
            let image = image(&seed);
            prop_assert!(image.len().is_multiple_of(512));
            let (_, files) = read(image);
            prop_assert!(files == expected(&seed));
        }
    }
}
