//! Files: records of two collections of the contract, undone with its transaction like everything else.
//!
//! `dotvm.files` keeps the size of each file under its path, 8 bytes, big-endian. `dotvm.blocks` keeps what it holds in
//! blocks of 4 KiB: the key is the path, a zero byte, and the number of the block in 4 bytes, big-endian. Zeros at the
//! end of a block, and blocks of zeros, may be left out.

use std::ops::Bound;

use bytes::Bytes;
use dotdb::{CollectionId, ContractId, DbError, Direction, Tx, ValueKind};
use dotvm_core::gas::{self, Gas};
use dotvm_core::host_call::{FILE_BLOCK_BYTES, MAX_FILE_BYTES, MAX_PATH_BYTES, blocks, is_path};
use dotvm_core::module::RESERVED_COLLECTIONS;
use dotvm_core::trap::TrapKind;

use super::{OpenTx, Refusal, refuse};

/// The collections that files are kept in.
#[derive(Clone, Copy)]
pub(crate) struct Files {
    sizes: CollectionId,
    blocks: CollectionId,
}

impl Files {
    /// The collections: sizes and blocks.
    pub(crate) fn collections(self) -> (CollectionId, CollectionId) {
        (self.sizes, self.blocks)
    }

    /// Files in these collections.
    pub(crate) fn of_collections(sizes: CollectionId, blocks: CollectionId) -> Files {
        Files { sizes, blocks }
    }

    /// Opens the collections, and in a transaction that may write makes them.
    pub(crate) fn open(tx: &mut Tx, contract: ContractId) -> Result<Files, DbError> {
        let mut collection =
            |name: &str| tx.collection(contract, &format!("{RESERVED_COLLECTIONS}{name}"), ValueKind::Bytes);
        Ok(Files { sizes: collection("files")?, blocks: collection("blocks")? })
    }

    fn size(self, tx: &mut Tx, path: &[u8]) -> Result<Option<u64>, DbError> {
        let Some(size) = tx.get(self.sizes, path)? else { return Ok(None) };
        // Written here as 8 bytes; whoever writes the collection by hand can make it anything.
        let size = <[u8; 8]>::try_from(&*size).map_or(0, u64::from_be_bytes);
        Ok(Some(size.min(MAX_FILE_BYTES)))
    }

    /// All that a file holds, if it is there.
    pub(crate) fn read(self, tx: &mut Tx, path: &[u8]) -> Result<Option<Bytes>, DbError> {
        match self.size(tx, path)? {
            Some(size) => Ok(Some(self.read_range(tx, path, 0, size)?)),
            None => Ok(None),
        }
    }

    /// All files with what they hold, by path.
    pub(crate) fn all(self, tx: &mut Tx) -> Result<Vec<(Bytes, Bytes)>, DbError> {
        let mut files = Vec::new();
        let cursor = tx.scan(self.sizes, Bound::Unbounded, Bound::Unbounded, Direction::Forward)?;
        let mut paths = Vec::new();
        while let Some((path, _)) = tx.cursor_entry(cursor)?.take() {
            paths.push(path);
        }
        tx.close(cursor)?;
        for path in paths {
            if let Some(contents) = self.read(tx, &path)? {
                files.push((path, contents));
            }
        }
        Ok(files)
    }

    /// The bytes of a file from `start` on, which it has.
    fn read_range(self, tx: &mut Tx, path: &[u8], start: u64, len: u64) -> Result<Bytes, DbError> {
        let mut bytes = vec![0; len as usize];
        for piece in pieces(start, len) {
            if let Some(block) = tx.get(self.blocks, &block_key(path, piece.block))? {
                let there = block.get(piece.from..).unwrap_or_default();
                let there = &there[..there.len().min(piece.len)];
                bytes[piece.at..piece.at + there.len()].copy_from_slice(there);
            }
        }
        Ok(bytes.into())
    }

    fn remove_blocks(self, tx: &mut Tx, path: &[u8], size: u64) -> Result<(), DbError> {
        for block in 0..size.div_ceil(FILE_BLOCK_BYTES) {
            tx.delete(self.blocks, &block_key(path, block))?;
        }
        Ok(())
    }
}

/// A part of a range that lies in one block.
struct Piece {
    block: u64,
    /// First byte in the block.
    from: usize,
    len: usize,
    /// First byte in the range.
    at: usize,
}

fn pieces(start: u64, len: u64) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let (block, from) = ((start + done) / FILE_BLOCK_BYTES, (start + done) % FILE_BLOCK_BYTES);
        let piece = (FILE_BLOCK_BYTES - from).min(len - done);
        let at = done as usize;
        done += piece;
        Some(Piece { block, from: from as usize, len: piece as usize, at })
    })
}

fn block_key(path: &[u8], block: u64) -> Vec<u8> {
    // Files are too short for more blocks.
    [path, &[0], &(block as u32).to_be_bytes()].concat()
}

fn check_path(path: &[u8]) -> Result<(), Refusal> {
    if is_path(path) {
        return Ok(());
    }
    refuse(TrapKind::Range, format!("a path has 1 to {MAX_PATH_BYTES} bytes, none of them zero"))
}

impl OpenTx {
    pub(crate) fn files(&self) -> Result<Files, Refusal> {
        match self.files {
            Some(files) => Ok(files),
            None => refuse(TrapKind::Db, "the module lists no host call on files"),
        }
    }

    /// The size of a file that is there, for FILE_OPEN and FILE_STAT.
    pub(crate) fn file_size(&mut self, path: &[u8], gas: &mut Gas) -> Result<Option<u64>, Refusal> {
        check_path(path)?;
        let files = self.files()?;
        gas.charge(gas::database(1, path.len() as u64))?;
        Ok(files.size(&mut self.tx, path)?)
    }

    pub(crate) fn file_create(&mut self, path: &[u8], gas: &mut Gas) -> Result<(), Refusal> {
        self.check_writable()?;
        check_path(path)?;
        let files = self.files()?;
        let size = files.size(&mut self.tx, path)?.unwrap_or(0);
        gas.charge(gas::database(1 + blocks(0, size), path.len() as u64))?;
        self.pending.hold(true, true, path.len(), 0)?;
        files.remove_blocks(&mut self.tx, path, size)?;
        self.tx.put(files.sizes, path, Bytes::copy_from_slice(&0u64.to_be_bytes()))?;
        Ok(())
    }

    /// What a file that is open holds from a position on, at most `max` bytes.
    pub(crate) fn file_read(
        &mut self,
        path: &[u8],
        position: u64,
        max: u64,
        gas: &mut Gas,
    ) -> Result<Bytes, Refusal> {
        let files = self.files()?;
        let Some(size) = files.size(&mut self.tx, path)? else { return gone(path) };
        let len = size.saturating_sub(position).min(max);
        gas.charge(gas::database(1 + blocks(position, len), len))?;
        Ok(files.read_range(&mut self.tx, path, position, len)?)
    }

    /// Writes into a file that is open.
    pub(crate) fn file_write(
        &mut self,
        path: &[u8],
        position: u64,
        bytes: &[u8],
        gas: &mut Gas,
    ) -> Result<(), Refusal> {
        self.check_writable()?;
        let files = self.files()?;
        let Some(size) = files.size(&mut self.tx, path)? else { return gone(path) };
        let len = bytes.len() as u64;
        let end = position.saturating_add(len);
        if end > MAX_FILE_BYTES {
            return refuse(TrapKind::Size, format!("a file has at most {MAX_FILE_BYTES} bytes"));
        }
        let touched = blocks(position, len);
        gas.charge(gas::database(1 + touched, len))?;
        for _ in 0..touched {
            self.pending.hold(true, true, FILE_BLOCK_BYTES as usize, 0)?;
        }
        for piece in pieces(position, len) {
            let key = block_key(path, piece.block);
            let part = &bytes[piece.at..piece.at + piece.len];
            let old = self.tx.get(files.blocks, &key)?.unwrap_or_default();
            let mut block = vec![0; old.len().max(piece.from + piece.len)];
            block[..old.len()].copy_from_slice(&old);
            block[piece.from..piece.from + piece.len].copy_from_slice(part);
            self.tx.put(files.blocks, &key, block)?;
        }
        if end > size && len > 0 {
            self.tx.put(files.sizes, path, Bytes::copy_from_slice(&end.to_be_bytes()))?;
        }
        Ok(())
    }

    /// The first path behind `after` that begins with `prefix`.
    pub(crate) fn file_list(
        &mut self,
        prefix: &[u8],
        after: &[u8],
        gas: &mut Gas,
    ) -> Result<Option<Bytes>, Refusal> {
        for text in [prefix, after] {
            if !text.is_empty() {
                check_path(text)?;
            }
        }
        let files = self.files()?;
        let from = if after >= prefix { Bound::Excluded(after) } else { Bound::Included(prefix) };
        // Nothing is before the empty path.
        let from = if from == Bound::Excluded(&[][..]) { Bound::Unbounded } else { from };
        let cursor = self.tx.scan(files.sizes, from, Bound::Unbounded, Direction::Forward)?;
        let found = self.tx.cursor_entry(cursor)?.take().map(|(path, _)| path);
        let found = found.filter(|path| path.starts_with(prefix));
        let bytes = prefix.len() + after.len() + found.as_ref().map_or(0, Bytes::len);
        if gas.charge(gas::database(1, bytes as u64)).is_err() {
            return Err(self.withdraw(cursor));
        }
        self.last_cursor = cursor.0;
        self.tx.close(cursor)?;
        Ok(found)
    }

    pub(crate) fn file_remove(&mut self, path: &[u8], gas: &mut Gas) -> Result<bool, Refusal> {
        self.check_writable()?;
        check_path(path)?;
        let files = self.files()?;
        let size = files.size(&mut self.tx, path)?;
        gas.charge(gas::database(1 + blocks(0, size.unwrap_or(0)), path.len() as u64))?;
        files.remove_blocks(&mut self.tx, path, size.unwrap_or(0))?;
        Ok(self.tx.delete(files.sizes, path)?)
    }

    /// Puts a file as it is in the place of what is there, before the program starts.
    pub(crate) fn import(&mut self, path: &[u8], contents: &[u8]) -> Result<(), Refusal> {
        let mut free = Gas::new(Gas::MAX);
        self.file_create(path, &mut free)?;
        self.file_write(path, 0, contents, &mut free)
    }
}

fn gone<T>(path: &[u8]) -> Result<T, Refusal> {
    let path = crate::show::bytes(path);
    refuse(TrapKind::Index, format!("the file {path} is not there any more"))
}
