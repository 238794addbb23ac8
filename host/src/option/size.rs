//! The size of a guest's memory, as in `512M`, `2GiB` or `512M,max=4G`, and of
//! a volume.

use vmm::MemoryLayout;
use volume::size::VolumeSize;

pub use crate::amount::Amount;

use super::Invalid;
use super::list::{OptionList, split_first};

/// `SIZE[,max=SIZE]`: memory that a guest can have, and up to which it can
/// grow. A size is a whole number, then K, M, G or T for powers of 1024, also
/// written KiB, MiB, GiB, TiB, in upper or lower case. A number alone is bytes.
///
/// # Errors
/// It is no size, or not one that a guest can have.
pub fn memory(text: &str) -> Result<MemoryLayout, Invalid> {
    let (size, rest) = split_first(text);
    let layout = fixed(&size)?;
    let Some(rest) = rest else {
        return Ok(layout);
    };
    let mut list = OptionList::parse(rest)?;
    let most = list.value("max")?.map(|most| bytes(&most)).transpose()?;
    list.finish("max=SIZE")?;
    match most {
        Some(most) => layout.growing_to(most).map_err(Invalid::because),
        None => Ok(layout),
    }
}

fn fixed(text: &str) -> Result<MemoryLayout, Invalid> {
    let bytes = bytes(text)?;
    MemoryLayout::new(bytes).map_err(|error| {
        // The commonest mistake: megabytes meant, bytes said.
        if bytes > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Invalid::new(format!("{error} (a number alone is bytes: {text}M is MiB)"))
        } else {
            Invalid::because(error)
        }
    })
}

/// The size of a volume, written in the same way.
///
/// # Errors
/// It is no size, or not one that a volume can have.
pub fn volume(text: &str) -> Result<VolumeSize, Invalid> {
    VolumeSize::new(bytes(text)?).map_err(Invalid::because)
}

/// A number of bytes, written in the same way.
///
/// # Errors
/// It is no size, or more than can be counted.
pub fn bytes(text: &str) -> Result<u64, Invalid> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(Invalid::new(
            "a size is a whole number and a unit, such as 512M or 2G",
        ));
    }
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => {
            return Err(Invalid::new(format!(
                "'{unit}' is not a unit: there are K, M, G and T (powers of 1024)"
            )));
        }
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| Invalid::new("nothing has that many bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_is_a_power_of_1024() {
        for (text, size) in [
            ("64M", 64 << 20),
            ("64mib", 64 << 20),
            ("2GiB", 2 << 30),
            ("65536K", 64 << 20),
            ("1t", 1 << 40),
            ("67108864", 64 << 20),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        assert_eq!(memory("64M").unwrap().bytes(), 64 << 20);
    }

    #[test]
    fn memory_may_have_a_maximum() {
        let memory = memory("512M,max=4G").unwrap();
        assert_eq!((memory.bytes(), memory.most()), (512 << 20, 4 << 30));
    }

    #[test]
    fn what_is_no_size_is_explained() {
        for (text, why) in [
            ("", "whole number"),
            ("M", "whole number"),
            ("1.5G", "'.5G' is not a unit"),
            ("-1G", "whole number"),
            ("512MB", "'MB' is not a unit"),
            ("0", "0 bytes of guest memory is not possible"),
            ("512", "512M is MiB"),
            ("63M", "from 64 MiB"),
            ("67108865", "whole number of MiB"),
            ("99999999T", "nothing has"),
            ("512M,max=256M", "larger by a multiple of 128 MiB"),
            ("512M,max=600M", "larger by a multiple of 128 MiB"),
            ("512M,max=big", "whole number"),
            ("512M,max", "'max' needs a value"),
            (
                "512M,min=64M",
                "'min' is not known here: there are max=SIZE",
            ),
            ("512M,", "empty"),
            (",max=1G", "whole number"),
            ("99999999999999999999", "nothing has"),
        ] {
            let error = memory(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_volume_has_whole_sectors_and_bounds() {
        assert_eq!(volume("20GiB").unwrap().bytes(), 20 << 30);
        for (text, why) in [
            ("0", "0 bytes are too few: a volume has at least 1 MiB"),
            ("65T", "at most 64 TiB"),
            ("1048577", "not a multiple of 512"),
            ("20GB", "'GB' is not a unit"),
        ] {
            let error = volume(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9]{0,21}.{0,4}") {
            let _ = memory(&text);
        }
    }
}
