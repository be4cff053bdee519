//! Random programs that pass the verifier by construction and use every row of the opcode table.
//!
//! Statements are drawn from the table itself: an operation without a rule of its own gets random operands by its
//! stack effect and random immediates by their kinds, so that a new row takes part as soon as it exists. Traps are
//! rare by construction (addresses are masked, divisors are odd, references are known to be bytes), never excluded.

mod cells;
mod function;
mod operands;
mod statements;
mod tasks;

use bytes::Bytes;
use dotvm_arch::{W512, Width};
use dotvm_core::capability::Capability;
use dotvm_core::env::Env;
use dotvm_core::hash::HashAlg;
use dotvm_core::host_call::HostCall;
use dotvm_core::limits::Limits;
use dotvm_core::module::{
    Collection, CollectionKind, Constant, DataSegment, Export, Function, HandlerTable, JumpMap, Memory,
    Module, Signature,
};
use dotvm_core::outcome::{Invocation, Ref};
use fastrand::Rng;
use num_bigint::BigInt;

use function::FunctionGenerator;

/// Read-only bytes at the start of memory.
const READ_ONLY_BYTES: u64 = 64;
/// Addresses of well-behaved accesses are below this.
const ADDRESS_MASK: u64 = 0x3FFF;
/// First address of the heap.
const HEAP_BASE: u64 = 0x8000;

/// Limits that generated programs run under: small enough to be met now and then.
pub fn limits() -> Limits {
    Limits {
        gas: 2_000_000,
        memory_pages: 16,
        call_depth: 100,
        stack_words: 2_000,
        stack_refs: 1_000,
        contract_depth: 4,
        guest_gas: 100_000,
        heap_bytes: 1 << 20,
        tasks: 12,
        mailbox: 3,
    }
}

/// An environment whose words fit `width`, except the value for one seed in 16.
pub fn env(seed: u64, width: Width) -> Env {
    let mut rng = Rng::with_seed(seed ^ 0x5EED);
    let value_bits = if seed.is_multiple_of(16) { 512 } else { width.bits() };
    Env {
        caller: edge_word(&mut rng, width.bits()),
        value: edge_word(&mut rng, value_bits),
        height: rng.u32(..).into(),
        time: rng.u32(..).into(),
        chain: rng.u8(..).into(),
        contract: Bytes::from_static(b"generated"),
        input: random_bytes(&mut rng, 200),
        seed: std::array::from_fn(|_| rng.u8(..)),
    }
}

/// A module and a call of its function 0. `size` is about the number of statements of each function; the same
/// arguments give the same program.
pub fn generate(seed: u64, width: Width, size: usize) -> (Module, Invocation) {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(width.bits()));
    let mut module = skeleton(&mut rng, width);
    let plans = plan_functions(&mut rng, &mut module);
    for (index, plan) in plans.iter().enumerate() {
        let generated = FunctionGenerator::new(&mut rng, &module, &plans, index as u32).generate(size);
        let function = &mut module.functions[index];
        function.code = generated.code;
        if plan.is_window {
            function.window = generated.height;
        }
        if !generated.handlers.is_empty() {
            module.handlers.push(HandlerTable { function: index as u32, entries: generated.handlers });
        }
        for map in generated.jump_maps {
            module.jump_maps.push(JumpMap { function: index as u32, entries: map });
        }
    }
    let signature = module.signatures[module.functions[0].signature as usize];
    let invocation = Invocation {
        function: 0,
        words: (0..signature.words_in).map(|_| edge_word(&mut rng, width.bits())).collect(),
        refs: (0..signature.refs_in)
            .map(|_| match rng.u8(..8) {
                0 | 1 => Ref::Null,
                2 => Ref::cell(5.into(), Ref::cell(Ref::Int(BigInt::from(1) << 70), Ref::Null)),
                3 => Ref::from(edge_number(&mut rng)),
                _ => Ref::Bytes(random_bytes(&mut rng, 40)),
            })
            .collect(),
    };
    (module, invocation)
}

/// What is decided about a function before any code is made.
#[derive(Clone, Copy, Debug)]
struct Plan {
    signature: Signature,
    is_window: bool,
    /// Whether it calls itself with a first parameter that counts down to 0.
    is_recursive: bool,
    word_locals: u16,
    ref_locals: u16,
}

/// Number of the reference constant that is the path of a file.
const PATH: u64 = 0;
/// Number of the reference constant that is [`COUNT_QUERY`] compiled; [`ALL_QUERY`] and [`PATCH`] follow.
const FIRST_QUERY: u64 = 7;
/// A query that reads no documents, which are any bytes.
const COUNT_QUERY: &str = "SELECT COUNT(*) AS n FROM first";
/// A query that reads them.
const ALL_QUERY: &str = "SELECT * FROM first";
/// Number of the reference constant that is a key, a digest and a seed of 32 bytes; a nonce of 12 bytes follows.
const FIRST_KEY: u64 = FIRST_QUERY + 9;
/// A document: `{"a": 1, "b": null}`.
const PATCH: &[u8] = &[0xa2, 0x61, b'a', 0x01, 0x61, b'b', 0xf6];

/// Numbers of the reference constants that page R works on: JSON text, a map, an array, and the first of four paths.
const DOCUMENTS: [u64; 4] = [FIRST_QUERY + 3, FIRST_QUERY + 2, FIRST_QUERY + 4, FIRST_QUERY + 5];

/// Everything but functions and what refers to them.
fn skeleton(rng: &mut Rng, width: Width) -> Module {
    let mut module = Module::new("generated", width);
    module.memory = Memory { min_pages: rng.u64(1..3), max_pages: rng.u64(3..20), heap_base: HEAP_BASE };
    module.word_constants = (0..8).map(|_| edge_word(rng, width.bits())).collect();
    module.word_globals = (0..rng.usize(1..4)).map(|_| edge_word(rng, width.bits())).collect();
    module.ref_globals = rng.u32(1..3);
    // The first four are keys; the rest are documents, at least one byte long.
    module.ref_constants = (0..4)
        .map(|index| Constant::from(vec![b'a' + rng.u8(..4); rng.usize(usize::from(index == PATH)..4)]))
        .collect();
    for len in [8, 60, 130] {
        let bytes = random_bytes(rng, len);
        module.ref_constants.push(if bytes.is_empty() { "x".into() } else { bytes.into() });
    }
    module.ref_constants.extend([COUNT_QUERY, ALL_QUERY].map(|text| {
        Constant::from(dotdb::query::Query::parse(text).expect("a query of the language").to_bytes())
    }));
    module.ref_constants.push(Bytes::from_static(PATCH).into());
    // `[1, "x"]`, and paths.
    let rest: [&[u8]; 6] = [b"{\"a\": [1, \"x\", -5.5]}", &[0x82, 1, 0x61, b'x'], b"/0", b"/-", b"/a", b"/b"];
    module.ref_constants.extend(rest.map(|bytes| Bytes::from_static(bytes).into()));
    module.ref_constants.push(Bytes::from(vec![rng.u8(1..); 32]).into());
    module.ref_constants.push(Bytes::from(vec![rng.u8(..); 12]).into());
    module.ref_constants.extend(integers(rng).map(Constant::Integer));
    module.data = vec![
        DataSegment {
            address: 0,
            read_only: true,
            bytes: (0..READ_ONLY_BYTES).map(|_| rng.u8(..)).collect(),
        },
        DataSegment { address: 256, read_only: false, bytes: (0..300).map(|_| rng.u8(..)).collect() },
    ];
    module.collections = ["first", "second"]
        .map(|name| Collection { name: name.to_owned(), kind: CollectionKind::Bytes })
        .to_vec();
    module.capabilities = Capability::ALL.to_vec();
    module.host_calls = HostCall::ALL.to_vec();
    module
}

/// Reference constants that are byte strings; the integers follow.
const BYTE_STRINGS: u64 = FIRST_QUERY + 11;
/// Integer constants that are natural numbers; as many that may be negative follow.
const NATURALS: u64 = 4;

/// Small, at an edge, and large.
fn integers(rng: &mut Rng) -> impl Iterator<Item = BigInt> {
    let naturals = [
        BigInt::from(rng.u8(..10)),
        BigInt::from(rng.u64(..)),
        (BigInt::from(1) << [61, 64, 128][rng.usize(..3)]) - rng.i32(0..2),
        BigInt::from_bytes_le(num_bigint::Sign::Plus, &random_bytes(rng, 40)),
    ];
    let others = [
        BigInt::from(edge_number(rng)),
        (BigInt::from(-1) << [61, 63, 64][rng.usize(..3)]) - rng.i32(0..2),
        BigInt::from_signed_bytes_le(&random_bytes(rng, 40)),
        BigInt::from(rng.i8(..)),
    ];
    naturals.into_iter().chain(others)
}

fn plan_functions(rng: &mut Rng, module: &mut Module) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    let results = [(rng.u16(..3), rng.u16(..2)), (rng.u16(..3), rng.u16(..2))];
    for index in 0..rng.u32(3..7) {
        // Few shapes of results, so that tail calls find callees; equal signatures under different indices, so that
        // indirect calls compare by value.
        let (words_out, refs_out) = results[rng.usize(..2)];
        let is_window = index > 0 && rng.u8(..3) == 0;
        let is_recursive = !is_window && rng.u8(..4) == 0;
        let words_in = rng.u16(u16::from(is_recursive)..4);
        let signature = Signature { words_in, words_out, refs_in: rng.u16(..3), refs_out };
        let plan = Plan {
            signature,
            is_window,
            is_recursive,
            word_locals: if is_window { 0 } else { rng.u16(2..12) },
            ref_locals: rng.u16(..3),
        };
        module.signatures.push(signature);
        module.functions.push(Function {
            signature: index,
            word_locals: plan.word_locals,
            ref_locals: plan.ref_locals,
            window: u16::from(is_window),
            code: Vec::new(),
        });
        plans.push(plan);
    }
    let count = plans.len() as u32;
    module.tables = vec![(0..count).map(Some).chain([None]).collect(), vec![None, Some(rng.u32(..count))]];
    module.signatures.extend(plans.iter().map(|plan| plan.signature));
    module.entry = Some(0);
    module.exports = vec![Export { name: "main".to_owned(), function: 0 }];
    plans
}

/// A word of at most `bits`, more often at an edge than not.
fn edge_word(rng: &mut Rng, bits: u32) -> W512 {
    let ones = W512::MAX >> (512 - bits as usize);
    let one = W512::from(1);
    let near = W512::from(rng.u8(..4));
    let word = match rng.u8(..8) {
        0 => near,
        1 => ones.wrapping_sub(near),
        2 => (one << (bits as usize - 1)).wrapping_sub(near),
        3 => (one << (bits as usize - 1)).wrapping_add(near),
        4 => one << rng.usize(..bits as usize),
        5 => (one << rng.usize(..bits as usize)).wrapping_sub(near),
        6 => W512::from(rng.u64(..)),
        _ => W512::from_limbs(std::array::from_fn(|_| rng.u64(..))),
    };
    word & ones
}

/// A signed 64-bit number, more often at an edge than not.
fn edge_number(rng: &mut Rng) -> i64 {
    let near = rng.i64(-2..3);
    match rng.u8(..6) {
        0 | 1 => near,
        2 => rng.i64(-130..260),
        3 => (1i64 << rng.u32(..63)).wrapping_add(near),
        4 => i64::MIN.wrapping_add(near),
        _ => rng.i64(..),
    }
}

fn random_bytes(rng: &mut Rng, max_len: usize) -> Bytes {
    let len = rng.usize(..=max_len);
    (0..len).map(|_| rng.u8(..)).collect::<Vec<u8>>().into()
}

/// Algorithms whose digests fit a word.
fn digests_that_fit(width: Width) -> impl Iterator<Item = HashAlg> {
    HashAlg::ALL.iter().copied().filter(move |alg| alg.digest_bytes() * 8 <= width.bits())
}
