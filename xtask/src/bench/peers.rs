//! Who is measured.

use std::path::PathBuf;

use anyhow::{Context, Result};
use benches::peer::Peer;

use super::plinth;

/// The monitors called `ours`, which are plinth, built now, and `vs`, if they are
/// found: for `cargo xtask bench` `what`.
pub(super) fn peers(
    what: &str,
    ours: &[String],
    vs: &[String],
) -> Result<Vec<(&'static Peer, Option<PathBuf>)>> {
    let named = |name: &String| {
        Peer::named(name).with_context(|| {
            format!("no monitor is called {name:?}; see cargo xtask bench {what} --help")
        })
    };
    let mut peers = Vec::new();
    if !ours.is_empty() {
        let program = plinth()?;
        for name in ours {
            peers.push((named(name)?, Some(program.clone())));
        }
    }
    for name in vs {
        let peer = named(name)?;
        peers.push((peer, peer.find()));
    }
    Ok(peers)
}
