//! The outside: what host calls other than those on files ask for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dotvm_codec::{Damage, Reader, Writer};

/// Where a program writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// The outside failed, or does not go on as a recorded run says: a sentence. The execution then has no outcome and
/// nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SystemError(pub String);

/// The outside of an execution. Only what is asked of it here can make two executions of one program on one state
/// differ.
pub trait System: Send {
    /// Writes all of it.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SystemError>;
    /// Reads standard input: at least one byte and at most `max`, none at its end.
    fn read(&mut self, max: usize) -> Result<Bytes, SystemError>;
    /// An argument of the command line.
    fn argument(&mut self, index: u64) -> Result<Option<Bytes>, SystemError>;
    /// Time since 1970.
    fn wall(&mut self) -> Result<Duration, SystemError>;
    /// Time since the execution began, which never goes back.
    fn monotonic(&mut self) -> Result<Duration, SystemError>;
    /// So many random bytes.
    fn entropy(&mut self, bytes: usize) -> Result<Bytes, SystemError>;
    /// The execution begins again, because another transaction was in its way. False if that cannot be, because
    /// what was read or written outside cannot be taken back.
    fn restart(&mut self) -> bool;
    /// Writes down what it has to know of itself when the execution goes on in another process.
    fn save(&self, _to: &mut Writer) {}
    /// Reads what [`System::save`] wrote; the execution goes on from there.
    fn restore(&mut self, _from: &mut Reader<'_>) -> Result<(), Damage> {
        Ok(())
    }
    /// The execution has come to its end.
    fn finish(&mut self) -> Result<(), SystemError> {
        Ok(())
    }
}

/// No outside: every call fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Closed;

impl Closed {
    fn no<T>(what: &str) -> Result<T, SystemError> {
        Err(SystemError(format!("this host gives programs no {what}")))
    }
}

impl System for Closed {
    fn write(&mut self, _: Stream, _: &[u8]) -> Result<(), SystemError> {
        Closed::no("console")
    }
    fn read(&mut self, _: usize) -> Result<Bytes, SystemError> {
        Closed::no("standard input")
    }
    fn argument(&mut self, _: u64) -> Result<Option<Bytes>, SystemError> {
        Closed::no("arguments")
    }
    fn wall(&mut self) -> Result<Duration, SystemError> {
        Closed::no("clock")
    }
    fn monotonic(&mut self) -> Result<Duration, SystemError> {
        Closed::no("clock")
    }
    fn entropy(&mut self, _: usize) -> Result<Bytes, SystemError> {
        Closed::no("random bytes")
    }
    fn restart(&mut self) -> bool {
        true
    }
}

/// A [`System`] as [`Options`](crate::Options) hold it. Clones share it.
#[derive(Clone)]
pub struct Outside(Arc<Mutex<dyn System>>);

impl Outside {
    /// This one.
    pub fn new(system: impl System + 'static) -> Outside {
        Outside(Arc::new(Mutex::new(system)))
    }

    /// One that others have a hand on too.
    pub fn shared(system: Arc<Mutex<dyn System>>) -> Outside {
        Outside(system)
    }

    /// The system, for as long as the guard lives.
    pub(crate) fn lock(&self) -> MutexGuard<'_, dyn System + 'static> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Outside {
    fn default() -> Outside {
        Outside::new(Closed)
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}
