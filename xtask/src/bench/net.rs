//! `cargo xtask bench net`: measures plinth's networks beside those of other
//! machine monitors.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use benches::net::{NetBench, PATTERNS, Pattern};
use benches::peer::Aspect;
use clap::{Args, value_parser};

use super::common::{Common, each_once};
use super::testbed::{Parts, tool};
use crate::image;

/// Networks: round trips, TCP both ways, small UDP packets both ways.
///
/// Where instructions are counted, guest, monitor, the host's kernel and the other end
/// share one CPU; by the clock, taps are in a network namespace of their own. With a tap
/// the other end is a program of the host, on a virtual network another guest.
/// plinth's are a tap, the same served by vhost-net, and a network in whose security
/// group are one rule and 60.
#[derive(Debug, Args)]
pub(super) struct Net {
    #[command(flatten)]
    common: Common,
    /// What is measured: round-trips, stream-out, stream-in (TCP), packets-out,
    /// packets-in (UDP), as the guest sees it; all of it unless told otherwise
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    patterns: Vec<String>,
    /// For how long each time, in milliseconds of the guest
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(1..))]
    milliseconds: u32,
}

impl Net {
    /// Measures and prints.
    pub(super) fn run(self) -> Result<ExitCode> {
        let patterns = self.patterns()?;
        let (parts, results) = self.common.prepare(&[Aspect::Network])?;
        let bench = NetBench {
            patterns,
            milliseconds: self.milliseconds,
            ..usual(&parts, &self.common)?
        };
        self.common.measure(&parts, results, &bench, 1)
    }

    fn patterns(&self) -> Result<Vec<Pattern>> {
        if self.patterns.is_empty() {
            return Ok(PATTERNS.into());
        }
        let pattern = |name: &String| {
            Pattern::named(name).with_context(|| {
                format!("no pattern is called {name:?}; see cargo xtask bench net --help")
            })
        };
        let patterns: Vec<Pattern> = self.patterns.iter().map(pattern).collect::<Result<_>>()?;
        Ok(each_once(patterns))
    }
}

/// What is measured unless told otherwise.
pub(super) fn usual(parts: &Parts, common: &Common) -> Result<NetBench> {
    Ok(NetBench {
        testbed: parts.full.clone(),
        init: image::init()?,
        ip: parts.ip.clone(),
        nft: tool("nft")?,
        patterns: PATTERNS.into(),
        milliseconds: 500,
        words: common.append.clone(),
        // The guest is silent while it sends, for minutes on a busy host.
        stall_bound: Duration::from_secs(600),
    })
}
