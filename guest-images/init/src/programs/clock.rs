//! `guest clock`: what time the guest has, when it is asked by a line on its standard
//! input.
//!
//! ```text
//! clock: ready
//! clock: now 1767225600.000000000 since 1970
//! ```

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Outcome, print};

pub(super) fn run() -> Outcome {
    print(format_args!("clock: ready"))?;
    io::stdin().read_line(&mut String::new())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (seconds, nanoseconds) = (now.as_secs(), now.subsec_nanos());
    print(format_args!(
        "clock: now {seconds}.{nanoseconds:09} since 1970"
    ))?;
    Ok(())
}
