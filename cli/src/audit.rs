//! The audit log as a file of JSON lines.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use dotvm_runtime::audit::{EVENTS, TARGET};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::exit::Exit;
use crate::failure::Failure;

/// The log, open for as long as the process lives.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Number of the last line of this process.
    seq: u64,
    /// The first line that could not be written.
    failure: Option<std::io::Error>,
}

/// Opens the log, whose lines go behind what the file has.
pub fn open(path: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|error| Failure::unwritable(path.display(), &error))?;
    let state = Mutex::new(State { file, seq: 0, failure: None });
    if LOG.set(Log { path: path.to_owned(), state }).is_err() {
        return Err(Failure::new(Exit::Usage, "the audit log is open already"));
    }
    tracing::subscriber::set_global_default(Lines)
        .map_err(|error| Failure::new(Exit::Output, format!("the audit log cannot be kept: {error}")))
}

/// What went wrong with the log, which is an error even where all else went well.
pub fn finish() -> Result<(), Failure> {
    let Some(log) = LOG.get() else { return Ok(()) };
    let failure = log.state.lock().unwrap_or_else(PoisonError::into_inner).failure.take();
    match failure {
        None => Ok(()),
        Some(error) => Err(Failure::unwritable(format!("the audit log {}", log.path.display()), &error)),
    }
}

/// Writes each audit event as one line.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        let Some(log) = LOG.get() else { return };
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let mut state = log.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.seq += 1;
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut line = Map::new();
        line.insert("seq".to_owned(), state.seq.into());
        line.insert("time_ms".to_owned(), (time.as_millis() as u64).into());
        line.extend(fields.0);
        if let Err(error) = writeln!(state.file, "{}", Value::Object(line)) {
            state.failure.get_or_insert(error);
        }
    }

    // There are no spans.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The fields of an event, in their order.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

/// `docs/audit.md`.
pub fn markdown() -> String {
    use std::fmt::Write;
    let mut text = String::from(
        "# The audit log\n\n\
         Written from `dotvm-core/runtime/src/audit.rs` (`DOTVM_BLESS=1 cargo test -p dotvm-cli --test docs`); do not edit.\n\n\
         `--audit FILE` appends a line for each event that matters for security: one JSON object, with the fields below in\n\
         this order. A log that cannot be written is an error (exit code 5), even where all else went well. Programs that\n\
         use the library get the same events through `tracing`, under the target `dotvm::audit`. Nothing of the log reaches a\n\
         result, and what is only done again (`replay`, `verify-receipt`) commits and undoes nothing and says nothing of it.\n\n\
         Each line begins with `seq`, the number of the line in its process, from 1, `time_ms`, milliseconds since 1970, and\n\
         `event`. Fields are added at the end, and never change their name, kind or meaning.\n\n\
         | event | fields | meaning |\n|---|---|---|\n",
    );
    for event in EVENTS {
        let fields: Vec<String> = event
            .fields
            .iter()
            .map(|(name, kind)| format!("`{name}` {}", format!("{kind:?}").to_lowercase()))
            .collect();
        let _ = writeln!(text, "| `{}` | {} | {} |", event.name, fields.join(", "), event.meaning);
    }
    text
}
