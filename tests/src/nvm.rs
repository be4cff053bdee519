//! NVM: programs under its oracle and as translated code, compared in everything that the reference defines.

pub mod generate;
pub mod programs;

use std::collections::BTreeMap;

use dotvm_arch::{W512, Width};
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{Invocation, Outcome};
use dotvm_engine::Program;
use dotvm_frontend::{Ending, Frontend, Options, Source};
use dotvm_nvm::Nvm;
use dotvm_nvm_oracle::{Abi, Machine};
use serde_json::{Value, json};

use crate::generate::env;
use crate::mock_host::MockHost;

/// A program with what it is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The image.
    pub image: Vec<u8>,
    /// The interface: `auto`, `stack` or `heap`.
    pub abi: &'static str,
    /// The first process's capabilities.
    pub capabilities: Vec<i32>,
    /// Arguments.
    pub arguments: Vec<Vec<u8>>,
    /// What it reads.
    pub input: Vec<u8>,
    /// Files by path.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The instruction limit.
    pub budget: u64,
}

impl Case {
    /// An image that may do everything.
    pub fn new(image: Vec<u8>, budget: u64) -> Case {
        Case {
            image,
            abi: "auto",
            capabilities: vec![0xFFFF],
            arguments: Vec::new(),
            input: Vec::new(),
            files: BTreeMap::new(),
            budget,
        }
    }
}

/// How a run ended: all that can be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Final {
    /// Status, processes, stack, locals, BREAKs, denials.
    pub fields: BTreeMap<&'static str, Value>,
    /// Console output and error output.
    pub streams: [Vec<u8>; 2],
    /// The first process's heap.
    pub heap: Vec<u8>,
    /// Files by path.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Instructions carried out.
    pub executed: u64,
}

impl Final {
    /// What differs from another end, for people.
    pub fn differences(&self, other: &Final) -> Vec<String> {
        let mut differences = Vec::new();
        for (name, value) in &self.fields {
            let found = &other.fields[name];
            if found != value {
                differences.push(format!("{name}: {value} and {found}"));
            }
        }
        for (name, a, b) in
            [("output", &self.streams[0], &other.streams[0]), ("errors", &self.streams[1], &other.streams[1])]
        {
            if a != b {
                let (a, b) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
                differences.push(format!("{name}: {a:?} and {b:?}"));
            }
        }
        if let Some(at) = self.heap.iter().zip(&other.heap).position(|(a, b)| a != b) {
            differences.push(format!("heap at {at:#x}: {} and {}", self.heap[at], other.heap[at]));
        }
        if self.files != other.files {
            differences.push(format!("files: {:?} and {:?}", self.files, other.files));
        }
        if self.executed != other.executed {
            differences.push(format!("instructions: {} and {}", self.executed, other.executed));
        }
        differences
    }
}

/// Most BREAKs and processes that are compared.
const LOGGED: usize = dotvm_nvm::LOGGED as usize;

/// The case under the oracle.
pub fn oracle(case: &Case) -> Final {
    let abi = match case.abi {
        "stack" => Abi::Stack,
        "heap" => Abi::Heap,
        _ => Abi::Auto,
    };
    let mut machine =
        Machine::new(&case.image, abi, &case.capabilities).expect("images of cases have a signature");
    machine.set_input(&case.input);
    machine.files = case.files.clone();
    let status = machine.run(&case.arguments, case.budget);
    let processes = machine.fates.iter().take(LOGGED).map(|fate| match fate.end {
        None => json!([fate.pid, null, null]),
        Some((code, fault)) => json!([fate.pid, code, fault.map(|fault| fault.name())]),
    });
    let first = machine.first();
    let locals: BTreeMap<String, i32> = first
        .locals
        .iter()
        .enumerate()
        .filter(|(_, value)| **value != 0)
        .map(|(index, value)| (index.to_string(), *value))
        .collect();
    let breaks = &machine.breaks[..machine.breaks.len().min(LOGGED)];
    let fields = BTreeMap::from([
        ("status", status.name().into()),
        ("processes", processes.collect()),
        ("final_stack", json!(first.stack)),
        ("locals", json!(locals)),
        ("breaks", json!(breaks)),
        ("denials", machine.denials.into()),
    ]);
    let heap = first.heap.clone();
    Final {
        fields,
        streams: [machine.output, machine.errors],
        heap,
        files: machine.files,
        executed: machine.executed,
    }
}

/// The case's image as a program.
pub fn translate(case: &Case) -> Program {
    let source = Source::new("case.nvm", &case.image);
    let options = Options { abi: Some(case.abi.to_owned()), ..Options::default() };
    let parsed = Nvm.parse(&source).expect("images of cases have a signature");
    let translation = parsed.translate(&options).expect("what parses translates");
    dotvm_engine::compile(translation.module).expect("translations verify")
}

/// Runs the case as translated code by this export.
pub fn run(program: &Program, case: &Case, export: &str) -> (Outcome, MockHost) {
    let limits = Limits { gas: Gas::MAX, guest_gas: case.budget, ..Limits::default() };
    let mut host = MockHost::new(env(0, Width::W32));
    host.outside.input = case.input.clone().into();
    host.outside.arguments = case.arguments.iter().map(|argument| argument.clone().into()).collect();
    host.transaction.as_mut().expect("an open transaction").now.state.files = case.files.clone();
    let function = program.verified().module().export(export).expect("the export");
    let capabilities: Vec<String> = case.capabilities.iter().map(i32::to_string).collect();
    let words = Nvm.arguments(&capabilities).expect("capabilities of cases are some");
    let words = words.into_iter().map(W512::from).collect();
    let invocation = Invocation { function, words, refs: Vec::new() };
    let outcome = dotvm_engine::run(program, &invocation, &limits, &mut host).expect("a run");
    (outcome, host)
}

/// The case as translated code, which [`translate`] made of its image.
pub fn translated(program: &Program, case: &Case) -> Final {
    let (outcome, host) = run(program, case, "inspect");
    let Ending { status, mut fields, memory, .. } =
        Nvm.ending(&outcome).unwrap_or_else(|error| panic!("{error}"));
    let processes = fields["processes"].as_array().expect("a list").iter();
    let processes: Value =
        processes.map(|process| json!([process["pid"], process["exit_code"], process["fault"]])).collect();
    let mut take = |name: &str| fields.remove(name);
    let fields = BTreeMap::from([
        ("status", status.into()),
        ("processes", processes),
        ("final_stack", take("final_stack").unwrap_or_default()),
        ("locals", take("locals").unwrap_or_default()),
        ("breaks", take("breaks").unwrap_or_default()),
        ("denials", take("denials").unwrap_or(0.into())),
    ]);
    let state = host.transaction.expect("an open transaction").now.state;
    Final {
        fields,
        streams: host.outside.written,
        heap: memory.expect("the heap is asked for").bytes,
        files: state.files,
        executed: outcome.guest_gas_used,
    }
}

/// Runs a case both ways; the differences, if there are any.
pub fn compare(case: &Case) -> Result<Final, String> {
    compare_translated(&translate(case), case)
}

/// The same if the image is translated already.
pub fn compare_translated(program: &Program, case: &Case) -> Result<Final, String> {
    let expected = oracle(case);
    let found = translated(program, case);
    let differences = expected.differences(&found);
    if differences.is_empty() {
        return Ok(found);
    }
    Err(format!("oracle and translation: {}\n{}", differences.join("; "), listing(&case.image)))
}

/// An image as text, for people who look for a mistake.
pub fn listing(image: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 4;
    while at < image.len() as u32 {
        match dotvm_nvm::Instruction::decode(image, at) {
            Ok(instruction) => {
                text.push_str(&format!("{at:5x}  {instruction}\n"));
                at = instruction.next();
            }
            Err(why) => {
                text.push_str(&format!("{at:5x}  {why:?}\n"));
                at += 1;
            }
        }
    }
    text
}

/// Assembles a text.
///
/// # Panics
/// If it is none: texts are parts of tests.
pub fn assemble(text: &str) -> Vec<u8> {
    let parsed = Nvm.parse(&Source::new("case.asm", text.as_bytes()));
    let parsed = parsed.unwrap_or_else(|error| panic!("{error}"));
    parsed.image().expect("an image").to_vec()
}
