//! Standard output and standard error: colour only where it is wanted, and no complaint about a closed pipe.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::failure::Failure;

/// Where a command writes.
#[derive(Clone)]
pub struct Output {
    color: ColorChoice,
    /// Whether remarks are left out.
    quiet: bool,
}

impl Output {
    /// Output with colour as chosen; `quiet` leaves out remarks.
    pub fn new(color: ColorChoice, quiet: bool) -> Output {
        Output { color, quiet }
    }

    /// Writes to standard output. Once a reader has closed the pipe, there is nobody left to write for: that is no
    /// failure.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut stream = AutoStream::new(io::stdout().lock(), self.color);
        written(stream.write_all(text.as_bytes()).and_then(|()| stream.flush())).map(drop)
    }

    /// Writes bytes as they are to standard output.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stream = io::stdout().lock();
        written(stream.write_all(bytes).and_then(|()| stream.flush())).map(drop)
    }

    /// Writes lines as they come, and stops when the reader has closed the pipe.
    pub fn print_lines(
        &self,
        lines: impl IntoIterator<Item = Result<String, Failure>>,
    ) -> Result<(), Failure> {
        let mut stream = io::BufWriter::new(AutoStream::new(io::stdout().lock(), self.color));
        for line in lines {
            if !written(writeln!(stream, "{}", line?))? {
                return Ok(());
            }
        }
        written(stream.flush()).map(drop)
    }

    /// Writes one JSON value, in one line.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            serde_json::to_string(value).map_err(|error| Failure::unwritable("JSON", &error.into()))?;
        self.print_bytes(format!("{text}\n").as_bytes())
    }

    /// Writes one JSON value in a line of a stream. Whether there still is a reader.
    pub fn print_json_line(&self, value: &impl Serialize) -> Result<bool, Failure> {
        let text =
            serde_json::to_string(value).map_err(|error| Failure::unwritable("JSON", &error.into()))?;
        let mut stream = io::stdout().lock();
        written(stream.write_all(format!("{text}\n").as_bytes()).and_then(|()| stream.flush()))
    }

    /// Writes one JSON object with a list as it comes, and after it the status. An error in between ends the list and
    /// is told in the same object.
    pub fn print_json_list<T: Serialize>(
        &self,
        name: &str,
        items: impl IntoIterator<Item = Result<T, Failure>>,
    ) -> Result<(), Failure> {
        let mut stream = io::BufWriter::new(io::stdout().lock());
        let mut failed = None;
        let mut write = |text: &str| written(stream.write_all(text.as_bytes()));
        write(&format!("{{\"{name}\":["))?;
        for (index, item) in items.into_iter().enumerate() {
            let item = match item {
                Ok(item) => item,
                Err(failure) => {
                    failed = Some(failure);
                    break;
                }
            };
            let text =
                serde_json::to_string(&item).map_err(|error| Failure::unwritable("JSON", &error.into()))?;
            if !write(&format!("{}{text}", if index == 0 { "" } else { "," }))? {
                return Ok(());
            }
        }
        let end = match &failed {
            None => "],\"status\":\"ok\"}\n".to_owned(),
            Some(failure) => {
                let error = serde_json::Value::from(failure.sentence.as_str());
                format!("],\"status\":\"error\",\"error\":{error}}}\n")
            }
        };
        write(&end)?;
        written(stream.flush())?;
        match failed {
            Some(failure) => Err(failure.told()),
            None => Ok(()),
        }
    }

    /// Whether remarks are left out.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes a remark to standard error, unless remarks are not wanted.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Writes to standard error. Where even that fails, nobody can be told.
    pub fn complain(&self, text: &str) {
        let mut stream = AutoStream::new(io::stderr().lock(), self.color);
        let _ = writeln!(stream, "{}", text.trim_end());
    }
}

/// Whether there still is a reader.
fn written(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unwritable("standard output", &error)),
    }
}
