//! What a trap shows of the two stacks: what the program had pushed before the instruction that trapped, whatever became of
//! it on the way to the engine.

use dotvm_arch::{W512, Width};
use dotvm_asm::{Options, assemble};
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation};
use dotvm_core::trap::{ShownRef, StackTops, TrapKind};
use dotvm_core::value::Ref;
use dotvm_tests::mock_host::MockHost;

const PROGRAM: &str = r#"
.arch any
.memory 1
.const big word 70000
; What is pushed and never computed: constants, locals, what was in a local before it changed.
.func pub division [a b] -> [r]
  .local x
  PUSH 7 LGET a PUSHC big LGET a LGET b MUL LSET x LGET x LGET a PUSH 1 ADD LSET a
  RCONST "abc" PUSH 41 W2Z unsigned RNULL RCONST "x" RCONST "y" CONS
  LGET a PUSH 0 DIV ADD ADD ADD ADD RPOP RPOP RPOP RPOP RET
.end
; A product that is added, an address that is computed, a constant that is stored.
.func pub store [a b] -> [r]
  LGET b LGET a LGET b MUL LGET a ADD PUSH 1000000 ADD PUSH 5 STORE8 0
  RET
.end
; Ten entries, of which eight are shown, and three references.
.func pub many [a b] -> [r]
  PUSH 1 PUSH 2 PUSH 3 PUSH 4 PUSH 5 PUSH 6 PUSH 7 PUSH 8 LGET a LGET b
  RNULL RNULL RNULL RNULL RNULL RNULL RNULL RNULL RNULL
  TRAP
.end
; A part of a local, which is taken from there.
.func pub part [a b] -> [r]
  .rlocal l
  RCONST "no cell" RLSET l
  LGET a RNULL RLGET l HEAD RPOP RPOP RET
.end
; An integer of a local, added to in its place.
.func pub increment [a b] -> [r]
  .rlocal l
  RCONST "no integer" RLSET l
  LGET b RLGET l RNULL RLSET l RINC RLSET l RET
.end
; Behind calls, blocks and a result.
.func pub deep [a b] -> [r]
  LGET a LGET b CALL inner LGET a JNZ on
  PUSH 3 ADD
on:
  PUSH 9 RCONST "r" BLEN DUP PUSH 1 SUB MOD ADD ADD RET
.end
.func inner [a b] -> [c]
  LGET a LGET b ADD RET
.end
; Heights that are not static.
.func pub window [a b] -> [r] window 16
  BLK 0 1 PUSH 3 JMP on
on:
  BLK 3 2 DUP PUSH 0 DIV ADD ADD ADD RET
.end
; Nothing is there yet.
.func pub loops [a b] -> [r]
again:
  LGET a PUSH 1 ADD LSET a JMP again
.end
"#;

fn tops(width: Width, function: &str) -> (TrapKind, StackTops) {
    let options = Options { width: Some(width), ..Options::default() };
    let module = assemble(PROGRAM, &options).unwrap_or_else(|error| panic!("{error:?}")).module;
    let function =
        module.functions.iter().zip(0..).find(|(_, index)| module.function_name(*index) == function);
    let invocation = Invocation {
        function: function.unwrap().1,
        words: [5, 3].map(W512::from).to_vec(),
        refs: Vec::new(),
    };
    let program = dotvm_engine::compile(module).unwrap();
    let limits = Limits { gas: 10_000, ..Limits::default() };
    let outcome = dotvm_engine::run(&program, &invocation, &limits, &mut MockHost::new(Env::default()));
    match outcome.unwrap().end {
        End::Trap(trap) => (trap.kind, *trap.stacks.unwrap()),
        end => panic!("{end:?}"),
    }
}

#[test]
fn the_tops_of_both_stacks_are_shown() {
    let bytes = |text: &'static str| ShownRef::Value(Ref::Bytes(text.into()));
    let null = || ShownRef::Value(Ref::Null);
    for width in Width::ALL {
        let check = |function, kind, words: &[u64], more_words, refs: Vec<ShownRef>, more_refs| {
            let words = words.iter().map(|&word| W512::from(word)).collect();
            let expected = StackTops { words, more_words, refs, more_refs };
            assert_eq!(tops(width, function), (kind, expected), "{function}, {width} bits");
        };
        let integer = ShownRef::Value(Ref::Int(41.into()));
        let refs = vec![ShownRef::Cell, null(), integer, bytes("abc")];
        check("division", TrapKind::DivZero, &[0, 6, 15, 70_000, 5, 7], 0, refs, 0);
        check("store", TrapKind::Bounds, &[5, 1_000_020, 3], 0, vec![], 0);
        let nulls = (0..8).map(|_| null()).collect();
        check("many", TrapKind::Unreachable, &[3, 5, 8, 7, 6, 5, 4, 3], 2, nulls, 1);
        check("part", TrapKind::Kind, &[5], 0, vec![bytes("no cell"), null()], 0);
        check("increment", TrapKind::Kind, &[3], 0, vec![bytes("no integer")], 0);
        check("deep", TrapKind::DivZero, &[0, 1, 9, 8], 0, vec![], 0);
        check("window", TrapKind::DivZero, &[0, 3, 3, 3, 5], 0, vec![], 0);
        check("loops", TrapKind::Gas, &[], 0, vec![], 0);
    }
}
