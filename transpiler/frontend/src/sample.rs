//! Samples of a machine's programs: their files, and how a case came out.

use std::fmt;
use std::path::Path;

/// Longest list of cases and longest program, bytes.
const FILE_BYTES: u64 = 64 << 20;

/// How a case came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Machine and case.
    pub name: String,
    /// What differs, a sentence each; empty if the case passed.
    pub differences: Vec<String>,
}

impl Verdict {
    /// Whether the case passed.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed() {
            return write!(f, "ok    {}", self.name);
        }
        write!(f, "FAIL  {}: {}", self.name, self.differences.join("; "))
    }
}

/// A file of a folder of samples, of at most 64 MiB.
///
/// # Errors
/// A sentence with the file that cannot be read, or is longer.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |why: &dyn fmt::Display| format!("{} cannot be read: {why}", path.display());
    let metadata = path.metadata().map_err(|error| unreadable(&error))?;
    if metadata.len() > FILE_BYTES {
        return Err(unreadable(&format!("it has more than {FILE_BYTES} bytes")));
    }
    std::fs::read(path).map_err(|error| unreadable(&error))
}
