//! The outside that programs get from the command line: console, arguments, clocks, random bytes, and files that are
//! carried in and out.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use clap::{Args, ValueHint};
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::host_call::MAX_FILE_BYTES;
use dotvm_runtime::{Recorder, Runtime, Stream, System, SystemError};

use crate::exit::Exit;
use crate::failure::Failure;

/// Most bytes that a program may write to the console with `--json`, which keeps them for the one object.
const MAX_COLLECTED: usize = 64 << 20;

/// `--stdin`.
#[derive(Args)]
pub struct InputOption {
    /// Standard input of the program; - is this command's [default: -]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Outside")]
    stdin: Option<PathBuf>,
}

/// `--file-out`.
#[derive(Args)]
pub struct FilesOut {
    /// Write one of the contract's files to a file after the program succeeded (can be repeated)
    #[arg(long = "file-out", value_name = "PATH=FILE", value_parser = parse_carried, help_heading = "Outside")]
    files_out: Vec<Carried>,
}

/// What a program gets from outside.
#[derive(Args)]
pub struct OutsideOptions {
    #[command(flatten)]
    input: InputOption,

    /// An argument for args.get (can be repeated)
    #[arg(long = "argv", value_name = "V", allow_hyphen_values = true, help_heading = "Outside")]
    argv: Vec<String>,

    /// Put a file into the contract's files before the program starts, as a part of its transaction (can be repeated)
    #[arg(long = "file", value_name = "PATH=FILE", value_parser = parse_carried, help_heading = "Outside")]
    files: Vec<Carried>,

    #[command(flatten)]
    pub files_out: FilesOut,
}

/// A path of the contract's and a file of this machine.
#[derive(Clone, Debug)]
struct Carried {
    path: String,
    file: PathBuf,
}

fn parse_carried(text: &str) -> Result<Carried, String> {
    match text.split_once('=') {
        Some((path, file)) if !path.is_empty() && !file.is_empty() => {
            Ok(Carried { path: path.to_owned(), file: file.into() })
        }
        _ => Err("this is not PATH=FILE".to_owned()),
    }
}

impl OutsideOptions {
    /// Whether anything is given.
    pub fn is_on(&self) -> bool {
        let is_read = self.input.stdin.is_some() || !self.argv.is_empty();
        is_read || !self.files.is_empty() || self.files_out.writes_files()
    }

    /// The console of a run: with `more` arguments behind those of `--argv`, and with what is written kept if
    /// `collects`. `taken` says that standard input was the program itself.
    pub fn console(&self, more: &[String], collects: bool, taken: bool) -> Result<Console, Failure> {
        let mut console = self.input.console(collects, taken)?;
        console.arguments = self.argv.iter().chain(more).map(|text| Bytes::from(text.clone())).collect();
        Ok(console)
    }

    /// All of standard input, if a file of it is named: several runs are to read the same.
    pub fn whole_input(&self, taken: bool) -> Result<Vec<u8>, Failure> {
        let Some(path) = self.input.stdin.as_deref() else { return Ok(Vec::new()) };
        if path.as_os_str() == "-" && taken {
            let sentence = "standard input is the program already: --stdin FILE reads another one";
            return Err(Failure::new(Exit::Usage, sentence));
        }
        crate::input::read_file(path)
    }

    /// All arguments for args.get, those behind `--` last.
    pub fn arguments(&self, more: &[String]) -> Vec<String> {
        self.argv.iter().chain(more).cloned().collect()
    }

    /// What the file of --stdin holds, if one is named, for programs that get their input as a whole.
    pub fn given_input(&self) -> Result<Option<Bytes>, Failure> {
        self.input.stdin.as_deref().filter(|path| path.as_os_str() != "-").map(read).transpose()
    }

    /// The files to carry in.
    pub fn files(&self) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        self.files.iter().map(|carried| Ok((carried.path.clone().into(), read(&carried.file)?))).collect()
    }
}

impl InputOption {
    /// The console of a run without arguments, as [`OutsideOptions::console`] makes it.
    pub fn console(&self, collects: bool, taken: bool) -> Result<Console, Failure> {
        let mut is_file = false;
        let input: Box<dyn Read + Send> = match self.stdin.as_deref() {
            None if taken => Box::new(io::empty()),
            Some(path) if path.as_os_str() != "-" => {
                is_file = true;
                Box::new(File::open(path).map_err(|error| Failure::unreadable(path, &error))?)
            }
            Some(_) if taken => {
                let sentence = "standard input is the program already: --stdin FILE reads another one";
                return Err(Failure::new(Exit::Usage, sentence));
            }
            _ => Box::new(io::stdin()),
        };
        Ok(Console {
            input,
            is_file,
            bytes_read: 0,
            arguments: Vec::new(),
            before: Duration::ZERO,
            started: Instant::now(),
            collected: collects.then(<[Vec<u8>; 2]>::default),
            is_touched: false,
        })
    }
}

impl FilesOut {
    /// Whether files are to be carried out.
    pub fn writes_files(&self) -> bool {
        !self.files_out.is_empty()
    }

    /// Carries files out.
    pub fn write_files(&self, runtime: &Runtime, contract: &str) -> Result<(), Failure> {
        for Carried { path, file } in &self.files_out {
            let Some(contents) = runtime.file(contract, path.as_bytes())? else {
                return Err(Failure::new(
                    Exit::Output,
                    format!("the contract {contract:?} has no file {path:?}"),
                ));
            };
            fs::write(file, contents).map_err(|error| Failure::unwritable(file.display(), &error))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    file.map_err(|error| Failure::unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let sentence = format!("{} has more than {MAX_FILE_BYTES} bytes", path.display());
        return Err(Failure::new(Exit::Input, sentence));
    }
    Ok(bytes.into())
}

/// The console, the clocks and the random bytes of this machine.
pub struct Console {
    input: Box<dyn Read + Send>,
    /// The input is a file of its own, which a run that goes on reads from its beginning.
    is_file: bool,
    bytes_read: u64,
    arguments: Vec<Bytes>,
    /// Time of the run in the processes before this one.
    before: Duration,
    started: Instant,
    /// What was written to the two streams, where it is not to be passed on.
    collected: Option<[Vec<u8>; 2]>,
    /// Something was read or written.
    is_touched: bool,
}

impl Console {
    /// One with this input and these arguments, which keeps what is written.
    pub fn given(input: Vec<u8>, arguments: &[Vec<u8>]) -> Console {
        Console {
            input: Box::new(io::Cursor::new(input)),
            is_file: false,
            bytes_read: 0,
            before: Duration::ZERO,
            arguments: arguments.iter().map(|argument| Bytes::from(argument.clone())).collect(),
            started: Instant::now(),
            collected: Some(Default::default()),
            is_touched: false,
        }
    }

    /// What was kept of the two streams.
    pub fn collected(&mut self) -> Option<[Vec<u8>; 2]> {
        self.collected.take()
    }
}

/// The outside of a run of the command line, which can be written down.
pub type Recorded = Arc<Mutex<Recorder<Console>>>;

fn failed(what: &str, error: impl std::fmt::Display) -> SystemError {
    SystemError(format!("{what}: {error}"))
}

impl System for Console {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SystemError> {
        self.is_touched = true;
        let (index, name) = match stream {
            Stream::Output => (0, "standard output"),
            Stream::Error => (1, "standard error"),
        };
        if let Some(collected) = &mut self.collected {
            if collected.iter().map(Vec::len).sum::<usize>() + bytes.len() > MAX_COLLECTED {
                let sentence =
                    format!("the program wrote more than the {MAX_COLLECTED} bytes that --json keeps");
                return Err(SystemError(sentence));
            }
            collected[index].extend_from_slice(bytes);
            return Ok(());
        }
        let written = match stream {
            Stream::Output => {
                let mut output = io::stdout().lock();
                output.write_all(bytes).and_then(|()| output.flush())
            }
            Stream::Error => io::stderr().lock().write_all(bytes),
        };
        match written {
            // There is nobody left to write for: that is no failure of the program.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| failed(&format!("{name} cannot be written"), error)),
        }
    }

    fn read(&mut self, max: usize) -> Result<Bytes, SystemError> {
        self.is_touched = true;
        // As much memory as comes in, not as much as is asked for.
        let mut bytes = vec![0; max.min(1 << 16)];
        loop {
            match self.input.read(&mut bytes) {
                Ok(read) => {
                    bytes.truncate(read);
                    self.bytes_read += read as u64;
                    return Ok(bytes.into());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("standard input cannot be read", error)),
            }
        }
    }

    fn argument(&mut self, index: u64) -> Result<Option<Bytes>, SystemError> {
        Ok(usize::try_from(index).ok().and_then(|index| self.arguments.get(index).cloned()))
    }

    fn wall(&mut self) -> Result<Duration, SystemError> {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|error| failed("the clock stands before 1970", error))
    }

    fn monotonic(&mut self) -> Result<Duration, SystemError> {
        Ok(self.before + self.started.elapsed())
    }

    fn entropy(&mut self, bytes: usize) -> Result<Bytes, SystemError> {
        let mut random = vec![0; bytes];
        getrandom::fill(&mut random).map_err(|error| failed("random bytes cannot be had", error))?;
        Ok(random.into())
    }

    fn restart(&mut self) -> bool {
        !self.is_touched
    }

    fn save(&self, to: &mut Writer) {
        to.count(self.arguments.len());
        self.arguments.iter().for_each(|argument| to.bytes(argument));
        to.number(self.bytes_read);
        let elapsed = self.before + self.started.elapsed();
        to.number(elapsed.as_secs());
        to.number(elapsed.subsec_nanos());
        to.flag(self.is_touched);
        for stream in 0..2 {
            to.bytes(self.collected.as_ref().map_or(&[], |collected| &collected[stream]));
        }
    }

    fn restore(&mut self, from: &mut Reader<'_>) -> Result<(), Damage> {
        let count = from.count(1)?;
        self.arguments =
            (0..count).map(|_| from.bytes().map(Bytes::copy_from_slice)).collect::<Result<_, _>>()?;
        self.bytes_read = from.number()?;
        let (seconds, nanoseconds) = (from.number()?, from.small()?);
        from.require(nanoseconds < 1_000_000_000, "a second has 1000000000 nanoseconds")?;
        (self.before, self.started) = (Duration::new(seconds, nanoseconds), Instant::now());
        self.is_touched = from.flag()?;
        let written = [from.bytes()?.to_vec(), from.bytes()?.to_vec()];
        if let Some(collected) = &mut self.collected {
            *collected = written;
        }
        if self.is_file {
            // What the run has read of it is behind it.
            let skipped = io::copy(&mut (&mut self.input).take(self.bytes_read), &mut io::sink());
            let is_there = skipped.is_ok_and(|skipped| skipped == self.bytes_read);
            from.require(is_there, "the input is shorter than what the run has read of it")?;
        }
        Ok(())
    }
}
