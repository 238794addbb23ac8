use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A key file.
fn source(byte: u8) -> (KeySource, tempfile::TempPath) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), [byte; 32]).unwrap();
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
    (KeySource::file(file.path()).unwrap(), file.into_temp_path())
}

#[test]
fn what_is_recorded_opens_again_and_does_not_have_the_key() {
    let (source, file) = source(7);
    let encryption = Encryption::new(source.clone()).unwrap();
    let text = serde_json::to_string(&encryption).unwrap();
    let again: Encryption = serde_json::from_str(&text).unwrap();
    assert_eq!(again, encryption);
    let key = again.unlock("volume 'a'", None).unwrap();
    assert_eq!(encryption.unlock("volume 'a'", Some(&source)).unwrap(), key);
    let digits = Hex(*key.as_bytes()).to_string();
    for part in digits.as_bytes().chunks(16) {
        assert!(!text.contains(std::str::from_utf8(part).unwrap()));
    }
    drop(file);
    let gone = encryption.unlock("volume 'a'", None).unwrap_err().report();
    assert!(gone.contains("cannot be read"), "{gone}");
}

#[test]
fn each_volume_has_a_key_of_its_own() {
    let (source, _file) = source(7);
    let [one, other] = [(), ()].map(|()| Encryption::new(source.clone()).unwrap());
    let unlocked = |encryption: &Encryption| encryption.unlock("it", None).unwrap();
    assert_ne!(unlocked(&one), unlocked(&other));
}

#[test]
fn another_key_is_refused_by_its_check_value() {
    let (source_a, _a) = source(7);
    let (source_b, _b) = source(8);
    let encryption = Encryption::new(source_a).unwrap();
    let error = encryption.unlock("volume 'web'", Some(&source_b));
    let report = error.unwrap_err().report();
    assert!(
        report.contains("is another than that of volume 'web'"),
        "{report}"
    );
    assert!(report.contains("--key-file"), "{report}");
}

#[test]
fn a_record_that_is_damaged_is_refused_or_said_to_be() {
    let (source, _file) = source(7);
    let encryption = Encryption::new(source).unwrap();
    let mut spoilt = encryption.clone();
    spoilt.wrapped_key.0[30] ^= 1;
    let report = spoilt.unlock("volume 'web'", None).unwrap_err().report();
    assert!(
        report.contains("wrapped key of volume 'web' is damaged"),
        "{report}"
    );

    let sound = serde_json::to_value(&encryption).unwrap();
    type Edit = fn(&mut serde_json::Value);
    let edits: [Edit; 5] = [
        |value| value["cipher"] = "rot13".into(),
        |value| value["wrapping"] = "none".into(),
        |value| value["wrapped_key"] = "00".into(),
        |value| value["wrapping_key"] = "/a".into(),
        |value| value["more"] = 1.into(),
    ];
    for edit in edits {
        let mut value = sound.clone();
        edit(&mut value);
        assert!(serde_json::from_value::<Encryption>(value).is_err());
    }
}
