//! The goatbuild command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a supervisor must have one thread only.
    if let Some(code) = goatbuild::runtime::supervise(std::env::args_os()) {
        return code;
    }
    ExitCode::from(goatbuild::cli::run(std::env::args_os()))
}
