//! Memory, heap, references, digests, environment.

mod common;

use common::{Program, line, s};
use dotvm_arch::{W512, Width};
use dotvm_core::env::{Env, EnvField};
use dotvm_core::hash::HashAlg;
use dotvm_core::host::NoState;
use dotvm_core::limits::Limits;
use dotvm_core::module::DataSegment;
use dotvm_core::opcode::Op;
use dotvm_core::outcome::{End, Invocation, Ref};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::verify;

/// The number of primes below 100, by the sieve of Eratosthenes in memory from address 0 on.
#[test]
fn sieve_below_100_finds_25_primes() {
    for width in Width::ALL {
        let mut program = Program::new(width);
        program.memory(1, 1);
        // Locals: i, j, count.
        program.function((0, 1, 0, 0), (3, 0), |code| {
            let [outer, next, inner, done] = [code.label(), code.label(), code.label(), code.label()];
            code.op(Op::Push, &[2]);
            code.op(Op::Lset, &[0]);
            code.bind(outer);
            code.op(Op::Lget, &[0]);
            code.op(Op::Push, &[100]);
            code.op(Op::Ge, &[]);
            code.jump(Op::Jnz, done);
            code.op(Op::Lget, &[0]);
            code.op(Op::Load8, &[0]);
            code.jump(Op::Jnz, next);
            code.op(Op::Lget, &[2]);
            code.op(Op::Addi, &[1]);
            code.op(Op::Lset, &[2]);
            code.op(Op::Lget, &[0]);
            code.op(Op::Lset, &[1]);
            code.bind(inner);
            code.op(Op::Lget, &[1]);
            code.op(Op::Push, &[1]);
            code.op(Op::Store8, &[0]);
            code.op(Op::Lget, &[1]);
            code.op(Op::Lget, &[0]);
            code.op(Op::Add, &[]);
            code.op(Op::Ltee, &[1]);
            code.op(Op::Push, &[100]);
            code.op(Op::Lt, &[]);
            code.jump(Op::Jnz, inner);
            code.bind(next);
            code.op(Op::Lget, &[0]);
            code.op(Op::Addi, &[1]);
            code.op(Op::Lset, &[0]);
            code.jump(Op::Jmp, outer);
            code.bind(done);
            code.op(Op::Lget, &[2]);
            code.op(Op::Ret, &[]);
        });
        assert_eq!(program.results(&[]), [25]);
    }
}

/// One page of memory, 16 read-only bytes `10 11 … 1f`, then `80` at 16.
fn with_memory(shape: common::Shape, ops: &[(Op, &[u64])]) -> Program {
    let mut program = line(Width::W64, shape, ops);
    program.memory(1, 3);
    program.0.data = vec![
        DataSegment { address: 0, read_only: true, bytes: (0x10..0x20).collect() },
        DataSegment { address: 16, read_only: false, bytes: vec![0x80] },
    ];
    program
}

#[test]
fn loads_of_every_format() {
    let load = |address, op, imms: &[u64]| {
        with_memory((0, 1, 0, 0), &[(Op::Push, &[address]), (op, imms)]).results(&[])[0]
    };
    assert_eq!(load(1, Op::Load, &[0]), 0x1817_1615_1413_1211);
    assert_eq!(load(0, Op::Load64, &[1]), 0x1817_1615_1413_1211);
    assert_eq!(load(0, Op::Load32, &[2]), 0x1514_1312);
    assert_eq!(load(0, Op::Load16, &[2]), 0x1312);
    assert_eq!(load(0, Op::Load8, &[2]), 0x12);
    assert_eq!(load(0, Op::Loadx, &[1 | 16, 2]), 0x1213);
    assert_eq!(load(16, Op::Loadx, &[8, 0]), s(-128));
    assert_eq!(load(16, Op::Loadx, &[16 | 8 | 1, 0]), s(-32768));
    assert_eq!(load(15, Op::Loadx, &[8 | 1, 0]), s(-32768 + 0x1F)); // 80 1f
    assert_eq!(load(65_528, Op::Load, &[0]), 0);
}

#[test]
fn stores_of_every_format() {
    let stored = |op, imms: &[u64]| {
        let program =
            with_memory((0, 0, 0, 0), &[(Op::Push, &[30]), (Op::Push, &[0x0102_0304_0506_0708]), (op, imms)]);
        program.run_all(0, &[], Limits::default()).1.memory[30..40].to_vec()
    };
    assert_eq!(stored(Op::Store, &[1]), [0, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(stored(Op::Store64, &[0]), [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]);
    assert_eq!(stored(Op::Store32, &[0]), [8, 7, 6, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stored(Op::Store16, &[0]), [8, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stored(Op::Store8, &[0]), [8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stored(Op::Storex, &[2 | 16, 0]), [5, 6, 7, 8, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn memory_traps() {
    let trap = |ops: &[(Op, &[u64])]| with_memory((0, 0, 0, 0), ops).trap(&[], Limits::default()).kind;
    let load = |address, op, imms: &[u64]| trap(&[(Op::Push, &[address]), (op, imms), (Op::Pop, &[])]);
    assert_eq!(load(65_529, Op::Load, &[0]), TrapKind::Bounds);
    assert_eq!(load(0, Op::Load8, &[65_536]), TrapKind::Bounds);
    assert_eq!(load(s(-1), Op::Load8, &[1]), TrapKind::Bounds);
    let store = |address| trap(&[(Op::Push, &[address]), (Op::Push, &[0]), (Op::Store16, &[0])]);
    assert_eq!(store(15), TrapKind::Protect);
    assert_eq!(store(65_535), TrapKind::Bounds);
    let three = |op, a, b, c| trap(&[(Op::Push, &[a]), (Op::Push, &[b]), (Op::Push, &[c]), (op, &[])]);
    assert_eq!(three(Op::Mcopy, 0, 65_530, 8), TrapKind::Bounds);
    assert_eq!(three(Op::Mcopy, 65_530, 0, 8), TrapKind::Bounds);
    assert_eq!(three(Op::Mcopy, 15, 100, 8), TrapKind::Protect);
    assert_eq!(three(Op::Mcopy, 65_537, 0, 0), TrapKind::Bounds);
    assert_eq!(three(Op::Mfill, 15, 7, 1), TrapKind::Protect);
    // Zero bytes touch nothing.
    let ops: &[(Op, &[u64])] = &[(Op::Push, &[15]), (Op::Push, &[0]), (Op::Push, &[0]), (Op::Mfill, &[])];
    assert!(with_memory((0, 0, 0, 0), ops).run(0, &[], Limits::default()).end.is_success());
    let wide = line(Width::W128, (0, 1, 0, 0), &[(Op::Push, &[s(-1)]), (Op::Load8, &[0])]);
    assert_eq!(wide.trap_kind(&[]), TrapKind::Bounds);
}

#[test]
fn copies_may_overlap_and_cost_by_length() {
    let ops: &[(Op, &[u64])] = &[
        (Op::Push, &[20]),
        (Op::Push, &[0]),
        (Op::Push, &[16]),
        (Op::Mcopy, &[]),
        (Op::Push, &[22]),
        (Op::Push, &[20]),
        (Op::Push, &[16]),
        (Op::Mcopy, &[]),
        (Op::Push, &[1000]),
        (Op::Push, &[0x1AB]),
        (Op::Push, &[320]),
        (Op::Mfill, &[]),
    ];
    let (outcome, state) = with_memory((0, 0, 0, 0), ops).run_all(0, &[], Limits::default());
    let mut expected = vec![0x10, 0x11];
    expected.extend(0x10..0x20);
    assert_eq!(state.memory[20..38], expected);
    assert!(state.memory[1000..1320].iter().all(|&byte| byte == 0xAB));
    assert_eq!(state.memory[1320], 0);
    // 9 pushes, 3 copies, RET; 16 / 32 twice, 320 / 32 = 10.
    assert_eq!(outcome.gas_used, 9 + 3 + 1 + 10);
}

#[test]
fn growth_of_memory() {
    let ops: &[(Op, &[u64])] = &[
        (Op::Push, &[2]),
        (Op::Mgrow, &[]),
        (Op::Push, &[1]),
        (Op::Mgrow, &[]),
        (Op::Msize, &[]),
        (Op::Push, &[0]),
        (Op::Mgrow, &[]),
        (Op::Push, &[s(-1)]),
        (Op::Mgrow, &[]),
    ];
    let program = with_memory((0, 5, 0, 0), ops);
    let (outcome, state) = program.run_all(0, &[], Limits::default());
    let words: Vec<W512> = [1, u64::MAX, 3, 3, u64::MAX].map(W512::from).to_vec();
    assert_eq!(outcome.end, End::Return { words, refs: Vec::new() });
    assert_eq!(state.memory.len(), 3 * 65_536);
    // 9 instructions and RET at 1 each; 2 pages / 64.
    assert_eq!(outcome.gas_used, 10 + 2 * 1024);
    // The host's limit is the smaller one.
    let End::Return { words, .. } = program.run(0, &[], Limits { memory_pages: 2, ..Limits::default() }).end
    else {
        panic!()
    };
    assert_eq!(words, [u64::MAX, 1, 2, 2, u64::MAX].map(W512::from));
    assert!(program.try_run(0, &[], Limits { memory_pages: 0, ..Limits::default() }).is_err());
}

#[test]
fn the_heap_gives_zeroed_blocks_and_takes_them_back() {
    let mut program = Program::new(Width::W64);
    program.memory(1, 2);
    program.function((0, 5, 0, 0), (1, 0), |code| {
        code.op(Op::Push, &[40]);
        code.op(Op::Alloc, &[]);
        code.op(Op::Dup, &[]);
        code.op(Op::Dup, &[]);
        code.op(Op::Push, &[s(-1)]);
        code.op(Op::Store, &[0]);
        code.op(Op::Push, &[1]);
        code.op(Op::Alloc, &[]);
        code.op(Op::Swap, &[]);
        code.op(Op::Free, &[]);
        code.op(Op::Push, &[33]);
        code.op(Op::Alloc, &[]);
        code.op(Op::Dup, &[]);
        code.op(Op::Load, &[0]);
        code.op(Op::Push, &[70_000]);
        code.op(Op::Alloc, &[]);
        code.op(Op::Ret, &[]);
    });
    let outcome = program.run_all(0, &[], Limits::default());
    let End::Return { words, .. } = outcome.0.end else { panic!("{:?}", outcome.0) };
    assert_eq!(words, [1024, 1072, 1024, 0, 1088].map(W512::from));
    assert_eq!(outcome.1.memory.len(), 2 * 65_536);
    let trap = |ops: &[(Op, &[u64])]| {
        let mut program = line(Width::W128, (0, 0, 0, 0), ops);
        program.memory(1, 2);
        program.trap_kind(&[])
    };
    let alloc = |n| trap(&[(Op::Push, &[n]), (Op::Alloc, &[]), (Op::Pop, &[])]);
    assert_eq!(alloc(131_072), TrapKind::OutOfMemory);
    assert_eq!(alloc(s(-1)), TrapKind::OutOfMemory);
    assert_eq!(trap(&[(Op::Push, &[1024]), (Op::Free, &[])]), TrapKind::BadFree);
    assert_eq!(trap(&[(Op::Push, &[s(-1)]), (Op::Free, &[])]), TrapKind::BadFree);
    let twice: &[(Op, &[u64])] =
        &[(Op::Push, &[5]), (Op::Alloc, &[]), (Op::Dup, &[]), (Op::Free, &[]), (Op::Free, &[])];
    assert_eq!(trap(twice), TrapKind::BadFree);
}

#[test]
fn byte_strings() {
    let with_constant = |shape, ops: &[(Op, &[u64])]| {
        let mut program = with_memory(shape, ops);
        program.0.ref_constants = vec!["dotvm".into()];
        program
    };
    let ops: &[(Op, &[u64])] = &[
        (Op::Rconst, &[0]),
        (Op::Blen, &[]),
        (Op::Push, &[4]),
        (Op::Rconst, &[0]),
        (Op::Bget, &[]),
        (Op::Rnull, &[]),
        (Op::Rkind, &[]),
        (Op::Rconst, &[0]),
        (Op::Rkind, &[]),
        (Op::Push, &[100]),
        (Op::Push, &[1]),
        (Op::Push, &[3]),
        (Op::Rconst, &[0]),
        (Op::Bstore, &[]),
        (Op::Push, &[99]),
        (Op::Push, &[5]),
        (Op::Bload, &[]),
    ];
    let (outcome, state) = with_constant((0, 4, 0, 1), ops).run_all(0, &[], Limits::default());
    let words = [5, u64::from(b'm'), 0, 2].map(W512::from).to_vec();
    let refs = vec![Ref::Bytes(b"\0otv\0".to_vec().into())];
    assert_eq!(outcome.end, End::Return { words, refs });
    assert_eq!(&state.memory[99..104], b"\0otv\0");
    let trap = |ops: &[(Op, &[u64])]| with_constant((0, 0, 0, 0), ops).trap_kind(&[]);
    assert_eq!(trap(&[(Op::Rnull, &[]), (Op::Blen, &[]), (Op::Pop, &[])]), TrapKind::Kind);
    let get =
        |index, op, imms: &[u64]| trap(&[(Op::Push, &[index]), (op, imms), (Op::Bget, &[]), (Op::Pop, &[])]);
    assert_eq!(get(5, Op::Rconst, &[0]), TrapKind::Index);
    assert_eq!(get(s(-1), Op::Rconst, &[0]), TrapKind::Index);
    assert_eq!(get(5, Op::Rnull, &[]), TrapKind::Kind);
    let store = |p, i, n| {
        let ops: &[(Op, &[u64])] =
            &[(Op::Push, &[p]), (Op::Push, &[i]), (Op::Push, &[n]), (Op::Rconst, &[0]), (Op::Bstore, &[])];
        trap(ops)
    };
    assert_eq!(store(s(-1), 3, 3), TrapKind::Index);
    assert_eq!(store(65_535, 3, 2), TrapKind::Bounds);
    assert_eq!(store(8, 3, 2), TrapKind::Protect);
    let load = |p, n| trap(&[(Op::Push, &[p]), (Op::Push, &[n]), (Op::Bload, &[]), (Op::Rpop, &[])]);
    assert_eq!(load(65_535, 2), TrapKind::Bounds);
    let mut big =
        line(Width::W64, (0, 0, 0, 1), &[(Op::Push, &[0]), (Op::Push, &[16 << 20]), (Op::Bload, &[])]);
    big.memory(257, 257);
    assert!(big.run(0, &[], Limits::default()).end.is_success());
    let ops: &[(Op, &[u64])] = &[(Op::Push, &[0]), (Op::Push, &[(16 << 20) + 1]), (Op::Bload, &[])];
    let mut bigger = line(Width::W64, (0, 0, 0, 1), ops);
    bigger.memory(257, 257);
    assert_eq!(bigger.trap_kind(&[]), TrapKind::Size);
}

#[test]
fn reference_stack_locals_and_globals() {
    let mut program = Program::new(Width::W64);
    program.0.ref_constants = vec!["a".into(), "b".into(), "c".into()];
    program.0.ref_globals = 1;
    program.function((0, 0, 0, 5), (0, 1), |code| {
        for constant in 0..3 {
            code.op(Op::Rconst, &[constant]);
        }
        code.op(Op::Rswap, &[2]); // c b a
        code.op(Op::Rlset, &[0]); // c b
        code.op(Op::Rdup, &[1]); // c b c
        code.op(Op::Rgset, &[0]); // c b
        code.op(Op::Rlget, &[0]); // c b a
        code.op(Op::Rgget, &[0]); // c b a c
        code.op(Op::Rnull, &[]);
        code.op(Op::Ret, &[]);
    });
    let (outcome, state) = program.run_all(0, &[], Limits::default());
    let bytes = |text: &'static str| Ref::Bytes(text.into());
    let refs = vec![bytes("c"), bytes("b"), bytes("a"), bytes("c"), Ref::Null];
    assert_eq!(outcome.end, End::Return { words: Vec::new(), refs });
    assert_eq!(state.ref_globals, [bytes("c")]);
}

#[test]
fn word_constants_and_globals() {
    let mut program = line(
        Width::W256,
        (0, 2, 0, 0),
        &[(Op::Gget, &[1]), (Op::Pushc, &[0]), (Op::Dup, &[]), (Op::Gset, &[0])],
    );
    let wide = W512::from(7) << 200;
    program.0.word_constants = vec![wide];
    program.0.word_globals = vec![W512::from(1), W512::from(2)];
    let (outcome, state) = program.run_all(0, &[], Limits::default());
    assert_eq!(outcome.end, End::Return { words: vec![W512::from(2), wide], refs: Vec::new() });
    assert_eq!(state.word_globals, [wide, W512::from(2)]);
}

/// SHA-256 of "abc" (FIPS 180-4) from a byte string, as a word, and from memory.
#[test]
fn digests() {
    let ops: &[(Op, &[u64])] = &[
        (Op::Rconst, &[0]),
        (Op::Hash, &[0]),
        (Op::Rconst, &[0]),
        (Op::Hashw, &[0]),
        (Op::Push, &[0]),
        (Op::Push, &[3]),
        (Op::Hashm, &[0]),
    ];
    let mut program = line(Width::W256, (0, 2, 0, 1), ops);
    program.memory(1, 1);
    program.0.data = vec![DataSegment { address: 0, read_only: true, bytes: b"abc".to_vec() }];
    program.0.ref_constants = vec!["abc".into()];
    let outcome = program.run(0, &[], Limits::default());
    let digest: W512 = "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap();
    let bytes = digest.to_be_bytes::<64>()[32..].to_vec();
    assert_eq!(
        outcome.end,
        End::Return { words: vec![digest, digest], refs: vec![Ref::Bytes(bytes.into())] }
    );
    // 4 pushes, 3 digests of one block each, RET.
    assert_eq!(outcome.gas_used, 4 + 3 * (20 + HashAlg::Sha2_256.block_weight()) + 1);
    let null = line(Width::W256, (0, 1, 0, 0), &[(Op::Rnull, &[]), (Op::Hashw, &[0])]);
    assert_eq!(null.trap_kind(&[]), TrapKind::Kind);
}

#[test]
fn environment() {
    let env = Env { caller: W512::from(1) << 100, height: 9, input: "in".into(), ..Env::default() };
    let run = |width, field: EnvField| {
        let shape = if field.is_word() { (0, 1, 0, 0) } else { (0, 0, 0, 1) };
        let program = line(width, shape, &[(Op::Env, &[field as u64])]);
        let verified = verify(program.0).unwrap();
        let invocation = Invocation { function: 0, words: Vec::new(), refs: Vec::new() };
        let host = &mut NoState { env: env.clone(), ..NoState::default() };
        dotvm_reference::run(&verified, &invocation, &Limits::default(), host).unwrap().0.end
    };
    let word = |word| End::Return { words: vec![word], refs: Vec::new() };
    assert_eq!(run(Width::W128, EnvField::Caller), word(env.caller));
    assert_eq!(run(Width::W32, EnvField::Height), word(W512::from(9)));
    assert_eq!(run(Width::W32, EnvField::Arch), word(W512::from(32)));
    assert_eq!(
        run(Width::W32, EnvField::Input),
        End::Return { words: Vec::new(), refs: vec![Ref::Bytes("in".into())] }
    );
    let End::Trap(trap) = run(Width::W64, EnvField::Caller) else { panic!() };
    assert_eq!(trap.kind, TrapKind::Overflow);
}

#[test]
fn the_hosts_refusal_carries_its_detail() {
    let program = line(Width::W64, (0, 1, 0, 0), &[(Op::Nop, &[]), (Op::Savepoint, &[])]);
    let trap = program.trap(&[], Limits::default());
    assert_eq!(
        (trap.kind, trap.detail.as_deref(), trap.offset),
        (TrapKind::Tx, Some("no transaction is open"), 1)
    );
}

#[test]
fn an_invocation_that_does_not_fit_is_refused() {
    let program = line(Width::W32, (1, 0, 0, 0), &[]);
    let verified = verify(program.0).unwrap();
    let run = |function, words: &[u64], refs| {
        let words = words.iter().map(|&word| W512::from(word)).collect();
        let invocation = Invocation { function, words, refs };
        dotvm_reference::run(&verified, &invocation, &Limits::default(), &mut NoState::default()).is_ok()
    };
    assert!(run(0, &[7], vec![]));
    assert!(!run(1, &[7], vec![]));
    assert!(!run(0, &[], vec![]));
    assert!(!run(0, &[1 << 32], vec![]));
    assert!(!run(0, &[7], vec![Ref::Null]));
}
