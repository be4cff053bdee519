//! `dotvm disasm`.

use std::path::PathBuf;

use clap::ValueHint;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::keys::TrustOptions;
use crate::output::Output;

/// Show a module as source text
///
/// The text assembles to the same module, byte for byte.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Module (.dotvm), or source text (.dasm) to be assembled first; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    #[command(flatten)]
    trust: TrustOptions,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let input = Input::read_trusted(&args.file, None, &args.trust)?;
    let text = dotvm_asm::disassemble(&input.module).map_err(|error| {
        Failure::new(Exit::Input, format!("{} has no source text: {error}", args.file.display()))
    })?;
    output.print(&text)?;
    Ok(Exit::Success)
}
