//! What the assembler says about wrong sources, word for word: `errors/*.dasm` and the expected text beside them.
//! `DOTVM_BLESS=1` writes the texts anew.

use std::path::Path;

use dotvm_arch::Width;
use dotvm_asm::{Options, assemble, explain_verify_error, locate_verify_error};
use dotvm_core::verify::verify;
use proptest::prelude::*;

fn compare(expected: &Path, actual: &str) {
    if std::env::var_os("DOTVM_BLESS").is_some() {
        std::fs::write(expected, actual).unwrap();
    }
    let text = std::fs::read_to_string(expected).unwrap_or_default();
    assert_eq!(actual, text, "{} is not what the assembler says", expected.display());
}

#[test]
fn messages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "dasm") {
            let source = std::fs::read_to_string(&path).unwrap();
            let file = path.file_name().unwrap().to_str().unwrap();
            let options =
                Options { width: file.starts_with("arch").then_some(Width::W64), ..Options::for_file(file) };
            let error = assemble(&source, &options).unwrap_err();
            compare(&path.with_extension("txt"), &error.render(false));
            assert!(error.diagnostics.is_sorted_by_key(|diagnostic| (diagnostic.line, diagnostic.column)));
            for diagnostic in &error.diagnostics {
                let line = source.lines().nth(diagnostic.line as usize - 1).unwrap_or_default();
                let before: String = line.chars().take(diagnostic.column as usize - 1).collect();
                assert!(source[..diagnostic.span.start].ends_with(&before), "{diagnostic:?}");
            }
            count += 1;
        }
    }
    assert!(count >= 6);
}

#[test]
fn colour_only_when_asked_for() {
    let error = assemble("PUSH", &Options::for_file("x.dasm")).unwrap_err();
    assert!(!error.render(false).contains('\u{1b}'));
    assert!(error.render(true).contains('\u{1b}'));
    assert_eq!(error.to_string(), error.render(false).trim_end());
}

#[test]
fn a_verifier_error_is_shown_at_its_instruction() {
    let source = "; comment\n.func f [a] -> [r]\n  LGET a .while DUP .do\n    POP PUSH 1 ADD\n  .end_while RET\n.end\n";
    let module = assemble(source, &Options::for_file("loop.dasm")).unwrap().module;
    let error = verify(module.clone()).unwrap_err();
    let place = locate_verify_error(source, &module, &error).unwrap();
    assert_eq!(&source[place.span.clone()], "ADD", "{error}");
    assert_eq!((place.line, place.column), (4, 16));
    let text = explain_verify_error(source, &module, &error, false);
    assert!(text.contains("loop.dasm:4:16") && text.contains("    POP PUSH 1 ADD"), "{text}");

    // The wrong source is not taken for the right one.
    let other = source.replace("POP PUSH 1 ADD", "NOP");
    assert_eq!(locate_verify_error(&other, &module, &error), None);
    assert_eq!(explain_verify_error(&other, &module, &error, false), format!("error: {error}\n"));
}

#[test]
fn reading_stops_after_a_thousand_errors() {
    let error = assemble(&"?\n".repeat(100_000), &Options::default()).unwrap_err();
    assert!((1000..1100).contains(&error.diagnostics.len()), "{}", error.diagnostics.len());
    assert!(error.render(false).ends_with("and 950 more errors\n"));
}

#[test]
fn a_short_text_does_not_ask_for_much_memory() {
    let source: String = (0..10_000).map(|number| format!(".func f{number} [65535]\nRET\n.end\n")).collect();
    let error = assemble(&source, &Options::default()).unwrap_err();
    // 64 times 65,535 still fit.
    assert_eq!(error.diagnostics[0].line, 1 + 3 * 64);
    assert_eq!(error.diagnostics[0].message, "a module has at most 4194304 parameters and locals");
}

#[test]
fn deep_nesting_needs_no_stack() {
    let depth = 100_000;
    let body = ".if ".repeat(depth) + &".end_if ".repeat(depth);
    let source = format!(".func f\n{body}\nRET\n.end\n");
    assert!(assemble(&source, &Options::default()).is_ok());
    let source = format!(".func f\n{}\nRET\n.end\n", ".while ".repeat(depth));
    assert!(assemble(&source, &Options::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_a_module_or_errors(source in any::<String>()) {
        let _ = assemble(&source, &Options::default()).map_err(|error| error.render(false));
    }

    /// Sources that are nearly right: pieces of the language in any order.
    #[test]
    fn any_pieces_give_a_module_or_errors(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..40)) {
        let source = pieces.concat();
        let _ = assemble(&source, &Options::default()).map_err(|error| error.render(false));
    }

    /// A right source with one piece cut out or put in.
    #[test]
    fn damaged_source_gives_a_module_or_errors(
        at in any::<prop::sample::Index>(),
        cut in 0..20usize,
        piece in prop::sample::select(PIECES.to_vec()),
    ) {
        let source = include_str!("data/everything.dasm");
        let places: Vec<usize> = source.char_indices().map(|(place, _)| place).collect();
        let start = at.index(places.len());
        let end = places.get(start + cut).copied().unwrap_or(source.len());
        let damaged = format!("{}{piece}{}", &source[..places[start]], &source[end..]);
        let _ = assemble(&damaged, &Options::default()).map_err(|error| error.render(false));
    }
}

const PIECES: &[&str] = &[
    "\n",
    "\n",
    "\n",
    " ",
    " ",
    ".func f",
    ".func pub g [a]{b} -> [1]",
    ".end\n",
    "\n.local x y ",
    " window 3",
    "[",
    "]",
    "{",
    "}",
    "->",
    ":",
    "~",
    "=",
    "-",
    "a",
    "`",
    "\"",
    "\"text\" ",
    "'",
    "0x",
    "0x12 ",
    "12 ",
    "-5 ",
    "PUSH ",
    "LGET ",
    "RCONST ",
    "JMP ",
    "JTAB ",
    "RET ",
    "W8 ",
    "ADD ",
    "lab",
    "lab: ",
    ".if ",
    ".else ",
    ".end_if ",
    ".while ",
    ".do ",
    ".end_while ",
    ".const k bytes ",
    ".const w word ",
    ".const d doc ",
    "{\"a\":",
    ".data ro ",
    ".data ",
    ".table t ",
    ".map m f ",
    ".sig s ",
    ".global g",
    ".rglobal r",
    ".export e f",
    ".heap 16",
    ".memory 1 2",
    ".loc 7\n",
    ".file \"n\" ",
    ".nodebug\n",
    ".arch 32\n",
    ".entry f\n",
    ".cap tx ",
    ".collection c doc\n",
    ".module m\n",
    "\\",
    "\u{feff}",
    "é",
    ";",
    "\r",
    "\t",
    "0xFFFFFFFFFFFFFFFFF ",
];

/// Found by the fuzz target `assemble`: a line that is refused takes the label it binds with it.
#[test]
fn a_label_lost_with_its_line_is_an_error() {
    for line in ["l: \0 NOP RET", "\0 l: NOP RET", "l: RET \0"] {
        let source = format!(".func f\n  JMP l\n{line}\n.end\n");
        assert!(
            dotvm_asm::assemble(&source, &dotvm_asm::Options::for_file("lost.dasm")).is_err(),
            "{line:?}"
        );
    }
    let crash = ".func f [x]\n  LGET x\n  .if\n  \0 .else\n  NOP\n  \0 .end_if\n  RET\n.end\n";
    assert!(dotvm_asm::assemble(crash, &dotvm_asm::Options::for_file("lost.dasm")).is_err());
}
