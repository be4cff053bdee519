//! `dotvm completions`.

use clap_complete::Shell;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Print a script that completes commands and options in a shell
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    // Made in memory: the generator cannot cope with a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "dotvm", &mut script);
    output.print_bytes(&script)?;
    Ok(Exit::Success)
}
