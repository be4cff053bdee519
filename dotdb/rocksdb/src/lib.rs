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
//! middle of a write looks, and nothing tells it from a record that was damaged later. So damage in the log (what
//! was written last, up to 64 MB) gives an older state back instead of an error.
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
