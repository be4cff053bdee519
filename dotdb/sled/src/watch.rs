//! Waking those who wait for a write that has failed.
//!
//! When sled 0.34.7 writes a buffer in the background and fails, it keeps the error but wakes nobody
//! (`Log::exit_reservation` in its `pagecache/logger.rs`), so that a flush can wait for ever on a full disk. A flush
//! that begins after the error returns it at once and wakes all others: one is begun here.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dotdb_store::contain::contain;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

pub(crate) struct Watch {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(config: sled::Config, database: sled::Db) -> io::Result<Watch> {
        let stopped = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = Arc::clone(&stopped);
        let thread = thread::Builder::new().name("dotdb-sled-watch".into()).spawn(move || {
            let (stopped, changed) = &*shared;
            let mut guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            while !*guard {
                guard = changed.wait_timeout(guard, INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
                if config.global_error().is_err() {
                    // Whoever waited gets the error.
                    let _ = contain(|| database.flush().map(drop).map_err(crate::error::map));
                }
            }
        })?;
        Ok(Watch { stopped, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let (stopped, changed) = &*self.stopped;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It contains its panics.
            let _ = thread.join();
        }
    }
}
