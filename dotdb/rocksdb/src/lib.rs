//! A store over RocksDB, the log-structured engine of production.
//!
//! Without the feature `bundled` this crate is empty: with it, RocksDB's C++ sources are compiled, which takes
//! about 20 minutes of CPU time, a C++ compiler and libclang.
//!
//! On disk: a directory with RocksDB's files and `dotdb-store`, which names the format version; the pairs are
//! those of the default column family, blocks are compressed with LZ4.
//!
//! # What is promised
//! A batch is one record of RocksDB's log. `Durability::Sync` waits until the log is synced with it,
//! `Durability::None` until it was handed to the operating system, so that only the machine's crash can lose it.
//! RocksDB keeps a checksum of every block of its tables and verifies it at every read from disk, and of every
//! record of its log, verified when the store is opened. `Store::check` reads all of them anew.
//!
//! When it opens, RocksDB cuts its log off at the first record that is not whole: that is how a power cut in the
//! middle of a write looks. So damage in the log (what was written last, up to 64 MB) would give an older state
//! back. A store that is closed therefore records how far it has come (`dotdb-progress`), and one that has come
//! less far is refused. Only what was written since a store was last closed in good order can still be lost so.
//!
//! A store can be opened for reading only while another process has it open for writing: what is seen is the
//! state at the time of opening.

#[cfg(feature = "bundled")]
mod error;
#[cfg(feature = "bundled")]
mod options;
#[cfg(feature = "bundled")]
mod snapshot;
#[cfg(feature = "bundled")]
mod store;

#[cfg(feature = "bundled")]
pub use store::{BACKEND, CACHE_BYTES, FORMAT_VERSION, RocksdbStore};
