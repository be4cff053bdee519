//! The `dotvm` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    dotvm_cli::install_panic_message();
    dotvm_cli::run(std::env::args_os())
}
