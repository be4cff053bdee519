//! Conformance samples: programs of a source machine with what must come out.
//!
//! A folder holds `expected.json` and what it names. Its `cases` list the programs, `vm` names the machine, and `decode`
//! instruction words with their fields. Only what a case expects is compared. `docs/conformance.md` describes the fields.

mod case;
mod compare;

use std::path::{Path, PathBuf};

use dotvm_frontend::Frontend;
pub use dotvm_frontend::sample::Verdict;
use dotvm_frontend::sample::read_file;
use serde_json::Value;

use crate::by_name;
use crate::run::Executor;

/// The name of the list of cases.
pub const EXPECTED: &str = "expected.json";

/// A folder of samples.
pub struct Suite {
    folder: PathBuf,
    frontend: &'static dyn Frontend,
    cases: Vec<Value>,
    decode: Vec<Value>,
}

/// The suites of a folder: itself if it holds a list of cases, else those of its folders that do, by name. With `vm` only
/// those of this machine; without it those of machines that no frontend knows are passed over.
///
/// # Errors
/// A sentence with the file that is wrong.
pub fn suites(folder: &Path, vm: Option<&str>) -> Result<Vec<Suite>, String> {
    let mut folders = Vec::new();
    if folder.join(EXPECTED).is_file() {
        folders.push(folder.to_owned());
    } else {
        let unreadable = |error| format!("{} cannot be read: {error}", folder.display());
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.join(EXPECTED).is_file() {
                folders.push(path);
            }
        }
        folders.sort();
    }
    let mut suites = Vec::new();
    for folder in folders {
        suites.extend(Suite::read(&folder, vm)?);
    }
    Ok(suites)
}

impl Suite {
    /// The suite of a folder, unless it is of another machine.
    fn read(folder: &Path, vm: Option<&str>) -> Result<Option<Suite>, String> {
        let path = folder.join(EXPECTED);
        let wrong = |why: String| format!("{}: {why}", path.display());
        let bytes = read_file(&path)?;
        let list: Value =
            serde_json::from_slice(&bytes).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
        let Some(name) = list["vm"].as_str() else {
            return Err(wrong("`vm` does not name a machine".to_owned()));
        };
        if vm.is_some_and(|vm| vm != name) {
            return Ok(None);
        }
        let Some(frontend) = by_name(name) else {
            return if vm.is_none() {
                Ok(None)
            } else {
                Err(wrong(format!("there is no frontend for {name}")))
            };
        };
        let array = |key: &str| match &list[key] {
            Value::Null => Ok(Vec::new()),
            Value::Array(array) => Ok(array.clone()),
            _ => Err(wrong(format!("`{key}` is no list"))),
        };
        let (cases, decode) = (array("cases")?, array("decode")?);
        Ok(Some(Suite { folder: folder.to_owned(), frontend, cases, decode }))
    }

    /// Number of cases.
    pub fn len(&self) -> usize {
        self.cases.len() + self.decode.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs the cases whose names hold a text, one after the other.
    pub fn run<'a>(
        &'a self,
        only: &'a str,
        executor: &'a mut dyn Executor,
    ) -> impl Iterator<Item = Verdict> + 'a {
        let machine = self.frontend.name();
        let decode = self.decode.iter().map(move |entry| {
            (format!("{machine}/decode {}", entry[0].as_str().unwrap_or("?")), Case::Decode(entry))
        });
        let cases = self.cases.iter().enumerate().map(move |(index, case)| {
            let name = case["name"].as_str().map_or_else(|| format!("case {}", index + 1), str::to_owned);
            (format!("{machine}/{name}"), Case::Program(case))
        });
        decode.chain(cases).filter(move |(name, _)| name.contains(only)).map(move |(name, case)| {
            let differences = match case {
                Case::Decode(entry) => compare::decoded(self.frontend, entry),
                Case::Program(case) => {
                    case::run(self.frontend, &self.folder, case, executor).unwrap_or_else(|error| vec![error])
                }
            };
            Verdict { name, differences }
        })
    }
}

/// What a case is about.
enum Case<'a> {
    Decode(&'a Value),
    Program(&'a Value),
}
