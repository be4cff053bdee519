//! `dotvm asm`.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use dotvm_core::container::content_hash;
use dotvm_runtime::show::hex;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::options::ArchOption;
use crate::output::Output;

/// Assemble source text into a module
///
/// The module is verified before it is written. Errors are shown with their lines, as many as there are.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Source text (.dasm); - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Where the module goes; - is standard output [default: the source's name with .dotvm]
    #[arg(long, short, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,

    #[command(flatten)]
    arch: ArchOption,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    output: String,
    module: String,
    width: u32,
    bytes: usize,
    hash: String,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let input = Input::read_source(&args.file, args.arch.arch)?;
    input.verify(&args.file)?;
    let stdout = Path::new("-");
    let target = match &args.output {
        Some(target) => target.clone(),
        None if args.file == stdout => stdout.to_owned(),
        None => args.file.with_extension("dotvm"),
    };
    if target == stdout {
        if args.json {
            return Err(Failure::new(Exit::Usage, "--json and the module do not both fit standard output"));
        }
        output.print_bytes(&input.bytes)?;
        return Ok(Exit::Success);
    }
    if target == args.file {
        let sentence = format!("the module would replace its source {}: give --output", target.display());
        return Err(Failure::new(Exit::Usage, sentence));
    }
    std::fs::write(&target, &input.bytes).map_err(|error| Failure::unwritable(target.display(), &error))?;
    let report = Report {
        status: "ok",
        output: target.display().to_string(),
        module: input.module.name.clone(),
        width: input.module.width.bits(),
        bytes: input.bytes.len(),
        hash: hex(&content_hash(&input.bytes)),
    };
    if args.json {
        output.print_json(&report)?;
    } else {
        output.remark(&format!("{}: {} bytes, {}-bit words", report.output, report.bytes, report.width));
    }
    Ok(Exit::Success)
}
