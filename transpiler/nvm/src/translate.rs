//! A program's image to a module.

use dotvm_arch::Width;
use dotvm_core::builder::{Code, CodeBuilder, Label};
use dotvm_core::capability::Capability;
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::{DataSegment, Debug, Export, Function, FunctionDebug, Memory, Module, Signature};
use dotvm_core::opcode::Op;

use crate::direct::{Direct, Locals, Places, TEMPORARIES};
use crate::inside;
use crate::machine::{HEAP_BYTES, IMAGE_AT, LOCALS, LOGGED, Layout, MAX_CAPABILITIES};
use crate::runtime::{self, Hooks, Labels, Local, local};
use crate::text::TEXT;
use crate::trees;

/// Words that a run answers: status, denials, BREAKs, processes.
pub(crate) const ANSWERS: u16 = 4;
/// Byte strings that it answers: the first process's stack, the processes, the BREAKs.
pub(crate) const TEXTS: u16 = 3;
/// Words that it takes: the number of capabilities, and each of them.
pub(crate) const ARGUMENTS: u16 = 1 + MAX_CAPABILITIES as u16;

/// What a module is made of.
pub(crate) struct Program<'a> {
    pub name: &'a str,
    pub source_name: &'a str,
    pub source: &'a [u8],
    pub image: &'a [u8],
    /// The line of each address where an instruction starts, or nothing where addresses are lines.
    pub lines: Vec<u32>,
    pub heap_abi: bool,
}

/// Makes the module.
pub(crate) fn module(program: &Program<'_>) -> Module {
    let layout = Layout::new(program.image.len());
    let text = &*TEXT;
    let mut signatures: Vec<Signature> = Vec::new();
    let mut signature = |wanted: Signature| -> u32 {
        let place = signatures.iter().position(|known| *known == wanted);
        place.unwrap_or_else(|| {
            signatures.push(wanted);
            signatures.len() - 1
        }) as u32
    };
    let (machine, words) = machine_function(program, &layout);
    let mut functions = Vec::new();
    let mut debug = Vec::new();
    let codes = std::iter::once(machine).chain(runtime::others(&layout));
    for (routine, code) in text.routines.iter().zip(codes) {
        let Code { bytes, lines, .. } = code;
        let mut names: Vec<String> = routine.words.iter().map(|word| (*word).to_owned()).collect();
        if functions.is_empty() {
            names.extend_from_slice(&words);
        }
        functions.push(Function {
            signature: signature(routine.signature),
            word_locals: names.len() as u16 - routine.signature.words_in,
            ref_locals: 0,
            window: 0,
            code: bytes,
        });
        debug.push(FunctionDebug {
            name: routine.name.to_owned(),
            words: names,
            lines: if functions.len() == 1 { lines } else { Vec::new() },
            ..FunctionDebug::default()
        });
    }
    let mut exports = Vec::new();
    for (name, inspects) in [("inspect", true), ("run", false)] {
        exports.push(Export { name: name.to_owned(), function: functions.len() as u32 });
        let refs_out = if inspects { TEXTS + 2 } else { TEXTS };
        functions.push(Function {
            signature: signature(Signature { words_in: ARGUMENTS, words_out: ANSWERS, refs_in: 0, refs_out }),
            word_locals: 0,
            ref_locals: 0,
            window: 0,
            code: run_function(&layout, inspects),
        });
        debug.push(FunctionDebug { name: name.to_owned(), ..FunctionDebug::default() });
    }
    let mut module = Module::new(program.name, Width::W32);
    module.signatures = signatures;
    module.functions = functions;
    module.exports = exports;
    module.ref_constants = text.constants.iter().map(|text| text.as_bytes().to_vec().into()).collect();
    module.ref_globals = 2;
    let heap_base = layout.pages * PAGE_BYTES;
    module.memory = Memory { min_pages: layout.pages, max_pages: layout.pages, heap_base };
    module.data = vec![DataSegment { address: IMAGE_AT, read_only: false, bytes: program.image.to_vec() }];
    module.host_calls = text.calls.clone();
    let mut capabilities: Vec<Capability> = text.calls.iter().filter_map(|call| call.capability()).collect();
    capabilities.sort();
    capabilities.dedup();
    module.capabilities = capabilities;
    module.debug = Some(Debug {
        source_name: program.source_name.to_owned(),
        source_hash: *blake3::hash(program.source).as_bytes(),
        functions: debug,
        ..Debug::default()
    });
    module
}

/// The places that the machine's text leaves open.
struct MachineHooks<'a> {
    heap_abi: bool,
    locals: &'a Locals,
    /// The code that goes on at each address.
    targets: &'a [Label],
}

impl MachineHooks<'_> {
    /// The locals of the program that are word locals.
    fn registers(&self) -> impl Iterator<Item = (u64, Local)> {
        let registers = self.locals.registers.iter().enumerate();
        registers.filter_map(|(local, register)| Some((local as u64, (*register)?)))
    }

    /// One place for each local that is a word local, and one for the others; all go on behind.
    fn by_local(&self, code: &mut CodeBuilder, each: impl Fn(&mut CodeBuilder, Option<Local>)) {
        let registers: Vec<(u64, Local)> = self.registers().collect();
        if registers.is_empty() {
            return each(code, None);
        }
        let (others, behind) = (code.label(), code.label());
        let labels: Vec<Label> = registers.iter().map(|_| code.label()).collect();
        let mut targets = vec![others; registers.last().map_or(0, |last| last.0 as usize) + 2];
        for ((local, _), label) in registers.iter().zip(&labels) {
            targets[*local as usize] = *label;
        }
        code.op(Op::Lget, &[local("n")]);
        code.table(&targets);
        for ((_, register), label) in registers.iter().zip(&labels) {
            code.bind(*label);
            each(code, Some(*register));
            code.jump(Op::Jmp, behind);
        }
        code.bind(others);
        each(code, None);
        code.bind(behind);
    }
}

impl Hooks for MachineHooks<'_> {
    fn hook(&mut self, name: &str, code: &mut CodeBuilder, labels: &Labels<'_>) {
        let get = |code: &mut CodeBuilder, name: &str| code.op(Op::Lget, &[local(name)]);
        match name {
            "START" => {
                code.op(Op::Push, &[HEAP_BYTES - 4]);
                code.op(Op::Lset, &[self.locals.heap_limit]);
                code.op(Op::Push, &[self.heap_abi.into()]);
            }
            "DISPATCH" => {
                get(code, "direct");
                code.jump(Op::Jz, labels.get("general"));
                get(code, "ip");
                code.table(self.targets);
            }
            "SAVE" => {
                for (number, register) in self.registers() {
                    code.op(Op::Lget, &[self.locals.zero]);
                    code.op(Op::Lget, &[register]);
                    code.op(Op::Store32, &[4 * number]);
                }
            }
            "LOAD" => {
                for (number, register) in self.registers() {
                    code.op(Op::Lget, &[self.locals.zero]);
                    code.op(Op::Load32, &[4 * number]);
                    code.op(Op::Lset, &[register]);
                }
            }
            "LOADLOCAL" => self.by_local(code, |code, register| {
                match register {
                    Some(register) => code.op(Op::Lget, &[register]),
                    None => {
                        get(code, "n");
                        code.op(Op::Push, &[2]);
                        code.op(Op::Shl, &[]);
                        code.op(Op::Load32, &[0]);
                    }
                }
                code.op(Op::Lset, &[local("v")]);
            }),
            "STORELOCAL" => self.by_local(code, |code, register| match register {
                Some(register) => {
                    get(code, "v");
                    code.op(Op::Lset, &[register]);
                }
                None => {
                    get(code, "n");
                    code.op(Op::Push, &[2]);
                    code.op(Op::Shl, &[]);
                    get(code, "v");
                    code.op(Op::Store32, &[0]);
                }
            }),
            _ => unreachable!("the machine's text has no place {name}"),
        }
    }
}

/// The machine's function and the names of the words that its text does not name.
fn machine_function(program: &Program<'_>, layout: &Layout) -> (Code, Vec<String>) {
    let routine = &TEXT.routines[0];
    let mut code = CodeBuilder::new();
    let labels = Labels::new(routine, &mut code);
    let trees = trees::find(program.image);
    let first = routine.words.len() as Local;
    let (registers, temporaries) = Locals::registers(&trees, first);
    let locals = Locals {
        s: local("s"),
        fa: local("fa"),
        ip: local("ip"),
        left: local("left"),
        hb: local("hb"),
        zero: temporaries + TEMPORARIES,
        heap_limit: temporaries + TEMPORARIES + 1,
        walk: temporaries + TEMPORARIES + 2,
        link: temporaries + TEMPORARIES + 3,
        waits: temporaries + TEMPORARIES + 4,
        first_passed: temporaries + TEMPORARIES + 5,
        temporaries,
        registers,
    };
    let mut words = vec![String::new(); (temporaries - first) as usize];
    for (number, register) in locals.registers.iter().enumerate() {
        if let Some(register) = register {
            words[(register - first) as usize] = format!("local{number}");
        }
    }
    words.extend((0..TEMPORARIES).map(|number| format!("t{number}")));
    words.extend(["zero".to_owned(), "heap_limit".to_owned()]);
    words.extend(inside::names());

    let places = Places {
        general: labels.get("general"),
        returns: code.label(),
        bad_return: labels.get("bad_return"),
    };
    // The machine starts in the text, which stands behind direct code.
    let machine = code.label();
    code.jump(Op::Jmp, machine);
    let mut direct = Direct::new(&mut code, program.image, &trees, &locals, places, &program.lines);
    direct.trees();
    let (targets, return_targets) = direct.targets();
    if let Some(return_targets) = return_targets {
        code.bind(places.returns);
        code.op(Op::Lget, &[locals.ip]);
        code.table(&return_targets);
    }
    code.bind(machine);
    let mut hooks = MachineHooks { heap_abi: program.heap_abi, locals: &locals, targets: &targets };
    runtime::emit(routine, &labels, &mut code, layout, &mut hooks);
    (code.finish(), words)
}

/// Runs the machine and gives what a report needs.
fn run_function(layout: &Layout, inspects: bool) -> Vec<u8> {
    let mut code = CodeBuilder::new();
    let number = |name: &str| layout.number(name).unwrap_or_default();
    let variable = |code: &mut CodeBuilder, name: &str| {
        code.op(Op::Push, &[0]);
        code.op(Op::Load32, &[number(name)]);
    };
    for argument in 0..Local::from(ARGUMENTS) {
        code.op(Op::Lget, &[argument]);
    }
    code.op(Op::Call, &[0]);
    for name in ["denied", "break_count", "processes"] {
        variable(&mut code, name);
    }
    code.op(Op::Push, &[number("final_stack")]);
    variable(&mut code, "final_s");
    code.op(Op::Bload, &[]);
    for (list, count) in [("log", "processes"), ("breaks", "break_count")] {
        code.op(Op::Push, &[number(list)]);
        variable(&mut code, count);
        code.op(Op::Push, &[LOGGED]);
        code.op(Op::Min, &[]);
        code.op(Op::Push, &[4]);
        code.op(Op::Shl, &[]);
        code.op(Op::Bload, &[]);
    }
    if inspects {
        code.op(Op::Push, &[number("final_locals")]);
        code.op(Op::Push, &[4 * LOCALS]);
        code.op(Op::Bload, &[]);
        code.op(Op::Push, &[number("final_heap")]);
        code.op(Op::Push, &[number("heaps")]);
        variable(&mut code, "kept_heap");
        code.op(Op::Select, &[]);
        code.op(Op::Push, &[HEAP_BYTES]);
        code.op(Op::Bload, &[]);
    }
    code.op(Op::Ret, &[]);
    code.finish().bytes
}
