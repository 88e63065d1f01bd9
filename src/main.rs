//! nightshift's process: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(nightshift::cli::main(std::env::args_os()))
}
