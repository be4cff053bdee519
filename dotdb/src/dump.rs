//! Dumps: the state of one version as a stream of bytes, for another backend or another version of DotDB.
//!
//! A dump is the eight bytes `DOTDBDMP` and blocks. A block is its kind u8, the length of its contents u32, the
//! contents, and the CRC-32 (IEEE) u32 of all three. Integers are big-endian. First comes one block of kind `H`, then
//! any number of `D`, last one of `E`, and nothing after it:
//!
//! | kind | contents |
//! |---|---|
//! | `H` | format u32 (1), schema u32, version u64, history u64 (number of versions, 0 for none, the greatest for all), state root u8 (0 or 1), and if 1 the root at the version, 32 bytes |
//! | `D` | rows: length u32 and bytes of the key, length u32 and bytes of the value |
//! | `E` | number of rows u64, BLAKE3 hash of all bytes before this block |
//!
//! Rows are those of the state (see `keys`) with tags below 80 but for the schema, in the order of keys, no key twice.
//! The blocks of rows end soon after a MiB, so neither side holds more than that, or one large row.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use dotdb_commitment::Root;
use dotdb_store::{Batch, Durability, Store};

use crate::database::Database;
use crate::error::DbError;
use crate::journal;
use crate::keys::{JOURNAL, META_SCHEMA, SCHEMA_VERSION};
use crate::settings::{History, INDEXED, OLDEST, Settings, number_row};
use crate::transfer::{Filler, TransferError};

/// Format of dumps that this program writes, and the newest it reads.
pub const DUMP_FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"DOTDBDMP";
/// Contents after which a block of rows ends.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest contents of a block: one row of the greatest size, and what may stand before it.
const MAX_BLOCK_BYTES: u32 = 64 << 20;
/// Bytes of a block before its contents.
const BLOCK_HEAD: usize = 5;

/// What a dump holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dump {
    /// The version.
    pub version: u64,
    /// What the database kept.
    pub settings: Settings,
    /// Its state root, if it kept one.
    pub root: Option<Root>,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of the dump.
    pub bytes: u64,
}

struct BlockWriter<'a> {
    to: &'a mut dyn Write,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl BlockWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.to.write_all(bytes).map_err(TransferError::Write)
    }

    fn block(&mut self, kind: u8, contents: &[u8]) -> Result<(), TransferError> {
        let head = block_head(kind, contents.len());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(contents);
        self.write(&head)?;
        self.write(contents)?;
        self.write(&crc.finalize().to_be_bytes())
    }
}

fn block_head(kind: u8, length: usize) -> [u8; BLOCK_HEAD] {
    // A block is far shorter.
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [kind, a, b, c, d]
}

fn put_bytes(contents: &mut Vec<u8>, bytes: &[u8]) {
    contents.extend((bytes.len() as u32).to_be_bytes());
    contents.extend_from_slice(bytes);
}

fn take_bytes(contents: &mut Bytes) -> Option<Bytes> {
    let length = contents.try_get_u32().ok()? as usize;
    (length <= contents.len()).then(|| contents.split_to(length))
}

fn history_number(history: History) -> u64 {
    match history {
        History::None => 0,
        History::Last(versions) => versions,
        History::All => u64::MAX,
    }
}

impl Database {
    /// Writes the state of a version as a dump. `progress` is told of bytes written since it was last called.
    ///
    /// # Errors
    /// [`TransferError::Write`]; those of [`Database::begin_at`].
    pub fn dump(
        &self,
        version: u64,
        to: &mut dyn Write,
        mut progress: impl FnMut(u64),
    ) -> Result<Dump, TransferError> {
        let settings = self.settings();
        let rows = self.rows_at(version)?;
        let root = if settings.state_root { Some(self.state_root(version)?) } else { None };
        let mut out = BlockWriter { to, hasher: blake3::Hasher::new(), bytes: 0 };
        out.write(MAGIC)?;
        let mut head = Vec::new();
        head.extend(DUMP_FORMAT.to_be_bytes());
        head.extend(SCHEMA_VERSION.to_be_bytes());
        head.extend(version.to_be_bytes());
        head.extend(history_number(settings.history).to_be_bytes());
        head.push(u8::from(root.is_some()));
        head.extend(root.iter().flat_map(|root| root.0));
        out.block(b'H', &head)?;
        let mut contents = Vec::with_capacity(BLOCK_BYTES + (BLOCK_BYTES >> 2));
        let mut count = 0u64;
        for row in rows {
            let (key, value) = row?;
            if key == META_SCHEMA {
                continue;
            }
            put_bytes(&mut contents, &key);
            put_bytes(&mut contents, &value);
            count += 1;
            if contents.len() >= BLOCK_BYTES {
                out.block(b'D', &contents)?;
                progress(contents.len() as u64);
                contents.clear();
            }
        }
        if !contents.is_empty() {
            out.block(b'D', &contents)?;
            progress(contents.len() as u64);
        }
        let mut end = count.to_be_bytes().to_vec();
        end.extend_from_slice(out.hasher.finalize().as_bytes());
        out.block(b'E', &end)?;
        let bytes = out.bytes;
        to.flush().map_err(TransferError::Write)?;
        Ok(Dump { version, settings, root, rows: count, bytes })
    }

    /// Makes a database of a dump in an empty store of any backend, with the version that was dumped as its only one.
    /// `settings` chooses what it keeps, given what the dumped one kept. `progress` is told of bytes read since it was
    /// last called.
    ///
    /// Until it is complete, what is in the store is no database.
    ///
    /// # Errors
    /// [`TransferError::NotEmpty`]; what is wrong with the dump; the store's. Then the store is of no use.
    pub fn load(
        store: &Arc<dyn Store>,
        from: &mut dyn Read,
        settings: impl FnOnce(Settings) -> Settings,
        mut progress: impl FnMut(u64),
    ) -> Result<(Database, Dump), TransferError> {
        let mut filler = Filler::new(&**store)?;
        let mut input = BlockReader { from, hasher: blake3::Hasher::new(), at: 0 };
        let mut magic = [0; MAGIC.len()];
        match input.fill(&mut magic) {
            Err(TransferError::Truncated { .. }) => return Err(TransferError::NotADump),
            result => result?,
        }
        if magic != *MAGIC {
            return Err(TransferError::NotADump);
        }
        let mut dump = input.head()?;
        let chosen = settings(dump.settings);
        chosen.check()?;
        let mut last: Option<Bytes> = None;
        loop {
            let (at, before) = (input.at, input.hasher.clone());
            let damaged = |problem| TransferError::Damaged { at, problem };
            let (kind, mut contents) = input.block()?;
            progress(input.at - at);
            match kind {
                b'D' => {
                    while !contents.is_empty() {
                        let key = take_bytes(&mut contents).filter(|key| is_state_key(key));
                        let value = take_bytes(&mut contents);
                        let (Some(key), Some(value)) = (key, value) else {
                            return Err(damaged("there is something else than rows of a state"));
                        };
                        if last.as_ref().is_some_and(|last| *last >= key) {
                            return Err(damaged("a row is out of order"));
                        }
                        // Not a slice of the block, which it would keep in memory.
                        last = Some(Bytes::copy_from_slice(&key));
                        filler.push(key, value)?;
                        dump.rows += 1;
                    }
                }
                b'E' => {
                    let hash = before.finalize();
                    if contents[..] != [&dump.rows.to_be_bytes()[..], hash.as_bytes()].concat() {
                        return Err(damaged("the number of rows or the hash of the whole does not agree"));
                    }
                    if input.is_followed()? {
                        return Err(damaged("the dump goes on behind its end"));
                    }
                    break;
                }
                _ => return Err(damaged("there is an unknown kind of block")),
            }
        }
        dump.bytes = input.at;
        filler.flush(Durability::None)?;
        finish(&**store, dump.version, chosen)?;
        let database = if chosen.state_root {
            Database::add_state_root(Arc::clone(store))?
        } else {
            Database::open(Arc::clone(store))?
        };
        if let Some(expected) = dump.root.filter(|_| chosen.state_root) {
            let found = database.state_root(dump.version)?;
            if found != expected {
                return Err(TransferError::OtherRoot { found, expected });
            }
        }
        database.sync()?;
        Ok((database, dump))
    }
}

/// Whether a dump may have the key.
fn is_state_key(key: &[u8]) -> bool {
    key.first().is_some_and(|&tag| tag < JOURNAL) && key != META_SCHEMA
}

/// Writes what makes a store with the rows of a state a database, but for the state tree.
fn finish(store: &dyn Store, version: u64, chosen: Settings) -> Result<(), DbError> {
    let mut rows = vec![
        (Bytes::from_static(META_SCHEMA), Some(Bytes::copy_from_slice(&SCHEMA_VERSION.to_be_bytes()))),
        number_row(OLDEST, version),
        number_row(INDEXED, version),
    ];
    let (key, value) = Settings { state_root: false, ..chosen }.row();
    rows.push((key, Some(value)));
    if version > 0 {
        rows.push((journal::row_key(version, 0), Some(Bytes::new())));
    }
    Ok(store.apply(&Batch::from(rows), Durability::Sync)?)
}

struct BlockReader<'a> {
    from: &'a mut dyn Read,
    hasher: blake3::Hasher,
    /// Bytes read.
    at: u64,
}

impl BlockReader<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TransferError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.from.read(&mut buffer[filled..]) {
                Ok(0) => return Err(TransferError::Truncated { at: self.at + filled as u64 }),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TransferError::Read(error)),
            }
        }
        self.hasher.update(buffer);
        self.at += buffer.len() as u64;
        Ok(())
    }

    /// Kind and contents of the next block.
    fn block(&mut self) -> Result<(u8, Bytes), TransferError> {
        let at = self.at;
        let mut head = [0; BLOCK_HEAD];
        self.fill(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if length > MAX_BLOCK_BYTES {
            return Err(TransferError::Damaged { at, problem: "there is a length that no block has" });
        }
        let mut contents = vec![0; length as usize];
        self.fill(&mut contents)?;
        let mut checksum = [0; 4];
        self.fill(&mut checksum)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(&contents);
        if crc.finalize() != u32::from_be_bytes(checksum) {
            return Err(TransferError::Damaged { at, problem: "the checksum does not agree" });
        }
        Ok((kind, contents.into()))
    }

    fn head(&mut self) -> Result<Dump, TransferError> {
        let at = self.at;
        let (kind, mut head) = self.block()?;
        let damaged = || TransferError::Damaged { at, problem: "there is no head of a dump" };
        let number = |head: &mut Bytes| head.try_get_u32().map_err(|_| damaged());
        let long = |head: &mut Bytes| head.try_get_u64().map_err(|_| damaged());
        if kind != b'H' {
            return Err(damaged());
        }
        let format = number(&mut head)?;
        if format > DUMP_FORMAT {
            return Err(TransferError::NewerFormat { found: format, supported: DUMP_FORMAT });
        }
        let schema = number(&mut head)?;
        if schema != SCHEMA_VERSION {
            return Err(TransferError::Schema { found: schema, current: SCHEMA_VERSION });
        }
        let version = long(&mut head)?;
        let history = match long(&mut head)? {
            0 => History::None,
            u64::MAX => History::All,
            versions => History::Last(versions),
        };
        let root = match (format, head.try_get_u8(), head.len()) {
            (DUMP_FORMAT, Ok(0), 0) => None,
            (DUMP_FORMAT, Ok(1), 32) => Some(Root(head[..].try_into().map_err(|_| damaged())?)),
            _ => return Err(damaged()),
        };
        let settings = Settings { history, state_root: root.is_some() };
        Ok(Dump { version, settings, root, rows: 0, bytes: 0 })
    }

    /// Whether there are more bytes.
    fn is_followed(&mut self) -> Result<bool, TransferError> {
        match self.fill(&mut [0]) {
            Ok(()) => Ok(true),
            Err(TransferError::Truncated { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
