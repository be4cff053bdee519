//! Making sled's files durable, which sled leaves to chance.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dotdb_store::directory::sync_directory;

/// A directory whose time of change is younger than this when it is listed may change again within the same tick
/// of the file system's clock.
const SETTLED: Duration = Duration::from_secs(1);

/// sled's files: the log `db`, one file in `blobs` for each large page, and snapshots of its page table.
pub(crate) struct Files {
    directory: PathBuf,
    blobs: PathBuf,
    /// The log, opened anew: fsync is of the file, not of the one who wrote.
    log: File,
    /// Blobs that are durable; none is ever changed.
    durable: BTreeSet<OsString>,
    /// When the directories had last changed at the last sync, if they had settled then.
    listed: Option<[SystemTime; 2]>,
    /// Number of batches that are durable.
    pub(crate) batches: u64,
}

impl Files {
    pub(crate) fn open(directory: &Path) -> io::Result<Files> {
        let log = File::options().read(true).write(true).open(directory.join("db"))?;
        Ok(Files {
            directory: directory.to_owned(),
            blobs: directory.join("blobs"),
            log,
            durable: BTreeSet::new(),
            listed: None,
            batches: 0,
        })
    }

    /// Makes everything that sled has written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let changed = [fs::metadata(&self.directory)?.modified()?, fs::metadata(&self.blobs)?.modified()?];
        if self.listed != Some(changed) {
            let settled = changed.iter().all(|time| time.elapsed().is_ok_and(|age| age > SETTLED));
            self.sync_blobs()?;
            sync_directory(&self.directory)?;
            self.listed = settled.then_some(changed);
        }
        // The log last: it names the blobs.
        self.log.sync_all()
    }

    fn sync_blobs(&mut self) -> io::Result<()> {
        let mut present = BTreeSet::new();
        for entry in fs::read_dir(&self.blobs)? {
            let name = entry?.file_name();
            if !self.durable.contains(&name) {
                match File::options().read(true).write(true).open(self.blobs.join(&name)) {
                    Ok(blob) => blob.sync_all()?,
                    // Replaced and removed meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            present.insert(name);
        }
        self.durable = present;
        sync_directory(&self.blobs)
    }
}
