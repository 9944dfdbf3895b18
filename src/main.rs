//! The goatbuild command.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = goatbuild::runtime::supervise(std::env::args_os()) {
        return code;
    }
    ExitCode::SUCCESS
}
