//! How fast a volume is: its kind, and the limits that come of it.
//!
//! The kinds are those of EBS that are in use, and so are their bounds: gp3
//! for `standard`, io2 for `provisioned`. EBS also bounds operations by the
//! size and throughput by the operations, as many volumes share its hosts;
//! nothing on one host stands behind that, so it is left out.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use devices::rate_limit::{Limit, Limits};
use serde::{Deserialize, Serialize};

/// What the operations of one MiB are taken for: EBS counts one for each
/// 256 KiB.
const OPERATIONS_PER_MIB: u64 = 4;

/// What speed a volume was made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// 3,000 IOPS and 125 MiB/s unless more is asked for
    #[default]
    Standard,
    /// As many IOPS as are asked for
    Provisioned,
}

/// A volume's speed, within the bounds of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Asked", into = "Asked")]
pub struct Speed {
    kind: Kind,
    iops: NonZeroU64,
    throughput: NonZeroU64,
}

/// A speed as it is asked for, and as it is recorded: any numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The kind; standard if it is not said.
    pub kind: Option<Kind>,
    /// Operations in a second.
    pub iops: Option<u64>,
    /// MiB in a second.
    pub throughput: Option<u64>,
}

/// Why a volume cannot have a speed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSpeed {
    /// Out of the kind's bounds.
    #[error("{asked} {unit} are not to be had: a {kind} volume has {least} to {most}")]
    Bounds {
        /// The number asked for.
        asked: u64,
        /// What it counts.
        unit: &'static str,
        /// The volume's kind.
        kind: Kind,
        /// The least that the kind has.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Nothing says how fast it is to be.
    #[error("a provisioned volume is as fast as it is asked to be: --iops N is missing")]
    NoIops,
}

impl Kind {
    /// Operations that a volume of this kind can have in a second.
    fn iops(self) -> RangeInclusive<u64> {
        match self {
            Self::Standard => 3_000..=80_000,
            Self::Provisioned => 100..=256_000,
        }
    }

    /// MiB that a volume of this kind can move in a second.
    fn throughput(self) -> RangeInclusive<u64> {
        match self {
            Self::Standard => 125..=2_000,
            Self::Provisioned => 25..=4_000,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standard => "standard",
            Self::Provisioned => "provisioned",
        })
    }
}

impl Speed {
    /// The speed asked for. What is left out is the least of the kind's, but a
    /// provisioned volume's throughput: what its operations can move, at
    /// 256 KiB each.
    ///
    /// # Errors
    /// The kind has no such speed.
    pub fn new(asked: Asked) -> Result<Self, BadSpeed> {
        let kind = asked.kind.unwrap_or_default();
        let iops = match (asked.iops, kind) {
            (Some(iops), _) => iops,
            (None, Kind::Standard) => *kind.iops().start(),
            (None, Kind::Provisioned) => return Err(BadSpeed::NoIops),
        };
        let usual = match kind {
            Kind::Standard => *kind.throughput().start(),
            Kind::Provisioned => (iops / OPERATIONS_PER_MIB).min(*kind.throughput().end()),
        };
        let iops = bounded(iops, kind.iops(), kind, "IOPS")?;
        let throughput = asked.throughput.unwrap_or(usual);
        let throughput = bounded(throughput, kind.throughput(), kind, "MiB/s")?;
        Ok(Self {
            kind,
            iops,
            throughput,
        })
    }

    /// This speed, changed to what is asked for. What is left out stays as it
    /// is, and is what the new kind says where that changes.
    ///
    /// # Errors
    /// The kind has no such speed.
    pub fn changed(self, asked: Asked) -> Result<Self, BadSpeed> {
        match asked.kind {
            Some(kind) if kind != self.kind => Self::new(asked),
            _ => Self::new(Asked {
                kind: Some(self.kind),
                iops: asked.iops.or(Some(self.iops())),
                throughput: asked.throughput.or(Some(self.throughput())),
            }),
        }
    }

    /// The kind of volume.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// Operations in a second.
    pub fn iops(self) -> u64 {
        self.iops.get()
    }

    /// MiB in a second.
    pub fn throughput(self) -> u64 {
        self.throughput.get()
    }

    /// As a disk is held to it.
    pub fn limits(self) -> Limits {
        let limit = |rate| Limit::per_second(rate).expect("no kind's bounds are beyond a limit's");
        let bytes = limit(self.throughput() << 20);
        Limits::new(Some(limit(self.iops())), Some(bytes)).expect("there are two")
    }
}

fn bounded(
    asked: u64,
    range: RangeInclusive<u64>,
    kind: Kind,
    unit: &'static str,
) -> Result<NonZeroU64, BadSpeed> {
    let (least, most) = (*range.start(), *range.end());
    let number = NonZeroU64::new(asked).filter(|_| range.contains(&asked));
    number.ok_or(BadSpeed::Bounds {
        asked,
        unit,
        kind,
        least,
        most,
    })
}

impl TryFrom<Asked> for Speed {
    type Error = BadSpeed;

    fn try_from(asked: Asked) -> Result<Self, BadSpeed> {
        Self::new(asked)
    }
}

impl From<Speed> for Asked {
    fn from(speed: Speed) -> Self {
        Self {
            kind: Some(speed.kind),
            iops: Some(speed.iops()),
            throughput: Some(speed.throughput()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(kind: Kind, iops: Option<u64>, throughput: Option<u64>) -> Asked {
        Asked {
            kind: Some(kind),
            iops,
            throughput,
        }
    }

    fn made(asked: Asked) -> (u64, u64) {
        let speed = Speed::new(asked).unwrap();
        (speed.iops(), speed.throughput())
    }

    #[test]
    fn what_is_not_asked_for_is_the_kind_s() {
        use Kind::{Provisioned, Standard};
        assert_eq!(made(Asked::default()), (3000, 125));
        assert_eq!(made(asked(Standard, Some(5000), None)), (5000, 125));
        assert_eq!(made(asked(Provisioned, Some(1000), None)), (1000, 250));
        assert_eq!(made(asked(Provisioned, Some(100), None)), (100, 25));
        assert_eq!(made(asked(Provisioned, Some(64_000), None)), (64_000, 4000));
        assert_eq!(made(asked(Provisioned, Some(100), Some(99))), (100, 99));
    }

    #[test]
    fn what_a_kind_does_not_have_is_refused_with_its_bounds() {
        let why = |asked| Speed::new(asked).unwrap_err().to_string();
        use Kind::{Provisioned, Standard};
        assert_eq!(
            why(asked(Standard, Some(100), None)),
            "100 IOPS are not to be had: a standard volume has 3000 to 80000"
        );
        assert!(why(asked(Standard, None, Some(2001))).contains("2001 MiB/s"));
        assert!(why(asked(Provisioned, Some(0), None)).contains("0 IOPS"));
        assert!(why(asked(Provisioned, Some(300_000), None)).contains("100 to 256000"));
        assert!(why(asked(Provisioned, None, Some(500))).contains("--iops N is missing"));
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name_unless_the_kind_changes() {
        let speed = Speed::new(asked(Kind::Standard, Some(9000), Some(500))).unwrap();
        let faster = Asked {
            iops: Some(10_000),
            ..Asked::default()
        };
        let changed = speed.changed(faster).unwrap();
        assert_eq!((changed.iops(), changed.throughput()), (10_000, 500));
        let other = asked(Kind::Provisioned, Some(400), None);
        let changed = speed.changed(other).unwrap();
        assert_eq!((changed.iops(), changed.throughput()), (400, 100));
        let back = changed.changed(asked(Kind::Standard, None, None)).unwrap();
        assert_eq!((back.iops(), back.throughput()), (3000, 125));
    }

    #[test]
    fn limits_are_of_operations_and_bytes() {
        let limits = Speed::new(Asked::default()).unwrap().limits();
        assert_eq!(limits.operations().unwrap().rate(), 3000);
        assert_eq!(limits.bytes().unwrap().rate(), 125 << 20);
    }

    proptest! {
        #[test]
        fn every_speed_has_limits(provisioned: bool, iops: Option<u64>, throughput: Option<u64>) {
            let kind = if provisioned { Kind::Provisioned } else { Kind::Standard };
            if let Ok(speed) = Speed::new(asked(kind, iops, throughput)) {
                let limits = speed.limits();
                prop_assert_eq!(limits.operations().unwrap().rate(), speed.iops());
                prop_assert_eq!(Speed::try_from(Asked::from(speed)), Ok(speed));
            }
        }
    }
}
