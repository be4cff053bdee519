//! PVM: programs under its oracle and as translated code, compared in everything that the reference defines.

pub mod asm;
pub mod generate;
pub mod programs;

use dotvm_arch::{W512, Width};
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation, Ref};
use dotvm_engine::Program;
use dotvm_frontend::{Frontend, Options, Source};
use dotvm_pvm::Pvm;
use dotvm_pvm_oracle::{Machine, Status};

use crate::generate::env;
use crate::mock_host::MockHost;

/// A program with what it is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The image.
    pub image: Vec<u8>,
    /// What it reads.
    pub input: Vec<u8>,
    /// The instruction limit.
    pub budget: u64,
    /// Whether the default services are on.
    pub services: bool,
}

/// How a run ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Final {
    /// Status and vector.
    pub status: String,
    /// A, B, C, D, PC, SP, FL.
    pub registers: [u64; 7],
    /// What was written.
    pub output: Vec<u8>,
    /// Instructions carried out.
    pub executed: u64,
    /// All of memory.
    pub memory: Vec<u8>,
}

impl std::fmt::Debug for Final {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} after {}, registers {:x?}", self.status, self.executed, self.registers)?;
        write!(f, ", output {:?}, memory ", String::from_utf8_lossy(&self.output))?;
        let mut zeros = 0;
        for (address, byte) in self.memory.iter().enumerate() {
            if *byte == 0 {
                zeros += 1;
                continue;
            }
            if zeros > 8 || address == 0 {
                write!(f, " {address:05x}:")?;
            } else if zeros > 0 {
                write!(f, "{}", "00".repeat(zeros))?;
            }
            write!(f, "{byte:02x}")?;
            zeros = 0;
        }
        Ok(())
    }
}

/// The case under the oracle.
pub fn oracle(case: &Case) -> Final {
    let mut machine = Machine::new(&case.image, &case.input).expect("images of cases fit");
    machine.services = case.services;
    let status = machine.run(case.budget);
    let status = match status {
        Status::End => "end".to_owned(),
        Status::Exit => "exit".to_owned(),
        Status::Exception(vector) => format!("exception {vector}"),
        Status::Interrupt(vector) => format!("interrupt {vector}"),
        Status::DoubleFault(vector) => format!("double_fault {vector}"),
        Status::Limit => "limit".to_owned(),
    };
    let Machine { a, b, c, d, pc, sp, fl, .. } = machine;
    Final {
        status,
        registers: [a, b, c, d, pc, sp, fl.into()],
        output: machine.output,
        executed: machine.executed,
        memory: machine.memory,
    }
}

/// The case's image as a program.
pub fn translate(case: &Case) -> Program {
    let source = Source::new("case.pvm", &case.image);
    let options = Options { services: case.services, ..Options::default() };
    let parsed = Pvm.parse(&source).expect("images of cases fit");
    let translation = parsed.translate(&options).expect("what parses translates");
    dotvm_engine::compile(translation.module).expect("translations verify")
}

/// The case as translated code, which [`translate`] made of its image.
pub fn translated(program: &Program, case: &Case) -> Final {
    let limits = Limits { gas: Gas::MAX, guest_gas: case.budget, ..Limits::default() };
    let mut host = MockHost::new(env(0, Width::W64));
    host.outside.input = case.input.clone().into();
    let function = program.verified().module().export("inspect").expect("the export");
    let invocation = Invocation { function, words: Vec::new(), refs: Vec::new() };
    let outcome = dotvm_engine::run(program, &invocation, &limits, &mut host).expect("a run");
    let ending = Pvm.ending(&outcome).unwrap_or_else(|error| panic!("{error}"));
    let End::Return { words, refs } = &outcome.end else { panic!("{:?}", outcome.end) };
    let word = |index: usize| W512::as_limbs(&words[index])[0];
    let Ref::Bytes(memory) = &refs[0] else { panic!("memory is bytes") };
    let vector = ending.fields.get("vector").map_or(String::new(), |vector| format!(" {vector}"));
    Final {
        status: format!("{}{vector}", ending.status),
        registers: std::array::from_fn(|index| word(index + 2)),
        output: host.outside.written[0].clone(),
        executed: outcome.guest_gas_used,
        memory: memory.to_vec(),
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
    if expected == found {
        return Ok(found);
    }
    Err(format!("image {}\noracle     {expected:?}\ntranslated {found:?}", hex(&case.image)))
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
