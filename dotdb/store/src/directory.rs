//! Stores that are a directory: how one is recognised, and how a new one comes to be.
//!
//! A file in it says which backend wrote it in which format, so that this is known before the backend is asked
//! to open files that it may not understand.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::StoreError;

/// Name of the file that says what the directory is.
pub const MARKER: &str = "dotdb-store";
/// Name of the file that says how far the store had come when it was last closed in good order.
pub const PROGRESS: &str = "dotdb-progress";

/// Whose store a directory is, and its format.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::NotADatabase`] for what is no directory or has no such file;
/// [`StoreError::Corrupt`].
pub fn read_marker(path: &Path) -> Result<(String, u32), StoreError> {
    let metadata = fs::metadata(path).map_err(|source| StoreError::from_io("opening", path, source))?;
    let other = |detail: String| StoreError::NotADatabase { path: path.to_owned(), detail };
    if !metadata.is_dir() {
        return Err(other("it is a file, and this backend keeps a store in a directory".into()));
    }
    let marker = path.join(MARKER);
    let text = match fs::read(&marker) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(other(format!("it is a directory without the file {MARKER}")));
        }
        Err(source) => return Err(StoreError::from_io("reading", &marker, source)),
    };
    let text = String::from_utf8_lossy(&text);
    match text.trim_end().split(' ').collect::<Vec<_>>()[..] {
        ["dotdb", backend, format] if !backend.is_empty() => match format.parse() {
            Ok(format) => Ok((backend.to_owned(), format)),
            Err(_) => Err(damaged(&marker)),
        },
        _ => Err(damaged(&marker)),
    }
}

fn damaged(marker: &Path) -> StoreError {
    StoreError::Corrupt { detail: format!("{} does not name a backend and its format", marker.display()) }
}

/// Refuses a directory of another backend or of a later format.
///
/// # Errors
/// As [`read_marker`]; [`StoreError::NotADatabase`], [`StoreError::NewerFormat`].
pub fn expect_marker(path: &Path, backend: &str, supported: u32) -> Result<(), StoreError> {
    let (found, format) = read_marker(path)?;
    if found != backend {
        let detail = format!("it is a store of the backend {found}, not {backend}");
        return Err(StoreError::NotADatabase { path: path.to_owned(), detail });
    }
    match format {
        0 => Err(StoreError::Corrupt { detail: format!("the format of {} is 0", path.display()) }),
        format if format > supported => Err(StoreError::NewerFormat { found: format, supported }),
        _ => Ok(()),
    }
}

/// Whether a new store can be made at `path`: nothing is there, or only an empty directory.
///
/// # Errors
/// [`StoreError::Io`].
pub fn is_absent(path: &Path) -> Result<bool, StoreError> {
    match read_marker(path) {
        Err(StoreError::NotFound { .. }) => Ok(true),
        Err(StoreError::NotADatabase { .. }) if path.is_dir() => match path.read_dir() {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(source) => Err(StoreError::from_io("reading", path, source)),
        },
        _ => Ok(false),
    }
}

/// Makes a new store at `path`, all of it or nothing: `initialise` fills and closes a directory beside its
/// name, which is synced, then named, then the directory above is synced. If another process was faster, its
/// store stays. An empty directory at `path` is taken.
///
/// # Errors
/// What `initialise` answers; [`StoreError::Io`] with the path.
pub fn create(
    path: &Path,
    backend: &str,
    format: u32,
    initialise: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Io { context: format!("creating the store {}", path.display()), source },
    };
    let temporary = temporary_name(path).map_err(fail)?;
    let result = (|| {
        fs::create_dir(&temporary).map_err(fail)?;
        initialise(&temporary)?;
        fs::write(temporary.join(MARKER), format!("dotdb {backend} {format}\n")).map_err(fail)?;
        sync_all_below(&temporary).map_err(fail)?;
        match fs::rename(&temporary, path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                return Err(fail(error));
            }
            _ => {}
        }
        sync_directory(parent(path)).map_err(fail)
    })();
    match fs::remove_dir_all(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => result.and(Err(fail(error))),
        _ => result,
    }
}

/// `NAME.tmp-PID-COUNT`, which only this call uses. What an earlier process with the same number left there
/// when it was killed is removed.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name: OsString =
        path.file_name().ok_or_else(|| io::Error::other("the path names no directory"))?.to_owned();
    name.push(format!(".tmp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(name);
    match fs::remove_dir_all(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(temporary),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Records how far a store has come: a number that grows with every batch, all of which are durable. An engine that
/// cuts its log off at damage, as if the power had failed there, brings an older state back without an error:
/// [`check_progress`] tells.
///
/// # Errors
/// The system's.
pub fn write_progress(path: &Path, progress: u64) -> io::Result<()> {
    let new = path.join(format!("{PROGRESS}.new"));
    // Twice, so that damage is seen.
    fs::write(&new, format!("{progress} {progress}\n"))?;
    File::options().write(true).open(&new)?.sync_all()?;
    fs::rename(&new, path.join(PROGRESS))?;
    sync_directory(path)
}

/// Refuses a store that has come less far than was once recorded.
///
/// # Errors
/// [`StoreError::Corrupt`], [`StoreError::Io`].
pub fn check_progress(path: &Path, progress: u64) -> Result<(), StoreError> {
    let file = path.join(PROGRESS);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::from_io("reading", &file, source)),
    };
    let text = String::from_utf8_lossy(&text);
    let recorded = match text.strip_suffix('\n').and_then(|line| line.split_once(' ')) {
        Some((one, two)) if one == two => one.parse::<u64>().ok(),
        _ => None,
    };
    match recorded {
        Some(recorded) if recorded <= progress => Ok(()),
        Some(recorded) => Err(StoreError::Corrupt {
            detail: format!(
                "its newest part is lost: it had come to {recorded} when it was closed and is now at {progress} \
                 (without the file {} it opens as it is)",
                file.display()
            ),
        }),
        None => Err(StoreError::Corrupt {
            detail: format!("{0} is unreadable (without it the store opens as it is)", file.display()),
        }),
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Elsewhere directories cannot be opened, and names are durable with the file's metadata.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a directory durable with all files and directories in it.
///
/// # Errors
/// The system's.
pub fn sync_all_below(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all_below(&entry.path())?;
        } else {
            // Windows flushes only what may be written to.
            File::options().read(true).write(true).open(entry.path())?.sync_all()?;
        }
    }
    sync_directory(path)
}

/// Bytes of all files below a directory. Files that vanish meanwhile count nothing.
///
/// # Errors
/// The system's.
pub fn total_bytes(path: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => total += total_bytes(&entry.path())?,
            Ok(metadata) => total += metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}
