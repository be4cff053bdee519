//! `db machines`, `db get-machine` and `db forget-machine`: runs that `run --checkpoint-every` has kept.

use std::ops::Range;

use dotdb::MachineId;
use dotvm_core::module::Module;
use dotvm_core::outcome::Ref;
use dotvm_runtime::{FrameView, InstanceView, MachineHead, ProcessView, Runtime, TaskState, TaskView, show};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::StoreOption;
use crate::output::Output;
use crate::store::Access;
use crate::table::Table;

/// List the machines that are kept: runs of `run --checkpoint-every` that `dotvm resume` goes on with
#[derive(clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    store: StoreOption,
}

/// Show a machine that is kept as it stands: tasks, frames, stacks, locals, memory
#[derive(clap::Args)]
pub(super) struct GetArgs {
    /// Its number
    machine: u64,

    /// Show the stacks of every frame, the lowest entry first
    #[arg(long)]
    stack: bool,

    /// Show the parameters and locals of every frame
    #[arg(long)]
    locals: bool,

    /// Show the globals
    #[arg(long)]
    globals: bool,

    /// Show linear memory from address A to before B, in decimal or 0x…; reads only the pages that it lies in
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    memory: Option<Range<u64>>,

    /// Of contracts that call each other, which one's memory: 0 is the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    instance: usize,

    /// Of the processes of an instance, which one's memory: 0 is the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    process: u32,

    #[command(flatten)]
    store: StoreOption,
}

/// Forget a machine that is kept; what its run has committed stays
#[derive(clap::Args)]
pub(super) struct ForgetArgs {
    /// Its number
    machine: u64,

    #[command(flatten)]
    store: StoreOption,
}

/// Most bytes of memory that are shown at a time.
const MAX_SHOWN: u64 = 16 << 20;

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let range = text.split_once("..").and_then(|(start, end)| Some(number(start)?..number(end)?));
    match range {
        Some(range) if range.start > range.end => Err("the range ends before it starts".to_owned()),
        Some(range) if range.end - range.start > MAX_SHOWN => {
            Err(format!("the range is over {MAX_SHOWN} bytes"))
        }
        Some(range) => Ok(range),
        None => Err("this is not A..B".to_owned()),
    }
}

#[derive(Serialize)]
struct HeadReport {
    machine: u64,
    /// `started`, `running`, `out of gas`, `ended`; or `damaged`, and then the rest is missing.
    status: &'static str,
    #[serde(flatten)]
    head: Option<Head>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Head {
    contract: String,
    module: String,
    module_hash: String,
    width: u32,
    gas_limit: u64,
    gas_left: u64,
    checkpoint_every: u64,
    checkpoints: u64,
    version: u64,
    bytes: u64,
}

impl Head {
    fn new(head: &MachineHead) -> Head {
        Head {
            contract: head.contract.clone(),
            module: head.module.clone(),
            module_hash: show::hex(&head.hash),
            width: head.bits,
            gas_limit: head.gas_limit,
            gas_left: head.gas_left,
            checkpoint_every: head.every,
            checkpoints: head.checkpoints,
            version: head.version,
            bytes: head.bytes(),
        }
    }
}

pub(super) fn list(args: &ListArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let runtime = Runtime::new(args.store.open(Access::Read)?);
    let machines: Vec<HeadReport> = runtime
        .machines()?
        .into_iter()
        .map(|(id, head)| match head {
            Ok(head) => {
                let status = head.status.name();
                HeadReport { machine: id.0, status, head: Some(Head::new(&head)), error: None }
            }
            Err(error) => {
                HeadReport { machine: id.0, status: "damaged", head: None, error: Some(error.to_string()) }
            }
        })
        .collect();
    if json {
        #[derive(Serialize)]
        struct List {
            status: &'static str,
            machines: Vec<HeadReport>,
        }
        output.print_json(&List { status: "ok", machines })?;
        return Ok(Exit::Success);
    }
    let names = ["machine", "status", "contract", "module", "width", "gas left", "checkpoints", "bytes"];
    let rows = machines.iter().map(|report| {
        let mut row = vec![report.machine.to_string(), report.status.to_owned()];
        if let Some(head) = &report.head {
            row.extend([
                head.contract.clone(),
                head.module.clone(),
                head.width.to_string(),
                format!("{} of {}", head.gas_left, head.gas_limit),
                head.checkpoints.to_string(),
                head.bytes.to_string(),
            ]);
        }
        Ok::<_, Failure>(row)
    });
    output.print_lines(Table::new(names.map(str::to_owned).to_vec(), rows)?)?;
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct MachineReport {
    status: &'static str,
    machine: HeadReport,
    instances: Vec<InstanceReport>,
    memory: Option<MemoryReport>,
}

#[derive(Serialize)]
struct InstanceReport {
    module: String,
    gas_left: u64,
    guest_gas_left: u64,
    /// By number; the first has number 0.
    processes: Vec<ProcessReport>,
    /// By number; one, unless the program has spawned others.
    tasks: Vec<TaskReport>,
}

#[derive(Serialize)]
struct ProcessReport {
    process: u32,
    memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    globals: Option<Values>,
}

#[derive(Serialize)]
struct TaskReport {
    task: u32,
    /// The process whose memory and globals it has.
    process: u32,
    /// The process that has spawned it.
    owner: u32,
    /// `runs`, `ready`, `receives`, `joins`, `sleeps` or `ended`.
    state: &'static str,
    /// The task or the address that it waits for, or the status that it has ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    /// The turn up to which it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    /// What it has ended with: a word and a reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Values>,
    messages: Vec<MessageReport>,
    /// The last called first.
    frames: Vec<FrameReport>,
}

#[derive(Serialize)]
struct MessageReport {
    from: u32,
    message: String,
}

#[derive(Serialize)]
struct FrameReport {
    function: String,
    offset: u32,
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locals: Option<Values>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<Values>,
}

#[derive(Serialize)]
struct Values {
    /// In decimal.
    words: Vec<String>,
    /// As arguments are written.
    refs: Vec<String>,
}

impl Values {
    fn new(words: &[impl ToString], refs: &[Ref]) -> Values {
        Values {
            words: words.iter().map(ToString::to_string).collect(),
            refs: refs.iter().map(show::reference).collect(),
        }
    }

    fn lines(&self, name: &str, lines: &mut Vec<String>) {
        for (index, word) in self.words.iter().enumerate() {
            lines.push(format!("    {name} {index}  {word}"));
        }
        for (index, reference) in self.refs.iter().enumerate() {
            lines.push(format!("    {name} reference {index}  {reference}"));
        }
    }
}

#[derive(Serialize)]
struct MemoryReport {
    instance: usize,
    process: u32,
    start: u64,
    end: u64,
    hex: String,
}

fn instance(args: &GetArgs, view: &InstanceView) -> InstanceReport {
    let module = view.program.module();
    let process = |process: &ProcessView| ProcessReport {
        process: process.process,
        memory_bytes: process.memory_size,
        globals: args.globals.then(|| Values::new(&process.word_globals, &process.ref_globals)),
    };
    InstanceReport {
        module: module.name.clone(),
        gas_left: view.gas_left,
        guest_gas_left: view.guest_gas_left,
        processes: view.processes.iter().map(process).collect(),
        tasks: view.tasks.iter().map(|task| task_report(args, module, task)).collect(),
    }
}

impl InstanceReport {
    fn lines(&self, lines: &mut Vec<String>) {
        let InstanceReport { module, gas_left, processes, tasks, .. } = self;
        let memory = match &processes[..] {
            [only] => format!(", memory {} bytes", only.memory_bytes),
            _ => String::new(),
        };
        lines.push(format!("instance of {module}: gas {gas_left}{memory}"));
        for ProcessReport { process, memory_bytes, globals } in processes {
            if processes.len() > 1 {
                lines.push(format!("  process {process}: memory {memory_bytes} bytes"));
            }
            if let Some(globals) = globals {
                globals.lines("global", lines);
            }
        }
        for task in tasks {
            if tasks.len() > 1 {
                lines.push(format!("  {}", task_line(task)));
            }
            for MessageReport { from, message } in &task.messages {
                lines.push(format!("    message of {from}  {message}"));
            }
            for frame in &task.frames {
                let line = frame.line.map_or_else(String::new, |line| format!(", line {line}"));
                lines.push(format!("  {} at offset {}{line}", frame.function, frame.offset));
                if let Some(locals) = &frame.locals {
                    locals.lines("local", lines);
                }
                if let Some(stack) = &frame.stack {
                    stack.lines("stack", lines);
                }
            }
        }
    }
}

fn task_report(args: &GetArgs, module: &Module, task: &TaskView) -> TaskReport {
    let (state, of) = match &task.state {
        TaskState::Runs => ("runs", None),
        TaskState::Ready => ("ready", None),
        TaskState::Receives => ("receives", None),
        TaskState::Joins(of) => ("joins", Some(u64::from(*of))),
        TaskState::Sleeps(address) => ("sleeps", Some(*address)),
        TaskState::Ended(status, ..) => ("ended", Some(u64::from(*status))),
    };
    let result = match &task.state {
        TaskState::Ended(_, value, result) => Some(Values::new(&[*value], std::slice::from_ref(result))),
        _ => None,
    };
    let message =
        |(from, message): &(u32, Ref)| MessageReport { from: *from, message: show::reference(message) };
    let frame = |frame: &FrameView| FrameReport {
        function: module.function_name(frame.function),
        offset: frame.offset,
        line: module.source_line(frame.function, frame.offset),
        locals: args.locals.then(|| Values::new(&frame.locals, &frame.ref_locals)),
        stack: args.stack.then(|| Values::new(&frame.stack, &frame.ref_stack)),
    };
    TaskReport {
        task: task.task,
        process: task.process,
        owner: task.owner,
        state,
        of,
        until: task.deadline,
        result,
        messages: task.mailbox.iter().map(message).collect(),
        frames: task.frames.iter().rev().map(frame).collect(),
    }
}

/// A line that says how a task stands.
fn task_line(task: &TaskReport) -> String {
    let of = task.of.unwrap_or_default();
    let mut line = format!("task {} of process {}: ", task.task, task.process);
    line.push_str(&match task.state {
        "runs" => "runs".to_owned(),
        "ready" => "waits for its turn".to_owned(),
        "receives" => "waits for a message".to_owned(),
        "joins" => format!("waits for the end of task {of}"),
        "sleeps" => format!("waits at address {of}"),
        _ => format!("has ended with status {of}"),
    });
    if let Some(until) = task.until {
        line.push_str(&format!(" up to turn {until}"));
    }
    match task.messages.len() {
        0 => {}
        1 => line.push_str(", 1 message"),
        count => line.push_str(&format!(", {count} messages")),
    }
    line
}

pub(super) fn get(args: &GetArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let runtime = Runtime::new(args.store.open(Access::Read)?);
    let machine = runtime.machine(MachineId(args.machine))?;
    let view = runtime.view_machine(&machine)?;
    let memory = match &args.memory {
        Some(range) => {
            Some((range, runtime.machine_memory(&machine, args.instance, args.process, range.clone())?))
        }
        None => None,
    };
    let report = MachineReport {
        status: "ok",
        machine: HeadReport {
            machine: args.machine,
            status: machine.head().status.name(),
            head: Some(Head::new(machine.head())),
            error: None,
        },
        instances: view.instances.iter().map(|view| instance(args, view)).collect(),
        memory: memory.as_ref().map(|(range, bytes)| MemoryReport {
            instance: args.instance,
            process: args.process,
            start: range.start,
            end: range.end,
            hex: show::hex(bytes),
        }),
    };
    if json {
        output.print_json(&report)?;
        return Ok(Exit::Success);
    }
    let mut lines = Vec::new();
    if let Some(head) = &report.machine.head {
        lines.extend([
            format!("machine {}: {}", args.machine, report.machine.status),
            format!("contract {}, module {}, {} bits", head.contract, head.module, head.width),
            format!("hash {}", head.module_hash),
            format!("gas {} left of {}", head.gas_left, head.gas_limit),
            format!("{} checkpoints, one every {} gas", head.checkpoints, head.checkpoint_every),
        ]);
    }
    for instance in &report.instances {
        instance.lines(&mut lines);
    }
    if let Some((range, bytes)) = &memory {
        for (index, row) in bytes.chunks(16).enumerate() {
            let text: String =
                row.iter().map(|&byte| if (32..127).contains(&byte) { byte as char } else { '.' }).collect();
            let pairs: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push(format!("{:08x}  {:<47}  {text}", range.start + 16 * index as u64, pairs.join(" ")));
        }
    }
    output.print_lines(lines.into_iter().map(Ok))?;
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Forgotten {
    status: &'static str,
    machine: u64,
}

pub(super) fn forget(args: &ForgetArgs, json: bool, output: &Output) -> Result<Exit, Failure> {
    let database = args.store.open(Access::Write)?;
    let id = MachineId(args.machine);
    if database.machine_rows(id)?.is_empty() {
        return Err(dotvm_runtime::RuntimeError::UnknownMachine { id: id.0 }.into());
    }
    database.remove_machine(id)?;
    if json {
        output.print_json(&Forgotten { status: "ok", machine: id.0 })?;
    } else {
        output.remark(&format!("machine {id} is forgotten"));
    }
    Ok(Exit::Success)
}
