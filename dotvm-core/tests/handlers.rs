//! What the verifier demands of handler tables.

use dotvm_arch::Width;
use dotvm_core::builder::CodeBuilder;
use dotvm_core::module::{Function, Handler, HandlerTable, Module, Signature};
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::{derive_heights, verify};

/// `PUSH 1` (offset 0), `PUSH 2` (2), `PUSH 3` (4), `DIV` (6), `POP` (7), `POP` (8), `RET` (9), and the handler
/// `POP RPOP POP RET` (10 to 13).
fn module(handlers: &[Handler]) -> Module {
    let mut code = CodeBuilder::new();
    for number in [1, 2, 3] {
        code.op(Op::Push, &[number]);
    }
    for op in [Op::Div, Op::Pop, Op::Pop, Op::Ret, Op::Pop, Op::Rpop, Op::Pop, Op::Ret] {
        code.op(op, &[]);
    }
    let mut module = Module::new("handlers", Width::W64);
    module.signatures.push(Signature::default());
    let code = code.finish().bytes;
    module.functions.push(Function { signature: 0, word_locals: 0, ref_locals: 0, window: 0, code });
    if !handlers.is_empty() {
        module.handlers.push(HandlerTable { function: 0, entries: handlers.to_vec() });
    }
    module
}

/// Around `PUSH 2 PUSH 3 DIV POP`, keeping the 1.
const GOOD: Handler =
    Handler { from: 2, to: 8, target: 10, kinds: 1 << TrapKind::DivZero as u8, words: 1, refs: 0 };

fn refusal(handlers: &[Handler]) -> String {
    verify(module(handlers)).err().map_or_else(|| "it is accepted".to_owned(), |error| error.to_string())
}

#[test]
fn a_range_is_walked_into_its_handler() {
    verify(module(&[GOOD])).unwrap();
    // Without the handler nothing leads to its code.
    assert!(refusal(&[]).contains("offset 10: no path leads to this instruction"), "{}", refusal(&[]));
}

#[test]
fn places_are_starts_of_instructions() {
    for (wrong, sentence) in [
        (Handler { from: 3, ..GOOD }, "offset 3: a handler's range is here, where no instruction starts"),
        (Handler { to: 5, ..GOOD }, "offset 5: a handler's range's end is here, where no instruction starts"),
        (Handler { target: 99, ..GOOD }, "offset 99: a handler's code is here, where no instruction starts"),
        (
            Handler { to: 15, ..GOOD },
            "offset 15: a handler's range's end is here, where no instruction starts",
        ),
        // Both behind the last instruction, where only a range may end.
        (
            Handler { to: 14, target: 14, ..GOOD },
            "offset 14: a handler's code is here, where no instruction starts",
        ),
        (Handler { to: 2, ..GOOD }, "handler 0 of function 0 has an empty range"),
    ] {
        assert!(refusal(&[wrong]).contains(sentence), "{sentence}: {}", refusal(&[wrong]));
    }
}

#[test]
fn heights_leave_what_is_kept_alone() {
    // At offset 8 the 1 is dropped.
    let dropped = refusal(&[Handler { to: 9, ..GOOD }]);
    assert!(
        dropped.contains("leaves 0 words and 0 references untouched, but a handler around it keeps 1 and 0")
    );
    let higher = refusal(&[Handler { words: 2, ..GOOD }]);
    assert!(higher.contains("offset 2: the code up to here leaves 1 words"), "{higher}");
    let references = refusal(&[Handler { refs: 1, ..GOOD }]);
    assert!(references.contains("a handler around it keeps 1 and 1"), "{references}");
    // Fewer may be kept than there are: the handler's POP takes the code alone, then there is nothing.
    let lower = refusal(&[Handler { words: 0, ..GOOD }]);
    assert!(lower.contains("offset 12: POP takes 1 words"), "{lower}");
}

#[test]
fn ranges_nest() {
    let inner = Handler { from: 4, to: 7, ..GOOD };
    verify(module(&[GOOD, inner])).unwrap();
    verify(module(&[GOOD, GOOD])).unwrap();
    assert!(refusal(&[inner, GOOD]).contains("stands before one whose range it lies in or follows"));
    let overlapping = Handler { from: 4, to: 9, ..GOOD };
    assert!(refusal(&[GOOD, overlapping]).contains("overlaps another without lying in it"));
    verify(module(&[GOOD; 64])).unwrap();
    assert!(refusal(&[GOOD; 65]).contains("inside 64 others, which is the limit"));
}

#[test]
fn user_is_caught_alone() {
    for kinds in [0, TrapKind::Gas.bit(), TrapKind::Meter.bit(), 1 << 31] {
        assert!(refusal(&[Handler { kinds, ..GOOD }]).contains("catches nothing, or something that cannot"));
    }
    let both = TrapKind::User.bit() | TrapKind::DivZero.bit();
    assert!(refusal(&[Handler { kinds: both, ..GOOD }]).contains("catches User and other traps"));
    for kinds in [TrapKind::User.bit(), TrapKind::CATCHABLE & !TrapKind::User.bit()] {
        verify(module(&[Handler { kinds, ..GOOD }])).unwrap();
    }
}

#[test]
fn tables_belong_to_functions() {
    let with = |tables: &[(u32, &[Handler])]| {
        let mut module = module(&[]);
        module.handlers = tables
            .iter()
            .map(|(function, entries)| HandlerTable { function: *function, entries: entries.to_vec() })
            .collect();
        verify(module).unwrap_err().to_string()
    };
    assert!(with(&[(1, &[GOOD])]).contains("names function 1, which does not exist"));
    assert!(with(&[(0, &[])]).contains("the handler table of function 0 is empty"));
    assert!(with(&[(0, &[GOOD]), (0, &[GOOD])]).contains("not in ascending order of functions"));
    let mut window = module(&[GOOD]);
    window.functions[0].window = 4;
    let sentence = verify(window).unwrap_err().to_string();
    assert!(sentence.contains("function 0 is a window function and cannot have handlers"), "{sentence}");
}

#[test]
fn heights_are_found_out() {
    let unknown = Handler { words: 0, refs: 9, ..GOOD };
    assert_eq!(derive_heights(&module(&[unknown]), 0, &[false]), [GOOD]);
    assert_eq!(derive_heights(&module(&[unknown]), 0, &[true]), [unknown]);
}
