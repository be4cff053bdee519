//! Host calls: files as plain byte vectors, and a scripted outside.

use bytes::Bytes;
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::HostResult;
use dotvm_core::host_call::{
    Answer, HostCall, MAX_ENTROPY_BYTES, MAX_FILE_BYTES, MAX_OPEN_FILES, blocks, is_path,
};
use dotvm_core::limits::MAX_BYTES_LEN;
use dotvm_core::trap::TrapKind;
use dotvm_runtime::{Stream, System};

use super::{MockHost, Place, Transaction, trap};

/// What a scripted outside, which never fails, answers.
fn sure<T, E: std::fmt::Debug>(answer: Result<T, E>) -> T {
    answer.expect("a script does not fail")
}

impl MockHost {
    pub(super) fn host_call(
        &mut self,
        call: HostCall,
        words: &[u64],
        refs: &[Bytes],
        gas: &mut Gas,
    ) -> HostResult<Answer> {
        self.calls += 1;
        match call {
            HostCall::ConsoleWrite => {
                let stream = match words[0] {
                    1 => Stream::Output,
                    2 => Stream::Error,
                    _ => return trap(TrapKind::Range, "there is no such stream"),
                };
                gas.charge(gas::system(refs[0].len() as u64))?;
                sure(self.outside.write(stream, &refs[0]));
                Ok(Answer::default())
            }
            HostCall::ConsoleRead => {
                within(words[0], MAX_BYTES_LEN)?;
                gas.charge(gas::system(words[0]))?;
                Ok(Answer::reference(Some(sure(self.outside.read(words[0] as usize)))))
            }
            HostCall::ArgsGet => {
                let argument = sure(self.outside.argument(words[0]));
                gas.charge(gas::system(argument.as_ref().map_or(0, Bytes::len) as u64))?;
                Ok(Answer::reference(argument))
            }
            HostCall::ClockWall => {
                let time = sure(self.outside.wall());
                Ok(Answer::pair(time.as_secs(), time.subsec_nanos()))
            }
            HostCall::ClockMonotonic => {
                let time = sure(self.outside.monotonic());
                Ok(Answer::pair(time.as_secs(), time.subsec_nanos()))
            }
            HostCall::EntropyGet => {
                within(words[0], MAX_ENTROPY_BYTES)?;
                gas.charge(gas::system(words[0]))?;
                Ok(Answer::reference(Some(sure(self.outside.entropy(words[0] as usize)))))
            }
            HostCall::AuditDenied => {
                gas.charge(gas::system((refs[0].len() + refs[1].len()) as u64))?;
                Ok(Answer::default())
            }
            _ => self.file_call(call, words, refs, gas),
        }
    }

    fn file_call(
        &mut self,
        call: HostCall,
        words: &[u64],
        refs: &[Bytes],
        gas: &mut Gas,
    ) -> HostResult<Answer> {
        let opened = self.files_opened + 1;
        let is_static = self.frame.is_static;
        let transaction = self.open()?;
        let writes = matches!(call, HostCall::FileCreate | HostCall::FileWrite | HostCall::FileRemove);
        match call {
            HostCall::FileOpen | HostCall::FileCreate if transaction.open_files.len() >= MAX_OPEN_FILES => {
                return trap(TrapKind::Size, "too many files are open");
            }
            HostCall::FileRead | HostCall::FileWrite | HostCall::FileSeek | HostCall::FileClose
                if !transaction.open_files.contains_key(&words[0]) =>
            {
                return trap(TrapKind::Index, "no such file is open");
            }
            _ => {}
        }
        if writes && (transaction.read_only || is_static) {
            return trap(TrapKind::ReadOnly, "");
        }
        match call {
            HostCall::FileList if refs.iter().any(|text| !text.is_empty() && !is_path(text)) => {
                return trap(TrapKind::Range, "not a path");
            }
            HostCall::FileOpen | HostCall::FileCreate | HostCall::FileStat | HostCall::FileRemove
                if !is_path(&refs[0]) =>
            {
                return trap(TrapKind::Range, "not a path");
            }
            _ => {}
        }
        let size = |transaction: &Transaction, path: &[u8]| {
            transaction.now.state.files.get(path).map(|contents| contents.len() as u64)
        };
        let path_cost = |blocks: u64| gas::database(1 + blocks, refs[0].len() as u64);
        match call {
            HostCall::FileOpen => {
                gas.charge(path_cost(0))?;
                if size(transaction, &refs[0]).is_none() {
                    return Ok(Answer::word(0u64));
                }
                transaction.open_files.insert(opened, (refs[0].to_vec(), 0));
                self.files_opened = opened;
                Ok(Answer::word(opened))
            }
            HostCall::FileCreate => {
                let old = size(transaction, &refs[0]);
                gas.charge(path_cost(blocks(0, old.unwrap_or(0))))?;
                transaction.forget_blocks(&refs[0], old.unwrap_or(0));
                transaction.now.changed.insert(Place::FileSize(refs[0].to_vec()));
                if old.is_none() {
                    transaction.now.changed.insert(Place::Files);
                }
                transaction.now.state.files.insert(refs[0].to_vec(), Vec::new());
                transaction.open_files.insert(opened, (refs[0].to_vec(), 0));
                self.files_opened = opened;
                Ok(Answer::word(opened))
            }
            HostCall::FileStat => {
                gas.charge(path_cost(0))?;
                let size = size(transaction, &refs[0]);
                Ok(Answer::pair(size.is_some(), size.unwrap_or(0)))
            }
            HostCall::FileRemove => {
                let old = size(transaction, &refs[0]);
                gas.charge(path_cost(blocks(0, old.unwrap_or(0))))?;
                transaction.forget_blocks(&refs[0], old.unwrap_or(0));
                if transaction.now.state.files.remove(&refs[0][..]).is_some() {
                    transaction.now.changed.extend([Place::FileSize(refs[0].to_vec()), Place::Files]);
                }
                transaction.open_files.retain(|_, (path, _)| *path != refs[0]);
                Ok(Answer::word(old.is_some()))
            }
            HostCall::FileList => {
                let (prefix, after) = (&refs[0], &refs[1]);
                let mut files = transaction.now.state.files.keys();
                let found = files.find(|path| path.starts_with(prefix) && (path[..] > after[..]));
                let found = found.map(|path| Bytes::copy_from_slice(path));
                self.cursors_opened += 1;
                let bytes = prefix.len() + after.len() + found.as_ref().map_or(0, Bytes::len);
                gas.charge(gas::database(1, bytes as u64))?;
                Ok(Answer::reference(found))
            }
            HostCall::FileSeek => {
                within(words[1], MAX_FILE_BYTES)?;
                let (_, position) = transaction.open_files.get_mut(&words[0]).expect("it was looked up");
                Ok(Answer::word(std::mem::replace(position, words[1])))
            }
            HostCall::FileClose => {
                transaction.open_files.remove(&words[0]);
                Ok(Answer::default())
            }
            HostCall::FileRead => {
                let (path, position) = transaction.open_files[&words[0]].clone();
                let Some(contents) = transaction.now.state.files.get(&path) else {
                    return trap(TrapKind::Index, "the file is gone");
                };
                let rest = contents.get(position as usize..).unwrap_or_default();
                let len = words[1].min(rest.len() as u64);
                gas.charge(gas::database(1 + blocks(position, len), len))?;
                let bytes = Bytes::copy_from_slice(&rest[..len as usize]);
                transaction.open_files.insert(words[0], (path, position + len));
                Ok(Answer::reference(Some(bytes)))
            }
            HostCall::FileWrite => {
                let (path, position) = transaction.open_files[&words[0]].clone();
                let len = refs[0].len() as u64;
                let Some(contents) = transaction.now.state.files.get_mut(&path) else {
                    return trap(TrapKind::Index, "the file is gone");
                };
                if position + len > MAX_FILE_BYTES {
                    return trap(TrapKind::Size, "the file would be too long");
                }
                gas.charge(gas::database(1 + blocks(position, len), len))?;
                let end = (position + len) as usize;
                if len > 0 {
                    if end > contents.len() {
                        contents.resize(end, 0);
                        transaction.now.changed.insert(Place::FileSize(path.clone()));
                    }
                    contents[position as usize..end].copy_from_slice(&refs[0]);
                }
                transaction.write_blocks(&path, position, len);
                transaction.open_files.insert(words[0], (path, position + len));
                Ok(Answer::default())
            }
            _ => unreachable!("{} is no call on files", call.name()),
        }
    }
}

fn within(number: u64, limit: u64) -> HostResult<()> {
    if number > limit { trap(TrapKind::Range, "the number is too large") } else { Ok(()) }
}

impl Transaction {
    /// Notes the blocks that a write changes.
    fn write_blocks(&mut self, path: &[u8], start: u64, len: u64) {
        let first = start / dotvm_core::host_call::FILE_BLOCK_BYTES;
        for block in first..first + blocks(start, len) {
            self.now.changed.insert(Place::FileBlock(path.to_vec(), block));
            if self.now.state.blocks.insert((path.to_vec(), block)) {
                self.now.changed.insert(Place::FileBlocks);
            }
        }
    }

    /// Notes the blocks that go with a file's contents.
    fn forget_blocks(&mut self, path: &[u8], size: u64) {
        for block in 0..blocks(0, size) {
            if self.now.state.blocks.remove(&(path.to_vec(), block)) {
                self.now.changed.insert(Place::FileBlock(path.to_vec(), block));
                self.now.changed.insert(Place::FileBlocks);
            }
        }
    }
}
