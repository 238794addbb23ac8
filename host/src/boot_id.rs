//! This boot of the host, told from every other (random(4)).

use std::fs;
use std::io;

const FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The number that this boot has.
///
/// # Errors
/// The kernel does not tell it.
pub fn read() -> io::Result<[u8; 16]> {
    parse(&fs::read_to_string(FILE)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// 32 hexadecimal digits, and dashes (RFC 9562 §4).
fn parse(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim_end().chars().filter(|c| *c != '-').collect();
    let is_one = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_one.then(|| u128::from_str_radix(&digits, 16).ok());
    number.flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_number() {
        assert_eq!(read().unwrap(), read().unwrap());
        let id = parse("00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!((id[0], id[1], id[15]), (0x00, 0x11, 0xff));
        for bad in ["", "0011", "+0112233-4455-6677-8899-aabbccddeeff"] {
            assert_eq!(parse(bad), None);
        }
    }
}
