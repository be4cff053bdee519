//! A program assembled for one width, and runs of it on an empty state in memory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dotvm_arch::{W512, Width, Word};
use dotvm_core::module::Module;
use dotvm_core::outcome::{End, Ref};
use dotvm_core::trap::TrapKind;
use dotvm_runtime::args::{find_function, parse_invocation};
use dotvm_runtime::{Execution, Options, Outside, Program, Runtime, RuntimeError, show};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input::Input;
use crate::outside::Console;
use crate::store;

/// What a run is given besides its arguments.
#[derive(Clone)]
pub struct Setting {
    /// Limits, environment, rights.
    pub options: Options,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Arguments for `args.get`.
    pub argv: Vec<Vec<u8>>,
}

/// A program at one width.
pub struct Subject {
    /// The width.
    pub width: Width,
    /// The program.
    pub program: Program,
    /// Bytes of its module file.
    pub module_bytes: usize,
    /// The function that is run.
    pub function: u32,
}

/// A run that came to an end.
pub struct Ran {
    /// How it went.
    pub execution: Execution,
    /// What it wrote to standard output and standard error.
    pub written: [Vec<u8>; 2],
    /// How long it took, from the opening of its transaction to the commit.
    pub time: Duration,
}

impl Subject {
    /// Assembles a source for a width.
    pub fn read(path: &Path, width: Width, function: Option<&str>) -> Result<Subject, Failure> {
        let input = Input::read_source(path, Some(width))?;
        let program = input.program(path)?;
        let function = find_function(program.module(), function)?;
        Ok(Subject { width, program, module_bytes: input.bytes.len(), function })
    }

    /// The module.
    pub fn module(&self) -> &Module {
        self.program.module()
    }

    /// Bytes of code of all functions.
    pub fn code_bytes(&self) -> usize {
        self.module().functions.iter().map(|function| function.code.len()).sum()
    }

    /// Runs the function once.
    ///
    /// # Errors
    /// Arguments that do not fit, and whatever keeps a program from running; not how it ends.
    pub fn run(&self, arguments: &[String], setting: &Setting) -> Result<Ran, Failure> {
        self.try_run(arguments, setting)?.map_err(Failure::from)
    }

    /// The same, with the runtime's error apart: a run that is watched may have been stopped.
    pub fn try_run(
        &self,
        arguments: &[String],
        setting: &Setting,
    ) -> Result<Result<Ran, RuntimeError>, Failure> {
        let invocation = parse_invocation(self.program.verified(), self.function, arguments)?;
        let runtime = Runtime::new(store::in_memory()?);
        let console = Arc::new(Mutex::new(Console::given(setting.stdin.clone(), &setting.argv)));
        let options = Options { outside: Outside::shared(console.clone()), ..setting.options.clone() };
        let start = Instant::now();
        let execution = runtime.run("compared", &self.program, &invocation, &options);
        let time = start.elapsed();
        let written = console.lock().unwrap_or_else(PoisonError::into_inner).collected().unwrap_or_default();
        Ok(execution.map(|execution| Ran { execution, written, time }))
    }
}

/// How a run ended, in one line.
pub fn shown(end: &End) -> String {
    match end {
        End::Return { words, refs } if words.is_empty() && refs.is_empty() => "nothing".to_owned(),
        End::Return { words, refs } => {
            let words = words.iter().map(ToString::to_string);
            words.chain(refs.iter().map(show::reference)).collect::<Vec<_>>().join(" ")
        }
        End::Halt { code, result: Ref::Null } => format!("HALT {code}"),
        End::Halt { code, result } => format!("HALT {code} {}", show::reference(result)),
        End::Trap(trap) => format!("trap {}", trap.kind.name()),
    }
}

/// Whether a word of one width is the same number as a word of another: unsigned, or as a signed one.
pub fn is_same(a: &W512, width_a: Width, b: &W512, width_b: Width) -> bool {
    a == b || a.sext(width_a.bits()) == b.sext(width_b.bits())
}

/// Whether two widths ended alike: the same results, or the same kind of trap.
pub fn is_alike(a: &Ran, width_a: Width, b: &Ran, width_b: Width) -> bool {
    let same_words = |a: &[W512], b: &[W512]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, width_a, b, width_b))
    };
    let same_end = match (&a.execution.outcome.end, &b.execution.outcome.end) {
        (End::Return { words, refs }, End::Return { words: other_words, refs: other_refs }) => {
            same_words(words, other_words) && refs == other_refs
        }
        (End::Halt { code, result }, End::Halt { code: other_code, result: other_result }) => {
            is_same(code, width_a, other_code, width_b) && result == other_result
        }
        (End::Trap(trap), End::Trap(other)) => trap.kind == other.kind,
        _ => false,
    };
    same_end && a.written == b.written
}

/// Whether a run ended because its gas was used up.
pub fn is_out_of_gas(ran: &Ran) -> bool {
    matches!(&ran.execution.outcome.end, End::Trap(trap) if trap.kind == TrapKind::Gas)
}

/// The index of the parameter with a name or number, which must be a word.
pub fn parameter(subject: &Subject, text: &str) -> Result<usize, Failure> {
    let module = subject.module();
    let count = usize::from(module.signature_of(subject.function).words_in);
    let names = module.debug.as_ref().and_then(|debug| debug.functions.get(subject.function as usize));
    let named = names.and_then(|names| names.words.iter().take(count).position(|name| name == text));
    let found = named.or_else(|| text.parse().ok().filter(|index| *index < count));
    found.ok_or_else(|| {
        let known = names.map_or(&[][..], |names| &names.words[..count.min(names.words.len())]);
        let sentence = format!(
            "`{}` has no word parameter {text:?}: it has {}",
            module.function_name(subject.function),
            if known.is_empty() { format!("{count} of them") } else { known.join(", ") },
        );
        Failure::new(Exit::Usage, sentence)
    })
}

/// The arguments with one of them set: it may be left out of them, or be there to be replaced.
pub fn with_argument(arguments: &[String], count: usize, index: usize, value: &W512) -> Vec<String> {
    let mut arguments = arguments.to_vec();
    if arguments.len() < count {
        arguments.insert(index.min(arguments.len()), value.to_string());
    } else if let Some(argument) = arguments.get_mut(index) {
        *argument = value.to_string();
    }
    arguments
}
