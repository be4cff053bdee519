//! Stores and files that come to be all at once: they are filled under another name beside their own.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotdb::store::directory::sync_directory;
use dotdb::{Database, Mode, Store};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::store::{Access, StoreUrl, is_new};

/// Fills a new store, or one that holds an empty database. Until that has succeeded, nothing changes under its name.
/// `fill` must let go of the store.
pub(super) fn fill_store<T>(
    url: &StoreUrl,
    option: Option<&StoreOption>,
    fill: impl FnOnce(Arc<dyn Store>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(path) = url.path() else {
        return Err(Failure::new(Exit::Usage, "a database in memory is gone when the command ends"));
    };
    let taken = !is_new(url)?;
    if taken && !option.is_some_and(|option| is_empty(option).unwrap_or(false)) {
        let sentence = format!("there is a store at {url} already, and only an empty one can be filled");
        return Err(Failure::new(Exit::Database, sentence));
    }
    let temporary = beside(path);
    let temporary_url = match url {
        StoreUrl::Disk(backend, _) => StoreUrl::Disk(*backend, temporary.clone()),
        _ => StoreUrl::Path(temporary.clone()),
    };
    let failed = |error: io::Error| Failure::unwritable(format!("the store {}", path.display()), &error);
    remove_store(&temporary).map_err(failed)?;
    let filled = crate::store::open_store(&temporary_url, Access::Create, std::time::Duration::ZERO)
        .and_then(fill)
        .and_then(|done| {
            if taken || path.is_dir() {
                remove_store(path).map_err(failed)?;
            }
            fs::rename(&temporary, path).map_err(failed)?;
            for (from, to) in dotdb_stores::beside(&temporary).iter().zip(dotdb_stores::beside(path)) {
                if from.exists() {
                    fs::rename(from, to).map_err(failed)?;
                }
            }
            sync_directory(parent(path)).map_err(failed)?;
            Ok(done)
        });
    if filled.is_err() {
        // The failure is worth more than that of tidying up.
        let _ = remove_store(&temporary);
    }
    filled
}

/// Whether a database has never held anything.
fn is_empty(option: &StoreOption) -> Result<bool, Failure> {
    let database: Database = option.open(Access::Read)?;
    Ok(database.version() == 0 && database.begin(Mode::ReadOnly)?.contracts()?.is_empty())
}

/// Writes a new file, which has its name only when it is complete.
pub(super) fn write_file<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let temporary = beside(path);
    let failed = |error: io::Error| Failure::unwritable(path.display(), &error);
    let file = fs::File::create(&temporary).map_err(failed)?;
    let mut writer = io::BufWriter::new(file);
    let written = write(&mut writer).and_then(|done| {
        let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)?;
        sync_directory(parent(path)).map_err(failed)?;
        Ok(done)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// `NAME.tmp-PID` in the same directory.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(format!(".tmp-{}", std::process::id()));
    path.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes a store and what lies beside it, as far as it is there.
fn remove_store(path: &Path) -> io::Result<()> {
    remove(path)?;
    dotdb_stores::beside(path).iter().try_for_each(|file| remove(file))
}

/// Removes a file or a directory, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
