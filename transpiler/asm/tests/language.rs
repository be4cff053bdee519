//! What the language means: structured forms, values at each width, constants, data, lines and labels.

use std::path::{Path, PathBuf};

use dotvm_arch::{W512, Width};
use dotvm_asm::{Options, assemble, disassemble};
use dotvm_core::decode::{Inst, decode};
use dotvm_core::module::{Constant, DataSegment, Memory, Module};
use dotvm_core::opcode::{Op, Prefix};
use dotvm_core::verify::verify;

fn module_at(width: Width, source: &str) -> Module {
    let options = Options { width: Some(width), ..Options::default() };
    assemble(source, &options).unwrap_or_else(|error| panic!("{error}")).module
}

fn module(source: &str) -> Module {
    module_at(Width::W64, source)
}

fn insts(module: &Module, function: usize) -> Vec<Inst> {
    let code = &module.functions[function].code;
    decode(code, module.width.bits(), &mut Default::default()).unwrap().insts
}

/// The one error of a source: line, column and message.
fn error(width: Option<Width>, source: &str) -> (u32, u32, String) {
    let error = assemble(source, &Options { width, ..Options::default() }).unwrap_err();
    assert_eq!(error.diagnostics.len(), 1, "{error}");
    let diagnostic = &error.diagnostics[0];
    (diagnostic.line, diagnostic.column, diagnostic.message.clone())
}

/// Both bodies give the same code, and the verifier accepts it.
fn assert_same_code(form: &str, jumps: &str) {
    let [form, jumps] = [form, jumps].map(|body| module(&format!(".func f [a b] -> [r]\n{body}\n.end\n")));
    assert_eq!(insts(&form, 0), insts(&jumps, 0));
    assert_eq!(form.functions, jumps.functions);
    verify(form).unwrap();
}

#[test]
fn structured_forms_are_jumps() {
    assert_same_code(
        "LGET a .if LGET b LSET a .end_if LGET a RET",
        "LGET a JZ out LGET b LSET a\nout: LGET a RET",
    );
    assert_same_code(
        "LGET a .if PUSH 1 .else PUSH 2 .end_if RET",
        "LGET a JZ other PUSH 1 JMP out\nother: PUSH 2\nout: RET",
    );
    // The test of a loop stands behind its body: one jump for each round.
    assert_same_code(
        ".while LGET a LGET b LT .do\nLGET a ADDI 1 LSET a\n.end_while LGET a RET",
        "JMP test\nbody: LGET a ADDI 1 LSET a\ntest: LGET a LGET b LT JNZ body LGET a RET",
    );
    assert_same_code(
        ".while LGET a .if LGET b .else PUSH 1 .end_if .do\n.while LGET b .do PUSH 0 LSET b .end_while\n.end_while PUSH 7 RET",
        "JMP test\nbody: JMP inner\nzero: PUSH 0 LSET b\ninner: LGET b JNZ zero\n\
         test: LGET a JZ one LGET b JMP both\none: PUSH 1\nboth: JNZ body PUSH 7 RET",
    );
}

#[test]
fn structured_forms_leave_no_dead_jumps() {
    assert_same_code(
        "LGET a .if LGET b RET .else LGET a RET .end_if",
        "LGET a JZ other LGET b RET\nother: LGET a RET",
    );
    assert_same_code(
        "LGET a .if LGET b .if LGET a RET .else LGET b RET .end_if .else PUSH 3 .end_if RET",
        "LGET a JZ other LGET b JZ inner LGET a RET\ninner: LGET b RET\nother: PUSH 3 RET",
    );
    assert_same_code(
        "LGET a .if LGET b .if LGET a RET .end_if .else NOP .end_if PUSH 3 RET",
        "LGET a JZ other LGET b JZ inner LGET a RET\ninner: JMP out\nother: NOP\nout: PUSH 3 RET",
    );
}

#[test]
fn a_push_takes_the_shortest_form_of_its_word() {
    let pushed = |width, value: &str| {
        let module = module_at(width, &format!(".func f\nPUSH {value} POP RET\n.end"));
        let inst = insts(&module, 0)[0];
        match inst.op {
            Op::Push => Ok(inst.a as i64),
            _ => Err(module.word_constants[inst.a as usize]),
        }
    };
    let two_to = |bits: u32| W512::from(1u8) << bits as usize;
    for width in Width::ALL {
        let bits = width.bits();
        assert_eq!(pushed(width, "-1"), Ok(-1));
        assert_eq!(pushed(width, "'A'"), Ok(65));
        assert_eq!(pushed(width, "0b1010_1010"), Ok(0xAA));
        // All bits set are -1, whatever the width.
        assert_eq!(pushed(width, &format!("{:#x}", two_to(bits).wrapping_sub(W512::from(1u8)))), Ok(-1));
        assert_eq!(pushed(width, "0x8000_0000"), Ok(if bits == 32 { i32::MIN.into() } else { 0x8000_0000 }));
    }
    assert_eq!(pushed(Width::W64, "0x8000_0000_0000_0000"), Ok(i64::MIN));
    assert_eq!(pushed(Width::W64, "-0x8000_0000_0000_0000"), Ok(i64::MIN));
    assert_eq!(pushed(Width::W128, "0x7FFF_FFFF_FFFF_FFFF"), Ok(i64::MAX));
    assert_eq!(pushed(Width::W128, "0x8000_0000_0000_0000"), Err(two_to(63)));
    assert_eq!(pushed(Width::W128, "0xFFFF_FFFF_FFFF_FFFF"), Err(W512::from(u64::MAX)));
    assert_eq!(
        pushed(Width::W128, "-0x8000_0000_0000_0001"),
        Err(two_to(128) - two_to(63) - W512::from(1u8))
    );
    assert_eq!(pushed(Width::W512, "-9223372036854775809"), Err(W512::MAX - two_to(63)));
    // Just outside.
    let message = "the value does not fit a word of 32 bits".to_owned();
    assert_eq!(error(Some(Width::W32), ".func f\nPUSH 0x1_0000_0000 POP RET\n.end"), (2, 6, message.clone()));
    assert_eq!(error(Some(Width::W32), ".func f\nPUSH -0x8000_0001 POP RET\n.end"), (2, 6, message));
}

#[test]
fn a_prefix_as_wide_as_the_word_is_left_out() {
    let source = ".func f [a b] -> [r]\nLGET a LGET b W32 ADD W32 ADDI 0xFFFF_FFFF RET\n.end";
    let prefixes =
        |width| insts(&module_at(width, source), 0)[2..4].iter().map(|inst| inst.prefix).collect::<Vec<_>>();
    assert_eq!(prefixes(Width::W32), [None, None]);
    assert_eq!(prefixes(Width::W64), [Some(Prefix::W32), Some(Prefix::W32)]);
    for width in Width::ALL {
        assert_eq!(insts(&module_at(width, source), 0)[3].a as i64, -1);
        verify(module_at(width, source)).unwrap();
    }
}

#[test]
fn literal_constants_stand_behind_declared_ones_each_once() {
    let source = ".func f\nRCONST \"b\" RCONST k RCONST 0x61 RCONST \"b\" RPOP RPOP RPOP RPOP\n\
                  PUSH 0x1_0000_0000_0000_0000 PUSHC w PUSH 0x1_0000_0000_0000_0000 POPN 3 RET\n.end\n\
                  .const k bytes \"k\" \"k\" 0x6b\n.const w word 9";
    let module = module_at(Width::W256, source);
    assert_eq!(module.ref_constants, ["kkk", "b", "a"].map(Constant::from));
    assert_eq!(module.word_constants, [W512::from(9u8), W512::from(1u128 << 64)]);
    let indices: Vec<u64> = insts(&module, 0)[..4].iter().map(|inst| inst.a).collect();
    assert_eq!(indices, [1, 0, 2, 1]);
    let debug = module.debug.unwrap();
    assert_eq!(
        (debug.ref_constants, debug.word_constants),
        (vec!["k".into(), "".into(), "".into()], vec!["w".into(), "".into()])
    );
}

#[test]
fn documents_are_deterministic_cbor() {
    // RFC 8949 section 4.2.1: shortest forms, keys in bytewise order. {"a": 1, "b": [null]} by hand.
    let module = module(".const d doc {\"b\": [null],\n \"a\": 1}\n.func f\nRET\n.end");
    assert_eq!(
        module.ref_constants[0].as_bytes().unwrap()[..],
        [0xa2, 0x61, b'a', 0x01, 0x61, b'b', 0x81, 0xf6]
    );
    assert!(disassemble(&module).unwrap().contains(".const d doc {\"a\":1,\"b\":[null]}"));
}

#[test]
fn data_goes_behind_the_previous_segment_of_its_class() {
    let module = module(
        ".data buffer 0x0000\n.data ro hello \"hello\"\n.data 100 \"x\"\n.data ro more \"!\"\n.data last \"z\"\n\
         .func f -> [5]\nPUSH hello PUSH hello.len PUSH more PUSH buffer PUSH last RET\n.end",
    );
    let segment =
        |address, read_only, bytes: &[u8]| DataSegment { address, read_only, bytes: bytes.to_vec() };
    assert_eq!(
        module.data,
        [
            segment(0, true, b"hello"),
            segment(16, true, b"!"),
            segment(32, false, b"\0\0"),
            segment(100, false, b"x"),
            segment(112, false, b"z"),
        ]
    );
    assert_eq!(module.memory, Memory { min_pages: 1, max_pages: 1, heap_base: 128 });
    assert_eq!(insts(&module, 0)[..5].iter().map(|inst| inst.a).collect::<Vec<_>>(), [0, 5, 16, 32, 112]);
    verify(module).unwrap();
}

#[test]
fn the_debug_section_knows_lines_labels_and_source() {
    let source = "; one\n.func f [a]\n  LGET a\n  POP NOP\nlater: @hidden:\n  NOP\n  .loc 70\n  NOP\n  .loc 0\n  RET\n.end\n";
    let module = assemble(source, &Options::for_file("dir/name.dasm")).unwrap().module;
    assert_eq!(module.name, "name");
    let debug = module.debug.as_ref().unwrap();
    assert_eq!(debug.source_name, "name.dasm");
    assert_eq!(debug.source_hash, *blake3::hash(source.as_bytes()).as_bytes());
    // LGET a takes two bytes, POP and NOP one each.
    assert_eq!(debug.functions[0].lines, [(0, 3), (2, 4), (4, 6), (5, 70)]);
    assert_eq!(debug.functions[0].labels, [(4, "later".to_owned())]);
    assert_eq!(debug.functions[0].words, ["a"]);

    // A path that is longer than a name may be is recorded without its folders.
    let path = format!("{}/name.dasm", "x".repeat(300));
    let long = assemble(source, &Options::for_file(&path)).unwrap().module;
    assert_eq!(long.debug.unwrap().source_name, "name.dasm");

    let module = self::module(&format!(".nodebug\n{source}"));
    assert_eq!(module.debug, None);
    assert_eq!(module.name, "module");
}

#[test]
fn the_width_comes_from_the_source_or_the_caller() {
    let width = |source: &str, width| {
        assemble(source, &Options { width, ..Options::default() }).map(|done| done.module.width)
    };
    assert_eq!(width("", None), Ok(Width::W64));
    assert_eq!(width("", Some(Width::W512)), Ok(Width::W512));
    assert_eq!(width(".arch any", Some(Width::W32)), Ok(Width::W32));
    assert_eq!(width(".arch 256", None), Ok(Width::W256));
    assert_eq!(width(".arch 256", Some(Width::W256)), Ok(Width::W256));
    assert!(width(".arch 256", Some(Width::W64)).is_err());
}

#[test]
fn signatures_are_shared_and_exports_sorted() {
    let module = module(
        ".sig s [a]{k} -> [r]\n.func pub z [a] -> [r]\nLGET a RET\n.end\n.func pub a [x]{y} -> [1]\nLGET x RET\n.end\n\
         .func other [b] -> [q]\nLGET b RET\n.end\n.export m other",
    );
    let signatures: Vec<u32> = module.functions.iter().map(|function| function.signature).collect();
    assert_eq!((module.signatures.len(), signatures), (2, vec![1, 0, 1]));
    let exports: Vec<_> =
        module.exports.iter().map(|export| (export.name.as_str(), export.function)).collect();
    assert_eq!(exports, [("a", 1), ("m", 2), ("z", 0)]);
    verify(module).unwrap();
}

#[test]
fn code_that_does_not_decode_has_no_text() {
    let mut module = module(".func f\nRET\n.end");
    module.functions[0].code = vec![Op::Nop as u8, 0xFF];
    let message = disassemble(&module).unwrap_err().to_string();
    assert_eq!(message, "function f, offset 1: no operation has the code 0xff");
}

/// Every program in the language's description assembles, verifies and comes back from its text.
#[test]
fn the_documentation_is_true() {
    let text = include_str!("../../../docs/assembly.md");
    let programs: Vec<&str> =
        text.split("```dasm\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(programs.len() >= 4);
    for program in programs {
        for width in Width::ALL {
            let module = module_at(width, program);
            if let Err(error) = verify(module.clone()) {
                panic!("{}", dotvm_asm::explain_verify_error(program, &module, &error, false));
            }
            let text = disassemble(&module).unwrap();
            assert_eq!(module_at(width, &text), module);
        }
    }
}

/// Every program of the repository, at every width it allows.
#[test]
fn the_examples_come_back_from_their_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("tests/data/everything.dasm")];
    collect_sources(&root.join("../../examples"), &mut files);
    let mut modules = 0;
    for file in &files {
        let source = std::fs::read_to_string(file).unwrap();
        for width in Width::ALL {
            let options = Options { width: Some(width), ..Options::for_file("example.dasm") };
            match assemble(&source, &options) {
                Ok(assembled) => {
                    let module = assembled.module;
                    let text = disassemble(&module).unwrap();
                    assert_eq!(module_at(width, &text), module, "{}", file.display());
                    let bare = Module { debug: None, ..module };
                    assert_eq!(module_at(width, &disassemble(&bare).unwrap()), bare, "{}", file.display());
                    modules += 1;
                }
                // A source for one width is refused at the others, and for no other reason.
                Err(error) => {
                    let messages: Vec<_> =
                        error.diagnostics.iter().map(|error| error.message.as_str()).collect();
                    assert!(
                        messages.iter().any(|message| message.starts_with("this source is for words of")),
                        "{error}"
                    );
                }
            }
        }
    }
    assert!(modules >= files.len());
}

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect_sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "dasm") {
            files.push(path);
        }
    }
}

#[test]
fn a_source_with_every_declaration_verifies_at_every_width() {
    let source = include_str!("data/everything.dasm");
    for width in Width::ALL {
        let module = module_at(width, source);
        if let Err(error) = verify(module.clone()) {
            panic!("{width} bits: {}", dotvm_asm::explain_verify_error(source, &module, &error, false));
        }
    }
}
