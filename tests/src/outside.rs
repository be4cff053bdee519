//! An outside whose every answer is known beforehand.

use std::time::Duration;

use bytes::Bytes;
use dotvm_runtime::{Stream, System, SystemError};

/// A script: given input and arguments, clocks that go on by a second and a nanosecond each time they are read, and
/// random bytes that count up.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Script {
    /// What is left of standard input.
    pub input: Bytes,
    /// Arguments.
    pub arguments: Vec<Bytes>,
    /// Time since 1970 when the clock is read first.
    pub clock: Duration,
    /// How often the clocks were read.
    pub ticks: u32,
    /// Random bytes given.
    pub random: u64,
    /// What was written to standard output and to standard error.
    pub written: [Vec<u8>; 2],
}

impl Script {
    fn tick(&mut self) -> Duration {
        let time = Duration::new(1, 1) * self.ticks;
        self.ticks += 1;
        time
    }
}

impl System for Script {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SystemError> {
        self.written[usize::from(stream == Stream::Error)].extend_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, max: usize) -> Result<Bytes, SystemError> {
        Ok(self.input.split_to(max.min(self.input.len())))
    }

    fn argument(&mut self, index: u64) -> Result<Option<Bytes>, SystemError> {
        Ok(usize::try_from(index).ok().and_then(|index| self.arguments.get(index).cloned()))
    }

    fn wall(&mut self) -> Result<Duration, SystemError> {
        Ok(self.clock + self.tick())
    }

    fn monotonic(&mut self) -> Result<Duration, SystemError> {
        Ok(self.tick())
    }

    fn entropy(&mut self, bytes: usize) -> Result<Bytes, SystemError> {
        let bytes: Vec<u8> = (0..bytes as u64).map(|index| (self.random + index) as u8).collect();
        self.random += bytes.len() as u64;
        Ok(bytes.into())
    }

    fn restart(&mut self) -> bool {
        self.written.iter().all(Vec::is_empty)
    }
}
