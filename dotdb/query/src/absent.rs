//! Fields that a query names and no document has: most are misspelt.

use std::collections::BTreeSet;

use crate::cbor;
use crate::error::nearest;
use crate::path::{self, Path, Step};
use crate::value::{Malformed, ValueRef};

/// Documents whose names are remembered for suggestions.
const SAMPLES: u64 = 64;
/// Most names remembered for each path.
const NAMES: usize = 256;

/// A path that no document had.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Absent {
    /// The path as the query has it.
    pub path: String,
    /// The nearest that documents have.
    pub suggestion: Option<String>,
}

/// Watches the documents that are read for the paths of a query.
pub(crate) struct Watch {
    documents: u64,
    missing: Vec<Missing>,
}

struct Missing {
    path: Path,
    /// Where documents went another way: the number of steps that were there, and a name beside the
    /// next.
    names: BTreeSet<(usize, String)>,
}

impl Watch {
    pub(crate) fn new(paths: &[Path]) -> Watch {
        let missing = |path: &Path| Missing { path: path.clone(), names: BTreeSet::new() };
        Watch { documents: 0, missing: paths.iter().map(missing).collect() }
    }

    pub(crate) fn see(&mut self, document: &[u8]) -> Result<(), Malformed> {
        self.documents += 1;
        if self.missing.is_empty() {
            return Ok(());
        }
        let root = cbor::root(document)?;
        let remember = self.documents <= SAMPLES;
        let mut failed = None;
        self.missing.retain_mut(|missing| match missing.see(root, remember) {
            Ok(is_missing) => is_missing,
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        failed.map_or(Ok(()), Err)
    }

    pub(crate) fn absent(&self) -> Vec<Absent> {
        if self.documents == 0 {
            return vec![];
        }
        let absent =
            |missing: &Missing| Absent { path: missing.path.to_string(), suggestion: missing.suggestion() };
        self.missing.iter().map(absent).collect()
    }
}

impl Missing {
    /// Whether the path is still missing after this document.
    fn see(&mut self, root: ValueRef<'_>, remember: bool) -> Result<bool, Malformed> {
        if path::walk(self.path.steps(), root)? != ValueRef::Missing {
            return Ok(false);
        }
        if !remember {
            return Ok(true);
        }
        let mut value = root;
        for (depth, step) in self.path.steps().iter().enumerate() {
            let next = path::walk(std::slice::from_ref(step), value)?;
            if next != ValueRef::Missing {
                value = next;
                continue;
            }
            if let ValueRef::Map(map) = value {
                let mut entries = cbor::entries(map)?;
                while let Some((name, _)) = entries.next()? {
                    if self.names.len() < NAMES && name.len() <= path::MAX_FIELD_BYTES {
                        self.names.insert((depth, name.to_owned()));
                    }
                }
            }
            break;
        }
        Ok(true)
    }

    fn suggestion(&self) -> Option<String> {
        // The furthest place that documents came to has the name that is meant.
        let furthest = self.names.iter().map(|(depth, _)| *depth).max()?;
        let Some(Step::Field(wanted)) = self.path.steps().get(furthest) else { return None };
        let names = self.names.iter().filter(|(depth, _)| *depth == furthest).map(|(_, name)| name.as_str());
        let near = nearest(wanted, names)?;
        let mut steps = self.path.steps().to_vec();
        steps[furthest] = Step::Field(near);
        Path::new(steps).ok().map(|path| path.to_string())
    }
}
