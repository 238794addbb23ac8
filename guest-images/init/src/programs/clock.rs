//! `guest clock`: what time the guest has, when it is asked by a line on its standard
//! input.
//!
//! ```text
//! clock: ready
//! clock: now 1767225600000000000 ns since 1970
//! ```

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Outcome, print};

pub(super) fn run() -> Outcome {
    print(format_args!("clock: ready"))?;
    io::stdin().read_line(&mut String::new())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    print(format_args!("clock: now {} ns since 1970", now.as_nanos()))?;
    Ok(())
}
