//! Who holds a store: the file `PATH.lock` beside it, while a process has it open for writing.
//!
//! It only tells people; what keeps a second process out is the backend's own lock. A file that a killed process
//! left behind is overwritten by the next one and read only when the backend says that the store is held.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dotdb_store::Holder;

/// Longest description of a program, characters.
const MAX_PROGRAM: usize = 100;

/// Removes the file when the store is closed.
pub(crate) struct Announcement {
    file: PathBuf,
}

impl Announcement {
    /// Announces this process. A file that cannot be written leaves the holder unnamed and is no error.
    pub(crate) fn new(path: &Path) -> Announcement {
        let file = name(path);
        let since = humantime::format_rfc3339_seconds(SystemTime::now());
        let text = format!("{}\n{since}\n{}\n", std::process::id(), program(std::env::args()));
        let _ = fs::write(&file, text);
        Announcement { file }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Left behind it would be overwritten or ignored.
        let _ = fs::remove_file(&self.file);
    }
}

fn name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

/// The program and the words before its first option, which may be secret.
fn program(mut args: impl Iterator<Item = String>) -> String {
    let program = args.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words = args.take_while(|arg| !arg.starts_with('-'));
    let text = std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_PROGRAM).collect()
}

/// Who announced that it holds the store at `path`.
pub(crate) fn read(path: &Path) -> Option<Holder> {
    let text = fs::read_to_string(name(path)).ok()?;
    let mut lines = text.lines();
    let holder = Holder {
        process: lines.next()?.parse().ok()?,
        since: lines.next()?.to_owned(),
        program: lines.next()?.to_owned(),
    };
    is_running(holder.process).then_some(holder)
}

/// Whether a process has this number, as far as the system says.
fn is_running(process: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_kept_to_oneself() {
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>().into_iter();
        assert_eq!(
            program(args("/usr/bin/dotvm call token transfer --input 0x01 x")),
            "dotvm call token transfer"
        );
        assert_eq!(program(args("dotvm")), "dotvm");
        assert_eq!(program(args(&"a".repeat(300))).len(), MAX_PROGRAM);
        assert_eq!(program(["a\nb".to_owned()].into_iter()), "a b");
    }

    #[test]
    fn announced_and_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        assert_eq!(read(&path), None);
        let announcement = Announcement::new(&path);
        let holder = read(&path).unwrap();
        assert_eq!(holder.process, std::process::id());
        assert_eq!(holder.since.len(), "2026-11-21T13:42:29Z".len());
        drop(announcement);
        assert_eq!(read(&path), None);
        for bad in ["", "x\ny\nz\n", "1\n2026"] {
            fs::write(name(&path), bad).unwrap();
            assert_eq!(read(&path), None, "{bad:?}");
        }
        if Path::new("/proc/self").exists() {
            // Greater than any process number of Linux (2^22).
            fs::write(name(&path), "4194999\n2026\ndotvm\n").unwrap();
            assert_eq!(read(&path), None);
        }
    }
}
