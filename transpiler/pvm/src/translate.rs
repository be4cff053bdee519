//! A program's image to a module.

use dotvm_arch::{W512, Width};
use dotvm_core::builder::CodeBuilder;
use dotvm_core::limits::PAGE_BYTES;
use dotvm_core::module::{DataSegment, Debug, Export, Function, FunctionDebug, Memory, Module, Signature};
use dotvm_core::opcode::Op;

use crate::blocks::Blocks;
use crate::direct::{Direct, Places};
use crate::general::{self, Entries};
use crate::locals::*;
use crate::machine::{MEMORY_BYTES, RING_3, STACK_BASE};
use crate::registers::Registers;

/// Words that a run answers: status, vector, A to D, PC, SP, FL.
pub(crate) const ANSWERS: u16 = 9;

/// Pages of memory: the machine's own, and one to put texts together for the console.
const PAGES: u64 = MEMORY_BYTES / PAGE_BYTES + 1;

/// Bytes of code for a byte of the image, about.
const BYTES_FOR_BYTE: usize = 8;

/// Makes the module.
pub(crate) fn module(name: &str, source_name: &str, image: &[u8], blocks: &Blocks, services: bool) -> Module {
    let (run, locals, lines) = run_function(image, blocks, services);
    let mut module = Module::new(name, Width::W64);
    module.signatures = vec![
        Signature { words_out: ANSWERS, ..Signature::default() },
        Signature { words_out: ANSWERS, refs_out: 1, ..Signature::default() },
    ];
    module.functions = vec![
        Function { signature: 0, word_locals: locals, ref_locals: 0, window: 0, code: run },
        Function { signature: 1, word_locals: 0, ref_locals: 0, window: 0, code: inspect_function() },
    ];
    if services {
        module.host_calls = general::HOST_CALLS.to_vec();
        module.capabilities = general::HOST_CALLS.iter().filter_map(|call| call.capability()).collect();
        module.capabilities.sort();
    }
    module.entry = Some(0);
    module.exports = vec![
        Export { name: "inspect".to_owned(), function: 1 },
        Export { name: "run".to_owned(), function: 0 },
    ];
    module.memory = Memory { min_pages: PAGES, max_pages: PAGES, heap_base: PAGES * PAGE_BYTES };
    if !image.is_empty() {
        module.data = vec![DataSegment { address: 0, read_only: true, bytes: image.to_vec() }];
    }
    let words = NAMES
        .iter()
        .map(|name| (*name).to_owned())
        .chain((0..usize::from(locals) - NAMES.len()).map(|limit| format!("limit{limit}")));
    module.debug = Some(Debug {
        source_name: source_name.to_owned(),
        source_hash: *blake3::hash(image).as_bytes(),
        functions: vec![
            FunctionDebug {
                name: "run".to_owned(),
                words: words.collect(),
                lines,
                ..FunctionDebug::default()
            },
            FunctionDebug { name: "inspect".to_owned(), ..FunctionDebug::default() },
        ],
        ..Debug::default()
    });
    module
}

/// The whole program: code, word locals, lines.
fn run_function(image: &[u8], blocks: &Blocks, services: bool) -> (Vec<u8>, u16, Vec<(u32, u32)>) {
    let mut code = CodeBuilder::new();
    code.reserve(image.len() * BYTES_FOR_BYTE);
    let entries = Entries { general: code.label(), dispatch: code.label() };
    let registers = Registers::choose(image, services, blocks);
    let general = if registers.any() { code.label() } else { entries.general };
    let places = Places { general, table: code.label() };
    let image_len = image.len() as u64;

    let mut direct = Direct::new(&mut code, image, services, blocks, registers, places);
    let locals = direct.local_count();
    for (local, number) in [(S, STACK_BASE - SP_BIAS), (FH, RING_3)] {
        direct.push(number);
        direct.set(local);
    }
    direct.op(Op::Meterq);
    direct.code.op(Op::Ltee, &[START]);
    direct.set(LEFT);
    for (size, (limit, room)) in
        [(1, (LIM1, ROOM1)), (2, (LIM2, ROOM2)), (4, (LIM4, ROOM4)), (8, (LIM8, ROOM8))]
    {
        direct.push(MEMORY_BYTES - size);
        direct.set(limit);
        direct.push(STACK_BASE - image_len - size);
        direct.set(room);
    }
    direct.set_limits();
    direct.start();
    direct.blocks();

    direct.code.line(0);
    direct.code.bind(entries.dispatch);
    if !blocks.names_vectors {
        // Direct code looks for no handlers: once there may be one, all is left to the general scheme.
        direct.get(DIRTY);
        direct.code.jump(Op::Jnz, entries.general);
    }
    registers.split(direct.code);
    direct.code.bind(places.table);
    direct.get(PC);
    direct.jump_table();
    if registers.any() {
        direct.code.bind(places.general);
        registers.join(direct.code);
        direct.code.jump(Op::Jmp, entries.general);
    }
    general::emit(&mut code, entries, image_len, services);
    let code = code.finish();
    (code.bytes, locals, code.lines)
}

/// Runs the program and gives its memory too.
fn inspect_function() -> Vec<u8> {
    let mut code = CodeBuilder::new();
    code.op(Op::Call, &[0]);
    code.op(Op::Push, &[0]);
    code.op(Op::Push, &[MEMORY_BYTES]);
    code.op(Op::Bload, &[]);
    code.op(Op::Ret, &[]);
    code.finish().bytes
}

/// A word of an answer.
pub(crate) fn low(word: &W512) -> u64 {
    word.as_limbs()[0]
}
