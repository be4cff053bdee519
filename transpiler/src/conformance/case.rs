//! One case: its program, what it is run with, and its run.

use std::path::{Component, Path, PathBuf};

use dotvm_frontend::{Ending, Frontend, FrontendError, Neighbours, Options, Source};
use serde_json::Value;

use super::{compare, read_file};
use crate::run::{Executor, Inputs, Ran};

/// Instruction limit of a case that sets none.
const DEFAULT_BUDGET: u64 = 1_000_000_000;

/// Files in the suite's folder.
struct Folder<'a>(&'a Path);

impl Neighbours for Folder<'_> {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        read_file(&inside(self.0, name).ok()?).ok()
    }
}

/// A file of a folder: no way leads out of it.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    if path.components().all(|component| matches!(component, Component::Normal(_))) {
        return Ok(folder.join(path));
    }
    Err(format!("{name} does not lie in the suite's folder"))
}

/// Runs a case; what differs from what it expects.
pub(super) fn run(
    frontend: &dyn Frontend,
    folder: &Path,
    case: &Value,
    executor: &mut dyn Executor,
) -> Result<Vec<String>, String> {
    let (name, bytes) = program(frontend, folder, case)?;
    let neighbours = Folder(folder);
    let source = Source { name: &name, bytes: &bytes, neighbours: &neighbours };
    let options = Options {
        module_name: None,
        abi: case["abi"].as_str().map(str::to_owned),
        services: case["services"].as_bool().unwrap_or(true),
        ..Options::default()
    };
    let expect = &case["expect"];
    let mut differences = Vec::new();
    let translated = frontend.parse(&source).and_then(|parsed| {
        if let Some(expected) = case["image_hex"].as_str() {
            differences.extend(compare::image(expected, parsed.image()));
        }
        parsed.translate(&options)
    });
    let translation = match translated {
        Ok(translation) => translation,
        Err(FrontendError { kind, message }) => {
            let ending = Ending::new(kind.status());
            let outputs = compare::Outputs::default();
            differences.extend(compare::ending(expect, &ending, &outputs));
            if !differences.is_empty() {
                differences.push(message);
            }
            return Ok(differences);
        }
    };
    let inputs = inputs(frontend, folder, case)?;
    let Ran { outcome, stdout, stderr, files } = executor.execute(&translation, &inputs)?;
    let ending = frontend.ending(&outcome)?;
    let outputs = compare::Outputs { stdout, stderr, files };
    differences.extend(compare::ending(expect, &ending, &outputs));
    Ok(differences)
}

/// The name and the bytes of the case's program.
fn program(frontend: &dyn Frontend, folder: &Path, case: &Value) -> Result<(String, Vec<u8>), String> {
    if let Some(hex) = case["hex"].as_str() {
        let extension = frontend.extensions().first().copied().unwrap_or_default();
        let name = case["name"].as_str().unwrap_or("case");
        return Ok((format!("{name}.{extension}"), compare::bytes_of_hex(hex)?));
    }
    if let Some(text) = lines(case) {
        let extension = frontend.extensions().last().copied().unwrap_or_default();
        let name = case["name"].as_str().unwrap_or("case");
        return Ok((format!("{name}.{extension}"), text.into()));
    }
    match case["source"].as_str() {
        Some(name) => Ok((name.to_owned(), read_file(&inside(folder, name)?)?)),
        None => Err("the case has neither `hex` nor `source` nor `lines`".to_owned()),
    }
}

/// The text whose lines `lines` lists.
fn lines(value: &Value) -> Option<String> {
    let lines = value["lines"].as_array()?.iter();
    Some(lines.map(|line| format!("{}\n", line.as_str().unwrap_or_default())).collect())
}

fn inputs(frontend: &dyn Frontend, folder: &Path, case: &Value) -> Result<Inputs, String> {
    let mut inputs = Inputs {
        stdin: case["stdin"].as_str().unwrap_or_default().into(),
        budget: Some(case["budget"].as_u64().unwrap_or(DEFAULT_BUDGET)),
        inspect: !case["expect"]["memory"].is_null(),
        ..Inputs::default()
    };
    for argument in case["args"].as_array().into_iter().flatten() {
        inputs.args.push(argument.as_str().ok_or("an argument is no text")?.into());
    }
    let name = |cap: &Value| cap.as_str().map_or_else(|| cap.to_string(), str::to_owned);
    let caps: Vec<String> = match &case["caps"] {
        Value::Null => Vec::new(),
        Value::Array(caps) => caps.iter().map(name).collect(),
        cap => vec![name(cap)],
    };
    inputs.words = frontend.arguments(&caps)?;
    for (path, contents) in case["files"].as_object().into_iter().flatten() {
        inputs.files.insert(path.clone(), contents_of(frontend, folder, contents)?);
    }
    Ok(inputs)
}

/// Contents of a file: text, `{"hex": ...}`, or the image that `{"asm": file}` or `{"lines": [...]}` assemble to.
fn contents_of(frontend: &dyn Frontend, folder: &Path, contents: &Value) -> Result<Vec<u8>, String> {
    if let Some(text) = contents.as_str() {
        return Ok(text.into());
    }
    if let Some(hex) = contents["hex"].as_str() {
        return compare::bytes_of_hex(hex);
    }
    let (name, bytes) = match (lines(contents), contents["asm"].as_str()) {
        (Some(text), _) => ("lines.asm", text.into_bytes()),
        (None, Some(name)) => (name, read_file(&inside(folder, name)?)?),
        (None, None) => {
            return Err("a file's contents are neither text nor `hex` nor `asm` nor `lines`".to_owned());
        }
    };
    let parsed = frontend.parse(&Source::new(name, &bytes)).map_err(|error| format!("{name}: {error}"))?;
    parsed.image().map(<[u8]>::to_vec).ok_or_else(|| format!("{name} does not assemble to an image"))
}
