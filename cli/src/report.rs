//! How an execution ended, for people and as one JSON object.

use dotdb::commitment::Root;
use dotdb::{Database, MachineId};
use dotvm_core::module::Module;
use dotvm_core::outcome::{End, Ref};
use dotvm_core::trap::{ShownRef, StackTops};
use dotvm_runtime::{Event, Execution, show};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::{Cause, Failure, SourceError};
use crate::input::{exit_of, explain_trap, trap_sentence};
use crate::output::Output;

/// The one JSON object of `run --json` and `call --json`.
#[derive(Serialize)]
pub struct ExecutionReport {
    /// `ok`, `halted` or `trapped`.
    status: &'static str,
    result: Option<Results>,
    /// The code of HALT, in decimal.
    halt_code: Option<String>,
    gas_used: u64,
    guest_gas_used: u64,
    /// The root of the state after the commit, if one was made and the database keeps a root.
    state_root: Option<String>,
    /// Whether the state changes were kept.
    committed: bool,
    changed_keys: u64,
    events: Vec<EventReport>,
    /// What the program wrote, if it wrote anything.
    stdout: Option<BytesReport>,
    stderr: Option<BytesReport>,
    trap: Option<TrapReport>,
    error: Option<String>,
    /// The machine that `resume` goes on with, where the run is kept and out of gas.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<u64>,
}

#[derive(Serialize)]
struct Results {
    /// In decimal.
    words: Vec<String>,
    refs: Vec<Option<RefReport>>,
}

/// A reference in JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum RefReport {
    Bytes(BytesReport),
    /// In decimal, from 4096 bits on hexadecimal with `0x`.
    Integer {
        integer: String,
    },
    /// As in text.
    Cell {
        cell: String,
    },
}

impl RefReport {
    /// `None` for null.
    fn new(reference: &Ref) -> Option<RefReport> {
        let text = || show::reference(reference);
        Some(match reference {
            Ref::Null => return None,
            Ref::Bytes(bytes) => RefReport::Bytes(BytesReport::new(bytes)),
            Ref::Int(_) => RefReport::Integer { integer: text().trim_start_matches("int:").to_owned() },
            Ref::Cell(_) => RefReport::Cell { cell: text().trim_start_matches("cell:").to_owned() },
        })
    }
}

/// A byte string in JSON.
#[derive(Serialize)]
pub struct BytesReport {
    /// `0x` and hexadecimal digits.
    hex: String,
    /// The text it is, if it is text.
    text: Option<String>,
}

impl BytesReport {
    /// These bytes.
    pub fn new(bytes: &[u8]) -> BytesReport {
        BytesReport { hex: format!("0x{}", show::hex(bytes)), text: show::text_of(bytes).map(str::to_owned) }
    }
}

#[derive(Serialize)]
struct EventReport {
    topics: Vec<String>,
    data: BytesReport,
}

#[derive(Serialize)]
struct TrapReport {
    kind: &'static str,
    function: String,
    offset: u32,
    file: Option<String>,
    line: Option<u32>,
    detail: Option<String>,
    sentence: &'static str,
    /// What lay on the stacks of the function that trapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    stacks: Option<StacksReport>,
}

#[derive(Serialize)]
struct StacksReport {
    /// In decimal, the topmost first; at most 8.
    words: Vec<String>,
    /// How many lie below those.
    more_words: u64,
    /// As arguments are written, and `cell`; the topmost first, at most 8.
    refs: Vec<String>,
    more_refs: u64,
}

/// Most characters of a reference that is shown with a trap.
const SHOWN_CHARS: usize = 80;

impl StacksReport {
    fn new(stacks: &StackTops) -> StacksReport {
        let reference = |shown: &ShownRef| {
            let ShownRef::Value(value) = shown else { return "cell".to_owned() };
            let text = match value {
                // What is not shown of a long one need not be written.
                Ref::Bytes(bytes) => {
                    show::reference(&Ref::Bytes(bytes.slice(..bytes.len().min(SHOWN_CHARS))))
                }
                value => show::reference(value),
            };
            match text.char_indices().nth(SHOWN_CHARS) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        };
        StacksReport {
            words: stacks.words.iter().map(ToString::to_string).collect(),
            more_words: stacks.more_words,
            refs: stacks.refs.iter().map(reference).collect(),
            more_refs: stacks.more_refs,
        }
    }

    /// A line for each stack that is not empty.
    fn lines(&self) -> Vec<String> {
        let line = |name: &str, entries: &[String], more: u64| {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!entries.is_empty()).then(|| format!("{name}, top first: {}{more}", entries.join(" ")))
        };
        let words = line("word stack", &self.words, self.more_words);
        words.into_iter().chain(line("reference stack", &self.refs, self.more_refs)).collect()
    }
}

impl ExecutionReport {
    fn new(report: &Report<'_>) -> ExecutionReport {
        let Report { module, execution, root, .. } = *report;
        let written = |stream: usize| {
            let written = report.console.as_ref().map(|streams| &streams[stream]);
            written.filter(|written| !written.is_empty()).map(|written| BytesReport::new(written))
        };
        let results = |words: &[dotvm_arch::W512], refs: &[Ref]| Results {
            words: words.iter().map(ToString::to_string).collect(),
            refs: refs.iter().map(RefReport::new).collect(),
        };
        let end = &execution.outcome.end;
        let (status, result, halt_code, trap, error) = match end {
            End::Return { words, refs } => ("ok", Some(results(words, refs)), None, None, None),
            End::Halt { code, result } => {
                let status = if end.is_success() { "ok" } else { "halted" };
                let result = results(&[], std::slice::from_ref(result));
                (status, Some(result), Some(code.to_string()), None, halt_sentence(end))
            }
            End::Trap(trap) => {
                let report = TrapReport {
                    kind: trap.kind.name(),
                    function: module.function_name(trap.function),
                    offset: trap.offset,
                    file: module.debug.as_ref().map(|debug| debug.source_name.clone()),
                    line: module.source_line(trap.function, trap.offset),
                    detail: trap.detail.clone(),
                    sentence: trap.kind.sentence(),
                    stacks: trap.stacks.as_deref().map(StacksReport::new),
                };
                ("trapped", None, None, Some(report), Some(trap_sentence(module, trap)))
            }
        };
        ExecutionReport {
            status,
            result,
            halt_code,
            gas_used: execution.outcome.gas_used,
            guest_gas_used: execution.outcome.guest_gas_used,
            state_root: root.map(|root| root.to_string()),
            committed: execution.committed,
            changed_keys: execution.changed_keys,
            events: execution.events.iter().map(EventReport::new).collect(),
            stdout: written(0),
            stderr: written(1),
            trap,
            error,
            machine: report.machine.map(|machine| machine.0),
        }
    }
}

impl EventReport {
    fn new(event: &Event) -> EventReport {
        EventReport {
            topics: event.topics.iter().map(ToString::to_string).collect(),
            data: BytesReport::new(&event.data),
        }
    }
}

/// The one JSON object of a command that failed.
#[derive(Serialize)]
pub struct ErrorReport<'a> {
    status: &'static str,
    result: Option<Results>,
    gas_used: Option<u64>,
    state_root: Option<String>,
    events: Vec<EventReport>,
    trap: Option<TrapReport>,
    error: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    diagnostics: &'a [SourceError],
    #[serde(flatten)]
    cause: Option<Cause>,
}

impl ErrorReport<'_> {
    /// This failure.
    pub fn new(failure: &Failure) -> ErrorReport<'_> {
        ErrorReport {
            status: "error",
            result: None,
            gas_used: None,
            state_root: None,
            events: Vec::new(),
            trap: None,
            error: &failure.sentence,
            diagnostics: &failure.diagnostics,
            cause: failure.cause,
        }
    }
}

fn halt_sentence(end: &End) -> Option<String> {
    match end {
        End::Halt { code, .. } if !end.is_success() => {
            Some(format!("the program halted with code {code}, and its changes are undone"))
        }
        _ => None,
    }
}

/// The root of the state that an execution left, if it was committed and the database keeps a root.
pub fn root_after(database: &Database, execution: &Execution) -> Result<Option<Root>, Failure> {
    if !execution.committed || !database.settings().state_root {
        return Ok(None);
    }
    Ok(Some(database.state_root(database.version())?))
}

/// An execution that is to be shown.
pub struct Report<'a> {
    /// What ran.
    pub module: &'a Module,
    /// Its source text, if it is at hand.
    pub source: Option<&'a str>,
    /// How it went.
    pub execution: &'a Execution,
    /// The root of the state after it.
    pub root: Option<Root>,
    /// What it wrote to standard output and standard error, where that was kept.
    pub console: Option<[Vec<u8>; 2]>,
    /// The machine that waits for more gas, if it is kept.
    pub machine: Option<MachineId>,
}

impl Report<'_> {
    /// Prints how an execution ended: results on standard output, a line each; events, gas and what went wrong on
    /// standard error.
    pub fn print(&self, json: bool, output: &Output) -> Result<Exit, Failure> {
        let Report { module, source, execution, root, .. } = *self;
        let end = &execution.outcome.end;
        if json {
            output.print_json(&ExecutionReport::new(self))?;
            return Ok(exit_of(end));
        }
        match end {
            End::Return { words, refs } => {
                let words = words.iter().map(ToString::to_string);
                let refs = refs.iter().map(show::reference);
                let lines: String = words.chain(refs).map(|line| line + "\n").collect();
                output.print(&lines)?;
            }
            End::Halt { result: Ref::Null, .. } | End::Trap(_) => {}
            End::Halt { result, .. } => output.print(&format!("{}\n", show::reference(result)))?,
        }
        match end {
            End::Trap(trap) => {
                output.complain(&explain_trap(module, source, trap));
                let stacks = trap.stacks.as_deref().map(StacksReport::new);
                stacks.iter().flat_map(StacksReport::lines).for_each(|line| output.remark(&line));
            }
            _ => {
                if let Some(sentence) = halt_sentence(end) {
                    let style = crate::input::ERROR;
                    output.complain(&format!("{}error{}: {sentence}", style.render(), style.render_reset()));
                }
            }
        }
        for event in &execution.events {
            let mut line = "event".to_owned();
            for topic in &event.topics {
                line.push_str(&format!(" {topic}"));
            }
            output.remark(&format!("{line} {}", show::bytes(&event.data)));
        }
        output.remark(&format!("gas {}", execution.outcome.gas_used));
        if execution.outcome.guest_gas_used > 0 {
            output.remark(&format!("guest gas {}", execution.outcome.guest_gas_used));
        }
        if let Some(root) = root.filter(|_| execution.changed_keys > 0) {
            output.remark(&format!("state root {root}"));
        }
        Ok(exit_of(end))
    }
}
