//! What the guest reads about its machine in SMBIOS:
//! `manufacturer=…,product=…,serial=…,uuid=…`.

use std::str::FromStr;

use super::Invalid;
use super::list::OptionList;

/// The longest string, in bytes (SMBIOS 3.6 §6.1.3 recommends 64).
const LONGEST: usize = 64;

/// SMBIOS strings and UUID; what is not given is the machine's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmbiosOption {
    /// Type 1: manufacturer.
    pub manufacturer: Option<String>,
    /// Type 1: product name.
    pub product: Option<String>,
    /// Type 1: serial number.
    pub serial: Option<String>,
    /// Type 1: UUID, in the order in which it is written.
    pub uuid: Option<[u8; 16]>,
}

impl FromStr for SmbiosOption {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut list = OptionList::parse(text)?;
        let mut string = |key| -> Result<_, Invalid> {
            let value = list.value(key)?;
            value.map(|value| printable(key, value)).transpose()
        };
        let smbios = Self {
            manufacturer: string("manufacturer")?,
            product: string("product")?,
            serial: string("serial")?,
            uuid: list.value("uuid")?.map(|text| uuid(&text)).transpose()?,
        };
        list.finish("manufacturer=…, product=…, serial=… and uuid=…")?;
        Ok(smbios)
    }
}

fn printable(key: &str, value: String) -> Result<String, Invalid> {
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if value.len() <= LONGEST && value.bytes().all(is_printable) {
        Ok(value)
    } else {
        Err(Invalid::new(format!(
            "{key} has at most {LONGEST} printable ASCII characters"
        )))
    }
}

/// Five groups of 8, 4, 4, 4 and 12 hexadecimal digits (RFC 9562 §4).
fn uuid(text: &str) -> Result<[u8; 16], Invalid> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths = groups.iter().map(|group| group.len());
    let digits = groups.concat();
    if !lengths.eq([8, 4, 4, 4, 12]) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Invalid::new(format!(
            "'{text}' is no UUID: one looks like 123e4567-e89b-12d3-a456-426614174000"
        )));
    }
    let number = u128::from_str_radix(&digits, 16).expect("32 hexadecimal digits are 128 bits");
    Ok(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_field_can_be_given() {
        let text =
            "manufacturer=A B,product=C,serial=1,,2,uuid=123e4567-e89b-12d3-a456-426614174000";
        let smbios: SmbiosOption = text.parse().unwrap();
        assert_eq!(smbios.manufacturer.as_deref(), Some("A B"));
        assert_eq!(smbios.product.as_deref(), Some("C"));
        assert_eq!(smbios.serial.as_deref(), Some("1,2"));
        assert_eq!(smbios.uuid.unwrap()[..5], [0x12, 0x3e, 0x45, 0x67, 0xe8]);
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |text: &str| text.parse::<SmbiosOption>().unwrap_err().to_string();
        assert!(error("maker=x").contains("'maker' is not known"));
        assert!(error("product=\u{e9}").contains("printable ASCII"));
        assert!(error(&format!("serial={}", "x".repeat(65))).contains("at most 64"));
        assert!(error("uuid=123").contains("no UUID"));
        assert!(error("uuid=123e4567e89b-12d3-a456-4266-14174000").contains("no UUID"));
    }

    proptest! {
        #[test]
        fn no_uuid_panics(text in "[0-9a-fA-F+é-]{0,40}") {
            let _ = uuid(&text);
        }
    }
}
