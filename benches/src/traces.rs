//! The traces of boots, as they were, for who looks for where the time goes.

use std::path::Path;

use anyhow::{Context, Result};
use outer::Finished;

use crate::probe::Sample;
use crate::watch::{told, understood};

/// What the probe answered, after which comes the trace if it was told to give it: that
/// and what the machine's console showed are written to `directory`, as `name`.
pub(crate) fn sample(finished: &Finished, directory: Option<&Path>, name: &str) -> Result<Sample> {
    if let Some(directory) = directory {
        // Also of a boot that failed.
        let console = &finished.output.stderr;
        write(directory, &format!("{name}.console"), console)?;
    }
    let told = told(finished)?;
    let (answer, trace) = told.split_once('\n').unwrap_or((&told, ""));
    if let Some(directory) = directory {
        write(directory, &format!("{name}.trace"), trace.as_bytes())?;
    }
    understood(answer)
}

fn write(directory: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = directory.join(name);
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, content))
        .with_context(|| format!("writing {}", path.display()))
}
