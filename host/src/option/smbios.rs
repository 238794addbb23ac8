//! What the guest reads about its machine in SMBIOS:
//! `manufacturer=…,product=…,version=…,serial=…,uuid=…`.

use vmm::{Identity, Text};

use super::Invalid;
use super::list::OptionList;

/// The identity that `text` gives; what it leaves out stays as it is in
/// [`default_identity`].
///
/// # Errors
/// An item is not known or cannot be.
pub fn identity(text: &str) -> Result<Identity, Invalid> {
    let mut identity = default_identity();
    let mut list = OptionList::parse(text)?;
    for (key, field) in [
        ("manufacturer", &mut identity.manufacturer),
        ("product", &mut identity.product),
        ("version", &mut identity.version),
        ("serial", &mut identity.serial),
    ] {
        if let Some(value) = list.value(key)? {
            *field = Text::new(value).map_err(Invalid::because)?;
        }
    }
    if let Some(text) = list.value("uuid")? {
        identity.uuid = uuid(&text)?;
    }
    list.finish("manufacturer=…, product=…, version=…, serial=… and uuid=…")?;
    Ok(identity)
}

/// What a machine says of itself if the user says nothing.
pub fn default_identity() -> Identity {
    let text = |text: &str| Text::new(text).expect("short and printable");
    Identity {
        manufacturer: text("plinth"),
        product: text("plinth virtual machine"),
        version: text(env!("CARGO_PKG_VERSION")),
        ..Identity::default()
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
        let text = "manufacturer=A B,product=C,version=2,serial=1,,2,\
                    uuid=123e4567-e89b-12d3-a456-426614174000";
        let identity = identity(text).unwrap();
        assert_eq!(identity.manufacturer.as_str(), "A B");
        assert_eq!(identity.product.as_str(), "C");
        assert_eq!(identity.version.as_str(), "2");
        assert_eq!(identity.serial.as_str(), "1,2");
        assert_eq!(identity.uuid[..5], [0x12, 0x3e, 0x45, 0x67, 0xe8]);
    }

    #[test]
    fn what_is_left_out_stays() {
        let given = identity("serial=7").unwrap();
        assert_eq!(given.manufacturer.as_str(), "plinth");
        assert_eq!(given.uuid, [0; 16]);
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |text: &str| identity(text).unwrap_err().to_string();
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
