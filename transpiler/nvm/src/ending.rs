//! How a run ended, in the words of the machine.

use dotvm_core::outcome::{End, Outcome, Ref};
use dotvm_core::trap::TrapKind;
use dotvm_frontend::{Ending, Region};
use serde_json::{Map, Value};

use crate::machine::{FAULTS, Status};
use crate::translate::{ANSWERS, TEXTS};

/// Reads the end of a run.
///
/// # Errors
/// A sentence, if no program of NVM ends so.
pub(crate) fn read(outcome: &Outcome) -> Result<Ending, String> {
    let (words, refs) = match &outcome.end {
        End::Return { words, refs }
            if words.len() == usize::from(ANSWERS) && refs.len() >= usize::from(TEXTS) =>
        {
            (words, refs)
        }
        End::Trap(trap) if trap.kind == TrapKind::Gas => return Ok(Ending::new(Status::Limit.name())),
        other => return Err(format!("no program of NVM ends so: {other:?}")),
    };
    let words: Vec<u64> = words.iter().map(|word| word.as_limbs()[0]).collect();
    let status = usize::try_from(words[0]).ok().and_then(|status| Status::ALL.get(status));
    let Some(&status) = status else { return Err(format!("{} is no status of NVM", words[0])) };
    let texts: Vec<&[u8]> = refs
        .iter()
        .map(|text| match text {
            Ref::Bytes(bytes) => &bytes[..],
            _ => &[],
        })
        .collect();
    let mut ending = Ending::new(status.name());
    let mut set = |name: &str, value: Value| {
        ending.fields.insert(name.to_owned(), value);
    };
    if words[1] > 0 {
        set("denials", words[1].into());
    }
    set("final_stack", cells(texts[0]).map(Value::from).collect());
    let processes: Vec<Process> = texts[1].chunks_exact(16).map(Process::read).collect();
    if let Some(fault) = processes.first().and_then(|first| first.fault) {
        set("fault", fault.into());
    }
    set("processes", processes.iter().map(Process::json).collect());
    if words[3] > processes.len() as u64 {
        set("processes_not_listed", (words[3] - processes.len() as u64).into());
    }
    let breaks: Vec<Value> = texts[2].chunks_exact(16).map(break_top).collect();
    if words[2] > breaks.len() as u64 {
        set("breaks_not_listed", (words[2] - breaks.len() as u64).into());
    }
    if !breaks.is_empty() {
        let at = texts[2].chunks_exact(16).map(|entry| {
            let mut cells = cells(entry);
            let (pid, address) = (cells.next(), cells.next());
            Value::from(vec![pid, address])
        });
        set("break_places", at.collect());
    }
    set("breaks", breaks.into());
    if let [_, _, _, locals, heap] = texts[..] {
        let mut named = Map::new();
        for (index, value) in cells(locals).enumerate().filter(|(_, value)| *value != 0) {
            named.insert(index.to_string(), value.into());
        }
        set("locals", named.into());
        ending.memory = Some(Region { address: 0, bytes: heap.to_vec() });
    }
    ending.exit_code = processes.first().and_then(|first| first.exit_code).map(Value::from);
    Ok(ending)
}

/// Words of four bytes, signed.
fn cells(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes
        .chunks_exact(4)
        .map(|cell| cell.iter().rev().fold(0u32, |number, byte| number << 8 | u32::from(*byte)).cast_signed())
}

/// The top cell at a BREAK, or null where there was none.
fn break_top(entry: &[u8]) -> Value {
    let cells: Vec<i32> = cells(entry).collect();
    if cells[2] == 0 { Value::Null } else { cells[3].into() }
}

/// A process that there was.
struct Process {
    pid: i32,
    /// `None` if it still runs.
    exit_code: Option<i32>,
    fault: Option<&'static str>,
}

impl Process {
    fn read(entry: &[u8]) -> Process {
        let cells: Vec<i32> = cells(entry).collect();
        let ended = cells[1] == 2;
        let fault = usize::try_from(cells[3]).ok().filter(|fault| *fault > 0 && ended);
        Process {
            pid: cells[0],
            exit_code: ended.then_some(cells[2]),
            fault: fault.and_then(|fault| FAULTS.get(fault)).copied(),
        }
    }

    fn json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("pid".to_owned(), self.pid.into());
        fields.insert("exit_code".to_owned(), self.exit_code.into());
        if let Some(fault) = self.fault {
            fields.insert("fault".to_owned(), fault.into());
        }
        fields.into()
    }
}
