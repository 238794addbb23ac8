use super::*;
use proptest::collection::btree_map;
use proptest::prelude::*;

pub(super) fn header() -> Header {
    let volume: VolumeId = "vol-00000000000000abc".parse().unwrap();
    Header {
        snapshot: "snap-00000000000000def".parse().unwrap(),
        volume,
        size: VolumeSize::new(1 << 30).unwrap(),
        created: 1_795_000_000,
        generation: Generation::new(3).unwrap(),
        parent: Some((
            "snap-00000000000000001".parse().unwrap(),
            Generation::new(2).unwrap(),
        )),
    }
}

pub(super) fn written(header: &Header, entries: &[Entry]) -> Vec<u8> {
    let mut writer = ManifestWriter::new(Vec::new(), header).unwrap();
    for entry in entries {
        writer.push(entry).unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<Entry>), BadManifest> {
    let reader = ManifestReader::new(bytes)?;
    let header = *reader.header();
    Ok((header, reader.collect::<Result<_, _>>()?))
}

pub(super) fn entry(index: u32) -> Entry {
    let digest = Digest::of(&index.to_le_bytes());
    Entry { index, digest }
}

fn some_entries() -> impl Strategy<Value = Vec<Entry>> {
    let entries = btree_map(0..2048u32, any::<[u8; 32]>(), 0..40);
    entries.prop_map(|entries| {
        let entry = |(index, digest)| Entry {
            index,
            digest: Digest::from_bytes(digest),
        };
        entries.into_iter().map(entry).collect()
    })
}

#[test]
fn the_format_is_as_drawn() {
    let bytes = written(&header(), &[entry(0x0102)]);
    assert_eq!(bytes.len(), 80 + 36 + 36);
    assert_eq!(&bytes[..8], b"PLMF\x01\0\0\0");
    assert_eq!(bytes[40..48], (1u64 << 30).to_le_bytes());
    assert_eq!(bytes[56..64], [3, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(bytes[80..84], [2, 1, 0, 0]);
    assert_eq!(bytes[84..116], *entry(0x0102).digest.as_bytes());
    assert_eq!(bytes[116..120], [0xff; 4]);
    assert_eq!(bytes[120..], *Digest::of(&bytes[..116]).as_bytes());
}

#[test]
fn the_first_snapshot_has_no_parent() {
    let first = Header {
        parent: None,
        ..header()
    };
    assert_eq!(read(&written(&first, &[])).unwrap().0, first);
}

#[test]
fn blocks_are_written_in_order_and_within_the_volume() {
    let mut writer = ManifestWriter::new(Vec::new(), &header()).unwrap();
    assert!(writer.push(&entry(2048)).is_err());
    writer.push(&entry(2047)).unwrap();
    assert!(writer.push(&entry(2047)).is_err());
    assert!(writer.push(&entry(0)).is_err());
}

/// A manifest whose checksum is right, whatever is in it.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Digest::of(&bytes);
    bytes.extend(END.to_le_bytes());
    bytes.extend(digest.as_bytes());
    bytes
}

#[test]
fn what_no_manifest_says_is_refused_though_its_checksum_is_right() {
    let with = |at: usize, bytes: &[u8]| {
        let mut header = header().encode().to_vec();
        header[at..at + bytes.len()].copy_from_slice(bytes);
        read(&sealed(header)).unwrap_err()
    };
    assert!(matches!(with(0, b"x"), BadManifest::Magic));
    assert!(matches!(with(4, &[2]), BadManifest::Version(2)));
    assert!(matches!(with(8, &[0xff; 16]), BadManifest::Id));
    assert!(matches!(with(24, &[0xff; 16]), BadManifest::Id));
    assert!(matches!(with(40, &[1]), BadManifest::Size(_)));
    assert!(matches!(with(56, &[0xff; 4]), BadManifest::Generation));
    assert!(matches!(with(64, &[0xff; 16]), BadManifest::Generation));
    assert!(matches!(with(79, &[0xff]), BadManifest::Id));
    let following = |entries: &[u32]| {
        let mut bytes = header().encode().to_vec();
        for index in entries {
            bytes.extend(index.to_le_bytes());
            bytes.extend([7; 32]);
        }
        read(&sealed(bytes)).unwrap_err()
    };
    assert!(matches!(following(&[1, 1]), BadManifest::Order(1)));
    assert!(matches!(following(&[2, 1]), BadManifest::Order(1)));
    assert!(matches!(following(&[2048]), BadManifest::Beyond(2048)));
}

proptest! {
    #[test]
    fn a_manifest_is_read_as_it_was_written(entries in some_entries()) {
        let bytes = written(&header(), &entries);
        prop_assert_eq!(read(&bytes).unwrap(), (header(), entries));
    }

    #[test]
    fn a_manifest_cut_anywhere_is_refused(entries in some_entries(), cut: prop::sample::Index) {
        let bytes = written(&header(), &entries);
        let cut = cut.index(bytes.len());
        prop_assert!(matches!(read(&bytes[..cut]), Err(BadManifest::Truncated(_))));
    }

    #[test]
    fn a_bit_flipped_anywhere_is_noticed(
        entries in some_entries(),
        at: prop::sample::Index,
        bit in 0..8u8,
    ) {
        let mut bytes = written(&header(), &entries);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn what_follows_the_end_is_noticed(entries in some_entries(), rest in 1..100usize) {
        let mut bytes = written(&header(), &entries);
        bytes.extend(vec![0; rest]);
        prop_assert!(matches!(read(&bytes), Err(BadManifest::Trailing)));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&[&header().encode()[..], &bytes].concat());
    }
}
