//! How RocksDB is opened.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, LogLevel, Options};

/// Bits of a table's filter for each key: one look-up in a hundred reads a table in vain.
const FILTER_BITS: f64 = 10.0;
/// Longest of RocksDB's own message files, bytes, and how many are kept.
const MESSAGE_FILE_BYTES: usize = 1 << 20;
const MESSAGE_FILES: usize = 2;

pub(crate) fn options(cache_bytes: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(cache_bytes));
    blocks.set_bloom_filter(FILTER_BITS, false);
    // Indexes and filters grow with the data: they share the bounded memory.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_paranoid_checks(true);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(MESSAGE_FILE_BYTES);
    options.set_keep_log_file_num(MESSAGE_FILES);
    options.set_stats_dump_period_sec(0);
    options
}
