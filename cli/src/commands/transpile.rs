//! `dotvm transpile`.

use std::path::{Path, PathBuf};

use clap::{ValueEnum, ValueHint};
use dotvm_core::capability::CapabilitySet;
use dotvm_core::verify::verify;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::guest::{Guest, GuestOptions, container_bytes};
use crate::output::Output;

/// Translate a program of another machine into a module
///
/// The module is verified before it is written. `dotvm run` translates and runs such a file directly.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program; - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Where the module goes; - is standard output [default: the program's name with .dotvm, or .dasm]
    #[arg(long, short, value_name = "OUT", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,

    /// What is written: a module, or its source text
    #[arg(long, value_name = "FORM", value_enum, default_value = "module")]
    emit: Emit,

    /// Tell what was translated how and why, instead of writing a module
    #[arg(long, conflicts_with_all = ["output", "emit"])]
    explain: bool,

    #[command(flatten)]
    guest: GuestOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Emit {
    Module,
    Dasm,
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    machine: &'a str,
    source_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    needs: Vec<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    remarks: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spans: Vec<SpanReport<'a>>,
}

#[derive(Serialize)]
struct SpanReport<'a> {
    at: u64,
    end: u64,
    scheme: &'static str,
    why: &'a str,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let Some(guest) = args.guest.read(&args.file, args.explain, CapabilitySet::all())? else {
        let sentence = format!("nothing tells what machine {} is for: --from does", args.file.display());
        return Err(Failure::new(Exit::Usage, sentence));
    };
    if args.explain {
        return explain(args, &guest, output);
    }
    let module = &guest.translation.module;
    verify(module.clone()).map_err(|error| {
        Failure::new(Exit::Input, format!("the verifier refuses the translation: {error}"))
    })?;
    let (bytes, extension) = match args.emit {
        Emit::Module => (container_bytes(module)?, "dotvm"),
        Emit::Dasm => {
            let text = dotvm_asm::disassemble(module).map_err(|error| {
                Failure::new(Exit::Input, format!("the translation has no source text: {error}"))
            })?;
            (text.into_bytes(), "dasm")
        }
    };
    let stdout = Path::new("-");
    let target = match &args.output {
        Some(target) => target.clone(),
        None if args.file == stdout => stdout.to_owned(),
        None => args.file.with_extension(extension),
    };
    if target == stdout {
        if args.json {
            return Err(Failure::new(Exit::Usage, "--json and the module do not both fit standard output"));
        }
        output.print_bytes(&bytes)?;
        return Ok(Exit::Success);
    }
    if target == args.file {
        let sentence = format!("the module would replace its source {}: give --output", target.display());
        return Err(Failure::new(Exit::Usage, sentence));
    }
    std::fs::write(&target, &bytes).map_err(|error| Failure::unwritable(target.display(), &error))?;
    if args.json {
        output.print_json(&report(&guest, Some((target.display().to_string(), bytes.len()))))?;
    } else {
        let (from, to) = (guest.source_bytes, bytes.len());
        output.remark(&format!(
            "{}: {from} bytes of {} became {to}",
            target.display(),
            guest.frontend.name()
        ));
    }
    Ok(Exit::Success)
}

fn explain(args: &Args, guest: &Guest, output: &Output) -> Result<Exit, Failure> {
    if args.json {
        output.print_json(&report(guest, None))?;
    } else {
        output.print(&guest.explanation.to_string())?;
    }
    Ok(Exit::Success)
}

fn report(guest: &Guest, written: Option<(String, usize)>) -> Report<'_> {
    let explanation = &guest.explanation;
    let spans = explanation.spans.iter().map(|span| SpanReport {
        at: span.at,
        end: span.end,
        scheme: match span.scheme {
            dotvm_transpiler::frontend::Scheme::Direct => "direct",
            dotvm_transpiler::frontend::Scheme::General => "general",
        },
        why: &span.why,
    });
    let (output, bytes) = written.unzip();
    Report {
        status: "ok",
        machine: guest.frontend.name(),
        source_bytes: guest.source_bytes,
        output,
        bytes,
        needs: guest.translation.module.capabilities.iter().map(|capability| capability.name()).collect(),
        remarks: &explanation.remarks,
        spans: spans.collect(),
    }
}
