//! A store over RocksDB.
