//! The outside of an execution written down, and gone through again without the outside.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use dotvm_codec::{Damage, Reader, Writer};

use crate::durable::basics::{restore_bytes, restore_time, save_time};
use crate::system::{Stream, System, SystemError};

/// Most bytes that are written down for one execution.
const MAX_RECORDED_BYTES: usize = 256 << 20;
/// What a call occupies beyond its bytes, roughly.
const CALL_BYTES: usize = 64;

/// Something that was asked of the outside, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideCall {
    /// Bytes were written.
    Write(Stream, Bytes),
    /// At most so many bytes were to be read, and these came.
    Read(usize, Bytes),
    /// The argument with this index was asked for.
    Argument(u64, Option<Bytes>),
    /// Time since 1970.
    Wall(Duration),
    /// Time since the execution began.
    Monotonic(Duration),
    /// Random bytes.
    Entropy(Bytes),
}

impl OutsideCall {
    /// What it is, for messages.
    fn name(&self) -> &'static str {
        match self {
            OutsideCall::Write(Stream::Output, _) => "writes to standard output",
            OutsideCall::Write(Stream::Error, _) => "writes to standard error",
            OutsideCall::Read(..) => "reads standard input",
            OutsideCall::Argument(..) => "asks for an argument",
            OutsideCall::Wall(_) => "reads the wall clock",
            OutsideCall::Monotonic(_) => "reads the monotonic clock",
            OutsideCall::Entropy(_) => "asks for random bytes",
        }
    }

    fn save(&self, to: &mut Writer) {
        match self {
            OutsideCall::Write(stream, bytes) => {
                to.byte(if *stream == Stream::Output { 0 } else { 1 });
                to.bytes(bytes);
            }
            OutsideCall::Read(max, bytes) => {
                to.byte(2);
                to.count(*max);
                to.bytes(bytes);
            }
            OutsideCall::Argument(index, argument) => {
                to.byte(3);
                to.number(*index);
                to.optional_bytes(argument.as_deref());
            }
            OutsideCall::Wall(time) => {
                to.byte(4);
                save_time(*time, to);
            }
            OutsideCall::Monotonic(time) => {
                to.byte(5);
                save_time(*time, to);
            }
            OutsideCall::Entropy(bytes) => {
                to.byte(6);
                to.bytes(bytes);
            }
        }
    }

    fn restore(from: &mut Reader<'_>) -> Result<OutsideCall, Damage> {
        Ok(match from.byte()? {
            0 => OutsideCall::Write(Stream::Output, restore_bytes(from)?),
            1 => OutsideCall::Write(Stream::Error, restore_bytes(from)?),
            2 => OutsideCall::Read(from.small()?, restore_bytes(from)?),
            3 => {
                let index = from.number()?;
                OutsideCall::Argument(index, from.optional_bytes()?.map(Bytes::copy_from_slice))
            }
            4 => OutsideCall::Wall(restore_time(from)?),
            5 => OutsideCall::Monotonic(restore_time(from)?),
            6 => OutsideCall::Entropy(restore_bytes(from)?),
            _ => return from.damage("there is no such call to the outside"),
        })
    }

    fn bytes(&self) -> usize {
        match self {
            OutsideCall::Write(_, bytes)
            | OutsideCall::Read(_, bytes)
            | OutsideCall::Entropy(bytes)
            | OutsideCall::Argument(_, Some(bytes)) => bytes.len(),
            _ => 0,
        }
    }
}

/// A [`System`] that writes down what passes through it.
pub struct Recorder<S> {
    inner: S,
    calls: Vec<OutsideCall>,
    bytes: usize,
    is_on: bool,
}

impl<S> Recorder<S> {
    /// Passes everything on to `inner`, and writes it down if asked to.
    pub fn new(inner: S, is_on: bool) -> Recorder<S> {
        Recorder { inner, calls: Vec::new(), bytes: 0, is_on }
    }

    /// What it passes everything on to.
    pub fn inner(&mut self) -> &mut S {
        &mut self.inner
    }

    /// What was written down.
    pub fn calls(&self) -> &[OutsideCall] {
        &self.calls
    }

    fn note(&mut self, call: impl FnOnce() -> OutsideCall) -> Result<(), SystemError> {
        if !self.is_on {
            return Ok(());
        }
        let call = call();
        self.bytes += call.bytes() + CALL_BYTES;
        if self.bytes > MAX_RECORDED_BYTES {
            let sentence = format!("the run cannot be written down: it is over {MAX_RECORDED_BYTES} bytes");
            return Err(SystemError(sentence));
        }
        self.calls.push(call);
        Ok(())
    }
}

impl<S: System> System for Recorder<S> {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SystemError> {
        self.note(|| OutsideCall::Write(stream, Bytes::copy_from_slice(bytes)))?;
        self.inner.write(stream, bytes)
    }

    fn read(&mut self, max: usize) -> Result<Bytes, SystemError> {
        let bytes = self.inner.read(max)?;
        self.note(|| OutsideCall::Read(max, bytes.clone()))?;
        Ok(bytes)
    }

    fn argument(&mut self, index: u64) -> Result<Option<Bytes>, SystemError> {
        let argument = self.inner.argument(index)?;
        self.note(|| OutsideCall::Argument(index, argument.clone()))?;
        Ok(argument)
    }

    fn wall(&mut self) -> Result<Duration, SystemError> {
        let time = self.inner.wall()?;
        self.note(|| OutsideCall::Wall(time))?;
        Ok(time)
    }

    fn monotonic(&mut self) -> Result<Duration, SystemError> {
        let time = self.inner.monotonic()?;
        self.note(|| OutsideCall::Monotonic(time))?;
        Ok(time)
    }

    fn entropy(&mut self, bytes: usize) -> Result<Bytes, SystemError> {
        let bytes = self.inner.entropy(bytes)?;
        self.note(|| OutsideCall::Entropy(bytes.clone()))?;
        Ok(bytes)
    }

    fn restart(&mut self) -> bool {
        self.calls.clear();
        self.bytes = 0;
        self.inner.restart()
    }

    fn save(&self, to: &mut Writer) {
        to.flag(self.is_on);
        to.count(self.calls.len());
        self.calls.iter().for_each(|call| call.save(to));
        self.inner.save(to);
    }

    fn restore(&mut self, from: &mut Reader<'_>) -> Result<(), Damage> {
        let was_on = from.flag()?;
        from.require(was_on || !self.is_on, "the run was not recorded from its beginning")?;
        let calls = (0..from.count(1)?).map(|_| OutsideCall::restore(from)).collect::<Result<_, _>>()?;
        self.calls = calls;
        self.bytes = self.calls.iter().map(|call| call.bytes() + CALL_BYTES).sum();
        self.is_on = was_on;
        self.inner.restore(from)
    }

    fn finish(&mut self) -> Result<(), SystemError> {
        self.inner.finish()
    }
}

/// A [`System`] that answers as it was written down and touches nothing. Asked for anything else, it says where the
/// run has come apart from the one that was recorded.
pub struct Replay {
    calls: VecDeque<OutsideCall>,
    done: usize,
    /// Where what is written goes.
    sink: Sink,
}

/// Takes what a replayed program writes.
type Sink = Box<dyn FnMut(Stream, &[u8]) -> Result<(), SystemError> + Send>;

impl Replay {
    /// Goes through these calls; `sink` takes what is written.
    pub fn new(
        calls: impl IntoIterator<Item = OutsideCall>,
        sink: impl FnMut(Stream, &[u8]) -> Result<(), SystemError> + Send + 'static,
    ) -> Replay {
        Replay { calls: calls.into_iter().collect(), done: 0, sink: Box::new(sink) }
    }

    fn next(&mut self) -> Option<OutsideCall> {
        self.done += 1;
        self.calls.pop_front()
    }

    /// The program does what was not recorded.
    fn apart<T>(&self, what: &str, recorded: Option<OutsideCall>) -> Result<T, SystemError> {
        let recorded = match recorded {
            Some(call) => format!("the recorded run {}", call.name()),
            None => "the recorded run has come to its end".to_owned(),
        };
        Err(SystemError(format!(
            "call {} to the outside differs: the program {what}, where {recorded}",
            self.done
        )))
    }
}

impl System for Replay {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SystemError> {
        match self.next() {
            Some(OutsideCall::Write(recorded, written)) if recorded == stream && written == bytes => {
                (self.sink)(stream, bytes)
            }
            Some(OutsideCall::Write(recorded, _)) if recorded == stream => {
                let sentence = format!("call {} to the outside differs: other bytes are written", self.done);
                Err(SystemError(sentence))
            }
            other => self.apart("writes", other),
        }
    }

    fn read(&mut self, max: usize) -> Result<Bytes, SystemError> {
        match self.next() {
            Some(OutsideCall::Read(recorded, bytes)) if recorded == max && bytes.len() <= max => Ok(bytes),
            other => self.apart(&format!("reads at most {max} bytes"), other),
        }
    }

    fn argument(&mut self, index: u64) -> Result<Option<Bytes>, SystemError> {
        match self.next() {
            Some(OutsideCall::Argument(recorded, argument)) if recorded == index => Ok(argument),
            other => self.apart(&format!("asks for argument {index}"), other),
        }
    }

    fn wall(&mut self) -> Result<Duration, SystemError> {
        match self.next() {
            Some(OutsideCall::Wall(time)) => Ok(time),
            other => self.apart("reads the wall clock", other),
        }
    }

    fn monotonic(&mut self) -> Result<Duration, SystemError> {
        match self.next() {
            Some(OutsideCall::Monotonic(time)) => Ok(time),
            other => self.apart("reads the monotonic clock", other),
        }
    }

    fn entropy(&mut self, bytes: usize) -> Result<Bytes, SystemError> {
        match self.next() {
            Some(OutsideCall::Entropy(random)) if random.len() == bytes => Ok(random),
            other => self.apart(&format!("asks for {bytes} random bytes"), other),
        }
    }

    fn restart(&mut self) -> bool {
        false
    }

    fn finish(&mut self) -> Result<(), SystemError> {
        match self.calls.front() {
            None => Ok(()),
            Some(call) => Err(SystemError(format!(
                "the program has come to its end where the recorded run {}",
                call.name()
            ))),
        }
    }
}
