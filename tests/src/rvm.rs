//! RVM: programs under its oracle and as translated code, compared in everything that the reference defines.

pub mod generate;
pub mod programs;

use std::collections::BTreeMap;

use dotvm_arch::Width;
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation, Outcome, Ref};
use dotvm_engine::Program;
use dotvm_frontend::{ErrorKind, Frontend, FrontendError, Neighbours, Options, Source};
use dotvm_rvm::Rvm;
use dotvm_rvm_oracle::{Status, Value};

use crate::generate::env;
use crate::mock_host::MockHost;

/// A program with what it is run with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// The main file: assembly, or bytes.
    pub main: Vec<u8>,
    /// Libraries, by the names of their files.
    pub libraries: BTreeMap<String, Vec<u8>>,
    /// What it reads.
    pub input: Vec<u8>,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// The instruction limit.
    pub budget: u64,
}

impl Case {
    /// A program in assembly.
    pub fn assembly(text: &str) -> Case {
        Case { main: text.as_bytes().to_vec(), budget: 100_000_000, ..Case::default() }
    }

    fn name(&self) -> &'static str {
        if self.main.first() == Some(&0xFF) { "case.rvm" } else { "case.ras" }
    }
}

impl Neighbours for Case {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.libraries.get(name).cloned()
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Final {
    /// Status with exit code or error.
    pub status: String,
    /// What was written.
    pub output: Vec<u8>,
    /// Instructions carried out.
    pub executed: u64,
    /// The operand stack of the main thread: types and payloads.
    pub stack: Vec<(u8, u64)>,
}

/// All NaN are one.
fn payload(ty: u8, bits: u64) -> u64 {
    match ty {
        9 if f32::from_bits(bits as u32).is_nan() => u64::from(f32::NAN.to_bits()),
        10 if f64::from_bits(bits).is_nan() => f64::NAN.to_bits(),
        _ => bits,
    }
}

/// The image of a file, which assembly is assembled to.
///
/// # Errors
/// What the frontend says.
pub fn image(case: &Case, name: &str, bytes: &[u8]) -> Result<Vec<u8>, FrontendError> {
    let parsed = Rvm.parse(&Source { name, bytes, neighbours: case })?;
    Ok(parsed.image().expect("RVM has images").to_vec())
}

/// The case under the oracle, which reads the images that its files assemble to.
///
/// # Errors
/// Where the oracle refuses to load it.
pub fn oracle(case: &Case) -> Result<Final, String> {
    let refused = |error: FrontendError| error.to_string();
    let main = image(case, case.name(), &case.main).map_err(refused)?;
    let library = |name: &str| {
        [format!("{name}.ras"), format!("{name}.rvm")].into_iter().find_map(|file| {
            let bytes = case.libraries.get(&file)?;
            dotvm_rvm::assemble(&Source { name: &file, bytes, neighbours: case }).ok()
        })
    };
    let mut machine = dotvm_rvm_oracle::load(&main, "case", &library)?;
    machine.input = case.input.iter().copied().collect();
    machine.arguments = case.arguments.clone();
    let status = match machine.run(case.budget) {
        Status::Halt(code) => format!("halt {code}"),
        Status::Error(code) => format!("error {}", code as i64),
        Status::Limit => "limit".to_owned(),
    };
    Ok(Final {
        status,
        stack: machine.stack().iter().map(|&Value { ty, bits }| (ty, payload(ty, bits))).collect(),
        executed: machine.executed,
        output: machine.output,
    })
}

/// The case's program.
///
/// # Errors
/// What the frontend says.
pub fn translate(case: &Case) -> Result<Program, FrontendError> {
    let source = Source { name: case.name(), bytes: &case.main, neighbours: case };
    let translation = Rvm.parse(&source)?.translate(&Options::default())?;
    Ok(dotvm_engine::compile(translation.module)
        .unwrap_or_else(|error| panic!("a translation is refused: {error}")))
}

/// A run of translated code.
pub fn run(program: &Program, case: &Case) -> (Outcome, Vec<u8>) {
    // All cells that RVM allows fit.
    let limits = Limits { gas: Gas::MAX, guest_gas: case.budget, memory_pages: 1 << 14, ..Limits::default() };
    let mut host = MockHost::new(env(0, Width::W64));
    host.outside.input = case.input.clone().into();
    host.outside.arguments = case.arguments.iter().map(|argument| argument.clone().into()).collect();
    let function = program.verified().module().export("run").expect("the export");
    let invocation = Invocation { function, words: Vec::new(), refs: Vec::new() };
    let outcome = dotvm_engine::run(program, &invocation, &limits, &mut host).expect("a run");
    let [stdout, _] = host.outside.written;
    (outcome, stdout)
}

/// The case as translated code.
pub fn translated(program: &Program, case: &Case) -> Final {
    let (outcome, output) = run(program, case);
    let ending = Rvm.ending(&outcome).unwrap_or_else(|error| panic!("{error}"));
    let End::Return { refs, .. } = &outcome.end else { panic!("{:?}", outcome.end) };
    let Ref::Bytes(stack) = &refs[0] else { panic!("the stack is bytes") };
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let stack = stack.chunks_exact(16).map(|value| {
        let ty = word(&value[8..]) as u8;
        (ty, payload(ty, word(&value[..8])))
    });
    let code = ending.exit_code.map_or_else(String::new, |code| format!(" {code}"));
    Final {
        status: format!("{}{code}", ending.status),
        output,
        executed: outcome.guest_gas_used,
        stack: stack.collect(),
    }
}

/// Runs a case both ways; the differences, if there are any. A case that is refused must be refused by both.
pub fn compare(case: &Case) -> Result<Final, String> {
    let program = match translate(case) {
        Ok(program) => program,
        Err(error) => {
            if error.kind == ErrorKind::Load && oracle(case).is_ok() {
                return Err(format!("only the frontend refuses: {error}"));
            }
            let status = format!("refused: {error}");
            return Ok(Final { status, output: Vec::new(), executed: 0, stack: Vec::new() });
        }
    };
    compare_translated(&program, case)
}

/// The same if the program is translated already.
pub fn compare_translated(program: &Program, case: &Case) -> Result<Final, String> {
    let expected = oracle(case)?;
    let found = translated(program, case);
    if expected == found {
        return Ok(found);
    }
    let show = |end: &Final| {
        let Final { status, output, executed, stack } = end;
        format!("{status} after {executed}, stack {stack:x?}, output {:?}", String::from_utf8_lossy(output))
    };
    Err(format!("oracle     {}\ntranslated {}", show(&expected), show(&found)))
}
