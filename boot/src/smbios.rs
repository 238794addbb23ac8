//! SMBIOS: who made the machine, as the guest's `dmidecode` and
//! /sys/class/dmi/id show it.
//!
//! Called by the plan with the [`Identity`] the VMM was given. A 64-bit (3.0)
//! entry point is followed by structures of type 0, 1, 2 where there is an
//! asset tag, and 127. Spec: DMTF DSP0134, SMBIOS 3.0.

use std::fmt;
use std::str::FromStr;

use crate::layout::SMBIOS;
use crate::segment::Segment;
use crate::{Error, Result};

/// What the machine says of itself. A text that is empty is shown as "Not
/// Specified".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Who made it.
    pub manufacturer: Text,
    /// What it is.
    pub product: Text,
    /// Which version of that.
    pub version: Text,
    /// Its serial number.
    pub serial: Text,
    /// Its UUID in the order it is written down (RFC 4122); all zeros for
    /// none.
    pub uuid: [u8; 16],
    /// The tag on its board, if there is one.
    pub asset_tag: Option<Text>,
}

/// A text that SMBIOS can hold: at most [`Text::MAX`] printable ASCII
/// characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// Most bytes of a text: the limit of SMBIOS before 2.7 (§6.1.3), which
    /// every reader knows.
    pub const MAX: usize = 64;

    /// Takes `text` as it is.
    ///
    /// # Errors
    ///
    /// [`Error::SmbiosText`].
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if text.len() > Self::MAX || !printable {
            return Err(Error::SmbiosText {
                text: text.chars().take(Self::MAX).collect(),
            });
        }
        Ok(Text(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Text {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Text::new(text)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Length of the 64-bit entry point (§5.2.2).
const ENTRY_POINT_LENGTH: u8 = 24;
/// The structures start on the next 16-byte boundary.
const STRUCTURES: u64 = SMBIOS.start + 32;

/// BIOS characteristics are not supported (§7.1.1, bit 3).
const NO_CHARACTERISTICS: u64 = 1 << 3;
/// The structures describe a virtual machine (§7.1.2.2, bit 4).
const VIRTUAL_MACHINE: u8 = 1 << 4;
/// The machine was started by its power switch (§7.2.2).
const WAKE_UP_POWER_SWITCH: u8 = 6;
/// A board that hosts other boards, replaceable no part (§7.3.1).
const HOSTING_BOARD: u8 = 1 << 0;
/// A motherboard (§7.3.2).
const MOTHERBOARD: u8 = 0x0A;

/// The entry point and the structures.
pub(crate) fn tables(identity: &Identity) -> Segment {
    let mut structures = vec![firmware(), system(identity)];
    structures.extend(identity.asset_tag.as_ref().map(|tag| board(identity, tag)));
    structures.push(Structure::new(127));
    let structures: Vec<u8> = (0..)
        .zip(structures)
        .flat_map(|(handle, structure)| structure.into_bytes(handle))
        .collect();

    let mut bytes = entry_point(structures.len());
    bytes.resize(usize::try_from(STRUCTURES - SMBIOS.start).expect("32"), 0);
    bytes.extend(structures);
    Segment::bytes("SMBIOS tables", SMBIOS.start, bytes)
}

/// The 64-bit entry point (§5.2.2).
fn entry_point(structures_length: usize) -> Vec<u8> {
    let length = u32::try_from(structures_length).expect("three structures of bounded texts");
    let mut bytes = b"_SM3_\0".to_vec();
    bytes.extend([ENTRY_POINT_LENGTH, 3, 0, 0, 1, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(STRUCTURES.to_le_bytes());
    let sum = bytes.iter().copied().fold(0, u8::wrapping_add);
    bytes[5] = sum.wrapping_neg();
    bytes
}

/// Type 0, BIOS information (§7.1).
fn firmware() -> Structure {
    let mut structure = Structure::new(0);
    structure.text("plinth");
    structure.text(env!("CARGO_PKG_VERSION"));
    // Start segment: there is no ROM, so the lowest that a PC can have.
    structure.bytes(&0xE800_u16.to_le_bytes());
    structure.text("01/01/2026");
    structure.bytes(&[0]);
    structure.bytes(&NO_CHARACTERISTICS.to_le_bytes());
    structure.bytes(&[0, VIRTUAL_MACHINE]);
    // BIOS and controller releases: not known.
    structure.bytes(&[0xFF; 4]);
    structure
}

/// Type 1, system information (§7.2).
fn system(identity: &Identity) -> Structure {
    let mut structure = Structure::new(1);
    structure.text(identity.manufacturer.as_str());
    structure.text(identity.product.as_str());
    structure.text(identity.version.as_str());
    structure.text(identity.serial.as_str());
    structure.bytes(&stored_uuid(identity.uuid));
    structure.bytes(&[WAKE_UP_POWER_SWITCH]);
    // SKU number and family: none.
    structure.bytes(&[0, 0]);
    structure
}

/// Type 2, baseboard information (§7.3).
fn board(identity: &Identity, asset_tag: &Text) -> Structure {
    let mut structure = Structure::new(2);
    structure.text(identity.manufacturer.as_str());
    structure.text(identity.product.as_str());
    structure.text(identity.version.as_str());
    structure.text(identity.serial.as_str());
    structure.text(asset_tag.as_str());
    // Location in chassis: none. Chassis: no handle. No contained objects.
    structure.bytes(&[HOSTING_BOARD, 0, 0xFF, 0xFF, MOTHERBOARD, 0]);
    structure
}

/// The first three fields of a UUID are stored little-endian (§7.2.1).
fn stored_uuid(written: [u8; 16]) -> [u8; 16] {
    let mut stored = written;
    stored[0..4].reverse();
    stored[4..6].reverse();
    stored[6..8].reverse();
    stored
}

/// A structure in the making: its formatted area and its texts (§6.1).
struct Structure {
    kind: u8,
    formatted: Vec<u8>,
    texts: Vec<u8>,
    text_count: u8,
}

impl Structure {
    fn new(kind: u8) -> Self {
        Structure {
            kind,
            formatted: Vec::new(),
            texts: Vec::new(),
            text_count: 0,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.formatted.extend(bytes);
    }

    /// Stores a text and its number; number zero stands for an empty one.
    fn text(&mut self, text: &str) {
        if text.is_empty() {
            self.formatted.push(0);
        } else {
            self.text_count += 1;
            self.formatted.push(self.text_count);
            self.texts.extend(text.bytes());
            self.texts.push(0);
        }
    }

    fn into_bytes(self, handle: u16) -> Vec<u8> {
        const HEADER: usize = 4;
        let length = u8::try_from(HEADER + self.formatted.len()).expect("structures are short");
        let mut bytes = vec![self.kind, length];
        bytes.extend(handle.to_le_bytes());
        bytes.extend(self.formatted);
        bytes.extend(&self.texts);
        // Without texts, two NULs end the structure.
        bytes.extend(if self.texts.is_empty() {
            &[0, 0][..]
        } else {
            &[0]
        });
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::bytes;

    fn identity() -> Identity {
        Identity {
            manufacturer: Text::new("Ada Ltd").unwrap(),
            product: Text::new("Engine").unwrap(),
            version: Text::default(),
            serial: Text::new("S-1").unwrap(),
            uuid: [
                0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD,
                0xEE, 0xFF,
            ],
            asset_tag: Some(Text::new("i-0123").unwrap()),
        }
    }

    /// Reads the structures as dmidecode does: type, formatted area, texts.
    fn structures(tables: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
        let length = u32::from_le_bytes(tables[12..16].try_into().unwrap()) as usize;
        let mut rest = &tables[32..32 + length];
        let mut found = Vec::new();
        while !rest.is_empty() {
            let formatted = rest[..usize::from(rest[1])].to_vec();
            let texts = &rest[formatted.len()..];
            let end = texts.windows(2).position(|two| two == [0, 0]).unwrap();
            let list = texts[..end].split(|&byte| byte == 0);
            let list = list.map(|text| String::from_utf8(text.to_vec()).unwrap());
            found.push((formatted[0], formatted.clone(), list.collect()));
            rest = &texts[end + 2..];
        }
        found
    }

    #[test]
    fn the_entry_point_leads_to_the_structures() {
        let segment = tables(&identity());
        let tables = bytes(&segment);
        assert_eq!(&tables[..5], b"_SM3_");
        assert_eq!(tables[..24].iter().copied().fold(0, u8::wrapping_add), 0);
        assert_eq!(tables[6], 24);
        assert_eq!(
            u64::from_le_bytes(tables[16..24].try_into().unwrap()),
            0xF_0020
        );
        assert_eq!(segment.address, 0xF_0000);
        let kinds: Vec<_> = structures(tables).iter().map(|found| found.0).collect();
        assert_eq!(kinds, [0, 1, 2, 127]);
    }

    #[test]
    fn the_system_is_described_as_asked() {
        let segment = tables(&identity());
        let structures = structures(bytes(&segment));
        let (_, system, texts) = &structures[1];
        assert_eq!(texts, &["Ada Ltd", "Engine", "S-1"]);
        assert_eq!(system.len(), 0x1B);
        assert_eq!(
            system[4..8],
            [1, 2, 0, 3],
            "manufacturer, product, version, serial"
        );
        assert_eq!(
            system[8..24],
            [
                0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD,
                0xEE, 0xFF
            ]
        );
        let (_, board, texts) = &structures[2];
        assert_eq!(texts[usize::from(board[8]) - 1], "i-0123");
    }

    #[test]
    fn without_an_asset_tag_there_is_no_board() {
        let segment = tables(&Identity::default());
        let kinds: Vec<_> = structures(bytes(&segment)).iter().map(|s| s.0).collect();
        assert_eq!(kinds, [0, 1, 127]);
    }

    #[test]
    fn texts_are_bounded_and_printable() {
        assert!(Text::new("x".repeat(64)).is_ok());
        for text in ["x".repeat(65), "a\0b".into(), "a\nb".into(), "ä".into()] {
            assert!(matches!(Text::new(text), Err(Error::SmbiosText { .. })));
        }
    }
}
