//! The store's file: is it one of redb's, and how a new one comes to be.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dotdb_store::StoreError;
use dotdb_store::contain::contain;
use redb::backends::FileBackend;
use redb::{Builder, Database};

use crate::blocks::{Blocks, Summed};
use crate::{CACHE_BYTES, DATA, FORMAT_VERSION, META, META_FORMAT, error};

/// How a redb file begins: redb's `docs/design.md`, "Database header".
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Tells a file that is something else from one that is damaged.
pub(crate) fn check_magic(path: &Path) -> Result<(), StoreError> {
    let fail = |source| StoreError::from_io("opening", path, source);
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start)).map_err(fail)?;
    if start == MAGIC {
        return Ok(());
    }
    let detail = if start.is_empty() { "it is empty" } else { "it does not begin like a redb file" };
    Err(StoreError::NotADatabase { path: path.to_owned(), detail: detail.into() })
}

/// Makes a new store at `path`, all of it or nothing: beside its name, synced, then named, then the
/// directory synced. If another process was faster, its store stays. Gives the sums of its blocks.
pub(crate) fn create(path: &Path) -> Result<Blocks, StoreError> {
    let fail = |source| StoreError::Io { context: format!("creating the store {}", path.display()), source };
    let temporary = temporary_name(path).map_err(fail)?;
    let result =
        make(&temporary, path).and_then(|blocks| name(&temporary, path).map_err(fail).map(|()| blocks));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => result.and(Err(fail(error))),
        _ => result,
    }
}

/// `NAME.tmp-PID-COUNT`, which only this call uses. What an earlier process with the same number
/// left there when it was killed is removed.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name: OsString =
        path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?.to_owned();
    name.push(format!(".tmp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let temporary = path.with_file_name(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(temporary),
    }
}

fn make(temporary: &Path, path: &Path) -> Result<Blocks, StoreError> {
    let fail = |source| StoreError::Io { context: format!("creating the store {}", path.display()), source };
    let file = File::options().read(true).write(true).create_new(true).open(temporary).map_err(fail)?;
    let kept = file.try_clone().map_err(fail)?;
    let blocks = Arc::new(Blocks::in_memory());
    contain(|| {
        let database = FileBackend::new(file)
            .and_then(|file| {
                let file = Summed::new(file, Arc::clone(&blocks));
                Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(file)
            })
            .map_err(|error| error::database(path, error))?;
        initialise(&database)
    })?;
    kept.sync_all().map_err(fail)?;
    Arc::into_inner(blocks).ok_or_else(|| fail(io::Error::other("it is still open")))
}

/// Makes an empty database an empty store.
pub(crate) fn initialise(database: &Database) -> Result<(), StoreError> {
    let transaction = database.begin_write().map_err(error::transaction)?;
    transaction.open_table(DATA).map_err(error::table)?;
    transaction
        .open_table(META)
        .map_err(error::table)?
        .insert(META_FORMAT, FORMAT_VERSION)
        .map_err(error::storage)?;
    transaction.commit().map_err(error::commit)
}

/// Gives a finished file its name, unless the name is taken.
fn name(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        // A file system without links.
        Err(_) => fs::rename(temporary, path)?,
    }
    sync_directory(path)
}

#[cfg(unix)]
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Elsewhere directories cannot be opened, and names are durable with the file's metadata.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
