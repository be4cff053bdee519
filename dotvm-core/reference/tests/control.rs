//! Control flow, calls, window functions, gas and limits.

mod common;

use common::{Program, line, s};
use dotvm_arch::{W512, Width};
use dotvm_core::limits::Limits;
use dotvm_core::opcode::{Op, Prefix};
use dotvm_core::outcome::{End, Ref};
use dotvm_core::trap::{Trap, TrapKind};

/// n! with a loop: two locals, the parameter and the product.
fn factorial(width: Width) -> Program {
    let mut program = Program::new(width);
    program.function((1, 1, 0, 0), (1, 0), |code| {
        let (again, done) = (code.label(), code.label());
        code.op(Op::Push, &[1]);
        code.op(Op::Lset, &[1]);
        code.bind(again);
        code.op(Op::Lget, &[0]);
        code.jump(Op::Jz, done);
        code.op(Op::Lget, &[1]);
        code.op(Op::Lget, &[0]);
        code.op(Op::Mul, &[]);
        code.op(Op::Lset, &[1]);
        code.op(Op::Lget, &[0]);
        code.op(Op::Addi, &[s(-1)]);
        code.op(Op::Lset, &[0]);
        code.jump(Op::Jmp, again);
        code.bind(done);
        code.op(Op::Lget, &[1]);
        code.op(Op::Ret, &[]);
    });
    program
}

#[test]
fn factorials_at_every_width() {
    // 13! = 6227020800 = 1932053504 modulo 2^32.
    assert_eq!(factorial(Width::W32).results(&[13]), [1_932_053_504]);
    assert_eq!(factorial(Width::W64).results(&[20]), [2_432_902_008_176_640_000]);
    let wide: W512 = "30414093201713378043612608166064768844377641568960512000000000000".parse().unwrap();
    assert_eq!(factorial(Width::W256).wide_results(&[50]), [wide]);
    assert_eq!(factorial(Width::W512).wide_results(&[50]), [wide]);
}

#[test]
fn recursive_fibonacci() {
    let mut program = Program::new(Width::W64);
    program.function((1, 1, 0, 0), (0, 0), |code| {
        let small = code.label();
        code.op(Op::Lget, &[0]);
        code.op(Op::Push, &[2]);
        code.op(Op::Lt, &[]);
        code.jump(Op::Jnz, small);
        for below in [-1, -2] {
            code.op(Op::Lget, &[0]);
            code.op(Op::Addi, &[s(below)]);
            code.op(Op::Call, &[0]);
        }
        code.op(Op::Add, &[]);
        code.op(Op::Ret, &[]);
        code.bind(small);
        code.op(Op::Lget, &[0]);
        code.op(Op::Ret, &[]);
    });
    assert_eq!(program.results(&[15]), [610]);
}

#[test]
fn jump_table_takes_its_last_entry_from_n_on() {
    let mut program = Program::new(Width::W128);
    program.function((1, 1, 0, 0), (0, 0), |code| {
        let targets = [code.label(), code.label(), code.label()];
        code.op(Op::Lget, &[0]);
        code.table(&targets);
        for (index, target) in targets.into_iter().enumerate() {
            code.bind(target);
            code.op(Op::Push, &[10 + index as u64]);
            code.op(Op::Ret, &[]);
        }
    });
    for (index, expected) in [(0, 10), (1, 11), (2, 12), (3, 12), (u64::MAX, 12)] {
        assert_eq!(program.results(&[index]), [expected]);
    }
}

#[test]
fn word_stack_shuffles() {
    let run = |ops: &[(Op, &[u64])], results| {
        let mut all: Vec<(Op, &[u64])> =
            vec![(Op::Push, &[1]), (Op::Push, &[2]), (Op::Push, &[3]), (Op::Push, &[4])];
        all.extend(ops);
        line(Width::W64, (0, results, 0, 0), &all).results(&[])
    };
    assert_eq!(run(&[(Op::Rot, &[2])], 4), [1, 3, 4, 2]);
    assert_eq!(run(&[(Op::Rot, &[0])], 4), [1, 2, 3, 4]);
    assert_eq!(run(&[(Op::Swapn, &[3])], 4), [4, 2, 3, 1]);
    assert_eq!(run(&[(Op::Dupn, &[2])], 5), [1, 2, 3, 4, 2]);
    assert_eq!(run(&[(Op::Swap, &[]), (Op::Dup, &[])], 5), [1, 2, 4, 3, 3]);
    assert_eq!(run(&[(Op::Popn, &[3])], 1), [1]);
    assert_eq!(run(&[(Op::Select, &[])], 2), [1, 2]);
    assert_eq!(run(&[(Op::Push, &[0]), (Op::Select, &[])], 3), [1, 2, 4]);
}

#[test]
fn a_prefix_truncates_and_zero_extends() {
    let mut program = Program::new(Width::W64);
    program.function((2, 3, 0, 0), (0, 0), |code| {
        code.op(Op::Lget, &[0]);
        code.op(Op::Lget, &[1]);
        code.prefixed(Some(Prefix::W8), Op::Add, &[]);
        code.op(Op::Lget, &[0]);
        code.prefixed(Some(Prefix::W32), Op::Addi, &[s(-1)]);
        code.op(Op::Lget, &[0]);
        code.op(Op::Lget, &[1]);
        code.prefixed(Some(Prefix::W16), Op::Cmp, &[]);
        code.op(Op::Ret, &[]);
    });
    assert_eq!(program.results(&[0x1_0000_0000, 0x1_02FF]), [0xFF, 0xFFFF_FFFF, 0xFFFF]);
}

/// 1 + … + n by guest addresses: [n acc] circulates through the block at address 100.
fn window_sum(window: u16, exit: u64) -> Program {
    let mut program = Program::new(Width::W256);
    let mut mapped = None;
    let code = program.window((1, 1, 0, 0), window, |code| {
        let (again, done) = (code.label(), code.label());
        code.op(Op::Blk, &[0, 2]);
        code.op(Op::Push, &[0]);
        code.op(Op::Push, &[100]);
        code.op(Op::Jmap, &[0]);
        code.bind(again);
        code.op(Op::Blk, &[2, 1]);
        code.op(Op::Swap, &[]);
        code.op(Op::Dup, &[]);
        code.jump(Op::Jz, done);
        code.op(Op::Dup, &[]);
        code.op(Op::Rot, &[2]);
        code.op(Op::Add, &[]);
        code.op(Op::Swap, &[]);
        code.op(Op::Addi, &[s(-1)]);
        code.op(Op::Swap, &[]);
        code.op(Op::Push, &[exit]);
        code.op(Op::Jmap, &[0]);
        code.bind(done);
        code.op(Op::Blk, &[2, 0]);
        code.op(Op::Pop, &[]);
        code.op(Op::Ret, &[]);
        mapped = Some((again, done));
    });
    let (again, done) = mapped.unwrap();
    program.0.jump_maps.push(dotvm_core::module::JumpMap {
        function: 0,
        entries: vec![(100, code.offset_of(again)), (200, code.offset_of(done))],
    });
    program
}

#[test]
fn window_functions_count_their_height() {
    assert_eq!(window_sum(3, 100).results(&[100]), [5050]);
    // Straight to the end with [n' acc']: n' is the result.
    assert_eq!(window_sum(3, 200).results(&[9]), [8]);
    let trap = |program: Program, offset| {
        let trap = program.trap(&[5], Limits::default());
        assert_eq!(trap.offset, offset);
        trap.kind
    };
    // Entry: BLK (3 bytes), PUSH 0 (2), PUSH 100 (3), JMAP (2). Loop: BLK (3) SWAP DUP JZ(2) DUP ROT(2) ADD SWAP
    // ADDI(2) SWAP are 15 bytes, then PUSH of 3 bytes (101) or 2 bytes (-1).
    assert_eq!(trap(window_sum(2, 100), 0), TrapKind::Stack);
    assert_eq!(trap(window_sum(3, 101), 28), TrapKind::Jump);
    assert_eq!(trap(window_sum(3, s(-1)), 27), TrapKind::Jump);
}

#[test]
fn a_window_function_returns_only_at_the_height_of_its_results() {
    let mut program = Program::new(Width::W64);
    program.window((2, 1, 0, 0), 4, |code| {
        code.op(Op::Blk, &[1, 0]);
        code.op(Op::Ret, &[]);
    });
    let trap = program.trap(&[1, 2], Limits::default());
    assert_eq!((trap.kind, trap.offset), (TrapKind::Stack, 3));
}

/// Three functions behind a table: f(x) = 2x, an empty entry, and one of another signature.
fn table_calls() -> Program {
    let mut program = Program::new(Width::W64);
    program.function((2, 1, 0, 0), (0, 0), |code| {
        code.op(Op::Lget, &[0]);
        code.op(Op::Lget, &[1]);
        code.op(Op::Calli, &[1, 0]);
        code.op(Op::Ret, &[]);
    });
    program.function((1, 1, 0, 0), (16, 0), |code| {
        code.op(Op::Lget, &[0]);
        code.op(Op::Dup, &[]);
        code.op(Op::Add, &[]);
        code.op(Op::Ret, &[]);
    });
    program.function((2, 1, 0, 0), (0, 0), |code| {
        code.op(Op::Lget, &[0]);
        code.op(Op::Ret, &[]);
    });
    // The same signature by value under another index.
    program.signature((1, 1, 0, 0));
    program.0.functions[1].signature = 3;
    program.0.tables = vec![vec![Some(1), None, Some(2)]];
    program
}

#[test]
fn indirect_calls() {
    let program = table_calls();
    assert_eq!(program.results(&[21, 0]), [42]);
    for (index, kind) in
        [(1, TrapKind::Null), (2, TrapKind::Sig), (3, TrapKind::Index), (s(-1), TrapKind::Index)]
    {
        let trap = program.trap(&[21, index], Limits::default());
        assert_eq!(trap, Trap { kind, detail: None, function: 0, offset: 4, stacks: None });
    }
}

#[test]
fn an_indirect_call_is_charged_for_its_callee() {
    let program = table_calls();
    // LGET 1 + LGET 1 + CALLI 5, 16 locals / 8 = 2, LGET DUP ADD RET = 4, RET 1.
    let outcome = program.run(0, &[21, 0], Limits::default());
    assert_eq!(outcome.gas_used, 7 + 2 + 4 + 1);
    let trap = program.trap(&[21, 0], Limits { gas: 8, ..Limits::default() });
    assert_eq!((trap.kind, trap.function, trap.offset), (TrapKind::Gas, 0, 4));
    let trap = program.trap(&[21, 0], Limits { gas: 12, ..Limits::default() });
    assert_eq!((trap.kind, trap.function, trap.offset), (TrapKind::Gas, 1, 0));
    let trap = program.trap(&[21, 0], Limits { gas: 13, ..Limits::default() });
    assert_eq!((trap.kind, trap.function, trap.offset), (TrapKind::Gas, 0, 7));
}

#[test]
fn gas_of_a_loop_and_the_block_where_it_ends() {
    let mut program = Program::new(Width::W64);
    program.function((0, 0, 0, 0), (1, 0), |code| {
        let again = code.label();
        code.op(Op::Push, &[3]); // 0: 1
        code.op(Op::Lset, &[0]); // 2: 1
        code.bind(again);
        code.op(Op::Lget, &[0]); // 4: 1
        code.op(Op::Addi, &[s(-1)]); // 6: 1
        code.op(Op::Ltee, &[0]); // 8: 1
        code.jump(Op::Jnz, again); // 10: 1
        code.op(Op::Ret, &[]); // 12: 1
    });
    let run = |gas| program.run(0, &[], Limits { gas, ..Limits::default() });
    let full = run(1_000);
    assert!(full.end.is_success());
    assert_eq!(full.gas_used, 2 + 3 * 4 + 1);
    assert!(run(15).end.is_success());
    for (gas, offset, used) in [(14, 12, 14), (13, 4, 10), (6, 4, 6), (5, 0, 0), (0, 0, 0)] {
        let outcome = run(gas);
        let trap = Trap { kind: TrapKind::Gas, detail: None, function: 0, offset, stacks: None };
        assert_eq!((outcome.end, outcome.gas_used), (End::Trap(trap), used), "{gas}");
    }
}

#[test]
fn powers_are_charged_by_the_bits_of_their_exponent() {
    let gas = |width, op, operands: &[u64]| {
        let pushes: Vec<[u64; 1]> = operands.iter().map(|&operand| [operand]).collect();
        let mut ops: Vec<(Op, &[u64])> = pushes.iter().map(|push| (Op::Push, &push[..])).collect();
        ops.push((op, &[]));
        line(width, (0, 1, 0, 0), &ops).run(0, &[], Limits::default()).gas_used
    };
    // 2 pushes, EXP 10, RET 1; a division is 8 at 64 bits and 38 at 256.
    assert_eq!(gas(Width::W64, Op::Exp, &[3, 0]), 13);
    assert_eq!(gas(Width::W64, Op::Exp, &[3, 5]), 13 + 8 * 3 / 2);
    assert_eq!(gas(Width::W256, Op::Exp, &[3, 5]), 13 + 38 * 3 / 2);
    // 3 pushes, MODPOW 20, RET 1.
    assert_eq!(gas(Width::W64, Op::Modpow, &[3, 5, 7]), 24 + 2 * (8 * 3 / 2));
    // 2 pushes, MODINV 20, RET 1, over the 4 bits of 11.
    assert_eq!(gas(Width::W64, Op::Modinv, &[3, 11]), 23 + 2 * (8 * 4 / 2));
}

/// f(n): nothing if n = 0, else f(n − 1).
fn countdown(op: Op, ref_locals: u16) -> Program {
    let mut program = Program::new(Width::W64);
    program.function((1, 0, 0, 0), (0, ref_locals), |code| {
        let done = code.label();
        code.op(Op::Lget, &[0]); // 0
        code.jump(Op::Jz, done); // 2
        code.op(Op::Lget, &[0]); // 4
        code.op(Op::Addi, &[s(-1)]); // 6
        code.op(op, &[0]); // 8
        if op == Op::Call {
            code.op(Op::Ret, &[]);
        }
        code.bind(done);
        code.op(Op::Ret, &[]);
    });
    program
}

#[test]
fn call_depth_is_exact() {
    let limits = Limits { call_depth: 6, ..Limits::default() };
    let program = countdown(Op::Call, 0);
    assert!(program.run(0, &[5], limits).end.is_success());
    let trap = program.trap(&[6], limits);
    assert_eq!(trap, Trap { kind: TrapKind::Depth, detail: None, function: 0, offset: 8, stacks: None });
    assert!(countdown(Op::Tcall, 0).run(0, &[10_000], limits).end.is_success());
    let none = Limits { call_depth: 0, ..Limits::default() };
    let outcome = program.run(0, &[0], none);
    let trap = Trap { kind: TrapKind::Depth, detail: None, function: 0, offset: 0, stacks: None };
    assert_eq!((outcome.end, outcome.gas_used), (End::Trap(trap), 0));
}

#[test]
fn stack_limits_are_exact() {
    // A frame is the parameter and one operand; a caller's operand went along as argument.
    let fits = |program: &Program, n, limits| match program.run(0, &[n], limits).end {
        End::Trap(trap) => {
            assert_eq!(trap.kind, TrapKind::Stack);
            false
        }
        _ => true,
    };
    let words = |stack_words| Limits { stack_words, ..Limits::default() };
    let program = countdown(Op::Call, 0);
    assert!(fits(&program, 5, words(5 + 2)));
    assert!(!fits(&program, 5, words(5 + 1)));
    assert!(fits(&countdown(Op::Tcall, 0), 50, words(2)));
    assert!(!fits(&countdown(Op::Tcall, 0), 0, words(1)));
    let refs = |stack_refs| Limits { stack_refs, ..Limits::default() };
    let program = countdown(Op::Call, 3);
    assert!(fits(&program, 5, refs(6 * 3)));
    assert!(!fits(&program, 5, refs(6 * 3 - 1)));
    assert!(fits(&countdown(Op::Tcall, 3), 50, refs(3)));
}

#[test]
fn guest_meter() {
    let ops: &[(Op, &[u64])] =
        &[(Op::Meter, &[7]), (Op::Meterq, &[]), (Op::Push, &[2]), (Op::Meterd, &[]), (Op::Meterq, &[])];
    let program = line(Width::W32, (0, 2, 0, 0), ops);
    let run = |guest_gas| program.run(0, &[], Limits { guest_gas, ..Limits::default() });
    let outcome = run(10);
    let words = vec![W512::from(3), W512::from(1)];
    assert_eq!(outcome.end, End::Return { words, refs: Vec::new() });
    assert_eq!(outcome.guest_gas_used, 9);
    let outcome = run(8);
    let trap = Trap { kind: TrapKind::Meter, detail: None, function: 0, offset: 5, stacks: None };
    assert_eq!((outcome.end, outcome.guest_gas_used), (End::Trap(trap), 7));
    let outcome = run(6);
    let trap = Trap { kind: TrapKind::Meter, detail: None, function: 0, offset: 0, stacks: None };
    assert_eq!((outcome.end, outcome.guest_gas_used), (End::Trap(trap), 0));
    // A 32-bit word cannot say how much is left of 2^40.
    let End::Return { words, .. } = run(1 << 40).end else { panic!() };
    assert_eq!(words, [W512::from(u32::MAX), W512::from(u32::MAX)]);
}

#[test]
fn gas_is_what_is_left_after_the_block_of_gas() {
    let program = line(Width::W64, (0, 1, 0, 0), &[(Op::Nop, &[]), (Op::Gas, &[])]);
    let End::Return { words, .. } = program.run(0, &[], Limits { gas: 50, ..Limits::default() }).end else {
        panic!()
    };
    assert_eq!(words, [W512::from(49)]);
}

#[test]
fn ends() {
    let mut program = line(Width::W64, (0, 0, 0, 0), &[]);
    program.0.ref_constants = vec!["sold out".into()];
    let mut build = |op| {
        program.0.functions.clear();
        program.0.signatures.clear();
        program.function((0, 0, 0, 0), (0, 0), |code| {
            code.op(Op::Push, &[s(-1)]);
            code.op(Op::Rconst, &[0]);
            code.op(op, &[]);
        });
        program.run(0, &[], Limits::default()).end
    };
    let code = W512::from(u64::MAX);
    assert_eq!(build(Op::Halt), End::Halt { code, result: Ref::Bytes("sold out".into()) });
    let detail = Some(format!("exception {}: sold out", u64::MAX));
    assert_eq!(
        build(Op::Throw),
        End::Trap(Trap { kind: TrapKind::User, detail, function: 0, offset: 4, stacks: None })
    );
    assert_eq!(line(Width::W64, (0, 0, 0, 0), &[(Op::Nop, &[])]).results(&[]), [0u64; 0]);
    let mut program = Program::new(Width::W64);
    program.function((0, 0, 0, 0), (0, 0), |code| {
        code.op(Op::Nop, &[]);
        code.op(Op::Trap, &[]);
    });
    assert_eq!(program.trap(&[], Limits::default()).offset, 1);
    assert_eq!(program.trap_kind(&[]), TrapKind::Unreachable);
}

#[test]
fn traps_name_the_function_they_are_in() {
    let mut program = Program::new(Width::W64);
    program.function((1, 1, 0, 0), (0, 0), |code| {
        code.op(Op::Lget, &[0]);
        code.op(Op::Call, &[1]);
        code.op(Op::Ret, &[]);
    });
    program.function((1, 1, 0, 0), (0, 0), |code| {
        code.op(Op::Push, &[1]);
        code.op(Op::Lget, &[0]);
        code.op(Op::Div, &[]);
        code.op(Op::Ret, &[]);
    });
    let trap = program.trap(&[0], Limits::default());
    assert_eq!(trap, Trap { kind: TrapKind::DivZero, detail: None, function: 1, offset: 4, stacks: None });
    assert_eq!(program.results(&[1]), [1]);
}
