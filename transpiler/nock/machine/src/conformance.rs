//! Conformance folders of Nock: `vectors.json` (formulas, jams, hashes) and `programs/` (jams of a subject and a formula
//! beside jams of the product). `docs/conformance.md` describes them.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dotvm_core::value::Ref;
pub use dotvm_frontend::sample::Verdict;
use dotvm_frontend::sample::read_file;
use dotvm_heap::Heap;
use serde_json::Value;

use crate::text::{Style, parse, show};
use crate::{Bounds, Failure, Input, cue, jam, mug, run};

/// The list of vectors of a folder.
pub const VECTORS: &str = "vectors.json";

/// The folder of programs in a folder.
pub const PROGRAMS: &str = "programs";

/// A folder of vectors, programs or both.
pub struct Suite {
    vectors: Value,
    programs: Vec<PathBuf>,
}

impl Suite {
    /// Whether a folder holds vectors or programs of Nock.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(VECTORS).is_file() || folder.join(PROGRAMS).is_dir()
    }

    /// Reads a folder: the names of the programs, not the programs.
    ///
    /// # Errors
    /// A sentence with the file that is wrong, or that there are no cases.
    pub fn read(folder: &Path) -> Result<Suite, String> {
        let (vectors, programs) = (folder.join(VECTORS), folder.join(PROGRAMS));
        let mut suite = Suite { vectors: Value::Null, programs: Vec::new() };
        if vectors.is_file() {
            suite.vectors = serde_json::from_slice(&read_file(&vectors)?)
                .map_err(|error| format!("{} is no JSON: {error}", vectors.display()))?;
        }
        if programs.is_dir() {
            let unreadable = |error| format!("{} cannot be read: {error}", programs.display());
            for entry in std::fs::read_dir(&programs).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                if name.ends_with(".jam") && !name.ends_with(".product.jam") {
                    suite.programs.push(path);
                }
            }
            suite.programs.sort();
        }
        if suite.is_empty() {
            return Err(format!("{} holds no cases of Nock: no {VECTORS}, no {PROGRAMS}", folder.display()));
        }
        Ok(suite)
    }

    fn list(&self, key: &str) -> &[Value] {
        self.vectors[key].as_array().map_or(&[], Vec::as_slice)
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.list("nock").len() + self.list("jam_mug").len() + self.list("cue").len() + self.programs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the cases that are programs.
    pub fn programs(&self) -> impl Iterator<Item = String> {
        self.programs.iter().map(|path| program_name(path))
    }

    /// Runs the cases whose names hold a text, one after the other. Those that the vectors call ambiguous are passed over.
    pub fn run<'a>(&'a self, only: &'a str, bounds: &'a Bounds) -> impl Iterator<Item = Verdict> + 'a {
        let listed = |key: &'static str, kind: &'static str| {
            let cases = self.list(key).iter().filter(|case| case["ambiguous"].is_null()).enumerate();
            cases.map(move |(index, case)| {
                let name = case["id"].as_str().or(case["note"].as_str()).unwrap_or_default();
                (format!("nock/{kind} {} {name}", index + 1), Case::Listed(kind, case))
            })
        };
        let programs = self.programs.iter().map(|path| (program_name(path), Case::Program(path)));
        listed("nock", "formula")
            .chain(listed("jam_mug", "jam"))
            .chain(listed("cue", "cue"))
            .chain(programs)
            .filter(move |(name, _)| name.contains(only))
            .map(move |(name, case)| {
                let result = match case {
                    Case::Listed("formula", case) => formula(case, bounds),
                    Case::Listed("jam", case) => jam_and_mug(case, bounds),
                    Case::Listed(_, case) => cued(case, bounds),
                    Case::Program(path) => program(path, bounds),
                };
                Verdict { name, differences: result.unwrap_or_else(|error| vec![error]) }
            })
    }
}

fn program_name(path: &Path) -> String {
    format!("nock/program {}", path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default())
}

enum Case<'a> {
    Listed(&'static str, &'a Value),
    Program(&'a Path),
}

fn text<'a>(case: &'a Value, key: &str) -> Result<&'a str, String> {
    case[key].as_str().ok_or_else(|| format!("`{key}` is no text"))
}

fn noun(case: &Value, key: &str) -> Result<Ref, String> {
    parse(text(case, key)?).map_err(|error| format!("`{key}` is no noun: {error}"))
}

fn brief(noun: &Ref) -> String {
    show(noun, Style { limit: 200, ..Style::PLAIN })
}

/// Whether two nouns are equal, in a time in proportion to their cells.
fn are_equal(a: &Ref, b: &Ref) -> bool {
    let mut heap = Heap::new(u64::MAX);
    match (heap.import(a), heap.import(b)) {
        (Ok(a), Ok(b)) => heap.compare(&a, &b, |_| Ok::<(), ()>(())) == Ok(Ordering::Equal),
        _ => false,
    }
}

fn compare(result: &Result<Ref, Failure>, expected: &Ref) -> Vec<String> {
    match result {
        Ok(product) if are_equal(product, expected) => Vec::new(),
        Ok(product) => vec![format!("the product is {}, not {}", brief(product), brief(expected))],
        Err(failure) => vec![format!("{failure}, where the product is {}", brief(expected))],
    }
}

fn compare_mug(noun: &Ref, case: &Value, key: &str, bounds: &Bounds) -> Result<Vec<String>, String> {
    let Some(expected) = case[key].as_u64() else { return Ok(Vec::new()) };
    let found = mug(noun, bounds.max_memory).map_err(|failure| failure.to_string())?;
    Ok(if u64::from(found) == expected {
        Vec::new()
    } else {
        vec![format!("the mug is {found}, not {expected}")]
    })
}

fn formula(case: &Value, bounds: &Bounds) -> Result<Vec<String>, String> {
    let ran = run(&Input::Pair(noun(case, "subject")?, noun(case, "formula")?), bounds);
    if case["crash"].as_bool() == Some(true) {
        return Ok(match ran.result {
            Err(Failure::Crash) => Vec::new(),
            Ok(product) => vec![format!("the product is {}, where there is none", brief(&product))],
            Err(failure) => vec![failure.to_string()],
        });
    }
    let expected = noun(case, "product")?;
    let mut differences = compare(&ran.result, &expected);
    differences.extend(compare_mug(&expected, case, "product_mug", bounds)?);
    Ok(differences)
}

fn from_hex(text: &str) -> Result<Bytes, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if !digits.len().is_multiple_of(2) {
        return Err("a jam has an odd number of hexadecimal digits".to_owned());
    }
    digits
        .chunks(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
        .ok_or_else(|| "a jam is no hexadecimal".to_owned())
}

fn jam_and_mug(case: &Value, bounds: &Bounds) -> Result<Vec<String>, String> {
    let expected = from_hex(text(case, "jam")?)?;
    // A noun that is too large to be written out is what its jam stands for.
    let noun = match &case["noun"] {
        Value::Null => cue(&expected, bounds.max_memory).map_err(|failure| failure.to_string())?,
        _ => noun(case, "noun")?,
    };
    let mut differences = compare_mug(&noun, case, "mug", bounds)?;
    match jam(&noun, bounds.max_memory) {
        Ok(bytes) if bytes == expected => {}
        Ok(bytes) => differences.push(format!("the jam is {bytes:02x?}")),
        Err(failure) => differences.push(failure.to_string()),
    }
    differences.extend(compare(&cue(&expected, bounds.max_memory), &noun));
    Ok(differences)
}

fn cued(case: &Value, bounds: &Bounds) -> Result<Vec<String>, String> {
    let result = cue(&from_hex(text(case, "jam")?)?, bounds.max_memory);
    if case["error"].as_bool() == Some(true) {
        return Ok(match result {
            Err(_) => Vec::new(),
            Ok(noun) => vec![format!("the jam stands for {}, where it stands for nothing", brief(&noun))],
        });
    }
    let expected = noun(case, "noun")?;
    let mut differences = compare(&result, &expected);
    differences.extend(compare_mug(&expected, case, "mug", bounds)?);
    Ok(differences)
}

fn program(path: &Path, bounds: &Bounds) -> Result<Vec<String>, String> {
    let input = Bytes::from(read_file(path)?);
    let expected = cue(&Bytes::from(read_file(&path.with_extension("product.jam"))?), bounds.max_memory);
    let expected = expected.map_err(|failure| format!("the expected product: {failure}"))?;
    Ok(compare(&run(&Input::Jam(input), bounds).result, &expected))
}
