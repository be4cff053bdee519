//! `dotvm decode`.

use dotvm_transpiler::frontend::Frontend;
use serde_json::{Map, Value};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::guest::frontend;
use crate::output::Output;

/// Explain an instruction word of another machine
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The word: decimal, 0x… or 0b…
    #[arg(value_parser = parse_number)]
    word: u64,

    /// The machine
    #[arg(long, value_name = "VM", value_parser = frontend(), default_value = "pvm")]
    from: &'static dyn Frontend,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

fn parse_number(text: &str) -> Result<u64, String> {
    let word =
        dotvm_runtime::args::parse_word(text, dotvm_arch::Width::W64).map_err(|error| error.to_string())?;
    Ok(word.as_limbs()[0])
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let Some(decoded) = args.from.decode_word(args.word) else {
        let sentence = format!("{:#x} is no instruction word of {}", args.word, args.from.name());
        return Err(Failure::new(Exit::Usage, sentence));
    };
    if args.json {
        let mut report = Map::new();
        report.insert("status".to_owned(), "ok".into());
        report.insert("word".to_owned(), format!("{:#06x}", args.word).into());
        for (name, value) in decoded.fields {
            report.insert(name.to_owned(), value.into());
        }
        report.insert("text".to_owned(), decoded.lines.join("\n").into());
        output.print_json(&Value::Object(report))?;
    } else {
        output.print(&(decoded.lines.join("\n") + "\n"))?;
    }
    Ok(Exit::Success)
}
