//! The `plinth` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    host::cli::main()
}
