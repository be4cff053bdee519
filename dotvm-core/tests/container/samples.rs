//! Modules that the verifier accepts and that together use every section.

use bytes::Bytes;
use dotvm_arch::{W512, Width};
use dotvm_core::builder::{Code, CodeBuilder};
use dotvm_core::capability::Capability;
use dotvm_core::module::{
    Collection, CollectionKind, Constant, DataSegment, Debug, Export, Function, FunctionDebug, JumpMap,
    Memory, Module, Signature,
};
use dotvm_core::opcode::Op;
use dotvm_core::{container, verify};
use num_bigint::BigInt;

/// All samples, each with what it is about.
pub fn all() -> Vec<(&'static str, Module)> {
    let samples = vec![
        ("tiny", tiny()),
        ("sum", sum(Width::W64)),
        ("sum", sum(Width::W512)),
        ("documents", documents()),
        ("window", window()),
    ];
    for (name, module) in &samples {
        verify::verify(module.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    samples
}

/// The files of all samples.
pub fn files() -> Vec<Vec<u8>> {
    all().iter().map(|(_, module)| container::write(module).unwrap()).collect()
}

/// The worked example of `docs/module-format.md`: `answer` returns 42.
pub fn tiny() -> Module {
    let mut code = CodeBuilder::new();
    code.op(Op::Push, &[42]);
    code.op(Op::Ret, &[]);
    let mut module = Module::new("tiny", Width::W64);
    module.entry = Some(0);
    module.signatures = vec![Signature { words_out: 1, ..Signature::default() }];
    module.functions = vec![function(0, code.finish())];
    module.exports = vec![Export { name: "answer".to_owned(), function: 0 }];
    module
}

fn function(signature: u32, code: Code) -> Function {
    Function { signature, word_locals: 0, ref_locals: 0, window: 0, code: code.bytes }
}

/// The sum of the numbers up to the parameter, with a loop, globals and all kinds of debug information.
pub fn sum(width: Width) -> Module {
    let mut code = CodeBuilder::new();
    let (again, done) = (code.label(), code.label());
    code.bind(again);
    code.line(3);
    code.op(Op::Lget, &[0]);
    code.jump(Op::Jz, done);
    code.line(4);
    code.op(Op::Lget, &[0]);
    code.op(Op::Lget, &[1]);
    code.op(Op::Add, &[]);
    code.op(Op::Lset, &[1]);
    code.op(Op::Lget, &[0]);
    code.op(Op::Push, &[1]);
    code.op(Op::Sub, &[]);
    code.op(Op::Lset, &[0]);
    code.jump(Op::Jmp, again);
    code.bind(done);
    code.line(5);
    code.op(Op::Lget, &[1]);
    code.op(Op::Ret, &[]);
    let code = code.finish();
    let debug = FunctionDebug {
        name: "sum".to_owned(),
        words: vec!["n".to_owned(), "total".to_owned()],
        refs: Vec::new(),
        lines: code.lines.clone(),
        labels: vec![
            (code.offset_of(again), "again".to_owned()),
            (code.offset_of(done), "done".to_owned()),
            (code.offset_of(done), "end".to_owned()),
        ],
    };
    let mut module = Module::new("sum", width);
    module.signatures = vec![Signature { words_in: 1, words_out: 1, ..Signature::default() }];
    module.functions = vec![Function { word_locals: 1, ..function(0, code) }];
    module.exports = vec![Export { name: "sum".to_owned(), function: 0 }];
    let greatest = W512::MAX >> (512 - width.bits() as usize);
    module.word_constants = vec![W512::ZERO, W512::from(1), W512::from(0x1_00), greatest];
    module.word_globals = vec![greatest, W512::ZERO];
    module.ref_globals = 3;
    module.debug = Some(Debug {
        source_name: "sum.dasm".to_owned(),
        source_hash: [0xa5; 32],
        functions: vec![debug],
        word_globals: vec!["größe".to_owned(), String::new()],
        ref_globals: vec!["r".to_owned()],
        word_constants: vec!["zero".to_owned()],
        ref_constants: Vec::new(),
        tables: Vec::new(),
    });
    module
}

/// Puts a document under a constant key, reads it back and returns it.
pub fn documents() -> Module {
    let mut code = CodeBuilder::new();
    code.op(Op::Rconst, &[0]);
    code.op(Op::Rconst, &[1]);
    code.op(Op::DbPut, &[1]);
    code.op(Op::Popn, &[1]);
    code.op(Op::Rconst, &[0]);
    code.op(Op::DbGet, &[1]);
    code.op(Op::Ret, &[]);
    let mut module = Module::new("documents", Width::W256);
    module.entry = Some(0);
    module.signatures = vec![Signature { words_out: 1, refs_out: 1, ..Signature::default() }];
    module.functions = vec![function(0, code.finish())];
    module.ref_constants = vec![
        Bytes::from_static(b"key").into(),
        Bytes::from_static(&[0xa0]).into(),
        Bytes::new().into(),
        Constant::Integer(0.into()),
        Constant::Integer(BigInt::from(-1) << 200),
    ];
    module.collections = vec![
        Collection { name: "raw".to_owned(), kind: CollectionKind::Bytes },
        Collection { name: "people".to_owned(), kind: CollectionKind::Document },
    ];
    module.capabilities = vec![Capability::DbRead, Capability::DbWrite];
    module.exports = vec![
        Export { name: "put".to_owned(), function: 0 },
        Export { name: "put_again".to_owned(), function: 0 },
    ];
    module
}

/// A window function with a jump map, beside a function table and memory with data.
pub fn window() -> Module {
    let mut code = CodeBuilder::new();
    code.op(Op::Blk, &[0, 1]);
    code.op(Op::Push, &[4]);
    code.op(Op::Jmap, &[0]);
    let second = code.label();
    code.bind(second);
    code.op(Op::Blk, &[0, 1]);
    code.op(Op::Push, &[-1i64 as u64]);
    code.op(Op::Trap, &[]);
    let code = code.finish();
    let map = JumpMap { function: 0, entries: vec![(0, 0), (4, code.offset_of(second)), (u64::MAX, 0)] };
    let mut module = Module::new("window", Width::W32);
    module.memory = Memory { min_pages: 2, max_pages: 300, heap_base: 70_016 };
    module.signatures =
        vec![Signature::default(), Signature { refs_in: 7, words_in: 300, ..Signature::default() }];
    module.functions = vec![Function { window: 1024, ref_locals: 2, ..function(0, code) }];
    module.data = vec![
        DataSegment { address: 16, read_only: true, bytes: b"constant".to_vec() },
        DataSegment { address: 70_000, read_only: false, bytes: vec![1, 2, 3] },
    ];
    module.tables = vec![vec![Some(0), None, Some(0)], Vec::new()];
    module.jump_maps = vec![map];
    module
}
