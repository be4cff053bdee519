//! Host calls: the door to the outside, and the files that are open.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::{HostError, HostResult};
use dotvm_core::host_call::{Answer, HostCall, MAX_ENTROPY_BYTES, MAX_FILE_BYTES, MAX_OPEN_FILES};
use dotvm_core::limits::MAX_BYTES_LEN;
use dotvm_core::trap::TrapKind;

use crate::audit;
use crate::host::TxHost;
use crate::open_tx::{Refusal, refuse};
use crate::system::{Outside, Stream, SystemError};

/// The outside of an execution as its host has it.
#[derive(Default)]
pub(crate) struct Door {
    pub(crate) outside: Outside,
    /// What failed there; the execution has no outcome then.
    pub(crate) failure: Option<SystemError>,
    open: OpenFiles,
    /// Number given last.
    last_file: u64,
}

/// The files that a contract has open, by number.
pub(crate) type OpenFiles = BTreeMap<u64, OpenFile>;

pub(crate) struct OpenFile {
    path: Bytes,
    position: u64,
}

impl OpenFile {
    /// Writes it down.
    fn save(&self, to: &mut Writer) {
        to.bytes(&self.path);
        to.number(self.position);
    }
}

/// Writes open files down.
pub(crate) fn save_files(files: &OpenFiles, to: &mut Writer) {
    to.count(files.len());
    for (&number, file) in files {
        to.number(number);
        file.save(to);
    }
}

/// Reads open files, whose numbers are at most `last`.
pub(crate) fn restore_files(last: u64, from: &mut Reader<'_>) -> Result<OpenFiles, Damage> {
    let count = from.count(3)?;
    from.require(count <= MAX_OPEN_FILES, "too many files are open")?;
    let mut files = OpenFiles::new();
    for _ in 0..count {
        let number = from.number()?;
        let path = Bytes::copy_from_slice(from.bytes()?);
        let position = from.number()?;
        let fits = number <= last
            && position <= MAX_FILE_BYTES
            && dotvm_core::host_call::is_path(&path)
            && files.insert(number, OpenFile { path, position }).is_none();
        from.require(fits, "an open file is none")?;
    }
    Ok(files)
}

impl Door {
    /// Writes down which files are open; none if they are closed with their transaction.
    pub(crate) fn save(&self, closes: bool, to: &mut Writer) {
        to.number(self.last_file);
        if closes { save_files(&OpenFiles::new(), to) } else { save_files(&self.open, to) }
    }

    /// Reads which files are open.
    pub(crate) fn restore(&mut self, from: &mut Reader<'_>) -> Result<(), Damage> {
        self.last_file = from.number()?;
        self.open = restore_files(self.last_file, from)?;
        Ok(())
    }

    /// Number of the file opened last.
    pub(crate) fn last_file(&self) -> u64 {
        self.last_file
    }

    /// Closes all files: their transaction is over.
    pub(crate) fn close_files(&mut self) {
        self.open.clear();
    }

    /// Takes the open files out of the reach of a contract that is called.
    pub(crate) fn take_files(&mut self) -> OpenFiles {
        std::mem::take(&mut self.open)
    }

    /// Gives them back, and closes those of the contract that was called.
    pub(crate) fn put_files(&mut self, files: OpenFiles) {
        self.open = files;
    }

    fn check_room(&self) -> Result<(), Refusal> {
        if self.open.len() < MAX_OPEN_FILES {
            return Ok(());
        }
        refuse(TrapKind::Size, format!("{MAX_OPEN_FILES} files are open, which is the limit"))
    }

    fn opened(&mut self, path: &Bytes) -> u64 {
        self.last_file += 1;
        self.open.insert(self.last_file, OpenFile { path: path.clone(), position: 0 });
        self.last_file
    }

    fn file(&mut self, number: u64) -> Result<&mut OpenFile, Refusal> {
        match self.open.get_mut(&number) {
            Some(file) => Ok(file),
            None => refuse(TrapKind::Index, format!("no file with the number {number} is open")),
        }
    }

    /// What the outside answers. A failure there ends the execution by a trap that is not its own.
    fn ask<T>(&mut self, answer: Result<T, SystemError>) -> Result<T, Refusal> {
        answer.map_err(|error| {
            let sentence = error.0.clone();
            self.failure.get_or_insert(error);
            Refusal::Host(HostError::Trap(TrapKind::Db, sentence))
        })
    }
}

fn range<T>(what: &str, limit: u64) -> Result<T, Refusal> {
    refuse(TrapKind::Range, format!("{what} is at most {limit}"))
}

fn time(time: Duration) -> Answer {
    Answer::pair(time.as_secs(), time.subsec_nanos())
}

impl TxHost<'_> {
    pub(crate) fn host_call(
        &mut self,
        call: HostCall,
        words: &[u64],
        refs: &[Bytes],
        gas: &mut Gas,
    ) -> HostResult<Answer> {
        let result = match (call, words, refs) {
            (HostCall::ConsoleWrite, &[stream], [bytes]) => self.console_write(stream, bytes, gas),
            (HostCall::ConsoleRead, &[max], _) => self.console_read(max, gas),
            (HostCall::ArgsGet, &[index], _) => self.argument(index, gas),
            (HostCall::ClockWall, ..) => {
                let answer = self.door.outside.lock().wall();
                self.door.ask(answer).map(time)
            }
            (HostCall::ClockMonotonic, ..) => {
                let answer = self.door.outside.lock().monotonic();
                self.door.ask(answer).map(time)
            }
            (HostCall::EntropyGet, &[bytes], _) => self.entropy(bytes, gas),
            (HostCall::AuditDenied, &[subject], [right, action]) => self.denied(subject, right, action, gas),
            _ => {
                self.open()?;
                self.file_call(call, words, refs, gas)
            }
        };
        self.answer(result)
    }

    fn console_write(&mut self, stream: u64, bytes: &Bytes, gas: &mut Gas) -> Result<Answer, Refusal> {
        let stream = match stream {
            1 => Stream::Output,
            2 => Stream::Error,
            _ => return refuse(TrapKind::Range, "streams are 1, standard output, and 2, standard error"),
        };
        gas.charge(gas::system(bytes.len() as u64))?;
        let answer = self.door.outside.lock().write(stream, bytes);
        self.door.ask(answer)?;
        Ok(Answer::default())
    }

    fn console_read(&mut self, max: u64, gas: &mut Gas) -> Result<Answer, Refusal> {
        if max > MAX_BYTES_LEN {
            return range("the number of bytes to read", MAX_BYTES_LEN);
        }
        gas.charge(gas::system(max))?;
        let answer = self.door.outside.lock().read(max as usize);
        Ok(Answer::reference(Some(self.door.ask(answer)?)))
    }

    fn argument(&mut self, index: u64, gas: &mut Gas) -> Result<Answer, Refusal> {
        let answer = self.door.outside.lock().argument(index);
        let argument = self.door.ask(answer)?;
        gas.charge(gas::system(argument.as_ref().map_or(0, Bytes::len) as u64))?;
        Ok(Answer::reference(argument))
    }

    fn entropy(&mut self, bytes: u64, gas: &mut Gas) -> Result<Answer, Refusal> {
        if bytes > MAX_ENTROPY_BYTES {
            return range("the number of random bytes", MAX_ENTROPY_BYTES);
        }
        gas.charge(gas::system(bytes))?;
        let answer = self.door.outside.lock().entropy(bytes as usize);
        Ok(Answer::reference(Some(self.door.ask(answer)?)))
    }

    fn denied(
        &mut self,
        subject: u64,
        right: &Bytes,
        action: &Bytes,
        gas: &mut Gas,
    ) -> Result<Answer, Refusal> {
        gas.charge(gas::system((right.len() + action.len()) as u64))?;
        audit::right_denied(&self.contract_name, subject, right, action);
        Ok(Answer::default())
    }

    /// A call on files, with a transaction open.
    fn file_call(
        &mut self,
        call: HostCall,
        words: &[u64],
        refs: &[Bytes],
        gas: &mut Gas,
    ) -> Result<Answer, Refusal> {
        let Some(tx) = &mut self.open else { return refuse(TrapKind::Tx, "no transaction is open") };
        let door = &mut self.door;
        Ok(match (call, words, refs) {
            (HostCall::FileOpen, _, [path]) => {
                door.check_room()?;
                if tx.file_size(path, gas)?.is_none() {
                    return Ok(Answer::word(0u64));
                }
                audit::file_opened(&self.contract_name, path, false);
                Answer::word(door.opened(path))
            }
            (HostCall::FileCreate, _, [path]) => {
                door.check_room()?;
                tx.file_create(path, gas)?;
                audit::file_opened(&self.contract_name, path, true);
                Answer::word(door.opened(path))
            }
            (HostCall::FileRead, &[file, max], _) => {
                let file = door.file(file)?;
                let bytes = tx.file_read(&file.path, file.position, max, gas)?;
                file.position += bytes.len() as u64;
                Answer::reference(Some(bytes))
            }
            (HostCall::FileWrite, &[file], [bytes]) => {
                let file = door.file(file)?;
                tx.file_write(&file.path, file.position, bytes, gas)?;
                file.position += bytes.len() as u64;
                Answer::default()
            }
            (HostCall::FileSeek, &[file, position], _) => {
                let file = door.file(file)?;
                if position > MAX_FILE_BYTES {
                    return range("a position", MAX_FILE_BYTES);
                }
                Answer::word(std::mem::replace(&mut file.position, position))
            }
            (HostCall::FileClose, &[file], _) => {
                door.file(file)?;
                door.open.remove(&file);
                Answer::default()
            }
            (HostCall::FileStat, _, [path]) => {
                let size = tx.file_size(path, gas)?;
                Answer::pair(size.is_some(), size.unwrap_or(0))
            }
            (HostCall::FileList, _, [prefix, after]) => Answer::reference(tx.file_list(prefix, after, gas)?),
            (HostCall::FileRemove, _, [path]) => {
                let existed = tx.file_remove(path, gas)?;
                door.open.retain(|_, file| file.path != *path);
                Answer::word(existed)
            }
            (call, ..) => {
                let sentence = format!("{} was called with other operands than its own", call.name());
                return refuse(TrapKind::Db, sentence);
            }
        })
    }
}
