//! How the metadata service treats an instance (EC2's MetadataOptions).

/// What EC2 calls InstanceMetadataOptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether every request must have a version 2 token.
    pub tokens: Tokens,
    /// Whether the service answers at all; if not, it says so at once (403),
    /// since a client that hears nothing tries for minutes.
    pub endpoint: bool,
    /// How far the answer that holds a token travels.
    pub hop_limit: HopLimit,
    /// Whether the instance's tags are in the tree.
    pub tags: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tokens: Tokens::Optional,
            endpoint: true,
            hop_limit: HopLimit::default(),
            tags: false,
        }
    }
}

/// HttpTokens: whether version 1 is there, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokens {
    /// Requests without a token are answered.
    #[default]
    Optional,
    /// They are refused.
    Required,
}

/// Not a hop limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hop limit is 1 to 64, not {0}")]
pub struct BadHopLimit(pub u8);

/// HttpPutResponseHopLimit, 1 to 64: the IP time-to-live of the answer that
/// holds a token. With 1 it reaches the guest and nothing behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopLimit(u8);

impl HopLimit {
    /// Takes `hops`.
    ///
    /// # Errors
    /// It is 0, or above 64.
    pub fn new(hops: u8) -> Result<Self, BadHopLimit> {
        match hops {
            1..=64 => Ok(Self(hops)),
            _ => Err(BadHopLimit(hops)),
        }
    }

    /// The number of hops.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for HopLimit {
    fn default() -> Self {
        Self(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_limits_are_bounded() {
        assert_eq!(HopLimit::new(64).map(HopLimit::get), Ok(64));
        assert_eq!(HopLimit::new(0), Err(BadHopLimit(0)));
        assert_eq!(HopLimit::new(65), Err(BadHopLimit(65)));
    }
}
