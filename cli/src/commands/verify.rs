//! `dotvm verify`.

use std::path::PathBuf;

use clap::ValueHint;
use dotvm_core::container::content_hash;
use dotvm_core::verify::Verified;
use dotvm_runtime::show::hex;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::keys::TrustOptions;
use crate::options::ArchOption;
use crate::output::Output;

/// Check a module, and show what the verifier found out about its functions
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Module (.dotvm) or source text (.dasm); - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    #[command(flatten)]
    arch: ArchOption,

    #[command(flatten)]
    trust: TrustOptions,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    module: String,
    width: u32,
    hash: String,
    /// Public key of who signed it.
    signer: Option<String>,
    capabilities: Vec<&'static str>,
    functions: Vec<FunctionReport>,
}

#[derive(Serialize)]
struct FunctionReport {
    name: String,
    /// The name it is exported under.
    export: Option<String>,
    code_bytes: usize,
    instructions: usize,
    blocks: usize,
    frame_words: u32,
    frame_refs: u32,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let input = Input::read_trusted(&args.file, args.arch.arch, &args.trust)?;
    let verified = input.verify(&args.file)?;
    let report = report(&verified, &input);
    if args.json {
        output.print_json(&report)?;
    } else {
        output.print(&text(&report))?;
    }
    Ok(Exit::Success)
}

fn report(verified: &Verified, input: &Input) -> Report {
    let module = verified.module();
    let functions = verified.functions().iter().enumerate().map(|(index, function)| FunctionReport {
        name: module.function_name(index as u32),
        export: module
            .exports
            .iter()
            .find(|export| export.function as usize == index)
            .map(|export| export.name.clone()),
        code_bytes: module.functions[index].code.len(),
        instructions: function.instructions as usize,
        blocks: function.blocks as usize,
        frame_words: function.frame_words,
        frame_refs: function.frame_refs,
    });
    Report {
        status: "ok",
        module: module.name.clone(),
        width: module.width.bits(),
        hash: hex(&content_hash(&input.bytes)),
        signer: input.signer.map(|key| hex(&key)),
        capabilities: module.capabilities.iter().map(|capability| capability.name()).collect(),
        functions: functions.collect(),
    }
}

fn text(report: &Report) -> String {
    let capabilities = match report.capabilities.as_slice() {
        [] => "none".to_owned(),
        capabilities => capabilities.join(", "),
    };
    let blocks: usize = report.functions.iter().map(|function| function.blocks).sum();
    let mut text = format!(
        "module {}: {}-bit words, {}, {}, capabilities: {capabilities}\nhash {}\n",
        report.module,
        report.width,
        counted(report.functions.len(), "function"),
        counted(blocks, "block"),
        report.hash
    );
    if let Some(signer) = &report.signer {
        text.push_str(&format!("signed with the key {signer}\n"));
    }
    let width = report.functions.iter().map(|function| function.name.chars().count()).max().unwrap_or(0);
    for function in &report.functions {
        text.push_str(&format!(
            "  {:width$}  {} in {} and {}, frame of {} and {}{}\n",
            function.name,
            counted(function.instructions, "instruction"),
            counted(function.code_bytes, "byte"),
            counted(function.blocks, "block"),
            counted(function.frame_words as usize, "word"),
            counted(function.frame_refs as usize, "reference"),
            if function.export.is_some() { ", exported" } else { "" },
        ));
    }
    text
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
