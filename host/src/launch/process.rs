//! Becoming the machine's own process: `plinth-vmm` takes this one's place,
//! with the configuration and its descriptors and nothing else.

use std::env;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use vmm::VmConfig;
use vmm::handover::Handover;

use crate::error::Error;

/// Names the program, for tests and unusual installations.
const VARIABLE: &str = "PLINTH_VMM";

/// The program, beside this one.
const NAME: &str = "plinth-vmm";

/// Where the VM process's program is.
///
/// # Errors
/// It is not there.
pub fn program() -> Result<PathBuf, Error> {
    let program = match env::var_os(VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => env::current_exe()
            .map_err(|error| Error::unexpected("this program cannot find itself").because(error))?
            .with_file_name(NAME),
    };
    if program.is_file() {
        return Ok(program);
    }
    Err(
        Error::unexpected(format!("there is no program '{}'", program.display())).remedy(format!(
            "installing {NAME} beside plinth, or naming it in {VARIABLE}"
        )),
    )
}

/// Executes `program` with the machine that was `asked` for; figures about
/// its run go to `report` when it ends. Returns only if that fails.
pub fn become_machine(
    program: PathBuf,
    config: VmConfig,
    asked: Instant,
    report: Option<File>,
) -> Error {
    let handover = Handover {
        config,
        asked,
        report: report.map(Into::into),
        api: None,
        console: None,
        lock: None,
        end: None,
    };
    let memfd = match handover.send() {
        Ok(memfd) => memfd,
        Err(error) => {
            return Error::unexpected("the machine cannot be handed over").because(error);
        }
    };
    let error = Command::new(&program)
        .arg(memfd.as_raw_fd().to_string())
        .exec();
    Error::unexpected(format!("'{}' cannot be executed", program.display())).because(error)
}
