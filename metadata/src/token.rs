//! Tokens of version 2 of the metadata service: who has one could make a
//! request of its own, with a header of its own, from the interface that the
//! token is for.
//!
//! Nothing is kept about a token, so that a guest may ask for any number of
//! them: a token is the time at which it ends and a code for that and the
//! interface (HMAC-SHA-256, RFC 2104) under a key that only the service has.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::id::InterfaceId;

/// How long a token lives: 1 s to 6 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive(u32);

impl TimeToLive {
    /// Most seconds.
    pub const MAX: u32 = 21_600;

    /// What the header `X-aws-ec2-metadata-token-ttl-seconds` says; `None` if
    /// it is not a number of seconds that a token may live.
    pub fn parse(text: &str) -> Option<Self> {
        // `parse` would take a sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = digits.then(|| text.parse().ok())??;
        matches!(seconds, 1..=Self::MAX).then_some(Self(seconds))
    }

    /// The seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

/// The key under which tokens are made, of 32 random bytes. Another key, as
/// after the service began anew, knows none of the tokens of this one; clients
/// then ask for another.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

/// Bytes of the time at which a token ends, before its code.
const END: usize = 8;
/// Bytes of a token, 56 characters in base64 as EC2's.
const TOKEN: usize = END + 32;

impl TokenKey {
    /// The key of `bytes`, which nobody else knows.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(bytes).expect("HMAC takes keys of any length"))
    }

    /// A token for requests that come from `interface`, from `now` on for as
    /// long as `ttl` says.
    pub fn issue(&self, interface: InterfaceId, ttl: TimeToLive, now: Duration) -> String {
        let end = now.saturating_add(Duration::from_secs(ttl.0.into()));
        let end = u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
        let mut token = end.to_be_bytes().to_vec();
        token.extend(self.code(interface, end).finalize().into_bytes());
        URL_SAFE.encode(token)
    }

    /// Whether `token` is one for `interface`, and has not ended. Takes as
    /// long whatever part of it is wrong.
    pub fn accepts(&self, interface: InterfaceId, token: &[u8], now: Duration) -> bool {
        let decoded = URL_SAFE
            .decode(token)
            .ok()
            .filter(|token| token.len() == TOKEN);
        let Some(token) = decoded else {
            return false;
        };
        let Some((end, code)) = token.split_first_chunk::<END>() else {
            return false;
        };
        let end = u64::from_be_bytes(*end);
        let genuine = self.code(interface, end).verify_slice(code).is_ok();
        genuine && now.as_millis() < u128::from(end)
    }

    fn code(&self, interface: InterfaceId, end: u64) -> Hmac<Sha256> {
        let mut code = self.0.clone();
        code.update(&end.to_be_bytes());
        code.update(interface.to_string().as_bytes());
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn interface(number: u8) -> InterfaceId {
        InterfaceId::from_bytes([number; 16])
    }

    fn key() -> TokenKey {
        TokenKey::new(&[7; 32])
    }

    const NOW: Duration = Duration::from_secs(1000);

    fn after(milliseconds: u64) -> Duration {
        NOW + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_token_lives_as_long_as_it_was_asked_for() {
        let ttl = TimeToLive::parse("2").unwrap();
        let token = key().issue(interface(1), ttl, NOW);
        assert_eq!(token.len(), 56);
        assert!(key().accepts(interface(1), token.as_bytes(), NOW));
        assert!(key().accepts(interface(1), token.as_bytes(), after(1999)));
        assert!(!key().accepts(interface(1), token.as_bytes(), after(2000)));
    }

    #[test]
    fn a_token_is_for_one_interface_and_one_key() {
        let ttl = TimeToLive::parse("60").unwrap();
        let token = key().issue(interface(1), ttl, NOW);
        assert!(!key().accepts(interface(2), token.as_bytes(), NOW));
        assert!(!TokenKey::new(&[8; 32]).accepts(interface(1), token.as_bytes(), NOW));
    }

    #[test]
    fn a_token_cannot_be_made_to_live_longer() {
        let ttl = TimeToLive::parse("1").unwrap();
        let token = key().issue(interface(1), ttl, NOW);
        let mut bytes = URL_SAFE.decode(token).unwrap();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE.encode(&bytes);
            assert!(
                !key().accepts(interface(1), forged.as_bytes(), NOW),
                "bit {bit}"
            );
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn times_to_live_are_bounded() {
        assert_eq!(TimeToLive::parse("1").map(TimeToLive::seconds), Some(1));
        assert_eq!(
            TimeToLive::parse("21600").map(TimeToLive::seconds),
            Some(21600)
        );
        for text in [
            "",
            "0",
            "21601",
            "-1",
            "+1",
            "1.0",
            " 1",
            "99999999999999999999",
        ] {
            assert_eq!(TimeToLive::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_a_token(token in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(!key().accepts(interface(1), &token, NOW));
        }
    }
}
