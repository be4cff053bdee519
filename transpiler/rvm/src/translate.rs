//! A program to a module: tables and images in memory, the runtime library, direct code.

use std::collections::HashMap;

use dotvm_arch::{W512, Width};
use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::capability::CapabilitySet;
use dotvm_core::host_call::HostCall;
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::{
    DataSegment, Debug, Export, Function, FunctionDebug, HandlerTable, Memory, Module, Signature,
};
use dotvm_core::opcode::Op;

use crate::analysis;
use crate::direct::{self, Direct, Shared};
use crate::library::Function as System;
use crate::program::{FIRST_LOCAL, Program, Shape, code};
use crate::runtime::{RUNTIME, Runtime};

/// Words that a run answers: status, exit code or error, whether the exit code is unsigned, number of the instruction.
pub(crate) const ANSWERS: u16 = 4;

/// Bytes for texts in the making and for input.
const SCRATCH_BYTES: u64 = 8_192;

/// Most pages of memory: addresses in the runtime's tables have 32 bits.
const MAX_PAGES: u64 = 65_535;

/// Where the parts of memory are: values of the runtime's globals.
#[derive(Default)]
struct Layout {
    values: Vec<(&'static str, u64)>,
    /// Addresses of the types of structures.
    structures: Vec<u32>,
    /// The read-only segment.
    fixed: Vec<u8>,
    /// The segment that can be written.
    variable: Vec<u8>,
}

impl Layout {
    /// Notes that a table begins here.
    fn table(&mut self, name: &'static str) {
        self.fixed.resize(self.fixed.len().next_multiple_of(16), 0);
        self.values.push((name, self.fixed.len() as u64));
    }

    fn word(&mut self, word: u32) {
        self.fixed.extend_from_slice(&word.to_le_bytes());
    }
}

/// Lays out what the general scheme reads.
fn layout(program: &Program) -> Layout {
    let mut layout = Layout::default();
    // Nothing lies at address 0.
    layout.fixed.resize(16, 0);
    layout.table("CODE");
    layout.fixed.reserve(program.insts.len() * 8);
    for inst in &program.insts {
        layout.fixed.extend_from_slice(&[inst.op, inst.ty, 0, 0]);
        layout.word(inst.arg);
    }
    layout.table("CALLEES");
    for callee in &program.callees {
        for word in [callee.entry, callee.unit, callee.returns.into(), 0] {
            layout.word(word);
        }
    }
    layout.table("UNITS");
    for unit in &program.units {
        for word in [FIRST_LOCAL + unit.locals.len() as u32, unit.module, 0, 0] {
            layout.word(word);
        }
    }
    layout.table("POOL");
    for payload in &program.pool {
        layout.fixed.extend_from_slice(&payload.to_le_bytes());
    }
    let mut structures = Vec::new();
    for types in &program.structures {
        structures.push(layout.fixed.len() as u32);
        layout.fixed.extend(types.iter().map(|ty| ty.code()));
    }
    layout.table("STRUCTURES");
    for (&at, types) in structures.iter().zip(&program.structures) {
        layout.word(at);
        layout.word(types.len() as u32);
    }
    subroutines(program, &mut layout);
    objects(program, &structures, &mut layout);
    layout.structures = structures;
    layout
}

/// What can be written, behind all that cannot.
fn variables(program: &Program, layout: &mut Layout) {
    let base = (layout.fixed.len() as u64).next_multiple_of(16);
    layout.values.push(("GLOBALS", base));
    for global in &program.globals {
        layout.variable.extend_from_slice(&global.initial.to_le_bytes());
    }
    layout.variable.resize(layout.variable.len().next_multiple_of(16), 0);
    layout.values.push(("SCRATCH", base + layout.variable.len() as u64));
}

/// The names of subroutines, for those who look for one at run time.
fn subroutines(program: &Program, layout: &mut Layout) {
    let by_name = program.insts.iter().any(|inst| {
        let looks = [System::ThreadCreate as u32, System::Catch as u32];
        inst.op == code::LIBRARY && looks.contains(&inst.arg)
    });
    let mut names = Vec::new();
    for unit in program.units.iter().filter(|_| by_name) {
        names.push(layout.fixed.len() as u32);
        layout.fixed.extend_from_slice(unit.name.as_deref().unwrap_or_default());
    }
    layout.table("ROWS");
    let mut lists = Vec::new();
    for module in &program.modules {
        let rows = if by_name { module.subroutines.clone() } else { 0..0 };
        lists.push((layout.fixed.len() as u32, rows.len() as u32));
        for number in rows {
            let unit = &program.units[number as usize];
            let len = unit.name.as_ref().map_or(0, Vec::len) as u32;
            for word in [names[number as usize], len, unit.begin + 1, number, unit.returns.into()] {
                layout.word(word);
            }
        }
    }
    layout.table("SUBS");
    for (at, count) in lists {
        layout.word(at);
        layout.word(count);
    }
}

/// Objects that are there from the start.
fn objects(program: &Program, structures: &[u32], layout: &mut Layout) {
    let mut images = Vec::new();
    for object in &program.objects {
        let size = match object.shape {
            Shape::Array(ty) => ty.size() as u64,
            Shape::Structure(_) => 8,
        };
        let is_whole = object.contents.len() as u64 == u64::from(object.cells) * size;
        layout.fixed.resize(layout.fixed.len().next_multiple_of(size as usize), 0);
        let at = layout.fixed.len() as u32;
        layout.fixed.extend_from_slice(&object.contents);
        let (ty, types) = match object.shape {
            Shape::Array(ty) => (ty.code(), 0),
            Shape::Structure(number) => (16, structures[number as usize]),
        };
        let address = if object.is_constant && is_whole { at } else { 0 };
        let kind = u32::from(ty) | u32::from(object.is_constant) << 8;
        images.push([address, object.cells, kind, types, at, object.contents.len() as u32]);
    }
    layout.table("IMAGES");
    for image in &images {
        image.iter().for_each(|word| layout.word(*word));
    }
    layout.values.push(("IMAGE_COUNT", images.len() as u64));
    layout.values.push(("OBJECT_COUNT", images.len() as u64));
}

/// The functions of the outside: real if the program uses them and the host grants what they need.
fn outside(program: &Program, denied: CapabilitySet) -> [Option<HostCall>; 3] {
    let uses = |functions: &[System]| {
        program.insts.iter().any(|inst| {
            inst.op == code::LIBRARY && functions.iter().any(|function| *function as u32 == inst.arg)
        })
    };
    let granted = |call: HostCall| call.capability().is_none_or(|capability| !denied.contains(capability));
    let given = |call: HostCall, functions: &[System]| (uses(functions) && granted(call)).then_some(call);
    [
        given(HostCall::ConsoleWrite, &[System::Print, System::Println, System::Out]),
        given(HostCall::ConsoleRead, &[System::In, System::Readln]),
        given(HostCall::ArgsGet, &[System::Argc, System::Arg]),
    ]
}

/// Makes the module.
pub(crate) fn module(
    name: &str,
    source_name: &str,
    source: &[u8],
    program: &Program,
    denied: CapabilitySet,
) -> Module {
    let runtime: &Runtime = &RUNTIME;
    let mut layout = layout(program);
    let mut module = Module::new(name, Width::W64);
    module.signatures = runtime.signatures.clone();
    let mut names: Vec<String> = Vec::new();
    for (index, routine) in runtime.routines.iter().enumerate() {
        module.functions.push(routine.function.clone());
        if !routine.handlers.is_empty() {
            module.handlers.push(HandlerTable { function: index as u32, entries: routine.handlers.clone() });
        }
        names.push(routine.name.clone());
    }
    let calls = outside(program, denied);
    module.host_calls = calls.iter().flatten().copied().collect();
    module.capabilities = module.host_calls.iter().filter_map(|call| call.capability()).collect();
    let direct = direct_code(program, &mut module, &mut layout, runtime);
    for (extern_name, signature) in &runtime.externs {
        let code = match extern_name.as_str() {
            "sys_write" => outside_call(&module, calls[0], |code| {
                code.op(Op::Push, &[1]);
                code.op(Op::Rlget, &[0]);
            }),
            "sys_read" => outside_call(&module, calls[1], |code| code.op(Op::Lget, &[0])),
            "sys_arg" => outside_call(&module, calls[2], |code| code.op(Op::Lget, &[0])),
            _ => enter_function(&direct, runtime),
        };
        let function = plain(signature_number(&mut module, *signature), code);
        module.functions.push(function);
        names.push(extern_name.clone());
    }
    let first = module.functions.len() as u32;
    for (index, (function, handlers, name)) in direct.functions.into_iter().enumerate() {
        module.functions.push(function);
        if !handlers.is_empty() {
            module.handlers.push(HandlerTable { function: first + index as u32, entries: handlers });
        }
        names.push(name);
    }
    let run = Signature { words_out: ANSWERS, refs_out: 1, ..Signature::default() };
    let signature = signature_number(&mut module, run);
    let entry = module.functions.len() as u32;
    module.functions.push(plain(signature, run_function(runtime)));
    names.push("run".to_owned());
    module.entry = Some(entry);
    module.exports = vec![Export { name: "run".to_owned(), function: entry }];
    variables(program, &mut layout);
    memory(&mut module, runtime, layout);
    module.debug = Some(Debug {
        source_name: source_name.to_owned(),
        source_hash: *blake3::hash(source).as_bytes(),
        functions: names.into_iter().map(|name| FunctionDebug { name, ..FunctionDebug::default() }).collect(),
        word_globals: runtime.globals.iter().map(|name| name.to_lowercase()).collect(),
        ..Debug::default()
    });
    module
}

/// Direct code, with its sites and entries in memory.
fn direct_code(program: &Program, module: &mut Module, layout: &mut Layout, runtime: &Runtime) -> Direct {
    let analysis = analysis::analyse(program);
    let first = (module.functions.len() + runtime.externs.len()) as u32;
    let mut shared = Shared {
        program,
        analysis: &analysis,
        structures: &layout.structures,
        fixed: std::mem::take(&mut layout.fixed),
        signatures: &mut module.signatures,
        calls: HashMap::new(),
        types: HashMap::new(),
    };
    let direct = direct::emit(&mut shared, first);
    layout.fixed = shared.fixed;
    layout.table("ENTRIES");
    for entry in &direct.entries {
        let at = code_at(layout, entry.inst);
        layout.fixed.extend_from_within(at..at + 8);
        for word in [entry.direct, entry.local, entry.need, entry.height, entry.types, 0] {
            layout.word(word);
        }
    }
    for (number, entry) in direct.entries.iter().enumerate() {
        let at = code_at(layout, entry.inst);
        layout.fixed[at] = code::ENTRY;
        layout.fixed[at + 4..at + 8].copy_from_slice(&(number as u32).to_le_bytes());
    }
    direct
}

/// Where an instruction lies.
fn code_at(layout: &Layout, inst: u32) -> usize {
    let base = layout.values.iter().find(|value| value.0 == "CODE").map_or(0, |value| value.1);
    base as usize + inst as usize * 8
}

/// Goes on with direct code from an entry, if what it assumes holds.
fn enter_function(direct: &Direct, runtime: &Runtime) -> Vec<u8> {
    let mut code = CodeBuilder::new();
    if !direct.resumes.is_empty() {
        let refused = code.label();
        let row = |code: &mut CodeBuilder| {
            code.op(Op::Lget, &[0]);
            code.op(Op::Push, &[5]);
            code.op(Op::Shl, &[]);
            code.op(Op::Gget, &[runtime.global("ENTRIES")]);
            code.op(Op::Add, &[]);
        };
        row(&mut code);
        code.op(Op::Call, &[runtime.function("check_entry").into()]);
        code.jump(Op::Jz, refused);
        row(&mut code);
        code.op(Op::Load32, &[8]);
        let labels: Vec<Label> = direct.resumes.iter().map(|_| code.label()).collect();
        code.table(&labels);
        for (label, function) in labels.iter().zip(&direct.resumes) {
            code.bind(*label);
            row(&mut code);
            code.op(Op::Load32, &[12]);
            code.op(Op::Gget, &[runtime.global("quota")]);
            code.op(Op::Call, &[runtime.function("room_left").into()]);
            code.op(Op::Call, &[(*function).into()]);
            code.op(Op::Push, &[1]);
            code.op(Op::Ret, &[]);
        }
        code.bind(refused);
    }
    code.op(Op::Push, &[0]);
    code.op(Op::Ret, &[]);
    code.finish().bytes
}

fn plain(signature: u32, code: Vec<u8>) -> Function {
    Function { signature, word_locals: 0, ref_locals: 0, window: 0, code }
}

fn signature_number(module: &mut Module, signature: Signature) -> u32 {
    let found = module.signatures.iter().position(|known| *known == signature);
    found.unwrap_or_else(|| {
        module.signatures.push(signature);
        module.signatures.len() - 1
    }) as u32
}

/// A host call with what stands before it, or error 5.
fn outside_call(module: &Module, call: Option<HostCall>, operands: impl Fn(&mut CodeBuilder)) -> Vec<u8> {
    let mut code = CodeBuilder::new();
    match call.and_then(|call| module.host_calls.iter().position(|known| *known == call)) {
        Some(index) => {
            operands(&mut code);
            code.op(Op::Sys, &[index as u64]);
            code.op(Op::Ret, &[]);
        }
        None => {
            code.op(Op::Push, &[5]);
            code.op(Op::Rnull, &[]);
            code.op(Op::Throw, &[]);
        }
    }
    code.finish().bytes
}

/// Runs the program; answers how it ended, and the operand stack of the main thread.
fn run_function(runtime: &Runtime) -> Vec<u8> {
    let mut code = CodeBuilder::new();
    code.op(Op::Meterq, &[]);
    code.op(Op::Call, &[runtime.function("run").into()]);
    for name in ["quota", "rest"] {
        code.op(Op::Gget, &[runtime.global(name)]);
        code.op(Op::Sub, &[]);
    }
    code.op(Op::Meterd, &[]);
    for name in ["status", "exit_code", "exit_unsigned", "ip"] {
        code.op(Op::Gget, &[runtime.global(name)]);
    }
    code.op(Op::Call, &[runtime.function("final_stack").into()]);
    code.op(Op::Ret, &[]);
    code.finish().bytes
}

fn memory(module: &mut Module, runtime: &Runtime, layout: Layout) {
    let Layout { values, fixed, variable, .. } = layout;
    let base = (fixed.len() as u64).next_multiple_of(16);
    let heap_base = (base + variable.len() as u64 + SCRATCH_BYTES).next_multiple_of(16);
    module.word_globals = runtime
        .globals
        .iter()
        .map(|name| {
            values.iter().find(|value| value.0 == name).map_or(W512::ZERO, |value| W512::from(value.1))
        })
        .collect();
    module.data = vec![DataSegment { address: 0, read_only: true, bytes: fixed }];
    if variable.iter().any(|byte| *byte != 0) {
        module.data.push(DataSegment { address: base, read_only: false, bytes: variable });
    }
    module.memory = Memory { min_pages: heap_base.div_ceil(PAGE_BYTES), max_pages: MAX_PAGES, heap_base };
}
