//! An SSH public key, one line as in `authorized_keys`: type, base64, comment.
//!
//! What a user pastes here by mistake is most often the private key, so that is
//! known for what it is, and no message repeats what was pasted.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The types that OpenSSH takes for a login (ssh(1), PubkeyAcceptedAlgorithms;
/// sshd(8), AUTHORIZED_KEYS).
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Why text is no SSH public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The one that nobody else may see.
    #[error(
        "this is a private key, which must stay where it is; the public key is in the file with \
         '.pub' at the end"
    )]
    Private,
    /// The format of RFC 4716, or of PEM.
    #[error("this key is not in OpenSSH's format; ssh-keygen -i -f FILE converts it")]
    Format,
    /// Nothing but space.
    #[error("there is no key")]
    Empty,
    /// More than one line.
    #[error("this is more than one line; a key is one, and each is given on its own")]
    Lines,
    /// Far more than a key has.
    #[error("this is longer than a key can be, {} bytes", SshKey::MAX)]
    Long,
    /// It does not begin as keys do.
    #[error(
        "this is not an SSH public key: one begins with its type (ssh-ed25519, ssh-rsa, \
         ecdsa-sha2-nistp256, …) and a space"
    )]
    Type,
    /// What follows the type is not a key of that type.
    #[error("this {0} key is damaged: what follows its type is not such a key in base64")]
    Damaged(&'static str),
    /// What follows the key cannot be kept.
    #[error("the comment after the key has characters that cannot be printed")]
    Comment,
}

/// A public key that may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    line: String,
    comment: String,
}

impl SshKey {
    /// Most bytes. RSA of 16384 bits, the largest there is, has 2800.
    pub const MAX: usize = 8 << 10;

    /// The line: type, base64, and the comment if there is one.
    pub fn as_str(&self) -> &str {
        &self.line
    }

    /// What its maker called it, `user@host` most often; maybe nothing.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Whether `text` begins as a key does, and so is no file's name.
    pub fn is_begun_by(text: &str) -> bool {
        TYPES.iter().any(|name| begins_with(text, name).is_some())
    }
}

/// What follows `name` and a space in `text`.
fn begins_with<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.trim_start()
        .strip_prefix(name)?
        .strip_prefix([' ', '\t'])
}

impl FromStr for SshKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        if text.contains("PRIVATE KEY-----") || text.contains("PuTTY-User-Key-File") {
            return Err(BadKey::Private);
        }
        let text = text.trim();
        if text.starts_with("---- BEGIN SSH2") || text.starts_with("-----BEGIN") {
            return Err(BadKey::Format);
        }
        if text.is_empty() {
            return Err(BadKey::Empty);
        }
        if text.contains(['\n', '\r']) {
            return Err(BadKey::Lines);
        }
        if text.len() > Self::MAX {
            return Err(BadKey::Long);
        }
        let found = TYPES
            .iter()
            .find_map(|name| Some((*name, begins_with(text, name)?)));
        let (name, rest) = found.ok_or(BadKey::Type)?;
        let mut words = rest.trim_start().splitn(2, [' ', '\t']);
        let encoded = words.next().unwrap_or_default();
        let blob = STANDARD
            .decode(encoded)
            .map_err(|_| BadKey::Damaged(name))?;
        if !is_key_of(&blob, name) {
            return Err(BadKey::Damaged(name));
        }
        let comment = words.next().unwrap_or_default().trim();
        if comment.chars().any(char::is_control) {
            return Err(BadKey::Comment);
        }
        let line = format!("{name} {encoded} {comment}");
        Ok(Self {
            line: line.trim_end().to_owned(),
            comment: comment.to_owned(),
        })
    }
}

/// Whether `blob` is fields with their lengths before them, the first of them
/// the type, and nothing else (RFC 4253 §6.6, RFC 8709, RFC 5656).
fn is_key_of(blob: &[u8], name: &str) -> bool {
    let Some((first, mut rest)) = field(blob) else {
        return false;
    };
    let mut fields = 0;
    while let Some((_, after)) = field(rest) {
        rest = after;
        fields += 1;
    }
    first == name.as_bytes() && rest.is_empty() && fields > 0
}

/// The first field of `bytes`, and what follows it (RFC 4251 §5, "string").
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::KEY;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_kept_with_its_comment() {
        let key: SshKey = format!("\n {KEY}  ada@engine \n").parse().unwrap();
        assert_eq!(key.as_str(), format!("{KEY} ada@engine"));
        assert_eq!(key.comment(), "ada@engine");
        let key: SshKey = KEY.parse().unwrap();
        assert_eq!((key.as_str(), key.comment()), (KEY, ""));
        assert!(SshKey::is_begun_by(KEY));
        assert!(!SshKey::is_begun_by("ssh-ed25519.pub"));
    }

    #[test]
    fn what_is_no_key_is_named() {
        let refused = |text: &str| text.parse::<SshKey>().unwrap_err();
        let private =
            "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----";
        assert_eq!(refused(private), BadKey::Private);
        assert!(!refused(private).to_string().contains("secret"));
        assert_eq!(
            refused("PuTTY-User-Key-File-3: ssh-ed25519"),
            BadKey::Private
        );
        assert_eq!(
            refused("---- BEGIN SSH2 PUBLIC KEY ----\nx"),
            BadKey::Format
        );
        assert_eq!(refused(" \n"), BadKey::Empty);
        assert_eq!(refused(&format!("{KEY}\n{KEY}")), BadKey::Lines);
        assert_eq!(
            refused(&format!("{KEY} {}", "x".repeat(SshKey::MAX))),
            BadKey::Long
        );
        for text in [
            "ssh-dss AAAA",
            "ssh-ed25519",
            "hello world",
            "no-pty ssh-rsa AAAA",
        ] {
            assert_eq!(refused(text), BadKey::Type, "{text}");
        }
        assert_eq!(refused(&format!("{KEY} a\u{7}b")), BadKey::Comment);
    }

    #[test]
    fn a_damaged_key_is_none() {
        let damaged = BadKey::Damaged("ssh-ed25519");
        let cut = &KEY[..KEY.len() - 4];
        for text in [cut, "ssh-ed25519 !", "ssh-ed25519 AAAA", &KEY[..31]] {
            assert_eq!(text.parse::<SshKey>(), Err(damaged.clone()), "{text}");
        }
        let other = KEY.replace("ssh-ed25519", "ssh-rsa");
        assert_eq!(other.parse::<SshKey>(), Err(BadKey::Damaged("ssh-rsa")));
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_not(text in "(ssh-rsa )?.{0,80}") {
            if let Ok(key) = text.parse::<SshKey>() {
                prop_assert!(!key.as_str().contains('\n'));
            }
        }

        #[test]
        fn any_bytes_are_a_key_of_a_type_or_not(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = is_key_of(&bytes, "ssh-rsa");
        }
    }
}
