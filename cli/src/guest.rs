//! Programs of other machines: recognised, translated, run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use dotvm_arch::W512;
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::container;
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::outcome::Invocation;
use dotvm_runtime::{Options as RuntimeOptions, Outside, Program, Runtime};
use dotvm_transpiler::frontend::{
    Ending, Explanation, Frontend, FrontendError, Neighbours, Options, Source, Translation,
};
use dotvm_transpiler::{Executor, FRONTENDS, Inputs, Ran, by_name, detect};
use serde_json::{Map, Value};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::read_file;
use crate::output::Output;
use crate::outside::Console;
use crate::store;

/// How a program of another machine is translated.
#[derive(clap::Args)]
pub struct GuestOptions {
    /// The machine that the program is for [default: told by the file]
    #[arg(long, value_name = "VM", value_parser = machine(), help_heading = "Other machines")]
    from: Option<From>,

    /// The interface of its system calls, on machines that have several [default: told by the program]
    #[arg(long, value_name = "ABI", help_heading = "Other machines")]
    abi: Option<String>,

    /// Switch the machine's default services off, on machines that have some
    #[arg(long, help_heading = "Other machines")]
    no_services: bool,
}

/// A value of `--from`.
#[derive(Clone, Copy)]
pub enum From {
    /// Told by the file.
    Auto,
    /// This machine.
    Frontend(&'static dyn Frontend),
}

/// Reads `--from`.
pub fn machine() -> impl TypedValueParser<Value = From> {
    let names = FRONTENDS.iter().map(|frontend| frontend.name()).chain(["auto"]);
    PossibleValuesParser::new(names).try_map(|name| match by_name(&name) {
        Some(frontend) => Ok(From::Frontend(frontend)),
        None if name == "auto" => Ok(From::Auto),
        None => Err(format!("there is no frontend for {name}")),
    })
}

/// Reads the name of a machine.
pub fn frontend() -> impl TypedValueParser<Value = &'static dyn Frontend> {
    PossibleValuesParser::new(FRONTENDS.iter().map(|frontend| frontend.name()))
        .try_map(|name| by_name(&name).ok_or_else(|| format!("there is no frontend for {name}")))
}

/// Files beside the program, in its folder.
pub struct Folder<'a>(pub &'a Path);

impl Neighbours for Folder<'_> {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        read_file(&self.0.join(name)).ok()
    }
}

/// A translated program.
pub struct Guest {
    /// Its machine.
    pub frontend: &'static dyn Frontend,
    /// What became of it.
    pub translation: Translation,
    /// What was translated how, if that was asked for.
    pub explanation: Explanation,
    /// Bytes of the file.
    pub source_bytes: usize,
}

impl GuestOptions {
    /// Whether anything is given.
    pub fn is_on(&self) -> bool {
        self.from.is_some() || self.abi.is_some() || self.no_services
    }

    /// Reads and translates a file if it is a program of another machine: because an option says so, or its name or its
    /// contents do. What the host does not grant the program is told.
    pub fn read(&self, path: &Path, explain: bool, granted: CapabilitySet) -> Result<Option<Guest>, Failure> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if self.from.is_none() && (path == Path::new("-") || matches!(extension, Some("dasm" | "dotvm"))) {
            return Ok(None);
        }
        let bytes = read_file(path)?;
        let name = path.display().to_string();
        let folder = Folder(path.parent().unwrap_or(Path::new("")));
        let source = Source { name: &name, bytes: &bytes, neighbours: &folder };
        let frontend = match self.from {
            Some(From::Frontend(frontend)) => frontend,
            Some(From::Auto) => match detect(&source) {
                Some(frontend) => frontend,
                None => {
                    let sentence = format!("nothing tells what machine {name} is for: --from does");
                    return Err(Failure::new(Exit::Usage, sentence));
                }
            },
            None => match detect(&source) {
                Some(frontend) => frontend,
                None => return Ok(None),
            },
        };
        let options = Options {
            abi: self.abi.clone(),
            services: !self.no_services,
            denied: all_but(granted),
            ..Options::default()
        };
        let refused = |error: FrontendError| Failure::new(Exit::Input, format!("{name} is refused: {error}"));
        let parsed = frontend.parse(&source).map_err(refused)?;
        let translation = parsed.translate(&options).map_err(refused)?;
        let explanation =
            if explain { parsed.explain(&options).map_err(refused)? } else { Explanation::default() };
        Ok(Some(Guest { frontend, translation, explanation, source_bytes: bytes.len() }))
    }
}

/// A translated module as a program.
pub fn program(module: &Module) -> Result<Program, Failure> {
    Ok(Program::load(&container_bytes(module)?)?)
}

/// The bytes of a module's file.
pub fn container_bytes(module: &Module) -> Result<Vec<u8>, Failure> {
    container::write(module)
        .map_err(|error| Failure::new(Exit::Input, format!("the module cannot be written: {error}")))
}

/// Runs translated programs over empty databases in memory.
pub struct InMemory;

impl Executor for InMemory {
    fn execute(&mut self, translation: &Translation, inputs: &Inputs) -> Result<Ran, String> {
        let runtime = Runtime::new(store::in_memory().map_err(|failure| failure.sentence)?);
        let mut options = RuntimeOptions::default();
        options.limits = Limits { gas: Gas::MAX, memory_pages: GUEST_PAGES, ..options.limits };
        options.files =
            inputs.files.iter().map(|(path, bytes)| (path.clone().into(), bytes.clone().into())).collect();
        let console = Arc::new(Mutex::new(Console::given(inputs.stdin.clone(), &inputs.args)));
        options.outside = Outside::shared(console.clone());
        let mut ran =
            execute(&runtime, "guest", translation, inputs, options).map_err(|failure| failure.sentence)?;
        add_streams(&mut ran, console.lock().unwrap_or_else(PoisonError::into_inner).collected());
        Ok(ran)
    }
}

/// Most pages of memory in a run of samples: 1 GiB, so that what a source machine allows is there.
const GUEST_PAGES: u64 = 1 << 14;

/// The capabilities that are not granted.
pub fn all_but(granted: CapabilitySet) -> CapabilitySet {
    Capability::ALL.iter().copied().filter(|capability| !granted.contains(*capability)).collect()
}

/// Adds what a program wrote to the console to what it recorded.
pub fn add_streams(ran: &mut Ran, streams: Option<[Vec<u8>; 2]>) {
    let [stdout, stderr] = streams.unwrap_or_default();
    ran.stdout.extend(stdout);
    ran.stderr.extend(stderr);
}

/// Whether a program has files.
pub fn has_files(module: &Module) -> bool {
    module.host_calls.iter().any(|call| call.is_file())
}

/// Runs a translated program. The limits of `options` hold, but for the instruction limit.
pub fn execute(
    runtime: &Runtime,
    name: &str,
    translation: &Translation,
    inputs: &Inputs,
    mut options: RuntimeOptions,
) -> Result<Ran, Failure> {
    let program = program(&translation.module)?;
    let export = if inputs.inspect { translation.inspect } else { translation.run };
    let Some(function) = translation.module.export(export) else {
        return Err(Failure::new(Exit::Input, format!("the translated module has no export {export}")));
    };
    options.limits.guest_gas = inputs.budget.unwrap_or(u64::MAX);
    options.env.input = inputs.stdin.clone().into();
    let words = inputs.words.iter().copied().map(W512::from).collect();
    let invocation = Invocation { function, words, refs: Vec::new() };
    let execution = runtime.run(name, &program, &invocation, &options)?;
    let stdout = execution.events.iter().flat_map(|event| event.data.to_vec()).collect();
    let mut files = BTreeMap::new();
    if has_files(&translation.module) {
        for (path, contents) in runtime.files(name)? {
            files.insert(String::from_utf8_lossy(&path).into_owned(), contents.into());
        }
    }
    Ok(Ran { outcome: execution.outcome, stdout, stderr: Vec::new(), files })
}

/// Prints how a program ended: what it wrote on standard output, the rest on standard error.
pub fn print(guest: &Guest, ran: &Ran, json: bool, output: &Output) -> Result<Exit, Failure> {
    let Guest { frontend, translation, .. } = guest;
    let ending = frontend.ending(&ran.outcome).map_err(|error| Failure::new(Exit::Program, error))?;
    let is_success = match ending.status.as_str() {
        "end" => true,
        "halt" | "exit" => ending.exit_code.as_ref().and_then(Value::as_u64) == Some(0),
        _ => false,
    };
    if json {
        output.print_json(&Value::Object(report(*frontend, &translation.module, &ending, ran)))?;
    } else {
        output.print_bytes(&ran.stdout)?;
        let code = ending.exit_code.as_ref().map_or_else(String::new, |code| format!(" {code}"));
        let sentence = format!("{}: {}{code}", frontend.name(), ending.status);
        if is_success {
            output.remark(&sentence)
        } else {
            output.complain(&sentence)
        }
        for (name, value) in &ending.fields {
            let value = plain(value);
            if value.is_empty() {
                continue;
            }
            let hint = if name == "denials" { ": --cap grants what was asked for" } else { "" };
            output.remark(&format!("{name} {value}{hint}"));
        }
        output.remark(&format!("gas {}", ran.outcome.gas_used));
        output.remark(&format!("instructions {}", ran.outcome.guest_gas_used));
    }
    Ok(if is_success { Exit::Success } else { Exit::Program })
}

/// A value for people.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
            fields.join(" ")
        }
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Fewest zero bytes that end a piece of memory in a report.
const GAP: usize = 16;

/// How a program ended, as JSON: the fields that conformance samples compare. Of memory those pieces that are neither
/// zero nor what the module began with.
pub fn report(frontend: &dyn Frontend, module: &Module, ending: &Ending, ran: &Ran) -> Map<String, Value> {
    let mut report = Map::new();
    report.insert("status".to_owned(), ending.status.clone().into());
    report.insert("machine".to_owned(), frontend.name().into());
    report.insert("exit_code".to_owned(), ending.exit_code.clone().unwrap_or(Value::Null));
    for (name, stream) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        report.insert(name.to_owned(), String::from_utf8_lossy(stream).into());
        if std::str::from_utf8(stream).is_err() {
            report.insert(format!("{name}_hex"), dotvm_runtime::show::hex(stream).into());
        }
    }
    for (name, value) in &ending.fields {
        report.insert(name.clone(), value.clone());
    }
    if let Some(memory) = &ending.memory {
        let mut changed = memory.bytes.clone();
        for segment in &module.data {
            let start = segment.address as usize;
            for (byte, initial) in changed.iter_mut().skip(start).zip(&segment.bytes) {
                *byte = if byte == initial { 0 } else { *byte };
            }
        }
        report.insert("memory".to_owned(), Value::Object(pieces(memory.address, &changed, &memory.bytes)));
    }
    if has_files(module) {
        let contents = |bytes: &Vec<u8>| match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => serde_json::json!({ "hex": dotvm_runtime::show::hex(bytes) }),
        };
        let files = ran.files.iter().map(|(path, bytes)| (path.clone(), contents(bytes))).collect();
        report.insert("files".to_owned(), Value::Object(files));
    }
    report.insert("gas_used".to_owned(), ran.outcome.gas_used.into());
    report.insert("instructions".to_owned(), ran.outcome.guest_gas_used.into());
    report
}

/// The pieces of `bytes` where `marks` is not zero, by address.
fn pieces(address: u64, marks: &[u8], bytes: &[u8]) -> Map<String, Value> {
    let mut pieces = Map::new();
    let mut at = 0;
    while let Some(start) = marks[at..].iter().position(|mark| *mark != 0).map(|found| at + found) {
        let mut end = start + 1;
        let mut zeros = 0;
        for (index, mark) in marks.iter().enumerate().skip(start + 1) {
            zeros = if *mark == 0 { zeros + 1 } else { 0 };
            if zeros == GAP {
                break;
            }
            if *mark != 0 {
                end = index + 1;
            }
        }
        let key = format!("{:#x}", address + start as u64);
        pieces.insert(key, dotvm_runtime::show::hex(&bytes[start..end]).into());
        at = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_in_pieces() {
        let mut bytes = vec![0; 60];
        bytes[1] = 1;
        bytes[10] = 2;
        bytes[40] = 3;
        bytes[59] = 4;
        let found = Value::Object(pieces(0x100, &bytes, &bytes));
        let wanted = serde_json::json!({
            "0x101": "01000000000000000002",
            "0x128": "03",
            "0x13b": "04",
        });
        assert_eq!(found, wanted);
        assert!(pieces(0, &[0; 100], &[0; 100]).is_empty());
    }
}
